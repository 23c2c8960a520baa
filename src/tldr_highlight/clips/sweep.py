"""Clip jobs whose time is over are deleted, files included, by rows: also after a restart.

A job that is `deleted` is gone for everybody at once. Each thing that it had in the store goes before the row
that tells of it, so that whatever is interrupted is found again.
"""

from __future__ import annotations

from sqlalchemy import and_, delete, exists, or_, select, update

from tldr_highlight.clips.job import folder_of
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
    with job.step() as session:
        due = and_(ClipJob.state.in_(["finished", "failed"]), ClipJob.delete_at <= clock(session))
        ending = update(ClipJob).where(due).values(state="deleted")
        session.execute(ending.execution_options(synchronize_session=False))
    working = exists().where(Work.id == ClipJob.id, Work.state.in_(["waiting", "running"]))
    with job.runtime.db.read() as session:
        over = select(ClipJob.id, ClipJob.organization_id).where(ClipJob.state == "deleted", ~working)
        found = session.execute(over.limit(BATCH)).all()
    for id, organization_id in found:
        _drop_strays(job.runtime, folder_of(organization_id, id))
    with job.step() as session:
        gone = delete(ClipJob).where(ClipJob.id.in_([id for id, _ in found]))
        session.execute(gone.execution_options(synchronize_session=False))
    for id, _ in found:
        log.info("clip job is deleted", clip_job=id)
    return len(found)


def _drop_strays(runtime: Runtime, folder: str) -> None:
    """Delete what was stored and never recorded, as its worker died, or was stopped, in between."""
    stored = {listed.key for listed in runtime.storage.list(folder)}
    with runtime.db.read() as session:
        named = or_(ClipFile.key.in_(stored), ClipFile.poster_key.in_(stored))
        for keys in session.execute(select(ClipFile.key, ClipFile.poster_key).where(named)):
            stored -= set(keys)
    for key in stored:
        runtime.storage.delete(key)


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
