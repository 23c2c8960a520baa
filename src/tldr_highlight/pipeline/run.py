"""The whole story of a stream's job: from a source that somebody named to highlights that can be watched.

    resolve -> look -> measure -> settle -> publish -> cut -> store -> ready -> ... -> completed

Read `run` top to bottom. Each thing that becomes true is stored in one transaction with all that follows
from it: a measured piece with its use and progress, a moment with its highlight and event, a finished clip
with its facts. Whoever takes over after a crash finds in the checkpoint how far that went, and goes on there.

Measuring happens in a child process that is a few pieces ahead: it goes on while a clip is cut in another.
"""

from __future__ import annotations

import contextlib
import shutil
from collections import deque
from collections.abc import Generator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy import Select
from sqlalchemy.orm import Session

from tldr_highlight.analysis.base import Moment
from tldr_highlight.analysis.settling import Settler
from tldr_highlight.analysis.signals import Signals
from tldr_highlight.core.db import now
from tldr_highlight.core.work import Job, Kind
from tldr_highlight.errors import (
    CutError,
    CutSourceError,
    Fate,
    MediaError,
    NotFoundError,
    SourceError,
    TldrError,
)
from tldr_highlight.highlights.cuts import one_line
from tldr_highlight.highlights.models import Highlight
from tldr_highlight.media.job import Visit, cut_apart
from tldr_highlight.media.types import ClipResult, ClipSpec, MediaInfo
from tldr_highlight.pipeline import publish
from tldr_highlight.pipeline.checkpoint import Checkpoint, Progress
from tldr_highlight.pipeline.common import UNJUDGED, Piece, audible, blindness, reading_notes, unjudged
from tldr_highlight.pipeline.ends import ended
from tldr_highlight.pipeline.measure import measure
from tldr_highlight.pipeline.shortage import watching
from tldr_highlight.pipeline.wanted import Wanted
from tldr_highlight.runtime import Runtime
from tldr_highlight.streams import curves
from tldr_highlight.streams.models import Segment, Stream, StreamState
from tldr_highlight.streams.resolvers import Resolved, renewed, resolve
from tldr_highlight.streams.scratch import scratch_of
from tldr_highlight.streams.sources import Source
from tldr_highlight.tenancy.models import Organization
from tldr_highlight.tenancy.ownership import require_own
from tldr_highlight.usage import ledger, quotas
from tldr_highlight.usage.quotas import Metric
from tldr_highlight.webhooks.catalogue import StreamProgress, StreamStarted
from tldr_highlight.webhooks.events import emit

TRIES = 3
"""That fail without getting further."""

LONGEST = 24 * 3600.0
"""Seconds of one run: twice the longest recording that is taken, in realtime. What hangs are children, which
have limits of their own."""

POINTS = (
    "started", "looked", "segment", "detected", "clip-cut", "clip-put", "ready", "ended",
)  # fmt: skip
"""Where tests let the process die: right after each of these; transactions also as `…-uncommitted`."""


def run(job: Job[Runtime]) -> None:
    """Do a stream's job, from wherever it is.

    Raises:
        TldrError: why it cannot go on, now or ever: its fate says which.
        Interruption: somebody wants it to stop.
    """
    with watching(job), scratch_of(job) as scratch:
        story = Story(job, scratch)
        stream = story.begin()
        with story.delivering_what_there_is():
            story.recall()
            resolved = _resolved(job, stream, scratch)
            visiting = Visit(resolved.origin, sound=resolved.sound, policy=job.runtime.policy)
            with renewed(resolved), visiting as visit:
                visit.meanwhile = job.ask  # a source may be silent for minutes
                story.look(visit, resolved)
                story.cut()
                for signals in story.pieces():
                    story.take(signals)
                    story.cut()
                story.settle()
                story.cut(last=True)


def _resolved(job: Job[Runtime], stream: Stream, scratch: Path) -> Resolved:
    source = Source.from_json(job.runtime.vault.open(stream.source))
    return resolve(job.runtime, source, organization_id=stream.organization_id, scratch=scratch)


@dataclass(slots=True)
class Story:
    """One run of a stream's job: each method is a step of `run`."""

    job: Job[Runtime]
    scratch: Path
    checkpoint: Checkpoint = field(init=False)
    progress: Progress = field(init=False)
    wanted: Wanted = field(init=False)
    settler: Settler = field(init=False)
    visit: Visit | None = field(default=None, init=False)  # once it could be opened
    uncut: deque[Highlight] = field(default_factory=deque[Highlight], init=False)
    later: list[Highlight] = field(default_factory=list[Highlight], init=False)  # their clips failed once
    seen: int = field(default=0, init=False)  # moments that became certain
    heard: bool = field(default=False, init=False)  # anything, so far
    settled: bool = field(default=False, init=False)  # all moments were asked for
    ending: bool = field(default=False, init=False)  # nothing more will come
    before: dict[str, Any] = field(init=False)

    def __post_init__(self) -> None:
        self.checkpoint = Checkpoint.of(self.job)
        self.before = asdict(self.checkpoint)
        self.progress = Progress(analysed=self.checkpoint.end, before=self.checkpoint.end)

    # --- beginning -------------------------------------------------------------------------------------

    def begin(self) -> Stream:
        """Pending becomes processing, and somebody is told; what an earlier run left is found again.

        Clips that could not be made are tried again where somebody tries the stream again.

        Raises:
            NotFoundError: there is no such stream in the organization that the work is for.
        """
        require_own(self.job, Stream)
        with self.step("started") as session:
            stream = self._stream(session)
            if stream.state == StreamState.PENDING:
                stream.state = StreamState.PROCESSING
                stream.started_at = stream.started_at or now()
                stream.ended_at = stream.error_code = stream.error_message = None
                failed = self._highlights().where(Highlight.state == "failed")
                for lost in session.scalars(failed.with_for_update()):
                    lost.state, lost.error_code, lost.error_message = "detected", None, None
                started = StreamStarted(
                    stream_id=stream.id,
                    title=stream.title,
                    source=stream.source_label,
                    platform=stream.platform,
                )
                emit(session, stream.organization_id, started, stream_id=stream.id)
            if not self.checkpoint.whole:
                self._require(session, Metric.PROCESSING_MS)
            self.wanted = Wanted.of(session, stream)
            self.settler = Settler(self.wanted.dimension_set, self.wanted.moments)
            self.progress.highlights = stream.highlight_count
            self.uncut.extend(session.scalars(self._highlights().where(Highlight.state == "detected")))
        return stream

    def recall(self) -> None:
        """What earlier runs measured: it is known whether the source can be had again or not."""
        with self.job.runtime.db.read() as session:
            stored = [curves.unpacked(row.curves) for row in session.scalars(self._segments())]
        for signals in stored:
            self.take(signals)

    def look(self, visit: Visit, resolved: Resolved) -> None:
        """What the source turned out to be.

        Raises:
            SourceChangedError: not what it was when its first part was measured.
            TldrError: it cannot be opened.
        """
        info = visit.info
        version = resolved.still(self.checkpoint.version, info)
        self.visit = visit
        self.checkpoint = self.checkpoint.after(version=version)
        self.progress.duration = self.checkpoint.end if self.checkpoint.whole else info.duration
        degraded, warnings = blindness(info, self.wanted.dimension_set)
        with self.step("looked") as session:
            stream = self._stream(session)
            stream.title = stream.title or (resolved.title and one_line(resolved.title))
            stream.media = _described(info, resolved)
            stream.source_version = version
            stream.analyzer = "signals"
            stream.degraded = degraded
            if not self.checkpoint.whole:  # else the reading has told more
                stream.duration = info.duration
                stream.warnings = [*info.warnings, *warnings]
            self.save(session, "analysing")

    # --- measuring -------------------------------------------------------------------------------------

    def pieces(self) -> Generator[Signals]:
        """The curves of the source behind what earlier runs measured, piece by piece; they are stored.

        Raises:
            TldrError: the source ends, breaks, or takes too long.
        """
        if self.checkpoint.whole:
            return
        assert self.visit
        pieces = measure(
            self.visit,
            first_step=self.checkpoint.steps,
            jumped=self.checkpoint.jumped,
            segment_seconds=self.wanted.segment_seconds,
        )
        for piece in pieces:
            self.job.ask()
            self._keep(piece)
            yield piece.signals

    def _keep(self, piece: Piece) -> None:
        """A piece, what it is charged for, and how far that is.

        The last one may hold nothing, and says how long the source is.

        Raises:
            QuotaError: the plan has no minutes left for it; this piece is measured again when it has.
        """
        number, tenths = self.checkpoint.segments, self.progress.tenths
        end = piece.read if piece.last else piece.end
        milliseconds = max(0, round(1000 * (end - self.checkpoint.end)))
        with self.step("segment") as session:
            stream = self._stream(session)
            if milliseconds:
                ledger.hold(session, stream.organization_id, Metric.PROCESSING_MS)
                self._require(session, Metric.PROCESSING_MS, milliseconds)
            session.add(
                Segment(
                    organization_id=stream.organization_id,
                    stream_id=stream.id,
                    ordinal=number,
                    start=piece.start,
                    end=end,
                    curves=curves.packed(piece.signals),
                )
            )
            ledger.record(
                session,
                stream.organization_id,
                Metric.PROCESSING_MS,
                milliseconds,
                key=f"{stream.id}/segment/{number}",
                object_id=stream.id,
            )
            stream.analysed_seconds = self.progress.analysed = end
            stream.jumped = piece.jumped
            if piece.last:
                notes = reading_notes(piece.info, piece)
                stream.duration = end
                stream.warnings = [*stream.warnings, *notes]
            elif tenths < self.progress.tenths < 10:
                self._tell_progress(session, stream)
            self.checkpoint = self.checkpoint.after(
                segments=number + 1,
                steps=piece.signals.first + piece.signals.steps,
                end=end,
                jumped=piece.jumped,
                whole=piece.last,
            )
            self.save(session, "analysing")

    def _tell_progress(self, session: Session, stream: Stream) -> None:
        told = {k: v for k, v in self.progress.as_dict().items() if k != "stage"}
        event = StreamProgress(stream_id=stream.id, **told)
        emit(session, stream.organization_id, event, stream_id=stream.id)

    # --- publishing ------------------------------------------------------------------------------------

    def take(self, signals: Signals) -> None:
        """Publish what the next curves make certain."""
        self.heard |= audible(signals)
        self.publish(self.settler.feed(signals))

    def settle(self) -> None:
        """Publish what is certain once nothing more comes; all of it, with `max_highlights`."""
        if not self.settled:
            self.settled = True
            moments = self.settler.finish(self.checkpoint.end)
            if self.visit and not self.ending:
                self._note_unjudged(self.visit.info)
            self.publish(moments)

    def _note_unjudged(self, info: MediaInfo) -> None:
        missed = unjudged(info, self.checkpoint.end, judged=self.settler.judged_anything, heard=self.heard)
        if missed is None:
            return
        with self.job.step() as session:
            stream = self._stream(session)
            stream.degraded = True
            # what it was judged by need not be said then; an earlier run may have said all this
            known = blindness(info, self.wanted.dimension_set)[1] if missed in UNJUDGED else []
            stream.warnings = [*(w for w in stream.warnings if w not in (*known, missed)), missed]

    def publish(self, moments: Sequence[Moment]) -> None:
        """Make highlights of moments that became certain, but for those that an earlier run published."""
        new = self._new(moments)
        for moment in moments:
            self.seen += 1
            if self.seen <= self.checkpoint.moments:
                continue
            with self.step("detected") as session:
                stream = self._stream(session)
                highlight = publish.detected(session, stream, moment) if moment in new else None
                self.progress.highlights = stream.highlight_count
                self._published(moment, highlight)
                self.save(session, "analysing")
            if highlight is not None:
                self.uncut.append(highlight)

    def _new(self, moments: Sequence[Moment]) -> Sequence[Moment]:
        """Those that were not published when the source broke off: what overlaps one of these is the same.

        Of `max_highlights` those have taken their part, be they deleted by now; the best get the rest.
        """
        early, most = self.checkpoint.early, self.wanted.moments.max_highlights
        new = [m for m in moments if not any(start < m.end and m.start < end for start, end in early)]
        if most is None:
            return new
        return sorted(new, key=lambda m: (-m.score, m.peak))[: max(0, most - len(early))]

    def _published(self, moment: Moment, highlight: Highlight | None) -> None:
        if not self.ending:
            self.checkpoint = self.checkpoint.after(moments=self.seen)
        elif highlight is not None:
            early = [*self.checkpoint.early, [moment.start, moment.end]]
            self.checkpoint = self.checkpoint.after(early=early)

    def cut(self, *, last: bool = False) -> None:
        """Make the clips that are still to be made. One that fails may be tried again at the end.

        Raises:
            DiskFullError, StorageError, QuotaError: not now; nothing is lost.
        """
        if last:
            self.uncut.extend(self.later)
            self.later.clear()
        while self.uncut:
            highlight = self.uncut[0]
            self._require_storage()
            outcome = self._clip(highlight)
            if isinstance(outcome, CutError) and outcome.fate is Fate.TRANSIENT and not last:
                self.later.append(highlight)
            else:
                self._finish(highlight, outcome)
            self.uncut.popleft()

    def _clip(self, highlight: Highlight) -> ClipResult | CutError:
        folder = self.scratch / highlight.id
        spec = ClipSpec(
            start=highlight.clip_start,
            end=highlight.clip_end,
            path=folder / "clip.mp4",
            poster=folder / "thumbnail.jpg",
            peak=highlight.peak,
            small=folder / "thumbnail.webp",
        )
        self.job.ask()
        assert self.visit
        [outcome] = cut_apart(
            self.visit,
            [spec],
            options=self.wanted.cutting,
            jumped=self.checkpoint.jumped,
            on_progress=self._while_cutting,
        )
        self.job.runtime.faults.at("clip-cut")
        return outcome

    def _while_cutting(self, index: int, share: float) -> None:
        if self.progress.due():
            with self.job.step() as session:
                self.save(session, "cutting")

    def _finish(self, highlight: Highlight, outcome: ClipResult | CutError) -> None:
        """The clip can be had, or never will: in the store first, then in the database.

        Raises:
            QuotaError: the plan has no room for it; it is cut again when there is.
        """
        store = self.job.runtime.storage
        if isinstance(outcome, ClipResult):
            self._require_storage(publish.size_of(outcome))
        made = None if isinstance(outcome, CutError) else publish.stored(store, highlight, outcome)
        self.job.runtime.faults.at("clip-put")
        with publish.kept(store, made or ()), self.step("ready") as session:
            row = session.scalar(self._highlights().where(Highlight.id == highlight.id).with_for_update())
            if row is not None:
                if isinstance(outcome, CutError):
                    publish.failed(session, row, outcome)
                elif made:
                    publish.ready(session, row, made)
            self.checkpoint = self.checkpoint.after(clips=self.checkpoint.clips + 1)
            self.save(session, "cutting")
        if row is None and made:
            publish.remove(store, made)  # somebody deleted the highlight meanwhile
        shutil.rmtree(self.scratch / highlight.id, ignore_errors=True)

    # --- when it breaks --------------------------------------------------------------------------------

    @contextlib.contextmanager
    def delivering_what_there_is(self) -> Generator[None]:
        """Should this be the last try, publish also what is not quite certain, as nothing more will come.

        Clips are cut as far as the source can be had; the others have failed.

        That is no progress, which would give the job all its tries again. When somebody retries the stream,
        these moments are known by their places (`_new`).
        """
        try:
            yield
        except (SourceError, MediaError, NotFoundError) as error:
            if self._is_last_try(error):
                self.ending = True
                self.settle()
                if self.visit is not None:
                    with contextlib.suppress(SourceError, MediaError), self.visit:
                        self.cut(last=True)
                self._lose(error)
            raise

    def _lose(self, error: TldrError) -> None:
        """The clips that are still to be made never will be, as there is no source."""
        for highlight in (*self.uncut, *self.later):
            self._finish(highlight, CutSourceError(f"the source cannot be had: {error} ({error.code})"))
        self.uncut.clear()
        self.later.clear()

    def _is_last_try(self, error: TldrError) -> bool:
        further = asdict(self.checkpoint) != self.before
        return error.fate is Fate.PERMANENT or (not further and self.job.attempt >= TRIES)

    # --- what all steps do -----------------------------------------------------------------------------

    @contextlib.contextmanager
    def step(self, name: str) -> Generator[Session]:
        """One transaction of the job, with a point before its end and one behind it."""
        with self.job.step() as session:
            yield session
            session.flush()
            self.job.runtime.faults.at(f"{name}-uncommitted")
        self.job.runtime.faults.at(name)

    def save(self, session: Session, stage: str) -> None:
        """Checkpoint and progress, in a step."""
        self.progress.stage = stage
        checkpoint, progress = asdict(self.checkpoint), self.progress.as_dict()
        self.job.save(session, checkpoint=checkpoint, progress=progress, further=not self.ending)

    def _require(self, session: Session, metric: Metric, more: int = 0) -> None:
        """Wait, with all that there is, where the plan has no more.

        Raises:
            QuotaError: it has not.
        """
        organization = session.get_one(Organization, self.job.organization_id)
        quotas.require(session, organization, metric, more)

    def _require_storage(self, more: int = 0) -> None:
        quotas.require_storage(self.job.runtime.db, self.job.organization_id or "", more)

    def _stream(self, session: Session) -> Stream:
        """Locked until the step ends."""
        organization_id, id = self.job.organization_id or "", self.job.object_id or ""
        return Stream.get_for(session, organization_id, id, lock=True)

    def _segments(self) -> Select[Segment]:
        mine = Segment.of(self.job.organization_id or "").where(Segment.stream_id == self.job.object_id)
        return mine.order_by(Segment.ordinal)

    def _highlights(self) -> Select[Highlight]:
        mine = Highlight.of(self.job.organization_id or "").where(Highlight.stream_id == self.job.object_id)
        return mine.where(Highlight.origin == "analysis").order_by(Highlight.ordinal)


def _described(info: MediaInfo, resolved: Resolved) -> dict[str, Any]:
    """What the source turned out to be, as customers are told."""
    video, audio = info.video, info.audio
    return {
        "container": info.container,
        "bytes": info.size,
        "width": video and video.width,
        "height": video and video.height,
        "frame_rate": video and round(float(video.frame_rate), 3),
        "video_codec": video and video.codec,
        "audio_codec": audio and audio.codec,
        "resolver": resolved.resolver,
    }


STREAM = Kind("stream", run, on_end=ended, tries=TRIES, limit_seconds=LONGEST)
"""Work on one stream; `streams/service.py` hands it in."""
