"""What somebody asks for beside what is found: a range of a stream as a clip, highlights joined into a reel.

Both are work of their own (`streams/results.py` hands it in). Nothing of them is kept between two tries: a
clip is cut in seconds. Read `cut_one` and `join_best` top to bottom.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from sqlalchemy.orm import Session

from tldr_highlight.analysis.base import Moment
from tldr_highlight.core.db import now
from tldr_highlight.core.telemetry import message_of
from tldr_highlight.core.work import Job, Kind, Work
from tldr_highlight.errors import ConflictError, CutError, TldrError
from tldr_highlight.highlights.models import Highlight, Reel
from tldr_highlight.media.job import Visit, cut_apart, join_apart
from tldr_highlight.media.sandbox import ProcessLimits
from tldr_highlight.media.types import ClipResult, ClipSpec, CutOptions
from tldr_highlight.pipeline import publish
from tldr_highlight.pipeline.common import reel_ranges
from tldr_highlight.pipeline.wanted import Wanted
from tldr_highlight.runtime import Runtime
from tldr_highlight.storage.base import Stored
from tldr_highlight.streams import results, uploads
from tldr_highlight.streams.models import Stream
from tldr_highlight.streams.resolvers import resolve
from tldr_highlight.streams.scratch import scratch_of
from tldr_highlight.streams.sources import Source
from tldr_highlight.tenancy import alerts
from tldr_highlight.tenancy.ownership import require_own
from tldr_highlight.usage import ledger, quotas
from tldr_highlight.usage.quotas import Metric
from tldr_highlight.webhooks.catalogue import ReelFailed, ReelReady
from tldr_highlight.webhooks.events import emit

# --- one range -----------------------------------------------------------------------------------------


def cut_one(job: Job[Runtime]) -> None:
    """Cut the range that a highlight of origin `request` stands for, and make its clip be there.

    Raises:
        NotFoundError: the highlight or its stream is gone, or another organization's.
        QuotaError: the plan has no room for it; it waits.
        TldrError: it cannot be cut, now or ever: its fate says which.
    """
    require_own(job, Highlight)
    organization_id, id = job.organization_id or "", job.object_id or ""
    with job.step() as session:
        highlight = Highlight.get_for(session, organization_id, id)
        stream = Stream.get_for(session, organization_id, highlight.stream_id)
        options = Wanted.of(session, stream).cutting
        if highlight.state == "ready":
            return
        highlight.state, highlight.error_code, highlight.error_message = "detected", None, None
    with alerts.telling(job.runtime.db), scratch_of(job) as scratch:
        quotas.require_storage(job.runtime.db, organization_id)
        outcome = _cut(job, stream, highlight, replace(options, **job.payload), scratch)
        if isinstance(outcome, CutError):
            raise outcome
        quotas.require_storage(job.runtime.db, organization_id, publish.size_of(outcome))
        files = publish.stored(job.runtime.storage, highlight, outcome)
    with publish.kept(job.runtime.storage, files), job.step() as session:
        query = Highlight.of(organization_id).where(Highlight.id == id).with_for_update()
        if row := session.scalar(query):
            publish.ready(session, row, files)
    if row is None:
        publish.remove(job.runtime.storage, files)  # somebody deleted the highlight meanwhile


def _cut(
    job: Job[Runtime], stream: Stream, highlight: Highlight, options: CutOptions, scratch: Path
) -> ClipResult | CutError:
    source = Source.from_json(job.runtime.vault.open(stream.source))
    resolved = resolve(job.runtime, source, organization_id=stream.organization_id, scratch=scratch)
    spec = ClipSpec(
        highlight.clip_start,
        highlight.clip_end,
        scratch / "clip.mp4",
        poster=scratch / "thumbnail.jpg",
        peak=highlight.peak,
        small=scratch / "thumbnail.webp",
    )
    with Visit(resolved.origin, sound=resolved.sound, policy=job.runtime.policy) as visit:
        visit.meanwhile = job.ask
        resolved.still(stream.source_version, visit.info)
        [outcome] = cut_apart(visit, [spec], options=options, jumped=stream.jumped)
    return outcome


def _clip_ended(session: Session, runtime: Runtime, work: Work, error: TldrError | None) -> None:
    """A range that could not be cut is a highlight without a clip."""
    mine = Highlight.of(work.organization_id or "").where(Highlight.id == work.object_id)
    if work.state != "done" and (highlight := session.scalar(mine.with_for_update())):
        publish.failed(session, highlight, error or ConflictError("it was cancelled before it was cut"))


# --- reels ---------------------------------------------------------------------------------------------


def join_best(job: Job[Runtime]) -> None:
    """Join a stream's best highlights into a file as long as was asked for, or say why it is not.

    Made of the clips that are there: the source need not be there any more.

    Raises:
        NotFoundError: the reel is gone, or another organization's.
        QuotaError: the plan has no room for it; it waits.
        ConflictError: there is no highlight left to join.
        TldrError: it cannot be made, now or ever: its fate says which.
    """
    require_own(job, Reel)
    organization_id, id = job.organization_id or "", job.object_id or ""
    with job.step() as session:
        reel = Reel.get_for(session, organization_id, id)
        stream = Stream.get_for(session, organization_id, reel.stream_id)
        options = Wanted.of(session, stream).cutting
        highlights = session.scalars(results.usable(organization_id, stream.id)).all()
        if reel.state == "ready":
            return
    if not highlights:
        raise ConflictError("no highlight of this stream has a clip any more: there is nothing to join")
    finished = replace(options, mode="auto", watermark=None, loudness=None)  # the clips have them
    shown = _shown(highlights, reel)
    with alerts.telling(job.runtime.db), scratch_of(job) as scratch:
        quotas.require_storage(job.runtime.db, organization_id)
        pieces = list(_pieces(job, shown, finished, scratch))
        limits = ProcessLimits(seconds=300.0 * len(pieces))
        joined = join_apart(
            pieces, scratch / "reel.mp4", options=finished, limits=limits, on_progress=lambda share: job.ask()
        )
        quotas.require_storage(job.runtime.db, organization_id, joined.bytes)
        file = job.runtime.storage.put(
            f"{organization_id}/{stream.id}/{id}.mp4",
            joined.spec.path,
            content_type="video/mp4",
            cache_control=publish.FOREVER,
            download_name=f"{stream.title or 'Reel'}.mp4",
            sha256=joined.sha256,
        )
    with publish.kept(job.runtime.storage, [file]), job.step() as session:
        query = Reel.of(organization_id).where(Reel.id == id).with_for_update()
        if row := session.scalar(query):
            row.highlights = [highlight.id for highlight, _, _ in shown]
            row.note = _note(row, joined.actual_end)
            _ready(session, row, joined, file)
    if row is None:
        job.runtime.storage.delete(file.key)  # somebody deleted the reel meanwhile


def _shown(highlights: Sequence[Highlight], reel: Reel) -> list[tuple[Highlight, float, float]]:
    """Which highlights a reel shows, and of each from when to when, in media seconds as its clip has them."""
    shown: list[tuple[Highlight, float, float]] = []
    for start, end in reel_ranges([_moment(each) for each in highlights], reel.target_seconds):
        whose = next(h for h in highlights if h.clip["start"] <= start and end <= h.clip["end"])
        shown.append((whose, start, end))
    return shown


def _moment(row: Highlight) -> Moment:
    return Moment(
        start=row.start,
        end=row.end,
        peak=row.peak,
        score=row.score or 0.0,
        confidence=row.confidence or 0.0,
        types=tuple(row.types),
        title=row.title,
        dimensions=row.dimensions,
        evidence=(),
        clip_start=row.clip["start"],
        clip_end=row.clip["end"],
    )


def _pieces(
    job: Job[Runtime],
    shown: Sequence[tuple[Highlight, float, float]],
    options: CutOptions,
    scratch: Path,
) -> Iterator[Path]:
    """Each clip out of the store; the one that fills what is left is cut shorter."""
    for number, (highlight, start, end) in enumerate(shown):
        job.ask()
        path = scratch / f"{number}.mp4"
        job.runtime.storage.get(highlight.clip_key or "", path)
        first, last = highlight.clip["start"], highlight.clip["end"]
        if (start, end) == (first, last):
            yield path
            continue
        spec = ClipSpec(start - first, end - first, scratch / f"{number}-trimmed.mp4")
        with Visit(path) as visit:
            visit.meanwhile = job.ask
            [outcome] = cut_apart(visit, [spec], options=options)
        if isinstance(outcome, CutError):
            raise outcome
        yield spec.path


def _note(reel: Reel, seconds: float) -> str | None:
    """Why a reel is not as long as it should be; None: it is."""
    if abs(seconds - reel.target_seconds) <= reel.tolerance:
        return None
    short = seconds < reel.target_seconds
    why = "there is no more worth showing" if short else "its clips cannot be cut so short"
    return f"{seconds:.1f} s, not {reel.target_seconds:g}: {why}"


def _ready(session: Session, reel: Reel, joined: ClipResult, file: Stored) -> None:
    uploads.require_room(session, reel.organization_id, file.bytes)
    alerts.recovered(session, alerts.STORING)
    reel.state = "ready"
    reel.ended_at = now()
    reel.key = file.key
    reel.seconds = seconds = round(joined.actual_end, 3)
    reel.stored_bytes = file.bytes
    reel.error_code = reel.error_message = None
    ledger.record(
        session,
        reel.organization_id,
        Metric.STORED_BYTES,
        file.bytes,
        key=f"{reel.id}/stored",
        object_id=reel.stream_id,
    )
    event = ReelReady(
        reel_id=reel.id,
        stream_id=reel.stream_id,
        target_seconds=reel.target_seconds,
        seconds=seconds,
        note=reel.note,
    )
    emit(session, reel.organization_id, event, stream_id=reel.stream_id)


def _reel_ended(session: Session, runtime: Runtime, work: Work, error: TldrError | None) -> None:
    mine = Reel.of(work.organization_id or "").where(Reel.id == work.object_id)
    if work.state != "done" and (reel := session.scalar(mine.with_for_update())):
        error = error or ConflictError("it was cancelled before it was made")
        code, message = error.code, message_of(error)
        reel.state, reel.ended_at = "failed", now()
        reel.error_code, reel.error_message = code, message
        event = ReelFailed(reel_id=reel.id, stream_id=reel.stream_id, error_code=code, error_message=message)
        emit(session, reel.organization_id, event, stream_id=reel.stream_id)


CLIP = Kind(results.CLIP, cut_one, on_end=_clip_ended)
REEL = Kind(results.REEL, join_best, on_end=_reel_ended, limit_seconds=4 * 3600.0)
