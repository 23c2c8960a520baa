"""How far a stream has come: read, and followed."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Mapping
from datetime import datetime
from typing import Annotated, Literal

from fastapi import Header, Query
from pydantic import StringConstraints
from sqlalchemy import select
from sqlalchemy.orm import Session

from tldr_highlight.core.db import now
from tldr_highlight.errors import BusyError, LimitError
from tldr_highlight.runtime import Act
from tldr_highlight.streams.models import Stream
from tldr_highlight.tenancy.roles import Scope
from tldr_highlight.web import Call, Id, Routes, Schema
from tldr_highlight.web.listening import EventStream, News, Told, Watch

State = Literal["pending", "processing", "completed", "partially_completed", "failed", "cancelled"]

ENDED = frozenset({"completed", "partially_completed", "failed", "cancelled"})
"""States that a stream stays in, unless it is tried again."""

PROGRESS_ID = r"^[a-z_]{1,32}-[0-9]{1,18}-[0-9]{1,18}$"
"""What an event of progress is called: state, milliseconds analysed, highlights."""

progress = Routes("/api/v1/streams", tag="streams")


class ProgressOut(Schema):
    """How far a stream has come."""

    stream_id: str
    state: State
    percent: float | None  # none where the length is not known
    analysed_seconds: float
    duration: float | None
    highlights: int
    times_realtime: float | None  # seconds of media in a second of ours
    seconds_left: float | None


def progress_of(stream: Stream, at: datetime) -> ProgressOut:
    """How far a stream has come at a moment; what is not known yet is none."""
    done, duration = stream.analysed_seconds, stream.duration
    until = stream.ended_at or at
    seconds = (until - stream.started_at).total_seconds() if stream.started_at else 0.0
    speed = done / seconds if done > 0 and seconds > 0 else None
    left = max(0.0, duration - done) / speed if speed and duration and stream.state == "processing" else None
    return ProgressOut(
        stream_id=stream.id,
        state=stream.state,  # pyright: ignore[reportArgumentType]
        percent=_percent(stream),
        analysed_seconds=round(done, 3),
        duration=duration,
        highlights=stream.highlight_count,
        times_realtime=None if speed is None else round(speed, 2),
        seconds_left=None if left is None else round(left, 1),
    )


def _percent(stream: Stream) -> float | None:
    if stream.state == "completed":
        return 100.0
    if not stream.duration:
        return None
    return round(min(100.0, 100 * stream.analysed_seconds / stream.duration), 1)


def progress_stream(act: Act, stream_id: str, after: str | None, *, follow: bool = True) -> EventStream:
    """Progress as it is made, to the stream's end; nothing where the caller has heard of that."""
    runtime, organization_id = act.runtime, act.organization_id
    stream = Stream.get_for(act.session, organization_id, stream_id)

    def poll(after: str | None) -> News:
        with runtime.db.read() as session:
            stream = Stream.get_for(session, organization_id, stream_id)
        id = _id(stream)
        told = [Told(id, "progress", progress_of(stream, now()).model_dump_json())] if id != after else []
        return News(told, over=stream.state in ENDED)

    heard = stream.state in ENDED and after == _id(stream)
    return EventStream(poll, Watch(versions, stream_id), after=after, follow=follow, heard=heard)


def versions(session: Session, streams: Collection[str]) -> Mapping[str, Hashable]:
    """Stream -> how far it is."""
    query = select(Stream.id, Stream.state, Stream.analysed_seconds, Stream.highlight_count)
    found = session.execute(query.where(Stream.id.in_(streams)))
    return {row[0]: tuple(row[1:]) for row in found}


def _id(stream: Stream) -> str:
    return f"{stream.state}-{stream.analysed_seconds * 1000:.0f}-{stream.highlight_count}"


@progress.get(
    "/{stream_id}/progress",
    scope=Scope.STREAMS_READ,
    answers={204: "You have heard the end already: do not come again"},
    errors=[LimitError, BusyError],
)
def follow_stream(
    call: Call,
    stream_id: Id,
    follow: Annotated[bool, Query(description="Go on to the stream's end; else tell how far it is.")] = True,
    last_event_id: Annotated[
        Annotated[str, StringConstraints(pattern=PROGRESS_ID)] | None,
        Header(description="Id of the last event that you have.", examples=["processing-120500-3"]),
    ] = None,
) -> EventStream:
    """Follow a stream. Server-sent events named `progress`: one at once, one whenever it is further, the last
    with the state it ended in."""
    return progress_stream(call, stream_id, last_event_id, follow=follow)
