"""What only the operator can put right: told once for each cause, and again when it comes back later."""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Generator
from datetime import timedelta

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from tldr_highlight.core.db import Database, insert, now
from tldr_highlight.core.mails import OperatorAlert
from tldr_highlight.core.outbox import post
from tldr_highlight.core.telemetry import hidden, logger
from tldr_highlight.core.wire import Refusal
from tldr_highlight.errors import (
    DiskFullError,
    Fate,
    OutputError,
    QuotaError,
    StorageError,
    StorageFullError,
    StorageSetupError,
    TldrError,
)
from tldr_highlight.tenancy.models import Alert, AuditRecord, User

log = logger(__name__)

FRESH = timedelta(minutes=20)
"""How long after its last sign a cause counts as lasting; what waits for it looks each 15 minutes or less."""

STORING = frozenset(
    error.code for error in (DiskFullError, OutputError, StorageError, StorageFullError, StorageSetupError)
)
"""Causes that are over once a clip is made and stored."""


@contextlib.contextmanager
def telling(db: Database) -> Generator[None]:
    """Tell the operators of what this runs short of.

    A quota is the customer's own, who is told of it by `usage/notices.py`.
    """
    try:
        yield
    except TldrError as error:
        if error.fate is Fate.RESOURCE and not isinstance(error, QuotaError):
            with db.begin() as session:
                raised(session, error)
        raise


def raised(session: Session, error: TldrError) -> bool:
    """Note that work waits because of this error; True: that is new, and the operators are told.

    By mail, in the log, and by an event among the installation's own audit records.

    Whoever comes second meanwhile waits for us here, and finds that it is known.
    """
    at = now()
    message = str(hidden(str(error)))[:500]
    noting = insert(session, Alert).values(cause=error.code, message=message, raised_at=at, seen_at=at)
    fresh = noting.on_conflict_do_update(
        index_elements=[Alert.cause],
        set_={"message": message, "raised_at": at, "seen_at": at, "recovered_at": None},
        where=Alert.recovered_at.is_not(None),
    ).returning(Alert.cause)
    if session.scalar(fresh) is None:
        session.execute(update(Alert).where(Alert.cause == error.code).values(seen_at=at))
        return False
    log.error("work waits for the operator", cause=error.code, reason=message)
    _note(session, "alert.raised", error.code, message=message)
    letter = OperatorAlert(cause=error.code, message=message, raised_at=at)
    operators = select(User.email).where(User.is_operator, User.disabled_at.is_(None)).order_by(User.id)
    for address in session.scalars(operators).all():
        post(session, letter, address)
    return True


def recovered(session: Session, causes: Collection[str]) -> None:
    """Note that what these causes kept from being done was done: should one come back, it is told again."""
    over = (
        update(Alert).where(Alert.cause.in_(causes), Alert.recovered_at.is_(None)).values(recovered_at=now())
    )
    for cause in session.scalars(over.returning(Alert.cause)).all():
        log.info("what work waited for is there again", cause=cause)
        _note(session, "alert.recovered", cause)


def _note(session: Session, action: str, cause: str, **details: str) -> None:
    session.add(
        AuditRecord(organization_id=None, actor="system", action=action, object_id=cause, details=details)
    )


def lasting(session: Session, causes: Collection[str]) -> TldrError | None:
    """The error that keeps work from being done, of these causes, as far as anybody knows; None: none."""
    query = select(Alert).where(
        Alert.cause.in_(causes), Alert.recovered_at.is_(None), Alert.seen_at > now() - FRESH
    )
    alert = session.scalar(query.order_by(Alert.seen_at.desc()).limit(1))
    return None if alert is None else Refusal(alert.cause, alert.message).error()
