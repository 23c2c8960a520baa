"""What is counted at every call: written down once, whatever the database does meanwhile."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from tests.schema import tables
from tests.services import SQLite
from tldr_highlight.core.db import Database
from tldr_highlight.errors import DatabaseError
from tldr_highlight.tenancy.models import Organization
from tldr_highlight.usage.meter import Meter
from tldr_highlight.usage.models import UsageRecord
from tldr_highlight.usage.quotas import Metric


@pytest.fixture
def db(sqlite: SQLite, tmp_path: Path) -> Iterator[Database]:
    with sqlite.databases(tmp_path) as new, contextlib.closing(Database(new(tables))) as db:
        with db.begin() as session:
            session.add_all([Organization(id=f"org_{n}", name="One") for n in (1, 2)])
        yield db


def amounts(db: Database) -> list[tuple[str, str, int]]:
    """Of all records, in the order in which they came."""
    with db.read() as session:
        rows = session.scalars(select(UsageRecord).order_by(UsageRecord.id))
        return [(row.organization_id, row.metric, row.amount) for row in rows]


def test_what_was_counted_is_one_record_for_each_amount(db: Database) -> None:
    meter = Meter(db)
    for _ in range(3):
        meter.add("org_1", Metric.API_CALLS, 1)
    meter.add("org_2", Metric.API_CALLS, 1)
    meter.add("org_1", Metric.DELIVERED_BYTES, 70)
    meter.add("org_gone", Metric.API_CALLS, 1)
    for _ in range(2):
        meter.store()
    assert sorted(amounts(db)) == [
        ("org_1", "api_calls", 3),
        ("org_1", "delivered_bytes", 70),
        ("org_2", "api_calls", 1),
    ]


@pytest.mark.parametrize("committed", [False, True])
def test_what_the_database_did_not_confirm_is_written_once(
    db: Database, monkeypatch: pytest.MonkeyPatch, committed: bool
) -> None:
    """It is not known whether it was committed: both have happened here."""
    begin = db.begin

    @contextlib.contextmanager
    def breaking() -> Iterator[Session]:
        with begin() as session:
            yield session
            if not committed:
                raise DatabaseError("the connection broke before the commit")
        raise DatabaseError("the connection broke behind the commit")

    meter = Meter(db)
    meter.add("org_1", Metric.API_CALLS, 3)
    monkeypatch.setattr(db, "begin", breaking)
    meter.store()
    assert amounts(db) == ([("org_1", "api_calls", 3)] if committed else [])
    monkeypatch.undo()
    meter.add("org_1", Metric.API_CALLS, 4)
    meter.store()
    assert amounts(db) == [("org_1", "api_calls", 3), ("org_1", "api_calls", 4)]
