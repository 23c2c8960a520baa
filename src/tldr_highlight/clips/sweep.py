"""Clip jobs whose time is over are deleted, files included, by rows: also after a restart.

A job that is `deleted` is gone for everybody at once; what it had goes in the order rows, files, so that
whatever is interrupted is found again.
"""

from __future__ import annotations

from sqlalchemy import and_, delete, exists, or_, select

from tldr_highlight.clips.models import ClipFile, ClipItem, ClipJob
from tldr_highlight.core.telemetry import logger
from tldr_highlight.core.work import Job, Kind, Work, clock
from tldr_highlight.runtime import Runtime
from tldr_highlight.usage import ledger
from tldr_highlight.usage.quotas import Metric

log = logger(__name__)

EVERY_SECONDS = 5.0
"""So long after its time a job is there at most."""

BATCH = 50
"""Jobs or files at a time: on SQLite nobody else writes meanwhile."""


def sweep_clips(job: Job[Runtime]) -> None:
    """Delete jobs that are over, and files that no clip has any more."""
    while _jobs(job) == BATCH:
        pass
    while _files(job) == BATCH:
        pass


def _jobs(job: Job[Runtime]) -> int:
    """Delete some jobs: how many. One whose work runs still waits until that has noticed."""
    job.ask()
    working = exists().where(Work.id == ClipJob.id, Work.state.in_(["waiting", "running"]))
    with job.step() as session:
        due = and_(ClipJob.state.in_(["finished", "failed"]), ClipJob.delete_at <= clock(session))
        over = select(ClipJob.id).where(or_(due, ClipJob.state == "deleted"), ~working)
        some = over.limit(BATCH).with_for_update(skip_locked=True).scalar_subquery()
        gone = delete(ClipJob).where(ClipJob.id.in_(some)).returning(ClipJob.id)
        ids = session.scalars(gone.execution_options(synchronize_session=False)).all()
    for id in ids:
        log.info("clip job is deleted", clip_job=id)
    return len(ids)


def _files(job: Job[Runtime]) -> int:
    """Delete some files: how many. From the first transaction on nobody can find one to use it again."""
    job.ask()
    with job.step() as session:
        some = select(ClipFile).where(UNUSED).limit(BATCH).with_for_update(skip_locked=True)
        locked = [file.id for file in session.scalars(some)]
        # once more, now that nobody can begin to use one: somebody may have, until they were locked
        unused = session.scalars(select(ClipFile).where(UNUSED, ClipFile.id.in_(locked))).all()
        for file in unused:
            file.recipe = None
            ledger.record(
                session, file.organization_id, Metric.STORED_BYTES, -(file.bytes + file.poster_bytes),
                key=f"{file.id}/deleted",
            )  # fmt: skip
    for file in unused:
        for key in filter(None, (file.key, file.poster_key)):
            job.runtime.storage.delete(key)
    with job.step() as session:
        gone = delete(ClipFile).where(ClipFile.id.in_([file.id for file in unused]))
        session.execute(gone.execution_options(synchronize_session=False))
    return len(unused)


UNUSED = ~exists().where(ClipItem.file_id == ClipFile.id)
"""Files that no clip has."""


CLIP_SWEEP = Kind("clip_sweep", sweep_clips, every_seconds=EVERY_SECONDS)
