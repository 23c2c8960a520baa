"""One call, in shapes: what the groups of calls are made of."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

from tldr_highlight.client.listening import follow
from tldr_highlight.client.pages import Page, Pages
from tldr_highlight.client.problems import Unreadable
from tldr_highlight.client.shapes import read
from tldr_highlight.client.transport import Transport

T = TypeVar("T")


class Calls:
    """Calls that go over one transport."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def do(self, method: str, path: str, body: object = None, **how: Any) -> Any:
        """Call an operation; whatever it answers."""
        return self._transport.call(method, path, body, **how)

    def one(self, shape: type[T], method: str, path: str, body: object = None, **how: Any) -> T:
        """Call an operation that answers with one `shape`."""
        return _read(shape, self.do(method, path, body, **how))

    def link(self, path: str, **query: Any) -> str:
        """Where an operation leads to: an address that opens a file for a while, and takes no key."""
        return self.do("GET", path, query=query, leads=True)

    def save(self, path: str, file: str | os.PathLike[str], **query: Any) -> None:
        """Copy the file that an operation leads to."""
        self._transport.save(self.link(path, **query), Path(file))

    def send(self, path: str, body: Iterator[bytes], offset: int) -> None:
        """Send bytes of a file, which go to `offset`."""
        headers = {
            "Content-Type": "application/offset+octet-stream",
            "Upload-Offset": str(offset),
            "Tus-Resumable": "1.0.0",
        }
        self._transport.send(path, body, headers)

    def pages(self, shape: type[T], path: str, limit: int | None, **filters: Any) -> Pages[T]:
        """A list of `shape`."""

        def fetch(limit: int | None, cursor: str | None) -> Page[T]:
            answer = self.do("GET", path, query={**filters, "limit": limit, "cursor": cursor})
            page = _read(_Page, answer)
            return Page([_read(shape, item) for item in page.data], page.next_cursor)

        return Pages(fetch, limit)

    def follow(self, shape: type[T], path: str, **query: Any) -> Iterator[T]:
        """What an operation tells, each as a `shape`, for as long as it is taken."""
        return (_read(shape, _json(told.data)) for told in follow(self._transport, path, query))


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise _strange(error) from error


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


def given(**members: Any) -> dict[str, Any]:
    """A body: times as RFC 3339, members that are None left out (not given: the server decides)."""
    return {n: v.isoformat() if isinstance(v, datetime) else v for n, v in members.items() if v is not None}


def at(*parts: str) -> str:
    """A path of these parts, none of which can lead elsewhere.

    Raises:
        ValueError: an id that is none.
    """
    if not_ids := {"", ".", ".."} & set(parts):
        raise ValueError(f"{not_ids.pop()!r} is no id")
    return "".join(f"/{quote(part, safe='')}" for part in parts)
