"""What was consumed is written down once, summed up, and told about at its borders."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from tests.schema import tables
from tests.services import Backend
from tldr_highlight.core.db import now
from tldr_highlight.core.outbox import Mail
from tldr_highlight.runtime import opened
from tldr_highlight.settings import Settings
from tldr_highlight.tenancy.models import Member, Organization, User
from tldr_highlight.usage import ledger, notices, quotas
from tldr_highlight.usage.models import UsageRecord, UsageTotal
from tldr_highlight.usage.quotas import Metric, open_month
from tldr_highlight.webhooks.models import Event

MINUTE, GB = 60_000, 10**9


@pytest.fixture
def session(backend: Backend, tmp_path: Path) -> Iterator[Session]:
    """An organization on STARTER (1 000 minutes, 10 GB) with an owner, an admin, a member, and an owner who
    may be a stranger: their address is not confirmed."""
    settings = Settings(data_dir=tmp_path, database_url=backend.database(tables))
    with opened(settings) as runtime, runtime.db.begin() as made:
        made.add(Organization(id="org_1", name="One"))
        for name in ("owner", "admin", "member", "stranger"):
            user = User(id=f"usr_{name}", email=f"{name}@x.org", email_key=name, password_hash="")
            user.email_verified_at = None if name == "stranger" else now()
            made.add(user)
            made.flush()
            role = "owner" if name == "stranger" else name
            made.add(Member(organization_id="org_1", user_id=user.id, role=role))
        open_month(made, "org_1")
        made.flush()
        yield made


def told(session: Session) -> list[tuple[str, float]]:
    return [(e.type, e.data["used"]) for e in session.scalars(Event.of("org_1").order_by(Event.id))]


def test_of_one_key_there_is_one_record(session: Session) -> None:
    assert ledger.record(session, "org_1", Metric.PROCESSING_MS, 5, key="a")
    assert not ledger.record(session, "org_1", Metric.PROCESSING_MS, 5, key="a")
    assert ledger.record(session, "org_1", Metric.PROCESSING_MS, 7, key="b")
    assert sum(row.amount for row in session.scalars(UsageRecord.of("org_1"))) == 12
    assert quotas.usage_of(session, "org_1")["processing_minutes"] == 12 / MINUTE


def test_most_and_all_of_an_amount_are_told_once_each(session: Session) -> None:
    for number, minutes in enumerate((799, 1, 150, 49, 1, 100)):
        ledger.record(session, "org_1", Metric.PROCESSING_MS, minutes * MINUTE, key=str(number))
    assert told(session) == [("usage.warning", 800.0), ("usage.exceeded", 1000.0)]
    mails = session.scalars(select(Mail).order_by(Mail.id)).all()
    assert [(m.kind, m.recipient, m.context["used"]) for m in mails] == [
        ("usage_warning", "admin@x.org", 800.0),
        ("usage_warning", "owner@x.org", 800.0),
        ("usage_warning", "admin@x.org", 1000.0),
        ("usage_warning", "owner@x.org", 1000.0),
    ]


@pytest.mark.parametrize(("plan", "cap", "blocks"), [("STARTER", 300, True), ("ENTERPRISE", 100, True),
                                                      ("ENTERPRISE", 101, False)])  # fmt: skip
def test_a_letter_says_what_happens_at_the_end_of_an_amount(
    session: Session, plan: str, cap: int, blocks: bool
) -> None:
    organization = session.get_one(Organization, "org_1")
    organization.plan, organization.overage_cap_percent = plan, cap
    ledger.record(session, "org_1", Metric.PROCESSING_MS, 80_000 * MINUTE, key="most")
    assert {mail.context["blocks"] for mail in session.scalars(select(Mail))} == {blocks}


def test_who_jumps_over_both_borders_is_told_of_the_second(session: Session) -> None:
    ledger.record(session, "org_1", Metric.PROCESSING_MS, 2000 * MINUTE, key="all")
    ledger.record(session, "org_1", Metric.PROCESSING_MS, 1, key="more")
    assert told(session) == [("usage.exceeded", 2000.0)]


def test_what_is_stored_goes_on_from_month_to_month(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger.record(session, "org_1", Metric.STORED_BYTES, 3 * GB, key="old")
    ledger.record(session, "org_1", Metric.PROCESSING_MS, 3 * MINUTE, key="old minutes")
    month = datetime(2099, 2, 1, tzinfo=UTC)
    for module in (ledger, quotas, notices):
        monkeypatch.setattr(module, "now", lambda: month)
    for number in range(2):
        ledger.record(session, "org_1", Metric.STORED_BYTES, GB, key=f"new {number}")
    ledger.record(session, "org_1", Metric.STORED_BYTES, -3 * GB, key="old is deleted")
    used = quotas.usage_of(session, "org_1")
    assert (used["storage_gb"], used["processing_minutes"]) == (2.0, 0.0)
    rows = session.scalars(UsageTotal.of("org_1").where(UsageTotal.metric == "stored_bytes"))
    assert sorted((row.month == "2099-02", row.amount) for row in rows) == [(False, 3 * GB), (True, 2 * GB)]


def test_the_next_month_of_december() -> None:
    assert notices.next_month(datetime(2026, 12, 31, 23, tzinfo=UTC)) == datetime(2027, 1, 1, tzinfo=UTC)
    assert notices.next_month(datetime(2026, 1, 31, tzinfo=UTC)) == datetime(2026, 2, 1, tzinfo=UTC)
