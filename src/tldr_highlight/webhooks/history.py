"""What happened, read: page by page, or as it happens.

Events are told in the order in which they were committed (`events.py`), and a caller's place is the id of
the last one it has: of a page, of the stream, or of a webhook's delivery. One that is deleted by now, or was
never there, stands for the beginning: everything that is kept came after it.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Annotated, Any

from pydantic import Field, StringConstraints
from sqlalchemy import Select, func, or_, select
from sqlalchemy.orm import Session

from tldr_highlight.core.shapes import Id, Schema
from tldr_highlight.runtime import Act, Runtime
from tldr_highlight.web.listening import EventStream, News, Told, Watch
from tldr_highlight.webhooks.events import PATTERN
from tldr_highlight.webhooks.models import Event, EventSequence

AT_ONCE = 100
"""Events that are read for a listener at a time."""

BEGINNING = "evt_00000000000000000000000000"
"""No event has this id."""

Pattern = Annotated[str, StringConstraints(max_length=64, pattern=PATTERN)]


class EventOut(Schema):
    """Something that happened; the same words as webhooks get."""

    id: str
    type: str
    sequence: int | None  # within its stream, without gaps
    created_at: datetime
    organization_id: str
    trace_id: str | None
    data: dict[str, Any]


class EventsQuery(Schema):
    """Which events."""

    limit: Annotated[int, Field(ge=1, le=100, description="Events at most.")] = 50
    cursor: Annotated[Id | None, Field(description="Id of the last event that you have.")] = None
    type: Annotated[
        list[Pattern] | None, Field(max_length=20, description="Types, or patterns: `stream.*`.")
    ] = None


def list_events(act: Act, asked: EventsQuery) -> tuple[Sequence[Event], str | None]:
    """Events after a cursor, oldest first; and the cursor of the next page, None at the end for now."""
    after = _place_of(act.session, act.organization_id, asked.cursor)
    query = _after(act.organization_id, after, asked.type).limit(asked.limit + 1)
    events = act.session.scalars(query).all()
    more = len(events) > asked.limit
    return events[: asked.limit], events[asked.limit - 1].id if more else None


def follow_events(
    act: Act, after: str | None, types: Sequence[str] | None, *, follow: bool = True
) -> EventStream:
    """Events as they happen: after one that the caller has, or from now on."""
    runtime, organization_id = act.runtime, act.organization_id
    begins = None
    if after is None:
        place = latest(act.session, [organization_id]).get(organization_id, 0)
        begins = _newest(act.session, organization_id, place)
    else:
        place = _place_of(act.session, organization_id, after)

    def poll(_: str | None) -> News:
        nonlocal place
        news, place = _news(runtime, organization_id, place, types)
        return news

    watch = Watch(latest, organization_id)
    return EventStream(poll, watch, after=after, begins=begins, follow=follow)


def latest(session: Session, organizations: Collection[str]) -> dict[str, int]:
    """Organization -> place of its latest event."""
    counted = EventSequence.stream_id
    query = select(counted, EventSequence.last).where(counted.in_(organizations))
    return {row[0]: row[1] for row in session.execute(query)}


def _news(
    runtime: Runtime, organization_id: str, place: int, types: Sequence[str] | None
) -> tuple[News, int]:
    """What came after a place, and the place that is reached."""
    with runtime.db.read() as session:
        # before the events: what comes in between is read again, and not passed over
        reached = latest(session, [organization_id]).get(organization_id, 0)
        events = session.scalars(_after(organization_id, place, types).limit(AT_ONCE)).all()
    more = len(events) == AT_ONCE
    told = [Told(each.id, each.type, EventOut.model_validate(each).model_dump_json()) for each in events]
    last = max((each.position or 0 for each in events), default=place)
    return News(told, more=more), last if more else max(last, reached)


def _place_of(session: Session, organization_id: str, event_id: str | None) -> int:
    if event_id is None:
        return 0
    query = select(Event.position).where(Event.organization_id == organization_id, Event.id == event_id)
    return session.scalar(query) or 0


def _newest(session: Session, organization_id: str, place: int) -> str:
    """Id of the last event up to a place; where there is none, one that stands for the beginning."""
    known = select(Event.id).where(Event.organization_id == organization_id, Event.position <= place)
    return session.scalar(known.order_by(Event.position.desc()).limit(1)) or BEGINNING


def _after(organization_id: str, place: int, types: Sequence[str] | None) -> Select[Any]:
    query = Event.of(organization_id).where(Event.position > place).order_by(Event.position)
    return query if not types else query.where(or_(*map(_is_like, types)))


def _is_like(pattern: str) -> Any:
    """A condition for `*`, `stream.*`, `stream.completed`."""
    return (
        func.substr(Event.type, 1, len(pattern) - 1) == pattern[:-1]
        if "*" in pattern
        else Event.type == pattern
    )
