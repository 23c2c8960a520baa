"""`Idempotency-Key`: a creating call that is sent again answers again, and creates nothing again.

    found = reserve(db, owner, "create_key", key, fingerprint)
    if isinstance(found, Answer): ...                # it was done before
    with released_on_failure(db, found), db.begin() as session:
        ...                                          # do it
        keep(session, found, Answer(...))            # commits with it

A reservation is a short transaction of its own, so that a second call meanwhile is told so at once instead of
waiting. The operation and its answer commit together: there is no moment in which a crash leaves one of them.
"""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Generator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, LargeBinary, String, UniqueConstraint, and_, delete, select, update
from sqlalchemy.orm import Mapped, Session, mapped_column

from tldr_highlight.core.db import Base, Database, insert, new_id, now
from tldr_highlight.core.sweep import Rule
from tldr_highlight.errors import InProgressError, ReusedKeyError

HOLD = timedelta(seconds=30)
"""How long a call keeps others off its key; whoever died in the middle does not come back for it."""

KEPT = timedelta(hours=24)
"""How long an answer is repeated."""


class Reservation(Base):
    """One key of one caller for one operation: reserved at first, with the stored answer later."""

    __tablename__ = "reservations"
    __table_args__ = (UniqueConstraint("owner", "operation", "key"),)

    id: Mapped[str] = mapped_column(primary_key=True, default=lambda: new_id("idm"))
    owner: Mapped[str]  # the caller: a key, or a person in an organization
    operation: Mapped[str]
    key: Mapped[str] = mapped_column(String(255))
    fingerprint: Mapped[str]  # of the request
    holder: Mapped[str]  # the request that works on it
    held_until: Mapped[datetime]
    status: Mapped[int | None]  # of the answer, once there is one
    headers: Mapped[dict[str, Any]] = mapped_column(default=dict)
    body: Mapped[bytes | None] = mapped_column(LargeBinary)
    created_at: Mapped[datetime] = mapped_column(default=now, index=True)


@dataclass(frozen=True, slots=True)
class Answer:
    """What a call was answered. The body is sealed by whoever keeps it: it may hold a key."""

    status: int
    headers: dict[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class Hold:
    """A key that is ours while we work on its call."""

    id: str
    holder: str


def reserve(db: Database, owner: str, operation: str, key: str, fingerprint: str) -> Hold | Answer:
    """Take the key for a call, or give the answer that it got before.

    Args:
        db: The database.
        owner: Whose key it is; other owners' equal keys are others.
        operation: What is called; the same.
        key: As the caller made it up.
        fingerprint: What the request says, as a hash.

    Raises:
        ReusedKeyError: the key came with another request before.
        InProgressError: the same call has not been answered yet.
    """
    at = now()
    holder, held_until = secrets.token_hex(16), at + HOLD
    reserved = {
        "holder": holder,
        "held_until": held_until,
        "owner": owner,
        "operation": operation,
        "key": key,
    }
    with db.begin() as session:
        adding = (
            insert(session, Reservation)
            .values(fingerprint=fingerprint, **reserved)
            .on_conflict_do_nothing(index_elements=["owner", "operation", "key"])
            .returning(Reservation.id)
        )
        if (added := session.scalar(adding)) is not None:
            return Hold(added, holder)
        theirs = (Reservation.owner == owner, Reservation.operation == operation, Reservation.key == key)
        row = session.scalar(select(Reservation).where(*theirs).with_for_update())
        if row is None:  # released a moment ago
            raise _in_progress()
        if row.status is not None and row.created_at < at - KEPT:  # not swept yet
            row.status, row.body, row.headers, row.created_at = None, None, {}, at
            row.fingerprint, row.held_until = fingerprint, at - HOLD
        if row.fingerprint != fingerprint:
            raise ReusedKeyError("this Idempotency-Key was sent with another request before: make a new one")
        if row.status is not None and row.body is not None:
            return Answer(row.status, row.headers, row.body)
        if row.held_until > at:
            raise _in_progress()
        row.holder, row.held_until = holder, held_until
        return Hold(row.id, holder)


def keep(session: Session, hold: Hold, answer: Answer) -> None:
    """Store the answer, in the transaction of what it tells.

    Raises:
        InProgressError: we took too long, and somebody else has the key now; nothing of ours may commit.
    """
    stored = session.execute(
        update(Reservation)
        .where(Reservation.id == hold.id, Reservation.holder == hold.holder, Reservation.status.is_(None))
        .values(status=answer.status, headers=answer.headers, body=answer.body)
        .returning(Reservation.id)
    )
    if stored.first() is None:
        raise _in_progress()


@contextlib.contextmanager
def released_on_failure(db: Database, hold: Hold) -> Generator[None]:
    """Give the key back when the block raises: nothing was done, so that the next call may try."""
    try:
        yield
    except BaseException:
        with db.begin() as session:
            session.execute(
                delete(Reservation).where(
                    Reservation.id == hold.id,
                    Reservation.holder == hold.holder,
                    Reservation.status.is_(None),
                )
            )
        raise


def _in_progress() -> InProgressError:
    return InProgressError("the call with this Idempotency-Key has not been answered yet", retry_after=1)


def _over(at: datetime) -> ColumnElement[bool]:
    return and_(Reservation.created_at < at - KEPT, Reservation.held_until < at)


OVER = Rule(Reservation, _over)
"""Swept hourly; an answer lives an hour longer at most."""
