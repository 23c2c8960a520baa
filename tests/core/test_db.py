"""Reads: connections are kept from one to the next, each reader has its own, none is left open."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from tests.schema import tables
from tests.services import Backend, Postgres
from tldr_highlight.core.db import Database, first_id, id_after, new_id, now
from tldr_highlight.errors import DatabaseError
from tldr_highlight.tenancy.models import Organization


@pytest.fixture
def db(tmp_path: Path) -> Iterator[Database]:
    database = Database(f"sqlite:///{tmp_path / 'x.db'}")
    with database.begin() as session:
        session.execute(text("CREATE TABLE t (n INTEGER)"))
    yield database
    database.close()


def driver(session: Session) -> object:
    """The connection of the library below."""
    return session.connection().connection.driver_connection


def row(db: Database, id: str) -> Organization | None:
    return asyncio.run(db.row(Organization, id))


def count(session: Session) -> int:
    return session.execute(text("SELECT count(*) FROM t")).scalar_one()


def test_the_next_reader_takes_the_connection_of_the_last(db: Database) -> None:
    with db.read() as session:
        first = driver(session)
    with db.read() as session:
        assert driver(session) is first


def test_readers_at_the_same_time_have_their_own(db: Database) -> None:
    with db.read() as outer, db.read() as inner:
        assert driver(outer) is not driver(inner)
        assert count(outer) == count(inner) == 0


def test_a_kept_connection_sees_what_was_committed_since(db: Database) -> None:
    with db.read() as session:
        assert count(session) == 0
        with db.begin() as writing:
            writing.execute(text("INSERT INTO t VALUES (1)"))
        assert count(session) == 1  # in the same session, too: each statement sees what is committed
    with db.read() as session:
        assert count(session) == 1


def test_readers_write_nothing(db: Database) -> None:
    for statement in ("INSERT INTO t VALUES (1)", "UPDATE t SET n = 2", "DELETE FROM t", "DROP TABLE t"):
        with pytest.raises(DatabaseError) as caught, db.read() as session:
            session.execute(text(statement))
        assert "readonly" in str(caught.value.__cause__)
    with db.begin() as session:  # a writer's connection is another
        session.execute(text("INSERT INTO t VALUES (1)"))
    with db.read() as session:
        assert count(session) == 1


def test_threads_hand_them_on(db: Database) -> None:
    seen: list[int] = []

    def read() -> None:
        with db.read() as session:
            seen.append(count(session))

    for _ in range(3):
        thread = threading.Thread(target=read)
        thread.start()
        thread.join()
    assert seen == [0, 0, 0]
    assert len(db._idle) == 1


def test_one_that_failed_is_closed_and_others_that_raised_are_not(db: Database) -> None:
    with db.read() as session:
        failed = driver(session)
    with pytest.raises(DatabaseError) as caught, db.read() as session:
        session.execute(text("SELECT * FROM nothing"))
    assert isinstance(caught.value.__cause__, OperationalError)
    with db.read() as session:
        kept = driver(session)
        assert kept is not failed
    with pytest.raises(KeyError), db.read():
        raise KeyError
    with db.read() as session:
        assert driver(session) is kept


def test_closing_closes_them(db: Database) -> None:
    with db.read() as session:
        connection = session.connection()
    db.close()
    assert db._idle == []
    assert connection.closed


def test_a_row_is_read_with_its_types_and_another_is_not_found(backend: Backend) -> None:
    with contextlib.closing(Database(backend.database(tables))) as db:
        with db.begin() as session:
            made = Organization(name="ACME", overrides={"members": 7})
            session.add(made)
        found = row(db, made.id)
        assert found
        assert (found.name, found.overrides, found.created_at) == ("ACME", {"members": 7}, made.created_at)
        assert found.limits.members == 7
        with db.begin() as session:
            session.get_one(Organization, made.id).name = "New"
        found = row(db, made.id)
        assert found
        assert found.name == "New"
        assert row(db, "org_0") is None


def test_rows_that_are_asked_for_at_once_go_to_whom_asked(backend: Backend) -> None:
    with contextlib.closing(Database(backend.database(tables))) as db:
        with db.begin() as session:
            made = [Organization(name=str(n)) for n in range(20)]
            session.add_all(made)
        ids = [organization.id for organization in made] * 2 + ["org_0"]

        async def ask() -> list[Organization | None]:
            return await asyncio.gather(*(db.row(Organization, id) for id in ids))

        assert [found and found.name for found in asyncio.run(ask())] == [*map(str, range(20))] * 2 + [None]


def test_one_lost_connection_tells_of_the_others(postgres: Postgres) -> None:
    """Else each of them would fail a request after PostgreSQL was started again."""
    with postgres.databases() as new, contextlib.closing(Database(new())) as db:
        with db.read() as first, db.read() as second:
            for session in (first, second):
                session.execute(text("SELECT 1"))
        assert len(db._idle) == 2
        with db.begin() as session:
            others = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()"
            session.execute(text(f"{others} AND datname = current_database()"))
        with pytest.raises(DatabaseError), db.read() as session:
            session.execute(text("SELECT 1"))
        assert db._idle == []
        with db.read() as session:
            session.execute(text("SELECT 1"))


def test_a_row_is_asked_for_again_once_the_database_is_back(postgres: Postgres) -> None:
    """The driver's own errors are ours, too, and a connection that was lost is not asked twice."""
    with postgres.databases() as new, contextlib.closing(Database(new(tables))) as db:
        with db.begin() as session:
            made = Organization(name="ACME")
            session.add(made)
        assert row(db, made.id)
        with db.begin() as session:
            others = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()"
            session.execute(text(f"{others} AND datname = current_database()"))
        with pytest.raises(DatabaseError):
            row(db, made.id)
        assert row(db, made.id)


def test_a_row_of_a_database_that_hangs_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tldr_highlight.core.db.ROW_SECONDS", 0.2)
    with Postgres() as own, own.databases() as new, contextlib.closing(Database(new(tables))) as db:
        with db.begin() as session:
            made = Organization(name="ACME")
            session.add(made)
        assert row(db, made.id)
        own.hang()
        for _ in range(2):  # the second finds the thread still asking for the first
            with pytest.raises(DatabaseError):
                row(db, made.id)
        own.resume()
        monkeypatch.undo()
        assert row(db, made.id)


@pytest.mark.usefixtures("safe_commits")
def test_a_commit_is_on_the_disk_and_in_the_way_of_no_reader(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path / 'x.db'}")
    with database.begin() as session:
        assert session.execute(text("PRAGMA synchronous")).scalar_one() == 2  # FULL
        assert session.execute(text("PRAGMA journal_mode")).scalar_one() == "wal"
    database.close()


def test_an_id_after_a_moment_is_between_those_made_before_and_later() -> None:
    before = new_id("str")
    bound = id_after("str", now())
    time.sleep(0.002)  # the next millisecond
    assert before < bound < new_id("str")
    assert (
        id_after("str", datetime(1, 1, 1, tzinfo=UTC))
        < bound
        < id_after("str", datetime.max.replace(tzinfo=UTC))
    )


def test_a_first_id_is_between_those_of_before_and_after() -> None:
    moment = datetime(2026, 11, 25, 12, tzinfo=UTC)
    first = first_id("evt", moment)
    before, after = (first_id("evt", moment + timedelta(milliseconds=n)) for n in (-1, 1))
    assert before < first < after
    assert (
        first_id("evt", now() - timedelta(seconds=1)) < new_id("evt") < first_id("evt", now() + timedelta(1))
    )
    assert len(first) == len(new_id("evt"))
