"""Clip jobs: at which address. The compatible calls are in `compat.py`."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Query

from tldr_highlight.clips import service
from tldr_highlight.clips.models import ClipFile, ClipItem, ClipJob
from tldr_highlight.clips.schemas import (
    ClipJobCreate,
    ClipJobOut,
    ClipJobsQuery,
    ClipJobSummary,
    ClipOut,
)
from tldr_highlight.core.shapes import Id, Page
from tldr_highlight.errors import (
    AddressError,
    ConflictError,
    NotFoundError,
    PathError,
    ProtocolError,
    QuotaError,
    UsageError,
)
from tldr_highlight.streams.schemas import ErrorOut
from tldr_highlight.tenancy.roles import Scope
from tldr_highlight.web import Call, Routes

REFUSALS = (
    AddressError,
    PathError,
    ProtocolError,
    UsageError,
    NotFoundError,
    ConflictError,
    QuotaError,
)
"""Why a list of clips is not taken."""

clip_jobs = Routes("/api/v1/clip-jobs", tag="clip jobs")


@clip_jobs.post("", scope=Scope.CLIPS_WRITE, status=202, creates=True, errors=REFUSALS)
def create_clip_job(call: Call, body: ClipJobCreate) -> ClipJobOut:
    """Cut clips. Exact ranges of one source become files, each verified; a range that fails fails alone.

    The answer comes at once. Ask for the job until it is `finished`, or take the event
    `clip_job.finished`. Ten minutes after its end (the operator may say otherwise) it is deleted, files
    included.
    """
    return _whole(call, service.create_job(call, service.order_of(body)))


@clip_jobs.get("", scope=Scope.CLIPS_READ)
def list_clip_jobs(call: Call, page: Annotated[ClipJobsQuery, Query()]) -> Page[ClipJobSummary]:
    """List clip jobs. Newest first, without their clips."""
    jobs, cursor = service.list_jobs(call, page)
    return Page(data=[ClipJobSummary(**_summary(job)) for job in jobs], next_cursor=cursor)


@clip_jobs.get("/{clip_job_id}", scope=Scope.CLIPS_READ)
def get_clip_job(call: Call, clip_job_id: Id) -> ClipJobOut:
    """Read one clip job, with links to the clips that are ready."""
    return _whole(call, service.get_job(call, clip_job_id))


@clip_jobs.delete("/{clip_job_id}", scope=Scope.CLIPS_WRITE, status=204)
def delete_clip_job(call: Call, clip_job_id: Id) -> None:
    """Delete a clip job. It is gone at once; what runs of it stops, and files go, within seconds."""
    service.delete_job(call, clip_job_id)


def _whole(call: Call, job: ClipJob) -> ClipJobOut:
    clips = [_clip(call, item, file) for item, file in service.clips_of(call, job)]
    return ClipJobOut(**_summary(job), clips=clips)


def _summary(job: ClipJob) -> dict[str, Any]:
    return {
        "id": job.id, "state": job.state, "source": job.source_label, "title": job.title,
        "resolver": job.resolver, "options": job.options, "total": job.total, "processed": job.processed,
        "error": _error(job), "created_at": job.created_at, "started_at": job.started_at,
        "completed_at": job.completed_at, "delete_at": job.delete_at,
    }  # fmt: skip


def _clip(call: Call, item: ClipItem, file: ClipFile | None) -> ClipOut:
    links: dict[str, Any] = {} if file is None else {"url": service.link(call.runtime, file.key)}
    if file is not None and file.poster_key is not None:
        links["poster_url"] = service.link(call.runtime, file.poster_key)
    return ClipOut(
        id=item.id, index=item.ordinal, state=item.state, start=item.start, end=item.end,  # pyright: ignore[reportArgumentType]
        file_name=item.filename, error=_error(item), **item.result, **links,
    )  # fmt: skip


def _error(row: ClipJob | ClipItem) -> ErrorOut | None:
    if row.error_code is None:
        return None
    return ErrorOut(code=row.error_code, message=row.error_message or "")
