"""Base of the groups of calls."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar, cast

from tldr_highlight.client.pages import Page, Pages
from tldr_highlight.client.problems import Unreadable
from tldr_highlight.client.shapes import read
from tldr_highlight.client.transport import Transport

T = TypeVar("T")


class Calls:
    """Calls that go over one transport."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def _do(self, method: str, path: str, body: object = None, **how: Any) -> Any:
        """Call an operation; whatever it answers."""
        return self._transport.call(method, path, _written(body), **how)

    def _one(self, shape: type[T], method: str, path: str, body: object = None, **how: Any) -> T:
        """Call an operation that answers with one `shape`."""
        return _read(shape, self._do(method, path, body, **how))

    def _pages(self, shape: type[T], path: str, limit: int | None, **filters: Any) -> Pages[T]:
        """A list of `shape`."""

        def fetch(limit: int | None, cursor: str | None) -> Page[T]:
            answer = self._do("GET", path, query={**filters, "limit": limit, "cursor": cursor})
            page = _read(_Page, answer)
            return Page([_read(shape, item) for item in page.data], page.next_cursor)

        return Pages(fetch, limit)


@dataclass(frozen=True)
class _Page:
    data: list[Any]
    next_cursor: str | None = None


def _read(shape: type[T], value: Any) -> T:
    try:
        return read(shape, value)
    except ValueError as error:
        raise _strange(error) from error


def _strange(error: ValueError) -> Unreadable:
    return Unreadable(200, "answer_unreadable", f"{error}; is the server of another version?")


def _written(body: object) -> object:
    """Times as RFC 3339; members that are None left out: not given, the server decides."""
    if not isinstance(body, Mapping):
        return body
    members = cast("Mapping[str, object]", body)
    return {n: v.isoformat() if isinstance(v, datetime) else v for n, v in members.items() if v is not None}
