"""Where what happened is written down: an event commits with what made it true, or not at all."""

from __future__ import annotations

from collections.abc import Iterable
from fnmatch import fnmatchcase

from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from tldr_highlight.core.db import after_commit, before_commit
from tldr_highlight.core.telemetry import current_trace, trace_id
from tldr_highlight.runtime import Runtime
from tldr_highlight.webhooks.catalogue import Payload
from tldr_highlight.webhooks.models import Event, EventSequence

PATTERN = r"^(\*|[a-z_]{1,30}\.(\*|[a-z_]{1,30}))$"
"""What an endpoint subscribes to: `*`, `stream.*`, `stream.completed`."""


def wanted(patterns: Iterable[str], type: str) -> bool:
    """Whether an endpoint with these patterns is told of events of a type."""
    return any(fnmatchcase(type, pattern) for pattern in patterns)


def emit(
    session: Session,
    organization_id: str,
    payload: Payload,
    *,
    stream_id: str | None = None,
) -> Event:
    """Write down that something happened, as part of the caller's transaction.

    Args:
        session: Of the transaction that makes it true.
        organization_id: Whose event it is.
        payload: What happened, to whom and how.
        stream_id: The stream it is part of; its events are numbered 1, 2, 3 … without gaps, in the order in
            which their transactions commit: one that emits holds up others of the same stream until it ends.
    """
    trace = current_trace()
    event = Event(
        organization_id=organization_id,
        type=payload.type.value,
        stream_id=stream_id,
        sequence=None if stream_id is None else _next(session, stream_id),
        data=payload.model_dump(mode="json"),
        trace_id=trace and trace_id(trace),
    )
    session.add(event)
    session.flush()
    _place_at_commit(session, event)
    return event


def _place_at_commit(session: Session, event: Event) -> None:
    """Give an event its place among its organization's, as the last act of its transaction.

    So places follow the order of commits, and whoever read up to one has missed nothing before it: ids and
    times are made earlier, and a transaction that began first may well commit last. One who has this counter
    waits for nobody any more, so it is never a part of a deadlock; others of the organization wait a commit.
    """
    placed: list[Event] | None = session.info.get("events")
    if placed is not None:
        placed.append(event)
        return
    session.info["events"] = [event]

    def place() -> None:
        for each in sorted(session.info.pop("events"), key=lambda each: each.organization_id):
            each.position = _next(session, each.organization_id)
        session.flush()

    before_commit(session, place)
    runtime: Runtime | None = session.info.get("runtime")
    if runtime is not None:
        after_commit(session, runtime.stir)


def _next(session: Session, owner_id: str) -> int:
    """The next number of a stream, or of an organization.

    A counter, not max + 1: old events are deleted, and a rolled back one counts back by itself.
    """
    dialect = sqlite if session.get_bind().dialect.name == "sqlite" else postgresql
    counting = (
        dialect.insert(EventSequence)
        .values(stream_id=owner_id, last=1)
        .on_conflict_do_update(index_elements=["stream_id"], set_={"last": EventSequence.last + 1})
        .returning(EventSequence.last)
    )
    return session.execute(counting).scalar_one()
