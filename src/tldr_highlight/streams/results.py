"""What came of a stream: its curves, its highlights in other programs' formats, and what is made of them.

Cutting and joining are work (`pipeline/requested.py`); here it is handed in.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from sqlalchemy import ColumnElement, Select, func, or_

from tldr_highlight.analysis.base import STEP, Analysis, Curve, Moment, clock
from tldr_highlight.analysis.local import KNOWN, analyse
from tldr_highlight.analysis.moments import choose
from tldr_highlight.analysis.rolling import mean
from tldr_highlight.analysis.scoring import known_share
from tldr_highlight.core.db import new_id
from tldr_highlight.core.shapes import PageQuery, paginate
from tldr_highlight.core.work import enqueue
from tldr_highlight.errors import ConflictError, RangeError
from tldr_highlight.highlights.dimension_sets import Judging, judging
from tldr_highlight.highlights.document import HighlightDoc, HighlightsDoc
from tldr_highlight.highlights.exports import export
from tldr_highlight.highlights.files import remove_later
from tldr_highlight.highlights.models import Highlight, Reel
from tldr_highlight.highlights.service import LINK, give_back
from tldr_highlight.runtime import Act, Runtime
from tldr_highlight.streams import curves
from tldr_highlight.streams.models import ONGOING, Stream
from tldr_highlight.streams.options import judged_by, moment_options, set_of
from tldr_highlight.streams.results_schemas import ClipCreate, ReelCreate, TryCreate
from tldr_highlight.streams.schemas import ProcessingOptions
from tldr_highlight.tenancy import audit
from tldr_highlight.tenancy.models import Organization
from tldr_highlight.usage import quotas
from tldr_highlight.usage.quotas import Metric

CLIP, REEL = "clip", "reel"
"""Kinds of work: one range that somebody asked for, and highlights joined into one file."""


def get_stream(act: Act, stream_id: str) -> Stream:
    """One of the organization's streams."""
    return Stream.get_for(act.session, act.organization_id, stream_id)


# --- curves --------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Timeline:
    """Curves of a stream. Value `i` of each covers media time `[start + i * step, + step)`; NaN: unknown."""

    start: float  # media seconds
    step: float  # seconds
    score: Curve  # 0..1: odds that a viewer keeps a moment around there
    dimensions: dict[str, Curve]  # 0..1
    threshold: float  # score from which on moments are kept


def timeline(act: Act, stream_id: str, *, smoothing: float | None, points: int) -> Timeline:
    """The curves of what is analysed so far, averaged over `smoothing` seconds, in `points` values at most.

    None: as long as the stream's options say.

    Raises:
        ConflictError: nothing is analysed yet, or ever was.
    """
    stream = get_stream(act, stream_id)
    analysis = _analysis(act, stream)
    asked_for = stream.options.get("smoothing_seconds", ProcessingOptions().smoothing_seconds)
    seconds: float = asked_for if smoothing is None else smoothing
    odds = 0.5 * (1.0 + np.tanh(0.5 * analysis.worth))  # the logistic function, without overflow
    size = math.ceil(len(odds) / points)
    judged = judged_by(act.session, stream).dimension_set
    asked = stream.options.get("threshold")
    return Timeline(
        start=analysis.first * STEP,
        step=size * STEP,
        score=_shrunk(odds, seconds, size),
        dimensions={n: _shrunk(curve, seconds, size) for n, curve in analysis.dimensions.items()},
        threshold=judged.threshold if asked is None else asked,
    )


def _shrunk(curve: Curve, smoothing: float, size: int) -> Curve:
    """The curve averaged, then the highest of each `size` values: no peak is lost."""
    smooth = mean(curve, smoothing, least=0.1) if smoothing > STEP else curve
    padded = np.pad(smooth, (0, -len(smooth) % size), constant_values=np.nan).reshape(-1, size)
    return np.fmax.reduce(padded, axis=1)


def _analysis(act: Act, stream: Stream) -> Analysis:
    measured = curves.load(act.session, act.organization_id, stream.id)
    if measured is None:
        if stream.state not in ONGOING:
            raise ConflictError(f"the stream is {stream.state}, and nothing of it was analysed")
        raise ConflictError("nothing of this stream is analysed yet", retry_after=5)
    return analyse(measured)


@dataclass(frozen=True, slots=True)
class Trial:
    """What a dimension set would find in a stream."""

    judging: Judging
    moments: list[Moment]
    duration: float  # media seconds that are analysed
    known_share: float  # of the set's weight, 0..1, that the analyzer can judge


def try_set(act: Act, set_id: str, wanted: TryCreate) -> Trial:
    """Judge a stream's stored curves by a set, without analysing again; nothing is stored.

    Set and types are the latest, and the set's threshold counts; or all is as the stream was submitted.

    Raises:
        NotFoundError: there is no such set or stream.
        ConflictError: nothing is analysed yet, or it was submitted with another set.
    """
    stream = get_stream(act, wanted.stream_id)
    if not wanted.as_submitted:
        found = judging(act.session, act.organization_id, set_id)
        options = moment_options({**stream.options, "threshold": None})
    elif set_id == set_of(stream):
        found, options = judged_by(act.session, stream), moment_options(stream.options)
    else:
        raise ConflictError(f"the stream was submitted with {set_of(stream)}, not with this set")
    analysis = _analysis(act, stream)
    end = (analysis.first + len(analysis.worth)) * STEP
    moments = choose(analysis, found.dimension_set, stream.duration or end, options)
    return Trial(found, moments, end, known_share(KNOWN, found.dimension_set))


# --- exports -------------------------------------------------------------------------------------------

MEDIA_TYPES = {
    "json": "application/json",
    "csv": "text/csv; charset=utf-8",
    "edl": "text/plain; charset=utf-8",
    "chapters": "text/plain; charset=utf-8",
    "vtt": "text/vtt; charset=utf-8",
    "otio": "application/json",
    "fcpxml": "application/xml",
}
ENDINGS = {"chapters": "chapters.txt", "fcpxml": "xml"}


def exported(act: Act, stream_id: str, format: str) -> tuple[bytes, str]:
    """What was found in a stream as a file of another program, and its name; what was voted down is left out.

    So are clips that somebody asked for: they have no score, and none is not zero.

    Raises:
        MissingExtraError: the format takes an extra that is not installed.
    """
    stream = get_stream(act, stream_id)
    mine = Highlight.of(act.organization_id).where(Highlight.stream_id == stream.id)
    mine = mine.where(Highlight.origin == "analysis")
    rows = act.session.scalars(mine.where(_not_dropped()).order_by(Highlight.start, Highlight.id))
    document: HighlightsDoc = {
        "source": stream.source_label,
        "duration": stream.duration or stream.analysed_seconds,
        "analyzer": stream.analyzer or "signals",
        "elapsed": _elapsed(stream),
        "highlights": [_document(act.runtime, row) for row in rows],
        "degraded": stream.degraded,
        "warnings": stream.warnings,
    }
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "export"
        export(
            document,
            format,
            path,
            frame_rate=Fraction(stream.media.get("frame_rate") or 25.0),
            has_video=bool(stream.media.get("video_codec")),
            has_audio=bool(stream.media.get("audio_codec")),
        )
        return path.read_bytes(), f"{stream.title or stream.id}.{ENDINGS.get(format, format)}"


def _not_dropped() -> ColumnElement[bool]:
    return or_(Highlight.verdict.is_(None), Highlight.verdict != "drop")


def _elapsed(stream: Stream) -> float:
    if stream.started_at is None or stream.ended_at is None:
        return 0.0
    return round((stream.ended_at - stream.started_at).total_seconds(), 3)


def _document(runtime: Runtime, row: Highlight) -> HighlightDoc:
    address = f"{runtime.url}/api/v1/highlights/{row.id}"
    return {
        "start": row.start,
        "end": row.end,
        "peak": row.peak,
        "score": row.score or 0.0,
        "confidence": row.confidence or 0.0,
        "types": row.types,
        "title": row.title,
        "dimensions": row.dimensions,
        "evidence": row.evidence,
        "clip_start": row.clip_start,
        "clip_end": row.clip_end,
        "clip": f"{address}/clip" if row.clip_key else None,
        "thumbnail": f"{address}/thumbnail" if row.thumbnail_key else None,
    }


# --- clips that somebody asks for ----------------------------------------------------------------------


def request_clip(act: Act, stream_id: str, wanted: ClipCreate) -> tuple[Highlight, str]:
    """Have a range of a stream cut: its highlight, which is `ready` later, and its work's id.

    Raises:
        RangeError: it begins behind the stream's end.
        QuotaError: the plan's storage is used up.
    """
    stream = Stream.get_for(act.session, act.organization_id, stream_id, lock=True)
    _require_storage(act)
    if stream.duration is not None and wanted.start >= stream.duration:
        raise RangeError(f"the stream ends at {stream.duration:g} s, before this range begins")
    mine = Highlight.of(act.organization_id).where(Highlight.stream_id == stream.id)
    lowest = act.session.scalar(mine.with_only_columns(func.min(Highlight.ordinal))) or 0
    end = wanted.end if stream.duration is None else min(wanted.end, stream.duration)
    highlight = Highlight(
        id=new_id("hl"),
        organization_id=act.organization_id,
        stream_id=stream.id,
        ordinal=min(lowest, 0) - 1,
        origin="request",
        start=wanted.start,
        end=end,
        peak=(wanted.start + end) / 2,
        types=[],
        title=wanted.title or f"Clip at {clock(wanted.start)}",
        tags=wanted.tags,
        clip_start=wanted.start,
        clip_end=end,
    )
    act.session.add(highlight)
    act.session.flush()
    payload = {} if wanted.quality is None else {"quality": wanted.quality}
    job_id = _handed_in(act, CLIP, highlight.id, payload)
    audit.record(act, "clip.requested", highlight.id, stream=stream.id, start=wanted.start, end=end)
    return highlight, job_id


def _require_storage(act: Act) -> None:
    organization = act.session.get_one(Organization, act.organization_id)
    quotas.require(act.session, organization, Metric.STORED_BYTES)


def _handed_in(act: Act, kind: str, object_id: str, payload: dict[str, Any]) -> str:
    organization = act.session.get_one(Organization, act.organization_id)
    work = enqueue(
        act.session,
        kind,
        organization_id=organization.id,
        object_id=object_id,
        key=object_id,
        payload=payload,
        priority=organization.limits.priority,
    )
    return work.id


# --- reels ---------------------------------------------------------------------------------------------


def request_reel(act: Act, stream_id: str, wanted: ReelCreate) -> Reel:
    """Have a stream's best highlights joined.

    Raises:
        ConflictError: it has none with a clip.
        QuotaError: the plan's storage is used up.
    """
    stream = get_stream(act, stream_id)
    _require_storage(act)
    if act.session.scalars(usable(act.organization_id, stream.id).limit(1)).first() is None:
        raise ConflictError("no highlight of this stream has a clip yet: there is nothing to join")
    return add_reel(act, stream, wanted)


def add_reel(act: Act, stream: Stream, wanted: ReelCreate) -> Reel:
    """A reel that is to be made, and its work."""
    reel = Reel(
        id=new_id("reel"),
        organization_id=act.organization_id,
        stream_id=stream.id,
        target_seconds=wanted.target_seconds,
        tolerance=wanted.tolerance,
    )
    reel.job_id = _handed_in(act, REEL, reel.id, {})
    act.session.add(reel)
    act.session.flush()
    audit.record(act, "reel.requested", reel.id, stream=stream.id, target_seconds=wanted.target_seconds)
    return reel


def usable(organization_id: str, stream_id: str) -> Select[Highlight]:
    """The highlights that a reel can show, in order of time: judged, with a clip, and not voted to drop."""
    mine = Highlight.of(organization_id).where(Highlight.stream_id == stream_id)
    judged = mine.where(Highlight.state == "ready", Highlight.score.is_not(None))
    return judged.where(_not_dropped()).order_by(Highlight.start, Highlight.id)


def list_reels(act: Act, stream_id: str, page: PageQuery) -> tuple[Sequence[Reel], str | None]:
    """A stream's reels, newest first."""
    stream = get_stream(act, stream_id)
    mine = Reel.of(act.organization_id).where(Reel.stream_id == stream.id)
    return paginate(act.session, mine, Reel.id, page)


def reel_url(act: Act, reel_id: str, *, download: bool = False) -> str:
    """An address that opens the file for an hour; with `download` browsers save it.

    Raises:
        ConflictError: it is not there yet, or could not be made.
    """
    reel = Reel.get_for(act.session, act.organization_id, reel_id)
    if reel.state == "failed":
        raise ConflictError(f"it could not be made: {reel.error_message}")
    if reel.key is None:
        raise ConflictError("it is being made: ask for the reel, which says when it is there", retry_after=5)
    return act.runtime.storage.url(reel.key, expires=LINK, download_name="reel.mp4" if download else None)


def delete_reel(act: Act, reel_id: str) -> None:
    """Delete a reel with its file; what it took up is given back. The highlights stay."""
    reel = Reel.get_for(act.session, act.organization_id, reel_id, lock=True)
    remove_later(act.session, act.organization_id, [reel.key])
    give_back(act, reel.id, reel.stream_id, reel.stored_bytes)
    act.session.delete(reel)
    audit.record(act, "reel.deleted", reel.id, stream=reel.stream_id)
