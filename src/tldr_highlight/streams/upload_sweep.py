"""Uploads that nobody finished, and files that no stream was made of, are deleted when their time is over."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import ColumnElement, and_, or_, select

from tldr_highlight.core.work import Job, Kind, clock
from tldr_highlight.runtime import Runtime
from tldr_highlight.streams.models import Upload
from tldr_highlight.streams.uploads import UNFINISHED, drop

BATCH = 50
"""Uploads at a time: on SQLite nobody else writes meanwhile."""


def over(at: datetime) -> ColumnElement[bool]:
    """Uploads whose time is over, and that nobody is at."""
    return and_(Upload.expires_at < at, or_(Upload.held_until.is_(None), Upload.held_until < at))


def _sweep(job: Job[Runtime]) -> None:
    """Delete uploads that nobody finished or used, and what the store has of such that died."""
    while _sweep_some(job) == BATCH:
        pass
    job.runtime.storage.sweep(2 * UNFINISHED)


def _sweep_some(job: Job[Runtime]) -> int:
    job.ask()
    with job.step() as session:
        query = select(Upload).where(over(clock(session))).limit(BATCH).with_for_update(skip_locked=True)
        gone = session.scalars(query).all()
        for upload in gone:
            drop(session, upload)
    return len(gone)


UPLOAD_SWEEP = Kind("upload_sweep", _sweep, every_seconds=600.0)
"""Unused uploads are there for ten minutes more than they would have to be."""
