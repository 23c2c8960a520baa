"""Streams, their work and batches: at which address."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from fastapi import Query

from tldr_highlight.errors import (
    AddressError,
    ConflictError,
    NotFoundError,
    PathError,
    PendingError,
    ProtocolError,
    QuotaError,
    UsageError,
)
from tldr_highlight.streams import service
from tldr_highlight.streams.models import Stream
from tldr_highlight.streams.progress import job_shown, shown
from tldr_highlight.streams.schemas import JobOut, StreamCreate, StreamOut, StreamsQuery
from tldr_highlight.tenancy.roles import Scope
from tldr_highlight.web import Call, Id, Page, Routes

streams = Routes("/api/v1/streams", tag="streams")
jobs = Routes("/api/v1/jobs", tag="streams")

REFUSALS = (
    AddressError, PathError, ProtocolError, UsageError, NotFoundError, ConflictError, QuotaError, PendingError
)  # fmt: skip


@streams.post("", scope=Scope.STREAMS_WRITE, status=202, creates=True, errors=REFUSALS)
def submit_stream(call: Call, body: StreamCreate) -> StreamOut:
    """Submit a source. Its highlights are found, cut and published one by one, as soon as each is certain.

    It is looked at by a worker, so that an address nobody answers at shows later, in the stream's `error`.
    Over the plan's concurrent streams it waits as `pending`.
    """
    stream = service.submit(call, body)
    call.headers["Location"] = f"/api/v1/streams/{stream.id}"
    return _shown(call, [stream])[0]


@streams.get("", scope=Scope.STREAMS_READ)
def list_streams(call: Call, page: Annotated[StreamsQuery, Query()]) -> Page[StreamOut]:
    """List streams. Newest first."""
    rows, cursor = service.list_streams(call, page)
    return Page(data=_shown(call, rows), next_cursor=cursor)


@streams.get("/{stream_id}", scope=Scope.STREAMS_READ)
def get_stream(call: Call, stream_id: Id) -> StreamOut:
    """Read one stream: how far it is, what it waits for, how it ended."""
    return _shown(call, [service.get_stream(call, stream_id)])[0]


@jobs.get("/{job_id}", scope=Scope.STREAMS_READ)
def get_job(call: Call, job_id: Id) -> JobOut:
    """Read one unit of work: of a stream, a clip job, or whatever else is done for you."""
    return job_shown(service.get_job(call, job_id))


def _shown(call: Call, streams: Sequence[Stream]) -> list[StreamOut]:
    works = service.works_of(call, streams)
    most = service.concurrent_streams(call)
    return [shown(stream, works.get(stream.job_id), most) for stream in streams]
