"""What is used in small amounts, at every call: counted in memory, then written to the ledger together."""

from __future__ import annotations

import itertools
import threading
from collections import Counter

from sqlalchemy import select

from tldr_highlight.core.db import Database, new_id
from tldr_highlight.core.telemetry import logger
from tldr_highlight.errors import DatabaseError
from tldr_highlight.tenancy.models import Organization
from tldr_highlight.usage.ledger import record
from tldr_highlight.usage.quotas import Metric

EVERY_SECONDS = 5.0
"""A record for each call would be its dearest part. A process that is killed loses as much, at most: see
`docs/decisions/0027-calls-are-counted-in-memory.md`."""

log = logger(__name__)

Amounts = Counter[tuple[str, Metric]]


class Meter:
    """Amounts of one process that are not in the ledger yet."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._lock = threading.Lock()
        self._storing = threading.Lock()
        self._counted: Amounts = Counter()
        self._unstored: list[tuple[str, Amounts]] = []  # with the name of their records, oldest first
        self._process = new_id("proc")
        self._numbers = itertools.count(1)

    def add(self, organization_id: str, metric: Metric, amount: int) -> None:
        """Count; never waits for the database."""
        with self._lock:
            self._counted[organization_id, metric] += amount

    def store(self) -> None:
        """Write down what is counted; while the database is away it stays for the next time.

        What may have been committed is tried again under the same name, and so is never counted twice.
        """
        with self._storing:
            with self._lock:
                if self._counted:
                    self._unstored.append((f"{self._process}/{next(self._numbers)}", self._counted))
                    self._counted = Counter()
            try:
                while self._unstored:
                    self._write(*self._unstored[0])
                    del self._unstored[0]
            except DatabaseError as error:
                log.warning("usage is written down later", reason=str(error))

    def _write(self, name: str, amounts: Amounts) -> None:
        for organization_id in sorted({organization_id for organization_id, _ in amounts}):
            with self._db.begin() as session:  # one each: who writes many rows at once holds up many
                if session.scalar(select(Organization.id).where(Organization.id == organization_id)) is None:
                    continue  # deleted meanwhile
                for metric in Metric:
                    if amount := amounts[organization_id, metric]:
                        record(session, organization_id, metric, amount, key=f"{name}/{metric.value}")
