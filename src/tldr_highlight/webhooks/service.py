"""Endpoints: what may happen to them."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from tldr_highlight.core import work
from tldr_highlight.core.addresses import parse, refused
from tldr_highlight.core.db import first_id, new_id, now
from tldr_highlight.core.egress import Egress
from tldr_highlight.core.security import new_webhook_secret
from tldr_highlight.core.shapes import PageQuery, paginate
from tldr_highlight.core.work import Work, clock, enqueue
from tldr_highlight.errors import AddressError, ConflictError, NotFoundError, PlanLimitError, WebhookUrlError
from tldr_highlight.runtime import Act
from tldr_highlight.tenancy import audit
from tldr_highlight.tenancy.logins import require_lasting
from tldr_highlight.tenancy.models import Organization
from tldr_highlight.webhooks import delivery as deliveries
from tldr_highlight.webhooks.catalogue import WebhookTest
from tldr_highlight.webhooks.events import DELIVER, emit_to, wake
from tldr_highlight.webhooks.models import Attempt, Delivery, Webhook
from tldr_highlight.webhooks.schemas import DeliveryQuery, WebhookCreate, WebhookPatch
from tldr_highlight.webhooks.sending import CHALLENGE

PRIVATE_NAME = re.compile(r"localhost|.+\.(localhost|local|internal)")
"""Names that lead inside wherever they lead: RFC 6761, RFC 6762, and ICANN's for private use."""

OVERLAP = timedelta(hours=24)
"""How long both secrets sign after a rotation."""

SAMPLE = 10_000
"""Attempts that statistics look at, at most: 20 ms."""


def check_url(act: Act, url: str) -> None:
    """Refuse an endpoint for what its address says; where a name leads is judged at every connection.

    Raises:
        WebhookUrlError: not https, not well-formed, a literal address that is not public, or a name that
            stands for private ones, unless the operator opened networks.
    """
    policy = act.runtime.policy
    try:
        Egress(policy).check(url)
        if PRIVATE_NAME.fullmatch(parse(url).host) and not policy.allow_networks:
            raise refused()
    except AddressError as error:
        raise WebhookUrlError("this address is not allowed: give an https address on the internet") from error
    if not url.lower().startswith("https:"):
        raise WebhookUrlError("events are sent over https alone")


def list_webhooks(act: Act, page: PageQuery) -> tuple[Sequence[Webhook], str | None]:
    """The organization's endpoints, newest first."""
    return paginate(act.session, Webhook.of(act.organization_id), Webhook.id, page)


def get_webhook(act: Act, webhook_id: str) -> Webhook:
    """One of the organization's endpoints."""
    return Webhook.get_for(act.session, act.organization_id, webhook_id)


def create_webhook(act: Act, wanted: WebhookCreate) -> tuple[Webhook, str]:
    """Add an endpoint; the second value is the secret that its deliveries are signed with.

    Raises:
        PlanLimitError: the plan allows no more. WebhookUrlError: see `check_url`.
    """
    organization = Organization.locked(act.session, act.organization_id)
    require_lasting(act)
    allowed = organization.limits.webhook_endpoints
    if _count(act.session, organization.id) >= allowed:
        words = f"the plan allows {allowed} endpoints: delete one, or take a larger plan"
        raise PlanLimitError(words, limit="webhook_endpoints", allowed=allowed)
    return add_webhook(
        act, wanted.url, wanted.events, description=wanted.description, schedule=wanted.schedule
    )


def add_webhook(
    act: Act,
    url: str,
    events: Sequence[str],
    *,
    description: str | None = None,
    schedule: str | None = None,
) -> tuple[Webhook, str]:
    """Store an endpoint, and the secret that its deliveries are signed with, which is shown once.

    It is asked at once whether it is its people's, and gets nothing else before it has answered.

    Raises:
        WebhookUrlError: see `check_url`.
    """
    check_url(act, url)
    secret = new_webhook_secret()
    webhook = Webhook(
        organization_id=act.organization_id,
        url=url,
        events=list(events),
        description=description,
        schedule=schedule or act.runtime.settings.webhook_schedule,
        secret=act.runtime.vault.seal(secret),
    )
    act.session.add(webhook)
    act.session.flush()
    audit.record(act, "webhook.created", webhook.id, events=webhook.events)
    _ask_for_challenge(act.session, webhook)
    return webhook, secret


def change_webhook(act: Act, webhook_id: str, wanted: WebhookPatch) -> Webhook:
    """Give an endpoint another address, other events, another description or another schedule.

    At another address it has to be verified again; what happens meanwhile is sent to it after that.
    Disabled, it stays so.

    Raises:
        WebhookUrlError: see `check_url`.
    """
    webhook = Webhook.get_for(act.session, act.organization_id, webhook_id, lock=True)
    require_lasting(act)
    changes = wanted.model_dump(exclude_unset=True)
    moves = changes.get("url", webhook.url) != webhook.url
    for name, value in changes.items():
        setattr(webhook, name, value)
    if moves:
        check_url(act, webhook.url)
        _move(act.session, webhook)
    changes.pop("url", None)  # it may have a key in it
    audit.record(act, "webhook.changed", webhook.id, **changes, moved=moves)
    return webhook


def delete_webhook(act: Act, webhook_id: str) -> None:
    """Delete an endpoint with its deliveries; what is on its way arrives still."""
    webhook = Webhook.get_for(act.session, act.organization_id, webhook_id, lock=True)
    audit.record(act, "webhook.deleted", webhook.id)
    remove(act.session, webhook)


def remove(session: Session, webhook: Webhook) -> None:
    """Take an endpoint out of the database, with its deliveries and its work."""
    row = _work(session, webhook)
    session.delete(webhook)
    session.flush()
    work.cancel(session, row.id)


def verify_webhook(act: Act, webhook_id: str) -> Webhook:
    """Send an endpoint a new challenge.

    Raises:
        ConflictError: it is verified.
    """
    webhook = Webhook.get_for(act.session, act.organization_id, webhook_id, lock=True)
    require_lasting(act)
    if webhook.status != "pending_verification":
        raise ConflictError(f"the endpoint is {webhook.status}: there is nothing to verify")
    _give_up_challenges(act.session, webhook)
    _ask_for_challenge(act.session, webhook)
    audit.record(act, "webhook.verification_asked", webhook.id)
    return webhook


def send_test(act: Act, webhook_id: str) -> Delivery:
    """Send an endpoint an event that says so.

    Raises:
        ConflictError: it is not active.
    """
    webhook = _active(act, webhook_id)
    payload = WebhookTest(webhook_id=webhook.id, message="This is a test: somebody asked for it.")
    _, delivery = emit_to(act.session, webhook, payload)
    act.session.flush()
    audit.record(act, "webhook.tested", webhook.id, delivery=delivery.id)
    return delivery


def rotate_secret(act: Act, webhook_id: str) -> tuple[Webhook, str]:
    """Give an endpoint another secret; the one it has signs, too, for a day. One before that ends now."""
    webhook = Webhook.get_for(act.session, act.organization_id, webhook_id, lock=True)
    require_lasting(act)
    secret = new_webhook_secret()
    until = clock(act.session) + OVERLAP
    webhook.old_secret, webhook.old_secret_until = webhook.secret, until
    webhook.secret = act.runtime.vault.seal(secret)
    audit.record(act, "webhook.secret_rotated", webhook.id, until=until.isoformat())
    return webhook, secret


def enable_webhook(act: Act, webhook_id: str, resend_since: datetime | None) -> Webhook:
    """Let an endpoint have events again, and those that it missed since a time.

    Raises:
        ConflictError: it is not disabled.
    """
    webhook = Webhook.get_for(act.session, act.organization_id, webhook_id, lock=True)
    require_lasting(act)
    if webhook.status != "disabled":
        raise ConflictError(f"the endpoint is {webhook.status}: only a disabled one can be enabled")
    webhook.status = "active" if webhook.verified_at else "pending_verification"
    webhook.disabled_at = webhook.disabled_reason = webhook.failing_since = None
    webhook.failures = 0
    if resend_since is not None:
        _send_missed(act.session, webhook, resend_since)
    if webhook.status == "active":
        _set_to_work(act.session, webhook)
    else:  # it has moved
        _ask_for_challenge(act.session, webhook)
    audit.record(act, "webhook.enabled", webhook.id, **_since(resend_since))
    return webhook


def resend_missed(act: Act, webhook_id: str, since: datetime) -> Webhook:
    """Send an endpoint what it has not got since a time: each event once, those given up included.

    Raises:
        ConflictError: it is not active.
    """
    webhook = _active(act, webhook_id)
    _send_missed(act.session, webhook, since)
    wake(act.session, webhook.id)
    audit.record(act, "webhook.resent", webhook.id, **_since(since))
    return webhook


# --- deliveries ----------------------------------------------------------------------------------------


def list_deliveries(act: Act, webhook_id: str, query: DeliveryQuery) -> tuple[Sequence[Delivery], str | None]:
    """What goes to an endpoint, newest first."""
    webhook = get_webhook(act, webhook_id)
    mine = Delivery.of(act.organization_id).where(Delivery.webhook_id == webhook.id)
    if query.state is not None:
        mine = mine.where(Delivery.state == query.state.value)
    if query.event_type is not None:
        mine = mine.where(Delivery.event_type == query.event_type.value)
    return paginate(act.session, mine, Delivery.id, query)


def get_delivery(act: Act, webhook_id: str, delivery_id: str) -> tuple[Delivery, Sequence[Attempt]]:
    """A delivery and its tries, first to last.

    Raises:
        NotFoundError: the endpoint has no such delivery.
    """
    delivery = _delivery_to(act, get_webhook(act, webhook_id), delivery_id)
    query = Attempt.of(act.organization_id).where(Attempt.delivery_id == delivery.id)
    return delivery, act.session.scalars(query.order_by(Attempt.number)).all()


def redeliver(act: Act, webhook_id: str, delivery_id: str) -> Delivery:
    """Send something once more, however it went; what is on its way already is left alone.

    Raises:
        ConflictError: the endpoint is not active.
    """
    webhook = _active(act, webhook_id)
    delivery = _delivery_to(act, webhook, delivery_id, lock=True)
    if delivery.state != "sending":
        deliveries.again(delivery, clock(act.session))
        wake(act.session, webhook.id)
    audit.record(act, "webhook.redelivered", webhook.id, delivery=delivery.id)
    return delivery


@dataclass(frozen=True)
class Span:
    """How the attempts of some time went."""

    attempts: int
    succeeded: int
    success_rate: float | None
    p50_ms: int | None
    p95_ms: int | None


def stats_of(act: Act, webhook_id: str) -> Mapping[str, Any]:
    """Success and latency of an endpoint in the last hour and day, and how much waits for it."""
    webhook = get_webhook(act, webhook_id)
    at = clock(act.session)
    waiting = Delivery.of(act.organization_id).where(
        Delivery.webhook_id == webhook.id, Delivery.state.in_(("waiting", "sending"))
    )
    return {
        "last_hour": _span(act, webhook, at - timedelta(hours=1)),
        "last_day": _span(act, webhook, at - timedelta(days=1)),
        "waiting": act.session.scalar(select(func.count()).select_from(waiting.subquery())),
    }


def _span(act: Act, webhook: Webhook, since: datetime) -> Span:
    query = Attempt.of(act.organization_id).where(
        Attempt.webhook_id == webhook.id, Attempt.created_at >= since
    )
    latest = query.order_by(Attempt.created_at.desc()).limit(SAMPLE)
    rows = act.session.execute(latest.with_only_columns(Attempt.error_code, Attempt.milliseconds)).all()
    took = sorted(milliseconds for error_code, milliseconds in rows if error_code is None)
    return Span(
        attempts=len(rows),
        succeeded=len(took),
        success_rate=len(took) / len(rows) if rows else None,
        p50_ms=_quantile(took, 0.50),
        p95_ms=_quantile(took, 0.95),
    )


def _quantile(ordered: Sequence[int], share: float) -> int | None:
    """The smallest value that so many are not above: nearest rank."""
    return ordered[math.ceil(share * len(ordered)) - 1] if ordered else None


# --- in common -----------------------------------------------------------------------------------------


def _count(session: Session, organization_id: str) -> int:
    mine = Webhook.of(organization_id).subquery()
    return session.scalar(select(func.count()).select_from(mine)) or 0


def _delivery_to(act: Act, webhook: Webhook, delivery_id: str, *, lock: bool = False) -> Delivery:
    delivery = Delivery.get_for(act.session, act.organization_id, delivery_id, lock=lock)
    if delivery.webhook_id != webhook.id:
        raise NotFoundError("there is no such object in this organization")
    return delivery


def _active(act: Act, webhook_id: str) -> Webhook:
    webhook = Webhook.get_for(act.session, act.organization_id, webhook_id, lock=True)
    require_lasting(act)
    if webhook.status != "active":
        raise ConflictError(f"the endpoint is {webhook.status}: nothing is sent to it")
    return webhook


def _since(moment: datetime | None) -> dict[str, str]:
    return {} if moment is None else {"since": moment.isoformat()}


def _move(session: Session, webhook: Webhook) -> None:
    """At another address: who is there has to show whose it is."""
    if webhook.status == "active":  # what happens from now on waits for that
        webhook.missed_after = webhook.missed_after or first_id("evt", now())
        webhook.missed_until = LAST
    if webhook.status != "disabled":
        webhook.status = "pending_verification"
        _give_up_challenges(session, webhook)
        _ask_for_challenge(session, webhook)
    webhook.verified_at = None


LAST = "evt_" + "z" * 26
"""Sorts after the id of every event."""


def _send_missed(session: Session, webhook: Webhook, since: datetime) -> None:
    """Earlier wishes that are not fulfilled yet are part of it."""
    after = first_id("evt", since)
    webhook.missed_after = min(after, webhook.missed_after or after)
    webhook.missed_until = max(
        first_id("evt", clock(session) + timedelta(seconds=1)), webhook.missed_until or ""
    )


def _ask_for_challenge(session: Session, webhook: Webhook) -> None:
    challenge = Delivery(
        organization_id=webhook.organization_id,
        webhook_id=webhook.id,
        event_id=new_id("evt"),
        event_type=CHALLENGE,
        due_at=clock(session),
    )
    session.add(challenge)
    _set_to_work(session, webhook)


def _give_up_challenges(session: Session, webhook: Webhook) -> None:
    """Of earlier challenges none is tried again: another follows."""
    session.execute(
        update(Delivery)
        .where(Delivery.organization_id == webhook.organization_id, Delivery.webhook_id == webhook.id)
        .where(Delivery.state == "waiting", Delivery.event_type == CHALLENGE)
        .values(state="failed", ended_at=clock(session))
    )


def _work(session: Session, webhook: Webhook) -> Work:
    return enqueue(
        session,
        DELIVER,
        key=webhook.id,
        organization_id=webhook.organization_id,
        object_id=webhook.id,
        priority="soon",
    )


def _set_to_work(session: Session, webhook: Webhook) -> None:
    """Have an endpoint's work look for what is due; where it has failed of a mistake of ours, again."""
    row = _work(session, webhook)
    if row.state == "failed":
        work.retry(session, row.id)
    wake(session, webhook.id)
