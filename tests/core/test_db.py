"""Reads of SQLite: connections are kept from one to the next, each reader has its own, none is left open."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from tldr_highlight.core.db import Database
from tldr_highlight.errors import DatabaseError


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
