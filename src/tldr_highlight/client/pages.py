"""Lists that come in pages."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")


@dataclass(frozen=True)
class Page(Generic[T]):
    """A part of a list; `next_cursor` asks for what follows, None at the end."""

    data: list[T]
    next_cursor: str | None


class Pages(Generic[T]):
    """A whole list. Iterating asks for page after page, each when it is needed, anew each time."""

    def __init__(self, fetch: Callable[[int | None, str | None], Page[T]], limit: int | None = None) -> None:
        self._fetch = fetch
        self._limit = limit

    def __iter__(self) -> Iterator[T]:
        page = self.page()
        yield from page.data
        while page.next_cursor is not None:
            page = self.page(cursor=page.next_cursor)
            yield from page.data

    def page(self, limit: int | None = None, cursor: str | None = None) -> Page[T]:
        """One page: at most `limit` objects (1..100, else the server's default) after `cursor`."""
        return self._fetch(limit or self._limit, cursor)
