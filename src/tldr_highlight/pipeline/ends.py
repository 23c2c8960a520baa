"""What becomes of a stream when its work is over, in the transaction that stores that."""

from __future__ import annotations

from typing import Any

from sqlalchemy.orm import Session

from tldr_highlight.core.db import now
from tldr_highlight.core.telemetry import message_of
from tldr_highlight.core.work import Work, after_commit
from tldr_highlight.errors import ConflictError, TldrError
from tldr_highlight.highlights.models import Highlight
from tldr_highlight.pipeline import publish
from tldr_highlight.runtime import Act, Caller, Runtime
from tldr_highlight.streams import results, service
from tldr_highlight.streams.models import ONGOING, Stream, StreamState
from tldr_highlight.streams.results_schemas import ReelCreate
from tldr_highlight.webhooks.catalogue import (
    Payload,
    StreamCancelled,
    StreamCompleted,
    StreamFailed,
    StreamPartiallyCompleted,
)
from tldr_highlight.webhooks.events import emit


def ended(session: Session, runtime: Runtime, work: Work, error: TldrError | None) -> None:
    """Tell how it ended, and give its place to the next one.

    A stream of which something was analysed has partly succeeded, whatever came then; its highlights stay.
    """
    mine = Stream.of(work.organization_id or "").where(Stream.id == work.object_id)
    stream = session.scalar(mine.with_for_update())
    if stream is None or stream.state not in ONGOING:
        return
    stream.ended_at = now()
    stream.error_code = error and error.code
    stream.error_message = error and message_of(error)[:2000]
    stream.state, event = _end(stream, work, error)
    service.ended(session, runtime, stream)
    if stream.state == StreamState.COMPLETED:
        _ask_for_reel(session, runtime, stream)
    else:
        _give_up_clips(session, stream, error)
    emit(session, stream.organization_id, event, stream_id=stream.id)
    runtime.faults.at("ended-uncommitted")
    after_commit(session, lambda: runtime.faults.at("ended"))


def _end(stream: Stream, work: Work, error: TldrError | None) -> tuple[StreamState, Payload]:
    totals: dict[str, Any] = {
        "stream_id": stream.id,
        "duration": stream.duration,
        "analysed_seconds": stream.analysed_seconds,
        "highlights": stream.highlight_count,
        "degraded": stream.degraded,
        "warnings": stream.warnings,
    }
    if work.state == "cancelled":
        return StreamState.CANCELLED, StreamCancelled(stream_id=stream.id, highlights=stream.highlight_count)
    if error is None:
        return StreamState.COMPLETED, StreamCompleted(**totals)
    told: dict[str, Any] = {"error_code": error.code, "error_message": stream.error_message or ""}
    if stream.analysed_seconds > 0:
        return StreamState.PARTIALLY_COMPLETED, StreamPartiallyCompleted(**totals, **told)
    return StreamState.FAILED, StreamFailed(stream_id=stream.id, **told)


def _give_up_clips(session: Session, stream: Stream, error: TldrError | None) -> None:
    """Clips that were still to be cut are not, unless somebody tries the stream again."""
    found = Highlight.of(stream.organization_id).where(Highlight.stream_id == stream.id)
    uncut = found.where(Highlight.origin == "analysis", Highlight.state == "detected")
    for highlight in session.scalars(uncut.order_by(Highlight.ordinal).with_for_update()):
        publish.failed(
            session, highlight, error or ConflictError("its stream was cancelled before it was cut")
        )


def _ask_for_reel(session: Session, runtime: Runtime, stream: Stream) -> None:
    """Have the highlights joined, if that was asked for with the stream and there is something to join."""
    seconds: float | None = stream.options.get("reel_seconds")
    if seconds is not None and session.scalar(results.usable(stream.organization_id, stream.id).limit(1)):
        act = Act(runtime, Caller(stream.organization_id, name="system"), session=session)
        results.add_reel(act, stream, ReelCreate(target_seconds=seconds))
