"""What becomes of deliveries by how their attempts went; and of endpoints that fail all the time."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from urllib.parse import urlsplit

from sqlalchemy import exists, select, update
from sqlalchemy.orm import Session

from tldr_highlight.core.mails import WebhookDisabled as DisabledLetter
from tldr_highlight.core.outbox import post
from tldr_highlight.core.work import clock
from tldr_highlight.runtime import Act, Caller, Runtime
from tldr_highlight.tenancy import audit
from tldr_highlight.tenancy.models import Member, Organization
from tldr_highlight.tenancy.roles import Role
from tldr_highlight.webhooks.catalogue import WebhookDisabled
from tldr_highlight.webhooks.events import emit, wake
from tldr_highlight.webhooks.models import Attempt, Delivery, Webhook
from tldr_highlight.webhooks.schedules import pause
from tldr_highlight.webhooks.sending import CHALLENGE, INTERRUPTED, UNSENT, Outcome

FAILING_DELIVERIES, FAILING_TIME = 10, timedelta(hours=1)
"""So many given up in a row, over so long at least: then an endpoint is disabled."""

SYSTEM = "system"
"""Who does what nobody asked for, in the audit log."""


def store(session: Session, runtime: Runtime, outcomes: Sequence[Outcome]) -> None:
    """Write down how attempts went, as part of the caller's transaction.

    Those of deliveries that were taken for lost meanwhile, or deleted, are left out.
    """
    at = clock(session)
    webhooks = _webhooks(session, outcomes)
    by_attempt = {
        (o.parcel.delivery_id, o.parcel.number): o for o in outcomes
    }  # a late one may be among them
    ids = {outcome.parcel.delivery_id for outcome in outcomes}
    # in order, as whoever locks several must
    query = select(Delivery).where(Delivery.id.in_(ids)).order_by(Delivery.id).with_for_update()
    for delivery in session.scalars(query).all():
        outcome = by_attempt.get((delivery.id, delivery.attempts))
        webhook = webhooks.get(delivery.webhook_id)
        if outcome is not None and webhook is not None and _is_current(delivery, outcome):
            _store_one(session, runtime, webhook, delivery, outcome, at)
    session.flush()
    _wake_those_with_more(session, webhooks, at)


def give_up(session: Session, outcome: Outcome) -> None:
    """End the delivery of an attempt without a word of how that went."""
    delivery = session.get(Delivery, outcome.parcel.delivery_id, with_for_update=True)
    if delivery is not None and _is_current(delivery, outcome):
        delivery.state, delivery.ended_at = "failed", clock(session)


def _webhooks(session: Session, outcomes: Sequence[Outcome]) -> Mapping[str, Webhook]:
    """The endpoints; those that may change with this are locked."""
    ids = {outcome.parcel.webhook_id for outcome in outcomes}
    query = select(Webhook).where(Webhook.id.in_(ids)).order_by(Webhook.id)
    webhooks = {webhook.id: webhook for webhook in session.scalars(query)}
    changing = {o.parcel.webhook_id for o in outcomes if o.error is not None or o.parcel.answer is not None}
    changing |= {webhook.id for webhook in webhooks.values() if webhook.failures}
    # a lock that lets others add deliveries; not where one may be active after it, see `emit`
    opens = any(o.parcel.answer is not None and o.error is None for o in outcomes)
    locking = query.where(Webhook.id.in_(changing)).with_for_update(key_share=not opens)
    session.scalars(locking.execution_options(populate_existing=True)).all()
    return webhooks


def _is_current(delivery: Delivery, outcome: Outcome) -> bool:
    return delivery.state == "sending" and delivery.attempts == outcome.parcel.number


def _store_one(
    session: Session, runtime: Runtime, webhook: Webhook, delivery: Delivery, outcome: Outcome, at: datetime
) -> None:
    if outcome.error == UNSENT:
        delivery.attempts -= 1
        _wait(webhook, delivery, at, at)
        return
    session.add(
        Attempt(
            organization_id=delivery.organization_id,
            delivery_id=delivery.id,
            webhook_id=delivery.webhook_id,
            number=outcome.parcel.number,
            status=outcome.status,
            error_code=outcome.error,
            answer=outcome.answer,
            milliseconds=outcome.milliseconds,
            created_at=outcome.at,
        )
    )
    if outcome.error == INTERRUPTED:
        _wait(webhook, delivery, at, at)
    elif outcome.error is None:
        _delivered(session, runtime, webhook, delivery, outcome, at)
    else:
        _failed(session, runtime, webhook, delivery, outcome, at)


def _wait(webhook: Webhook, delivery: Delivery, at: datetime, until: datetime) -> None:
    """Have a delivery tried at a time; an endpoint that was disabled meanwhile gets nothing more."""
    if webhook.status == "disabled":
        delivery.state, delivery.ended_at = "failed", at
    else:
        delivery.state, delivery.due_at = "waiting", until


def _delivered(
    session: Session, runtime: Runtime, webhook: Webhook, delivery: Delivery, outcome: Outcome, at: datetime
) -> None:
    delivery.state, delivery.ended_at = "delivered", at
    webhook.failures, webhook.failing_since = 0, None
    is_challenge = delivery.event_type == CHALLENGE and webhook.status == "pending_verification"
    if is_challenge and outcome.parcel.url == webhook.url:
        webhook.status, webhook.verified_at = "active", at
        audit.record(_system(session, runtime, webhook), "webhook.verified", webhook.id)
        wake(session, webhook.id)


def _failed(
    session: Session, runtime: Runtime, webhook: Webhook, delivery: Delivery, outcome: Outcome, at: datetime
) -> None:
    delivery.failures += 1
    chance = secrets.SystemRandom().random()
    seconds = pause(webhook.schedule, delivery.failures, outcome.asked, chance)
    if seconds is not None and outcome.error != "gone":
        _wait(webhook, delivery, at, at + timedelta(seconds=seconds))
        wake(session, webhook.id)  # it may sleep until later than that
        return
    delivery.state, delivery.ended_at = "failed", at
    if webhook.status != "active":
        return
    webhook.failures += 1
    since = webhook.failing_since = webhook.failing_since or at
    if outcome.error == "gone":
        disable(session, runtime, webhook, "gone", _words(outcome), failures=1)
    elif webhook.failures >= FAILING_DELIVERIES and at - since >= FAILING_TIME:
        disable(session, runtime, webhook, "failing", _words(outcome), failures=webhook.failures)


def _words(outcome: Outcome) -> str:
    return outcome.error or "" if outcome.status is None else f"HTTP {outcome.status}"


def _wake_those_with_more(session: Session, webhooks: Mapping[str, Webhook], at: datetime) -> None:
    """Whoever claimed may have had to leave some where they were: as many as may be were on their way."""
    waiting = exists().where(
        Delivery.webhook_id == Webhook.id, Delivery.state == "waiting", Delivery.due_at <= at
    )
    for webhook_id in session.scalars(select(Webhook.id).where(Webhook.id.in_(webhooks), waiting)):
        wake(session, webhook_id)


# --- endpoints that fail -------------------------------------------------------------------------------


def disable(
    session: Session, runtime: Runtime, webhook: Webhook, reason: str, last_error: str, *, failures: int
) -> None:
    """Send an endpoint nothing more, and say so: to its people, to the other endpoints, in the audit log.

    Args:
        session: Of a transaction that has locked the row.
        runtime: Whose address links lead to.
        webhook: An active one.
        reason: `gone`, `failing`, `stuck`.
        last_error: For people.
        failures: Deliveries in a row.
    """
    at = clock(session)
    webhook.status, webhook.disabled_reason, webhook.disabled_at = "disabled", reason, at
    give_up_waiting(session, webhook, at)
    audit.record(_system(session, runtime, webhook), "webhook.disabled", webhook.id, reason=reason)
    payload = WebhookDisabled(webhook_id=webhook.id, url=_server(webhook), reason=reason)
    emit(session, webhook.organization_id, payload)
    letter = DisabledLetter(
        organization=session.get_one(Organization, webhook.organization_id).name,
        url=f"{_server(webhook)} ({webhook.id})",
        failures=failures,
        failing_since=webhook.failing_since or at,
        last_error=last_error,
        link=f"{runtime.url}/docs",
    )
    for user in Member.people(session, webhook.organization_id, Role.OWNER, Role.ADMIN):
        post(session, letter, user.email, organization_id=webhook.organization_id)


def _server(webhook: Webhook) -> str:
    """What of an endpoint's address may be told: all else of it may be what opens it."""
    return "https://" + urlsplit(webhook.url).netloc.rpartition("@")[2]


def give_up_waiting(session: Session, webhook: Webhook, at: datetime) -> None:
    """End what has not been delivered to an endpoint; enabling it again can ask for that."""
    session.execute(
        update(Delivery)
        .where(Delivery.organization_id == webhook.organization_id, Delivery.webhook_id == webhook.id)
        .where(Delivery.state == "waiting")
        .values(state="failed", ended_at=at)
    )


def _system(session: Session, runtime: Runtime, webhook: Webhook) -> Act:
    return Act(runtime, Caller(webhook.organization_id, name=SYSTEM), session=session)
