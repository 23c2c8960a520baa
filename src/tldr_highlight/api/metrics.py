"""Metrics in Prometheus' text: requests as they are answered, work as it stands when somebody looks."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from datetime import datetime

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from sqlalchemy import func, select

from tldr_highlight.core.breaker import Breaker
from tldr_highlight.core.counters import FALLBACKS
from tldr_highlight.core.db import Database
from tldr_highlight.core.work import Work, clock

BUCKETS = (0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)
"""Seconds: a read takes 2 ms, a password 50 ms, and at 10 s the answer is 503."""


class Metrics:
    """The counts of one application."""

    def __init__(self, db: Database) -> None:
        self.registry = CollectorRegistry()
        self._requests = Counter(
            "tldr_requests", "Requests answered.", ["operation", "status"], registry=self.registry
        )
        self._seconds = Histogram(
            "tldr_request_seconds",
            "Time to the end of the answer.",
            ["operation"],
            buckets=BUCKETS,
            registry=self.registry,
        )
        self.registry.register(FALLBACKS)
        self._of = functools.cache(self._find)  # operations and statuses are few; finding them takes 2 µs
        self.registry.register(_WorkCollector(db))
        self.registry.register(_BreakerCollector(db))

    def observe(self, operation: str, status: int, seconds: float) -> None:
        """Count one request."""
        count, time = self._of(operation, status)
        count.inc()
        time.observe(seconds)

    def _find(self, operation: str, status: int) -> tuple[Counter, Histogram]:
        return self._requests.labels(operation, status), self._seconds.labels(operation)

    def text(self) -> bytes:
        """All of it.

        Raises:
            DatabaseError: the database does not answer.
        """
        return generate_latest(self.registry)


class _WorkCollector(Collector):
    """Rows of work, counted in the database: every process tells the same."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def describe(self) -> list[Metric]:
        """Nothing: registering would ask the database, which may not be there yet."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Rows that wait or run by kind, and how long the oldest due one has waited."""
        rows = GaugeMetricFamily("tldr_work_rows", "Work that has not ended.", labels=["kind", "state"])
        oldest = GaugeMetricFamily("tldr_work_oldest_due_seconds", "Wait of the oldest due.", labels=["kind"])
        with self._db.read() as session:
            at = clock(session)
            counted = select(Work.kind, Work.state, func.count()).where(
                Work.state.in_(("waiting", "running"))
            )
            for kind, state, count in session.execute(counted.group_by(Work.kind, Work.state)):
                rows.add_metric([kind, state], count)
            due = select(Work.kind, func.min(Work.run_at)).where(Work.state == "waiting", Work.run_at <= at)
            for kind, since in session.execute(due.group_by(Work.kind)):
                oldest.add_metric([kind], _age(at, since))
        yield rows
        yield oldest


class _BreakerCollector(Collector):
    """Breakers as the database has them."""

    STATES = ("closed", "half_open", "open")

    def __init__(self, db: Database) -> None:
        self._db = db

    def describe(self) -> list[Metric]:
        """Nothing, as above."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Of each service whose breaker ever saw a failure: the state, and how often it opened."""
        state = GaugeMetricFamily(
            "tldr_breaker_state", "1 for the state it is in.", labels=["service", "state"]
        )
        openings = CounterMetricFamily("tldr_breaker_openings", "Times it opened.", labels=["service"])
        with self._db.read() as session:
            for row in session.execute(select(Breaker.id, Breaker.state, Breaker.openings)):
                for each in self.STATES:
                    state.add_metric([row.id, each], float(row.state == each))
                openings.add_metric([row.id], row.openings)
        yield state
        yield openings


def _age(at: datetime, since: datetime) -> float:
    return (at - since).total_seconds()
