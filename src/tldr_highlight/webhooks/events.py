"""Where what happened is written down: an event commits with what made it true, or not at all.

In the same transaction it gets a delivery for each endpoint that wants it, and their work is poked.
"""

from __future__ import annotations

from collections.abc import Iterable
from fnmatch import fnmatchcase

from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.event import listen
from sqlalchemy.orm import Session

from tldr_highlight.core.telemetry import current_trace, trace_id
from tldr_highlight.core.work import clock, poke
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
    event = _written(session, organization_id, payload, stream_id)
    listening = Webhook.of(organization_id).where(Webhook.status == "active").order_by(Webhook.id)
    for webhook in session.scalars(listening).all():
        if wanted(webhook.events, event.type):
            deliver(session, event, webhook)
    return event


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
    """Have an endpoint's work look for what is due, once the caller's transaction is committed.

    The rows of work are locked at the very end of the transaction, all in one order: two transactions that
    tell of several things each would wait for each other otherwise.
    """
    if "woken" not in session.info:
        session.info["woken"] = set[str]()
        listen(session, "before_commit", _poke_all)
    session.info["woken"].add(webhook_id)


def _poke_all(session: Session) -> None:
    if not session.in_nested_transaction():
        woken: set[str] = session.info["woken"]
        for webhook_id in sorted(woken):
            poke(session, DELIVER, webhook_id)
        woken.clear()


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
    return event


def _next(session: Session, stream_id: str) -> int:
    """The stream's next number. A counter, not max + 1: old events are deleted, and a rolled back one counts
    back by itself."""
    dialect = sqlite if session.get_bind().dialect.name == "sqlite" else postgresql
    counting = (
        dialect.insert(EventSequence)
        .values(stream_id=stream_id, last=1)
        .on_conflict_do_update(index_elements=["stream_id"], set_={"last": EventSequence.last + 1})
        .returning(EventSequence.last)
    )
    return session.execute(counting).scalar_one()
