"""Where what happened is written down: an event commits with what made it true, or not at all.

In the same transaction it gets a delivery for each endpoint that wants it, and their work is poked.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

from sqlalchemy.orm import Session

from tldr_highlight.core.db import after_commit, before_commit, insert
from tldr_highlight.core.telemetry import current_trace, trace_id
from tldr_highlight.core.work import clock, poke
from tldr_highlight.runtime import Runtime
from tldr_highlight.webhooks.catalogue import Payload
from tldr_highlight.webhooks.models import Delivery, Event, EventSequence, Webhook

DELIVER = "deliver"
"""The kind of work that sends: one row for each endpoint, whose key is the endpoint's id."""

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
    webhooks = _looked_at(session, organization_id)
    event = _written(session, organization_id, payload, stream_id)
    for webhook in webhooks:
        if webhook.status == "active" and wanted(webhook.events, event.type):
            deliver(session, event, webhook)
    return event


def _looked_at(session: Session, organization_id: str) -> Sequence[Webhook]:
    """An organization's endpoints, all of them, as they stay until the caller's transaction ends.

    One that gets nothing now is active again only after that, and is then told of what it missed, this event
    included: whoever makes it so locks it for update. Before the event has its id: that is later, then, than
    whatever made an endpoint get nothing.
    """
    query = Webhook.of(organization_id).order_by(Webhook.id).with_for_update(read=True, key_share=True)
    return session.scalars(query.execution_options(populate_existing=True)).all()


def emit_to(session: Session, webhook: Webhook, payload: Payload) -> tuple[Event, Delivery]:
    """The same for one endpoint alone, whatever it subscribes to."""
    event = _written(session, webhook.organization_id, payload, None)
    return event, deliver(session, event, webhook)


def deliver(session: Session, event: Event, webhook: Webhook) -> Delivery:
    """Have an event sent to an endpoint once the caller's transaction is committed."""
    delivery = Delivery(
        organization_id=webhook.organization_id,
        webhook_id=webhook.id,
        event_id=event.id,
        event_type=event.type,
        stream_id=event.stream_id,
        sequence=event.sequence,
        due_at=clock(session),
    )
    session.add(delivery)
    wake(session, webhook.id)
    return delivery


def wake(session: Session, webhook_id: str) -> None:
    """Have an endpoint's work look for what is due, once the caller's transaction is committed."""
    _at_commit(session).woken.add(webhook_id)


@dataclass
class _AtCommit:
    """What is done as the last acts of a transaction, when it waits for nothing else any more."""

    woken: set[str] = field(default_factory=set[str])
    events: list[Event] = field(default_factory=list[Event])


def _at_commit(session: Session) -> _AtCommit:
    """What a transaction is to do at its end.

    Rows of work are locked then, all in one order: two transactions that tell of several things each would
    wait for each other otherwise. Events get their places among their organization's last of all: so places
    follow the order of commits, and whoever read up to one has missed nothing before it. Ids and times are
    made earlier, and a transaction that began first may well commit last.
    """
    found: _AtCommit | None = session.info.get("events")
    if found is not None:
        return found
    last = session.info["events"] = _AtCommit()

    def finish() -> None:
        for webhook_id in sorted(last.woken):
            poke(session, DELIVER, webhook_id)
        for event in sorted(last.events, key=lambda each: each.organization_id):
            event.position = _next(session, event.organization_id)
        session.flush()

    before_commit(session, finish)
    runtime: Runtime | None = session.info.get("runtime")
    if runtime is not None:
        after_commit(session, runtime.stir)
    return last


def _written(session: Session, organization_id: str, payload: Payload, stream_id: str | None) -> Event:
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
    _at_commit(session).events.append(event)
    return event


def _next(session: Session, owner_id: str) -> int:
    """The next number of a stream, or of an organization.

    A counter, not max + 1: old events are deleted, and a rolled back one counts back by itself.
    """
    counting = (
        insert(session, EventSequence)
        .values(stream_id=owner_id, last=1)
        .on_conflict_do_update(index_elements=["stream_id"], set_={"last": EventSequence.last + 1})
        .returning(EventSequence.last)
    )
    return session.execute(counting).scalar_one()
