"""What an organization has and used, in the units of its plan's limits."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import Select, func, select
from sqlalchemy.orm import Session

from tldr_highlight.core.db import Database, now
from tldr_highlight.errors import QuotaError
from tldr_highlight.tenancy.models import Invitation, Member, Organization
from tldr_highlight.tenancy.plans import Limits
from tldr_highlight.tenancy.service import count_keys
from tldr_highlight.usage.models import UsageTotal
from tldr_highlight.webhooks.models import Webhook


class Metric(StrEnum):
    """What is counted month by month."""

    PROCESSING_MS = "processing_ms"
    STORED_BYTES = "stored_bytes"
    DELIVERED_BYTES = "delivered_bytes"
    API_CALLS = "api_calls"


LIMIT_OF: dict[Metric, tuple[str, int]] = {
    Metric.PROCESSING_MS: ("processing_minutes", 60_000),
    Metric.STORED_BYTES: ("storage_gb", 10**9),
    Metric.DELIVERED_BYTES: ("delivered_gb", 10**9),
    Metric.API_CALLS: ("api_calls", 1),
}
"""Metric -> the limit it counts against, and how many of its units are one of the limit's."""


@dataclass(frozen=True, slots=True)
class Fit:
    """One limit, and what is used of it."""

    limit: str
    used: float
    allowed: float

    @property
    def fits(self) -> bool:
        """Whether what is used is allowed."""
        return self.used <= self.allowed


def require(session: Session, organization: Organization, metric: Metric, more: int = 0) -> None:
    """Refuse what the plan does not have any more: its amounts, or more where that is billed, up to a cap.

    Args:
        session: Where it has to be exact, one that holds the metric (`ledger.hold`).
        organization: Who wants more.
        metric: Of what.
        more: In the metric's unit, where it is known; none: whether there is anything left at all.

    Raises:
        QuotaError: there is not; `extra` says of what, how much is used and how much is allowed.
    """
    limit, unit = LIMIT_OF[metric]
    allowed = organization.limits.as_dict()[limit] * organization.cap
    used = _amounts(session, organization.id)[limit]
    if used >= allowed or used + more / unit > allowed:
        less = "delete what is not needed" if metric is Metric.STORED_BYTES else "wait for the next month"
        raise QuotaError(
            f"{used:g} of {allowed:g} {limit.replace('_', ' ')} are used: {less}, or change the plan, or its "
            "overage cap where it has one",
            limit=limit,
            used=used,
            allowed=allowed,
        )


def require_storage(db: Database, organization_id: str, more: int = 0) -> None:
    """Refuse to make another file, or to store one of `more` bytes, where the plan has no room for it.

    Nothing is held: it saves work. `streams.uploads.require_room` asks again, exactly, when it is recorded.

    Raises:
        QuotaError: it has none.
    """
    with db.read() as session:
        organization = session.get_one(Organization, organization_id)
        require(session, organization, Metric.STORED_BYTES, more)


def open_month(session: Session, organization_id: str) -> None:
    """Begin counting for a new organization: a row of zero for each metric."""
    for metric in Metric:
        session.add(UsageTotal(organization_id=organization_id, month=month_of(now()), metric=metric.value))


def month_of(when: datetime) -> str:
    """`2026-11`, in UTC."""
    return when.strftime("%Y-%m")


def usage_of(session: Session, organization_id: str) -> dict[str, float]:
    """Limit -> how much of it is used, in its unit: things there are, and this month's amounts."""
    return {
        "members": _count(session, Member.of(organization_id))
        + pending_invitations(session, organization_id),
        "api_keys": count_keys(session, organization_id),
        "webhook_endpoints": _count(session, Webhook.of(organization_id)),
        **_amounts(session, organization_id),
    }


def fits_of(session: Session, organization_id: str, limits: Limits) -> list[Fit]:
    """Each limit that something can be too much for, with what is used of it."""
    allowed = limits.as_dict()
    return [Fit(limit, used, allowed[limit]) for limit, used in usage_of(session, organization_id).items()]


def pending_invitations(session: Session, organization_id: str) -> int:
    """Places that are offered: not taken, not over."""
    query = Invitation.of(organization_id)
    return _count(session, query.where(Invitation.accepted_at.is_(None), Invitation.expires_at > now()))


def _amounts(session: Session, organization_id: str) -> dict[str, float]:
    """What this month's totals say; how much is stored goes on from month to month."""
    latest: dict[str, UsageTotal] = {}
    for row in session.scalars(UsageTotal.of(organization_id).order_by(UsageTotal.month)):
        latest[row.metric] = row
    amounts: dict[str, float] = {}
    for metric, (limit, unit) in LIMIT_OF.items():
        row = latest.get(metric)
        counts = row is not None and (metric is Metric.STORED_BYTES or row.month == month_of(now()))
        amounts[limit] = row.amount / unit if row and counts else 0.0
    return amounts


def _count(session: Session, query: Select[Any]) -> int:
    return session.execute(select(func.count()).select_from(query.subquery())).scalar_one()
