"""When keys and logins were used last: kept in memory, written together every few seconds."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from datetime import datetime

from sqlalchemy import Update, bindparam, or_, update

from tldr_highlight.core.db import Database, now
from tldr_highlight.core.telemetry import logger
from tldr_highlight.errors import DatabaseError
from tldr_highlight.tenancy.models import ApiKey, LoginSession

EVERY_SECONDS = 10.0
"""A write per read would be the dearest part of reading: 10 s of doubt are enough for "last used"."""

MOST = 10_000
"""Uses kept while the database is away."""

log = logger(__name__)

# Another server may have stored a later one. Parameters are named apart from columns, which SQLAlchemy wants.
KEYS = (
    update(ApiKey)
    .where(
        ApiKey.id == bindparam("which"),
        or_(ApiKey.last_used_at.is_(None), ApiKey.last_used_at < bindparam("at")),
    )
    .values(last_used_at=bindparam("at"))
)
LOGINS = (
    update(LoginSession)
    .where(LoginSession.id == bindparam("which"), LoginSession.used_at < bindparam("at"))
    .values(used_at=bindparam("at"))
)


class LastUses:
    """Last uses that are not stored yet."""

    def __init__(self, db: Database, clock: Callable[[], float] = time.monotonic) -> None:
        self._db = db
        self._clock = clock
        self._lock = threading.Lock()
        self._pending: dict[str, datetime] = {}
        self._due = clock() + EVERY_SECONDS

    def note(self, id: str) -> None:
        """Key or login `id` is used now."""
        with self._lock:
            if id in self._pending or len(self._pending) < MOST:
                self._pending[id] = now()

    def store_if_due(self) -> None:
        """To be called every few seconds, also while nobody uses anything."""
        if self._clock() >= self._due:
            self._due = self._clock() + EVERY_SECONDS
            self.store()

    def store(self) -> None:
        """Write down what is not stored yet; while the database is away it stays for the next time."""
        with self._lock:
            uses, self._pending = self._pending, {}
        try:
            self._write(KEYS, "key_", uses)
            self._write(LOGINS, "ses_", uses)
        except DatabaseError as error:
            log.warning("last uses are stored later", reason=str(error))
            with self._lock:
                self._pending = {**uses, **self._pending}

    def _write(self, statement: Update, prefix: str, uses: dict[str, datetime]) -> None:
        # in one order, so that two servers do not wait for each other
        rows = [{"which": id, "at": at} for id, at in sorted(uses.items()) if id.startswith(prefix)]
        if rows:
            with self._db.begin() as session:
                session.connection().execute(statement, rows)
