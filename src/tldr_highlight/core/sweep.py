"""Rows of work that ended long ago are deleted, by work."""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy import and_, delete, or_, select

from tldr_highlight.core.work import Job, Kind, Work, Workshop, clock

KEPT = {"done": timedelta(days=7), "cancelled": timedelta(days=30), "failed": timedelta(days=30)}
"""How long a row is kept after its end: failures longer, because somebody may ask."""

BATCH = 500
"""Rows in one transaction; 20 ms on SQLite, where everybody else waits meanwhile."""


def sweep(job: Job[Workshop]) -> None:
    """Delete what is over its time."""
    while True:
        job.ask()
        with job.step() as session:
            at = clock(session)
            over = (and_(Work.state == state, Work.ended_at < at - kept) for state, kept in KEPT.items())
            batch = select(Work.id).where(or_(*over)).limit(BATCH)
            gone = delete(Work).where(Work.id.in_(batch.scalar_subquery())).returning(Work.id)
            if len(session.scalars(gone).all()) < BATCH:
                return


SWEEP = Kind("sweep", sweep, every_seconds=3600)
