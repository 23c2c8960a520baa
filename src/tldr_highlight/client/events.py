"""What happened: all that is kept, and as it happens."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from tldr_highlight.client.calls import Calls
from tldr_highlight.client.pages import Pages
from tldr_highlight.client.shapes import Event


class Events:
    """Everything that happened in the organization."""

    def __init__(self, calls: Calls) -> None:
        self._calls = calls

    def list(self, *, types: Sequence[str] | None = None, limit: int | None = None) -> Pages[Event]:
        """All that are kept, oldest first; `page(cursor=event.id)` goes on after one that you have.

        Args:
            types: Or patterns: `stream.*`.
            limit: Of a page.
        """
        return self._calls.pages(Event, "/events", limit, type=types)

    def follow(self, *, after: str | None = None, types: Sequence[str] | None = None) -> Iterator[Event]:
        """Events as they happen, for as long as you take them; a broken connection goes on where it was.

        Args:
            after: Id of the last event that you have: those since come first. None: from now on.
            types: Or patterns: `stream.*`.

        Raises:
            ConnectionProblem: there was no answer at all. Once there was one, it is tried for ever.
            Problem: the server will not tell.
        """
        return self._calls.follow(Event, "/events/stream", cursor=after, type=types, follow=True)
