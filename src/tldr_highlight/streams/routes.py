"""Streams, their work and batches: at which address."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from fastapi import Query

from tldr_highlight.core.shapes import Id, Page, PageQuery
from tldr_highlight.errors import (
    ConflictError,
    PendingError,
    QuotaError,
)
from tldr_highlight.streams import batches as batches_service
from tldr_highlight.streams import service, steering
from tldr_highlight.streams.models import Batch, Stream
from tldr_highlight.streams.progress import job_shown, shown
from tldr_highlight.streams.schemas import (
    BatchCreate,
    BatchCreated,
    BatchOut,
    JobOut,
    RefusedOut,
    StreamCreate,
    StreamOut,
    StreamPatch,
    StreamsQuery,
)
from tldr_highlight.tenancy.roles import Scope
from tldr_highlight.web import Call, Routes

streams = Routes("/api/v1/streams", tag="streams")
jobs = Routes("/api/v1/jobs", tag="streams")
batches = Routes("/api/v1/batches", tag="streams")

REFUSALS = service.REFUSALS
NO_RETRY = (ConflictError, QuotaError, PendingError)


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


@streams.patch("/{stream_id}", scope=Scope.STREAMS_WRITE)
def change_stream(call: Call, stream_id: Id, body: StreamPatch) -> StreamOut:
    """Change a stream's title."""
    return _shown(call, [steering.change_stream(call, stream_id, body)])[0]


@streams.post("/{stream_id}/cancel", scope=Scope.STREAMS_WRITE, status=202, errors=[ConflictError])
def cancel_stream(call: Call, stream_id: Id) -> StreamOut:
    """Cancel a stream. At once while it waits, within 10 s while it is processed (`cancelling` until then).

    What it had found stays. Cancelling it again changes nothing.
    """
    return _shown(call, [steering.cancel(call, stream_id)])[0]


@streams.post(
    "/{stream_id}/retry",
    scope=Scope.STREAMS_WRITE,
    status=202,
    errors=[ConflictError, QuotaError, PendingError],
)
def retry_stream(call: Call, stream_id: Id) -> StreamOut:
    """Try a stream again that failed, was cancelled or is partly done. It goes on where it ended.

    Highlights that were published stay, and are not published twice.
    """
    return _shown(call, [steering.retry(call, stream_id)])[0]


@streams.delete("/{stream_id}", scope=Scope.STREAMS_DELETE, status=204)
def delete_stream(call: Call, stream_id: Id) -> None:
    """Delete a stream, whatever its state, with its highlights, clips and reels. They cannot be had back."""
    steering.delete_stream(call, stream_id)


@jobs.get("/{job_id}", scope=Scope.STREAMS_READ)
def get_job(call: Call, job_id: Id) -> JobOut:
    """Read one unit of work: of a stream, a clip job, or whatever else is done for you."""
    return job_shown(service.get_job(call, job_id))


@batches.post("", scope=Scope.STREAMS_WRITE, status=202, creates=True, errors=(QuotaError,))
def submit_batch(call: Call, body: BatchCreate) -> BatchCreated:
    """Submit many sources. Those that cannot be taken are listed in `refused`; the others are streams.

    `batch.completed` tells when all of them have ended.
    """
    batch, rows = batches_service.submit_batch(call, body)
    call.headers["Location"] = f"/api/v1/batches/{batch.id}"
    told = _batches_shown(call, [batch])[0]
    return BatchCreated(**told.model_dump(), streams=_shown(call, rows))


@batches.get("", scope=Scope.STREAMS_READ)
def list_batches(call: Call, page: Annotated[PageQuery, Query()]) -> Page[BatchOut]:
    """List batches. Newest first."""
    rows, cursor = batches_service.list_batches(call, page)
    return Page(data=_batches_shown(call, rows), next_cursor=cursor)


@batches.get("/{batch_id}", scope=Scope.STREAMS_READ)
def get_batch(call: Call, batch_id: Id) -> BatchOut:
    """Read one batch: how many of its streams are how far. List streams with `batch_id` to see them."""
    return _batches_shown(call, [batches_service.get_batch(call, batch_id)])[0]


def _batches_shown(call: Call, rows: Sequence[Batch]) -> list[BatchOut]:
    states = batches_service.states_of(call, rows)
    return [
        BatchOut(
            id=batch.id,
            title=batch.title,
            count=batch.count,
            refused=[RefusedOut(**each) for each in batch.refused],
            states=states.get(batch.id, {}),
            created_at=batch.created_at,
            ended_at=batch.ended_at,
        )
        for batch in rows
    ]


def _shown(call: Call, streams: Sequence[Stream]) -> list[StreamOut]:
    works = service.works_of(call, streams)
    most = service.concurrent_streams(call)
    return [shown(stream, works.get(stream.job_id), most) for stream in streams]
