"""Rows that nobody needs any more are deleted, by work: the one place where old rows go.

Each room says in a `Rule` which of its rows are over; `worker/kinds.py` puts the rules together.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, and_, delete, inspect, or_, select

from tldr_highlight.core.db import Base
from tldr_highlight.core.work import Job, Kind, Work, clock

BATCH = 500
"""Rows in one transaction; 20 ms on SQLite, where everybody else waits meanwhile."""

EVERY_SECONDS = 3600.0
"""So long rows are there after their time, at most; whoever reads them looks at their times, not at this."""


@dataclass(frozen=True)
class Rule:
    """Which rows of a table are over."""

    model: type[Base]  # with a primary key of one column
    over: Callable[[datetime], ColumnElement[bool]]  # at this moment …
    kept: Callable[[Any], timedelta] = lambda runtime: timedelta(0)  # … which is so long ago, by the settings


KEPT = {"done": timedelta(days=7), "cancelled": timedelta(days=30), "failed": timedelta(days=30)}
"""How long a row of work is kept after its end: failures longer, because somebody may ask."""


def _ended_long_ago(at: datetime) -> ColumnElement[bool]:
    return or_(*(and_(Work.state == state, Work.ended_at < at - kept) for state, kept in KEPT.items()))


WORK = Rule(Work, _ended_long_ago)


def sweep_of(*rules: Rule) -> Kind:
    """Work that deletes what is over by any of the rules, in their order."""

    def sweep(job: Job[Any]) -> None:
        for rule in rules:
            while _sweep_some(job, rule) == BATCH:
                pass

    return Kind("sweep", sweep, every_seconds=EVERY_SECONDS)


def _sweep_some(job: Job[Any], rule: Rule) -> int:
    """Delete a batch: how many. Rows that somebody else holds wait for the next time."""
    job.ask()
    (key,) = inspect(rule.model).primary_key
    with job.step() as session:
        at = clock(session) - rule.kept(job.runtime)
        over = select(key).where(rule.over(at)).limit(BATCH).with_for_update(skip_locked=True)
        gone = delete(rule.model).where(key.in_(over.scalar_subquery())).returning(key)
        return len(session.scalars(gone.execution_options(synchronize_session=False)).all())
