"""Customers are told when most of a plan's amount is used, and when all of it is: once a month for each."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, cast

from sqlalchemy.orm import Session

from tldr_highlight.core import mails
from tldr_highlight.core.db import now
from tldr_highlight.core.outbox import post
from tldr_highlight.runtime import Runtime
from tldr_highlight.tenancy.models import Member, Organization
from tldr_highlight.tenancy.roles import Role
from tldr_highlight.usage.models import UsageTotal
from tldr_highlight.usage.quotas import LIMIT_OF, Metric
from tldr_highlight.webhooks.catalogue import UsageExceeded, UsageWarning
from tldr_highlight.webhooks.events import emit

MOST = 0.8
"""Share of an amount from which it is worth a warning."""


def told_before(total: UsageTotal) -> bool:
    """Whether nothing is left to be told of it, whatever is used."""
    return total.warned_at is not None and total.exceeded_at is not None


def tell(session: Session, total: UsageTotal) -> None:
    """Warn of a total, which our transaction has changed and so holds, if that is due.

    Who jumps over both borders at once is told of the second alone.
    """
    if told_before(total):
        return
    limit, unit = LIMIT_OF[Metric(total.metric)]
    organization = session.get_one(Organization, total.organization_id)
    allowed: float = organization.limits.as_dict()[limit]
    used = total.amount / unit
    if used < MOST * allowed or (used < allowed and total.warned_at is not None):
        return
    total.warned_at = total.warned_at or now()
    kind = UsageWarning
    if used >= allowed:
        total.exceeded_at = now()
        kind = UsageExceeded
    emit(session, organization.id, kind(limit=limit, used=used, allowed=allowed, period=total.month))
    letter = _letter(session, organization, limit, used, allowed)
    if letter is not None:
        for person in Member.people(session, organization.id, Role.OWNER, Role.ADMIN):
            post(session, letter, person.email, organization_id=organization.id)


def _letter(session: Session, organization: Organization, limit: str, used: float, allowed: float) -> Any:
    if allowed <= 0:
        return None  # nothing of it was ever promised
    return mails.UsageWarning(
        organization=organization.name,
        limit=cast(mails.Limit, limit),
        used=used,
        allowed=allowed,
        resets_at=None if limit == "storage_gb" else next_month(now()),
        blocks=organization.cap <= 1,
        link=f"{cast(Runtime, session.info['runtime']).url}/docs",
    )


def next_month(when: datetime) -> datetime:
    """When counting starts anew: the first of the next month, in UTC."""
    when = when.astimezone(UTC)
    return datetime(when.year + when.month // 12, when.month % 12 + 1, 1, tzinfo=UTC)
