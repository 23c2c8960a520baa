"""The work of a clip job: ranges of one source become stored clips. Read top to bottom.

begin -> reach the source -> take clips that are there -> cut those that are not -> tell how it ended

A clip is recorded with the checkpoint, in one transaction: whoever goes on after a crash goes on with the
clips that are missing. What is wrong with one of them is its own; what is wrong with all of them (the
source, the disk, the store) is raised, and decides what becomes of the job.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any, cast

from sqlalchemy.orm import Session

from tldr_highlight.clips.models import ClipFile, ClipItem, ClipJob
from tldr_highlight.clips.schemas import ClipOptions
from tldr_highlight.core.db import after_commit, insert, new_id, now
from tldr_highlight.core.telemetry import logger, message_of
from tldr_highlight.core.work import CancelledError, Job, Kind, Work
from tldr_highlight.errors import (
    CutSourceError,
    NotFoundError,
    ObjectNotFoundError,
    PoisonError,
    QuotaError,
    RangeError,
    SourceDeniedError,
    TldrError,
)
from tldr_highlight.media.job import Visit, cut_apart
from tldr_highlight.media.sandbox import ProcessLimits
from tldr_highlight.media.types import ClipResult, ClipSpec, Remote
from tldr_highlight.runtime import Runtime
from tldr_highlight.streams import uploads
from tldr_highlight.streams.resolvers import Resolved, resolve
from tldr_highlight.streams.scratch import scratch_of
from tldr_highlight.streams.sources import Source
from tldr_highlight.tenancy import alerts
from tldr_highlight.tenancy.ownership import require_own
from tldr_highlight.usage import ledger, quotas
from tldr_highlight.usage.quotas import Metric
from tldr_highlight.webhooks.catalogue import ClipJobFailed, ClipJobFinished
from tldr_highlight.webhooks.events import emit

log = logger(__name__)

FORMAT = 1
"""Of clips: once the cutter makes others of the same order, a higher number keeps old ones from use."""

LIMIT_SECONDS = 12 * 3600.0
"""Of one run of a job; each clip has its own limit, and there are `schemas.MOST_CLIPS`."""

VIDEO, POSTER = "video/mp4", "image/jpeg"


def cut_clips(job: Job[Runtime]) -> None:
    """Make the clips of a job that are not there yet."""
    require_own(job, ClipJob)
    cutting = _begun(job)
    log.info("clip job begins", clips=cutting.row.total, left=len(cutting.left))
    with alerts.telling(job.runtime.db), scratch_of(job) as folder:
        while cutting.left:
            with cutting.source(folder) as visit:
                cutting.refuse_what_is_no_range()
                usable = True
                while cutting.left and usable:
                    cutting.take_what_is_there(visit)
                    usable = cutting.cut_what_is_missing(visit, folder)


def _begun(job: Job[Runtime]) -> Cutting:
    assert job.organization_id
    with job.step() as session:
        row = _row(session, job)
        row.state = "processing"
        row.started_at = row.started_at or now()
        items = ClipItem.of(row.organization_id).where(ClipItem.job_id == row.id, ClipItem.state == "pending")
        return Cutting(job, row, list(session.scalars(items.order_by(ClipItem.ordinal))))


def _row(session: Session, job: Job[Runtime]) -> ClipJob:
    """The job's row, locked.

    Raises:
        NotFoundError: there is none in the organization whose work this is.
        CancelledError: somebody deleted it meanwhile.
    """
    row = ClipJob.get_for(session, job.organization_id or "", job.object_id or "", lock=True)
    if row.state == "deleted":
        raise CancelledError
    return row


@dataclass
class Cutting:
    """A job in the hands of a worker."""

    job: Job[Runtime]
    row: ClipJob  # as it was when it began
    left: list[ClipItem]  # clips that are not recorded yet
    patience: int = 1  # how often the source may be asked for anew until a clip is made, as addresses expire
    options: ClipOptions = field(init=False)
    resolved: Resolved = field(init=False)

    def __post_init__(self) -> None:
        self.options = ClipOptions.model_validate(self.row.options)

    @property
    def runtime(self) -> Runtime:
        """What is configured."""
        return self.job.runtime

    # --- the source ------------------------------------------------------------------------------------

    def source(self, folder: Path) -> Visit:
        """The source, opened once for all clips in a process of its own.

        Raises:
            TldrError: it cannot be had.
        """
        while True:
            try:
                visit = self._visit(folder)
                seconds = visit.info.duration
            except SourceDeniedError:
                if not self._asks_again():
                    raise
            else:
                log.info("the source is open", resolver=self.resolved.resolver, seconds=seconds)
                return visit

    def _visit(self, folder: Path) -> Visit:
        source = Source.from_json(self.runtime.vault.open(self.row.source))
        self.resolved = found = resolve(
            self.runtime, source, organization_id=self.row.organization_id, scratch=folder
        )
        title = self.row.title or (found.title and found.title[:500])
        if (found.resolver, title) != (self.row.resolver, self.row.title):
            with self.job.step() as session:
                self.row = _row(session, self.job)
                self.row.resolver, self.row.title = found.resolver, title
        limits = ProcessLimits(seconds=self.runtime.settings.clip_seconds)
        return Visit(found.origin, sound=found.sound, policy=self.runtime.policy, limits=limits)

    def _asks_again(self) -> bool:
        self.patience -= 1
        if self.patience < 0:
            return False
        log.warning("the source is asked for again: its address may have expired")
        return True

    # --- clips -----------------------------------------------------------------------------------------

    def refuse_what_is_no_range(self) -> None:
        """Clips without two numbers have failed, whatever the source is."""
        for item in [item for item in self.left if item.start is None or item.end is None]:
            missing = "start" if item.start is None else "end"
            bounds = cast(dict[str, Any], item.asked) if isinstance(item.asked, dict) else {}
            what = "is no number" if bounds.get(missing) is not None else "is missing"
            self._fail(item, RangeError(f"clip {item.ordinal + 1}: its {missing} {what}"))

    def take_what_is_there(self, visit: Visit) -> None:
        """Give clips the files that the same order made before of the same source, where those are whole."""
        for item in list(self.left):
            recipe = self.recipe(visit, item)
            if recipe is None or not self._is_whole(recipe):
                continue
            with self.job.step() as session:
                file = session.scalar(self._files(recipe).with_for_update())
                if file is not None:  # not swept a moment ago
                    self._record(session, item, state="ready", file_id=file.id, result=file.result)
                    log.info("clip is there already", **self._which(item))

    def cut_what_is_missing(self, visit: Visit, folder: Path) -> bool:
        """Cut the clips that are left, of equal ones the first. False: the source must be reached anew.

        Those that the plan has no room for have failed of that; once it has none at all, none is cut.

        Raises:
            TldrError: no clip can be cut any more.
        """
        if full := self._too_much():
            for item in list(self.left):
                self._fail(item, full)
            return True
        batch = self._distinct(visit)
        specs = [self._spec(item, folder) for item in batch]

        def told(index: int, share: float) -> None:
            self.job.ask()

        if batch:
            log.info("clip begins", **self._which(batch[0]))
        outcomes = cut_apart(visit, specs, options=self.options.for_cutting(), on_progress=told)
        for item, outcome in zip(batch, outcomes, strict=False):
            self.job.ask()
            if isinstance(outcome, CutSourceError) and self._asks_again():
                return False
            if not isinstance(outcome, ClipResult):
                self._fail(item, outcome)
            elif full := self._too_much(outcome):
                self._fail(item, full)
                if self._too_much():
                    visit.close()  # it is cutting the next one
                    break
            else:
                self._keep(item, outcome, visit)
        return True

    def _too_much(self, made: ClipResult | None = None) -> QuotaError | None:
        """That the plan has no room for a clip, which then goes; None: it has, or for another one."""
        files = [] if made is None else [path for path in (made.spec.path, made.spec.poster) if path]
        size = sum(path.stat().st_size for path in files if path.exists())
        try:
            quotas.require_storage(self.runtime.db, self.row.organization_id, size)
        except QuotaError as error:
            for path in files:
                path.unlink(missing_ok=True)
            return error
        return None

    def _distinct(self, visit: Visit) -> list[ClipItem]:
        firsts: dict[str, ClipItem] = {}
        for item in self.left:
            firsts.setdefault(self.recipe(visit, item) or item.id, item)
        return list(firsts.values())

    def _spec(self, item: ClipItem, folder: Path) -> ClipSpec:
        assert item.start is not None
        assert item.end is not None
        path = folder / f"{item.ordinal}.mp4"
        return ClipSpec(
            item.start, item.end, path, path.with_suffix(".jpg") if self.options.posters else None
        )

    def recipe(self, visit: Visit, item: ClipItem) -> str | None:
        """What tells a clip from every other; None where nothing tells whether the source has changed."""
        seen, told = visit.info.version, self.resolved.version
        # of a file on a server what counts is what was opened; a copy that was made here is new each time
        version = seen if isinstance(self.resolved.origin, Remote) else told or seen
        if version is None:
            return None
        source = self.runtime.vault.open(self.row.source)
        order = [FORMAT, source, version, item.start, item.end, self.row.options]
        return hashlib.sha256(json.dumps(order, sort_keys=True).encode()).hexdigest()

    def _files(self, recipe: str | None) -> Any:
        return ClipFile.of(self.row.organization_id).where(ClipFile.recipe == recipe)

    def _is_whole(self, recipe: str) -> bool:
        """Whether there is a file that was made so, and the store has it as it was; else it is given up."""
        with self.runtime.db.read() as session:
            file: ClipFile | None = session.scalar(self._files(recipe))
        if file is None:
            return False
        with contextlib.suppress(ObjectNotFoundError):
            stored = self.runtime.storage.stat(file.key)
            if (stored.bytes, stored.sha256) == (file.bytes, file.sha256):
                return True
        log.warning("a stored clip is damaged: it is cut again", key=file.key)
        with self.job.step() as session:
            ClipFile.get_for(session, file.organization_id, file.id, lock=True).recipe = None
        return False

    # --- recording -------------------------------------------------------------------------------------

    def _keep(self, item: ClipItem, made: ClipResult, visit: Visit) -> None:
        """Store a clip, then record it: of two jobs that made the same at once, one's file stays."""
        faults = self.runtime.faults
        faults.at("job-clip-cut")
        file = self._stored(item, made, visit)
        faults.at("job-clip-put")
        try:
            with self.job.step() as session:
                _row(session, self.job)  # locked before what is counted (`ledger.hold`)
                kept = self._entered(session, file)
                alerts.recovered(session, alerts.STORING)
                self._record(session, item, state="ready", file_id=kept, result=file.result)
        except QuotaError as error:
            self._discard(file)
            self._fail(item, error)
            return
        faults.at("job-clip-ready")
        self.patience = 1
        if kept != file.id:
            self._discard(file)
        log.info("clip is ready", **self._which(item), method=made.method, bytes=made.bytes)

    def _stored(self, item: ClipItem, made: ClipResult, visit: Visit) -> ClipFile:
        # the fence: who was taken for dead and wakes must not write over what was made in their place
        base = f"{folder_of(item.organization_id, item.job_id)}/{item.ordinal}-{self.job.fence}"
        store, poster = self.runtime.storage, made.spec.poster
        key = f"{base}.mp4"
        store.put(key, made.spec.path, content_type=VIDEO, download_name=item.filename, sha256=made.sha256)
        file = ClipFile(
            id=new_id("cf"), organization_id=item.organization_id, recipe=self.recipe(visit, item), key=key,
            bytes=made.bytes, sha256=made.sha256, result=_result(made, visit), poster_bytes=0,
        )  # fmt: skip
        if poster is not None and poster.exists():
            key = f"{base}.jpg"
            file.poster_key, file.poster_bytes = key, store.put(key, poster, content_type=POSTER).bytes
            poster.unlink()
        made.spec.path.unlink()
        return file

    def _entered(self, session: Session, file: ClipFile) -> str:
        """Enter a file; the id of the one that is there for this recipe, which may be another's.

        Raises:
            QuotaError: the plan has no room for it.
        """
        names = (
            "id",
            "organization_id",
            "recipe",
            "key",
            "poster_key",
            "bytes",
            "poster_bytes",
            "sha256",
            "result",
        )
        adding = (
            insert(session, ClipFile)
            .values(created_at=now(), **{name: getattr(file, name) for name in names})
            .on_conflict_do_nothing(index_elements=["organization_id", "recipe"])
            .returning(ClipFile.id)
        )
        if (added := session.execute(adding).scalar_one_or_none()) is None:
            return session.scalars(self._files(file.recipe).with_for_update()).one().id
        size = file.bytes + file.poster_bytes
        uploads.require_room(session, file.organization_id, size)
        ledger.record(
            session, file.organization_id, Metric.STORED_BYTES, size,
            key=f"{file.id}/stored", object_id=self.row.id,
        )  # fmt: skip
        return added

    def _discard(self, file: ClipFile) -> None:
        for key in filter(None, (file.key, file.poster_key)):
            self.runtime.storage.delete(key)

    def _fail(self, item: ClipItem, error: TldrError) -> None:
        with self.job.step() as session:
            self._record(
                session, item, state="failed", error_code=error.code, error_message=message_of(error)
            )
        log.warning("clip failed", **self._which(item), code=error.code, reason=str(error))

    def _record(self, session: Session, item: ClipItem, **values: Any) -> None:
        """Write down that a clip is done, whichever way, and that one more is."""
        job = _row(session, self.job)
        row = ClipItem.get_for(session, item.organization_id, item.id)
        for name, value in values.items():
            setattr(row, name, value)
        job.processed += 1
        done = {"processed": job.processed}
        self.job.save(session, checkpoint=done, progress={**done, "total": job.total})
        after_commit(session, lambda: self.left.remove(item))

    def _which(self, item: ClipItem) -> dict[str, Any]:
        return {"clip": item.ordinal, "of": self.row.total, "start": item.start, "end": item.end}


def folder_of(organization_id: str, job_id: str) -> str:
    """Where the store has what a job made."""
    return f"{organization_id}/{job_id}"


def _result(made: ClipResult, visit: Visit) -> dict[str, Any]:
    """What is told of a clip that is ready."""
    video = visit.info.video
    size = [made.width, made.height]
    if video and made.method != "encode" and video.rotation % 180:
        size.reverse()  # a copy is turned by the player, as its source is
    return {
        "actual_start": round(made.actual_start, 6), "actual_end": round(made.actual_end, 6),
        "frames": made.frames, "method": made.method, "reason": made.reason,
        "sync_ms": round(made.sync_ms, 3), "width": size[0], "height": size[1],
        "bytes": made.bytes, "sha256": made.sha256, "warnings": list(made.warnings),
    }  # fmt: skip


# --- the end -------------------------------------------------------------------------------------------


def ended(session: Session, runtime: Runtime, work: Work, error: TldrError | None) -> None:
    """Tell how a job ended, in the transaction that stores it; from now on its time runs.

    It has failed where its source could never be opened, or it took processes along. Where clips were done
    before the source was lost, it is finished, and those that are missing have failed of that.
    """
    try:
        row = ClipJob.get_for(session, work.organization_id or "", work.object_id or "", lock=True)
    except NotFoundError:
        return  # another organization's
    if row.state == "deleted":
        return
    if work.state == "cancelled":
        row.state = "deleted"
        return
    row.completed_at = at = now()
    row.delete_at = at + timedelta(seconds=runtime.settings.clip_job_ttl)
    left = ClipItem.of(row.organization_id).where(ClipItem.job_id == row.id, ClipItem.state == "pending")
    for item in session.scalars(left):
        assert error
        item.state, item.error_code, item.error_message = "failed", error.code, message_of(error)
    if error is not None and (isinstance(error, PoisonError) or row.processed == 0):
        row.state, row.error_code, row.error_message = "failed", error.code, message_of(error)
        told = ClipJobFailed(clip_job_id=row.id, error_code=error.code, error_message=message_of(error))
        emit(session, row.organization_id, told)
        log.error("clip job failed", code=error.code, reason=str(error))
        return
    row.state, row.processed = "finished", row.total
    failed = _count(session, row, "failed")  # not the rest: files of some that were made may be deleted
    told = ClipJobFinished(
        clip_job_id=row.id,
        total=row.total,
        succeeded=row.total - failed,
        failed=failed,
        delete_at=row.delete_at,
    )
    emit(session, row.organization_id, told)
    log.info("clip job is finished", clips=row.total - failed, errors=failed)


def _count(session: Session, row: ClipJob, state: str) -> int:
    mine = ClipItem.of(row.organization_id).where(ClipItem.job_id == row.id, ClipItem.state == state)
    return len(session.scalars(mine).all())


CLIP_JOB = Kind("clip_job", cut_clips, on_end=ended, limit_seconds=LIMIT_SECONDS)
