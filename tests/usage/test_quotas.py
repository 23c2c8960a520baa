"""What is used, in the units of the plan's limits."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy.orm import Session

from tests.schema import tables
from tests.services import Backend
from tldr_highlight.core.db import Database, now
from tldr_highlight.tenancy.models import ApiKey, Invitation, Member, Organization, User
from tldr_highlight.tenancy.plans import PLANS, PlanName
from tldr_highlight.usage import quotas
from tldr_highlight.usage.models import UsageTotal
from tldr_highlight.webhooks.models import Webhook

LATER, BEFORE = timedelta(hours=1), -timedelta(seconds=1)


@pytest.fixture
def session(backend: Backend, tmp_path: Path) -> Iterator[Session]:
    db = Database(backend.database(tables))
    with db.begin() as made:
        made.add_all([Organization(id="org_1", name="One"), Organization(id="org_2", name="Two")])
        made.add(User(id="usr_1", email="a@example.com", email_key="a@example.com", password_hash=""))
        made.flush()
        yield made
    db.close()


def key(organization: str, number: int, **more: object) -> ApiKey:
    return ApiKey(organization_id=organization, name="k", hash=str(number), last4="", scopes=[], **more)


def invitation(organization: str, number: int, ends: timedelta, accepted: bool = False) -> Invitation:
    return Invitation(
        organization_id=organization,
        email="",
        email_key="",
        role="member",
        token_hash=str(number),
        invited_by="",
        expires_at=now() + ends,
        accepted_at=now() if accepted else None,
    )


def test_what_is_over_does_not_count(session: Session) -> None:
    session.add_all([
        key("org_1", 1),
        key("org_1", 2, expires_at=now() + LATER),
        key("org_1", 3, expires_at=now() + BEFORE),
        key("org_1", 4, revoked_at=now()),
        key("org_2", 5),
        Member(organization_id="org_1", user_id="usr_1", role="owner"),
        Member(organization_id="org_2", user_id="usr_1", role="owner"),
        invitation("org_1", 1, LATER),
        invitation("org_1", 2, BEFORE),
        invitation("org_1", 3, LATER, accepted=True),
        Webhook(organization_id="org_1", url="", events=[], secret=""),
    ])  # fmt: skip
    session.flush()
    used = quotas.usage_of(session, "org_1")
    assert (used["api_keys"], used["members"], used["webhook_endpoints"]) == (2, 2, 1)


def test_amounts_are_in_the_limits_units(session: Session) -> None:
    quotas.open_month(session, "org_1")
    session.flush()
    amounts = {"processing_ms": 90_000, "stored_bytes": 2_500_000_000, "delivered_bytes": 1, "api_calls": 7}
    for row in session.scalars(UsageTotal.of("org_1")):
        row.amount = amounts[row.metric]
    session.flush()
    used = quotas.usage_of(session, "org_1")
    assert (used["processing_minutes"], used["storage_gb"], used["api_calls"]) == (1.5, 2.5, 7)
    assert used["delivered_gb"] == 1e-9


@pytest.mark.parametrize(("used", "fits"), [(1_000, True), (1_000 + 1 / 60_000, False), (0, True)])
def test_a_limit_is_reached_exactly(used: float, fits: bool) -> None:
    assert quotas.Fit("processing_minutes", used, 1_000).fits is fits


def test_every_amount_counts_against_a_limit_that_plans_have(session: Session) -> None:
    limits = PLANS[PlanName.STARTER].limits
    assert all(hasattr(limits, fit.limit) for fit in quotas.fits_of(session, "org_1", limits))
    assert set(quotas.LIMIT_OF) == set(quotas.Metric)
