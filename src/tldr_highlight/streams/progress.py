"""How far a stream is, and what it waits for.

Between two checkpoints a stream's work tells more than the stream: its `progress` has `analysed_seconds` and
`times_realtime`.
"""

from __future__ import annotations

from tldr_highlight.core.work import NEVER, Work
from tldr_highlight.streams.models import ONGOING, Stream, StreamState
from tldr_highlight.streams.schemas import (
    ErrorOut,
    JobOut,
    JudgingTypeOut,
    ProgressOut,
    StreamOut,
    WaitingOut,
)

MOST_WHILE_GOING = 99.9
"""Percent of what has not ended: clips are still to be cut when all is analysed."""


def progress_of(stream: Stream, work: Work | None) -> ProgressOut:
    """How far it is; without its work as of the last checkpoint, and not how fast."""
    told = work.progress if work is not None and stream.state in ONGOING else {}
    analysed = max(stream.analysed_seconds, told.get("analysed_seconds", 0.0))
    speed: float | None = told.get("times_realtime")
    left = None if stream.duration is None or not speed else max(0.0, stream.duration - analysed) / speed
    return ProgressOut(
        percent=_percent(stream, analysed),
        analysed_seconds=round(analysed, 3),
        times_realtime=None if speed is None else round(speed, 2),
        seconds_left=None if left is None else round(left, 1),
        highlights=stream.highlight_count,
    )


def _percent(stream: Stream, analysed: float) -> float | None:
    if stream.state == StreamState.COMPLETED:
        return 100.0
    if not stream.duration:
        return None
    return round(min(100 * analysed / stream.duration, MOST_WHILE_GOING), 1)


def waiting_of(stream: Stream, work: Work | None, concurrent_streams: int) -> WaitingOut | None:
    """Why it does not move; None: it does, or it has ended."""
    if stream.state not in ONGOING or work is None or work.state != "waiting":
        return None
    if not stream.admitted:
        message = f"the plan processes {concurrent_streams} streams at a time"
        return WaitingOut(reason="concurrent_streams", message=message, next_at=None)
    if work.error_code is not None:
        return WaitingOut(reason=work.error_code, message=work.error_message or "", next_at=work.run_at)
    return WaitingOut(reason="worker", message="it waits for its turn", next_at=None)


def shown(stream: Stream, work: Work | None, concurrent_streams: int) -> StreamOut:
    """A stream as it is told."""
    return StreamOut(
        id=stream.id,
        job_id=stream.job_id,
        batch_id=stream.batch_id,
        title=stream.title,
        source=stream.source_label,
        source_kind=stream.source_kind,
        upload_id=stream.upload_id,
        platform=stream.platform,
        protocol=stream.protocol,
        processing_options=stream.options,
        dimension_set_id=stream.dimension_set_id,
        dimension_set_version=stream.dimension_set_version,
        highlight_types=_types(stream),
        state=StreamState(stream.state),
        cancelling=work is not None and work.state == "running" and work.cancel_asked,
        waiting=waiting_of(stream, work, concurrent_streams),
        progress=progress_of(stream, work),
        media=stream.media,
        duration=stream.duration,
        analyzer=stream.analyzer,
        degraded=stream.degraded,
        warnings=stream.warnings,
        error=_error(stream.error_code, stream.error_message),
        created_at=stream.created_at,
        started_at=stream.started_at,
        ended_at=stream.ended_at,
    )


def _types(stream: Stream) -> list[JudgingTypeOut] | None:
    if stream.highlight_types is None:
        return None
    return [
        JudgingTypeOut(id=each["id"], name=each["name"], version=each["version"], **each["rule"])
        for each in stream.highlight_types
    ]


def job_shown(work: Work) -> JobOut:
    """A unit of work as it is told."""
    waits = work.state == "waiting"
    held = waits and work.run_at == NEVER
    return JobOut(
        id=work.id,
        kind=work.kind,
        object_id=work.object_id,
        state=work.state,
        attempts=work.attempts,
        progress=work.progress,
        error=_error(work.error_code, work.error_message),
        held=held,
        next_at=work.run_at if waits and not held else None,
        created_at=work.created_at,
        started_at=work.started_at,
        ended_at=work.ended_at,
    )


def _error(code: str | None, message: str | None) -> ErrorOut | None:
    return None if code is None else ErrorOut(code=code, message=message or "")
