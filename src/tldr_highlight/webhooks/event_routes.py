"""Events: at which address."""

from __future__ import annotations

from typing import Annotated

from fastapi import Header, Query

from tldr_highlight.core.shapes import Id, Page
from tldr_highlight.errors import BusyError, LimitError
from tldr_highlight.tenancy.roles import Scope
from tldr_highlight.web import Call, Routes
from tldr_highlight.web.listening import EventStream
from tldr_highlight.webhooks import history
from tldr_highlight.webhooks.history import EventOut, EventsQuery, Pattern

events = Routes("/api/v1/events", tag="events")


@events.get("", scope=Scope.WEBHOOKS_READ)
def list_events(call: Call, asked: Annotated[EventsQuery, Query()]) -> Page[EventOut]:
    """List events. Oldest first: in the order in which they happened, each once.

    `cursor` is the id of the last event that you have, of a page or of a delivery. At the end `next_cursor`
    is null: come again later with the id of the last one.
    """
    rows, cursor = history.list_events(call, asked)
    return Page(data=[EventOut.model_validate(row) for row in rows], next_cursor=cursor)


@events.get("/stream", scope=Scope.WEBHOOKS_READ, errors=[LimitError, BusyError])
def follow_events(
    call: Call,
    cursor: Annotated[Id | None, Query(description="Id of the last event that you have.")] = None,
    type: Annotated[
        list[Pattern] | None, Query(max_length=20, description="Types, or patterns: `stream.*`.")
    ] = None,
    follow: Annotated[bool, Query(description="Go on with what happens; else end when all is told.")] = True,
    last_event_id: Annotated[
        Id | None,
        Header(
            description="As `cursor`, which it comes before.", examples=["evt_01kb8mz3s5e6v7w8x9y0a1b2c3"]
        ),
    ] = None,
) -> EventStream:
    """Follow events. Server-sent events, as they happen: from now on, or after one that you have.

    Each has the event's id and type, and as its data what webhooks get. A connection that breaks goes on with
    `Last-Event-ID`, without a gap and without telling anything twice.
    """
    return history.follow_events(call, last_event_id or cursor, type, follow=follow)
