"""A stream's progress, followed while it is made."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Mapping
from typing import Annotated

from fastapi import Header, Query
from pydantic import StringConstraints
from sqlalchemy import select
from sqlalchemy.orm import Session

from tldr_highlight.core.shapes import Id
from tldr_highlight.core.work import Work
from tldr_highlight.errors import BusyError, LimitError
from tldr_highlight.runtime import Act
from tldr_highlight.streams.models import ONGOING, Stream, StreamState
from tldr_highlight.streams.progress import progress_of
from tldr_highlight.streams.schemas import ProgressOut
from tldr_highlight.tenancy.roles import Scope
from tldr_highlight.web import Call, Routes
from tldr_highlight.web.listening import EventStream, News, Told, Watch

PROGRESS_ID = r"^[a-z_]{1,32}-[0-9]{1,18}-[0-9]{1,18}$"
"""What an event of progress is called: state, milliseconds analysed, highlights."""

progress = Routes("/api/v1/streams", tag="streams")


class ProgressTold(ProgressOut):
    """How far a stream has come, as those who follow it are told."""

    stream_id: str
    state: StreamState
    duration: float | None


def told_of(stream: Stream, work: Work | None) -> ProgressTold:
    """What there is to tell now."""
    return ProgressTold(
        **progress_of(stream, work).model_dump(),
        stream_id=stream.id,
        state=StreamState(stream.state),
        duration=stream.duration,
    )


def progress_stream(act: Act, stream_id: str, after: str | None, *, follow: bool = True) -> EventStream:
    """Progress as it is made, to the stream's end; nothing where the caller has heard of that."""
    runtime, organization_id = act.runtime, act.organization_id
    stream = Stream.get_for(act.session, organization_id, stream_id)

    def poll(after: str | None) -> News:
        with runtime.db.read() as session:
            stream = Stream.get_for(session, organization_id, stream_id)
            work = session.get(Work, stream.job_id)
        id = _id(stream)
        told = [Told(id, "progress", told_of(stream, work).model_dump_json())] if id != after else []
        return News(told, over=stream.state not in ONGOING)

    heard = stream.state not in ONGOING and after == _id(stream)
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
