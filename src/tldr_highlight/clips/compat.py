"""The compatible clip calls: addresses and shapes of the clip service, on the same jobs as `routes.py`.

Its clients' numbers are kept as they were written: `10.50` in a file's name is `10.50`. Names become no
files here: they are looked up among those of the caller's organization, so that there is nothing to break
out of.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, cast

from fastapi import Request
from fastapi.responses import StreamingResponse
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    WithJsonSchema,
)

from tldr_highlight.clips import service
from tldr_highlight.clips.models import ClipItem, ClipJob
from tldr_highlight.clips.names import safe, shortened
from tldr_highlight.clips.origins import stem_of
from tldr_highlight.clips.routes import REFUSALS
from tldr_highlight.clips.schemas import MOST_CLIPS
from tldr_highlight.clips.service import Order, Wanted
from tldr_highlight.core.shapes import Schema
from tldr_highlight.core.strict_json import Number
from tldr_highlight.errors import InvalidError, NotFoundError
from tldr_highlight.media.types import Origin, Remote
from tldr_highlight.runtime import Runtime
from tldr_highlight.settings import Settings
from tldr_highlight.storage.base import Body
from tldr_highlight.storage.serving import answer_of
from tldr_highlight.streams.sources import Source
from tldr_highlight.tenancy.roles import Scope
from tldr_highlight.usage.meter import Meter
from tldr_highlight.usage.quotas import Metric
from tldr_highlight.web import Call, Routes

compat = Routes("", tag="compatible clip calls")

VIDEO_ID = re.compile(r"(?!-)[A-Za-z0-9_-]{1,64}|[A-Za-z0-9_-]{11}", re.ASCII)
"""What a video can be called; YouTube's have 11 characters, of which the first may be a dash."""

LONGEST_NUMBER = 24
"""Characters of a number in a name; more is no time, and would make names that no file system takes."""

LONGEST_STEM = 100
"""Bytes of what names of a file at an address begin with."""

MB = 1_048_576

MADE = {"ready", "deleted"}
"""States of clips that were made; those whose file was deleted since are told still."""

JobId = Annotated[str, StringConstraints(max_length=400)]
Filename = Annotated[str, StringConstraints(max_length=400)]

CLIP = {
    "type": "object",
    "properties": {"start": {"type": "number"}, "end": {"type": "number"}},
    "required": ["start", "end"],
    "description": "Seconds; whatever else is in it is ignored.",
    "examples": [{"start": 10, "end": 20.5}],
}

# --- shapes --------------------------------------------------------------------------------------------


class ClipsWanted(BaseModel):
    """Clips of one video. Keys that nobody knows are ignored."""

    model_config = ConfigDict(
        extra="ignore",
        json_schema_extra={
            "examples": [{"video_id": "dQw4w9WgXcQ", "clips": [{"start": 10, "end": 20.5}]}],
        },
    )

    video_id: Annotated[str, StringConstraints(min_length=1, max_length=2048)] = Field(
        description="A YouTube id, or the http(s) address of a video.", examples=["dQw4w9WgXcQ"]
    )
    clips: Annotated[list[Annotated[Any, WithJsonSchema(CLIP)]], Field(min_length=1, max_length=MOST_CLIPS)]


class Told(Schema):
    """An answer; what it does not say is left out."""

    success: bool = Field(examples=[True])

    def model_dump_json(self, **_: object) -> str:  # pyright: ignore[reportIncompatibleMethodOverride]
        """As JSON, without what was not said."""
        return super().model_dump_json(exclude_unset=True)


class ClipsAccepted(Told):
    """A job that was taken."""

    job_id: str
    video_id: str = Field(examples=["dQw4w9WgXcQ"])
    status: str = Field(examples=["pending"])
    total_clips: int = Field(examples=[1])
    message: str = Field(examples=["1 clip is being cut: ask for the job until it is finished"])
    clip_filenames: list[str] = Field(examples=[["dQw4w9WgXcQ-10-20.5.mp4"]])


class ClipMade(Schema):
    """A clip that is there."""

    start: Any = Field(description="As it was written.", examples=[10])
    end: Any = Field(examples=[20.5])
    filename: str = Field(examples=["dQw4w9WgXcQ-10-20.5.mp4"])
    video_title: str | None = Field(examples=["Final"])
    resolution: str | None = Field(examples=["1920x1080"])
    file_size_mb: float = Field(examples=[7.13])
    url: str = Field(examples=["https://highlights.example.com/clips/dQw4w9WgXcQ-10-20.5.mp4"])


class ClipFailed(Schema):
    """A clip that could not be made."""

    index: int = Field(description="Among those asked for, from 0.", examples=[0])
    error: str = Field(examples=["range 42-12 s ends before it begins"])
    clip: Any = Field(description="As it was asked for.", examples=[{"start": 42, "end": 12}])


class _Job(Schema):
    job_id: str
    video_id: str = Field(examples=["dQw4w9WgXcQ"])
    status: str = Field(description="`pending`, `processing`, `finished` or `failed`.", examples=["finished"])
    created_at: datetime
    total: int = Field(examples=[1])
    processed: int = Field(description="Failed ones too.", examples=[1])
    clip_filenames: list[str] = Field(examples=[["dQw4w9WgXcQ-10-20.5.mp4"]])


class JobTold(_Job, Told):
    """How far a job is."""

    completed_at: datetime | None = Field(default=None, description="Once it is finished.")
    clips: list[ClipMade] = Field(default=[], description="Once it is finished.")
    errors: list[ClipFailed] = Field(default=[], description="Once it is finished.", examples=[[]])
    error_count: int = Field(default=0, description="Once it is finished.", examples=[0])
    error: str = Field(
        default="", description="Where it has failed.", examples=["the server has no such file"]
    )


class ClipListed(Schema):
    """A clip that can be had."""

    filename: str = Field(examples=["dQw4w9WgXcQ-10-20.5.mp4"])
    file_size_mb: float = Field(examples=[7.13])
    created_at: datetime
    url: str = Field(examples=["https://highlights.example.com/clips/dQw4w9WgXcQ-10-20.5.mp4"])


class ClipsTold(Told):
    """All clips."""

    total: int = Field(examples=[1])
    clips: list[ClipListed]


class JobsTold(Told):
    """All jobs, newest first."""

    total: int = Field(examples=[1])
    jobs: list[_Job]


class Done(Told):
    """It is done."""

    message: str = Field(examples=["the clip is deleted"])


class Cleared(Done):
    """They are deleted."""

    deleted: int = Field(description="How many.", examples=[1])


# --- jobs ----------------------------------------------------------------------------------------------


@compat.post("/api/create-clips", scope=Scope.CLIPS_WRITE, errors=REFUSALS, compatible=True)
def create_clips(call: Call, body: ClipsWanted) -> ClipsAccepted:
    """Cut clips, as the clip service takes them. The answer comes at once."""
    source, stem = _source(call.runtime.settings, body.video_id)
    clips = [_wanted(stem, clip) for clip in body.clips]
    job = service.create_job(call, Order(source, clips, video_id=body.video_id))
    number = "1 clip is" if job.total == 1 else f"{job.total} clips are"
    return ClipsAccepted(
        success=True, job_id=job.id, video_id=body.video_id, status="pending", total_clips=job.total,
        message=f"{number} being cut: ask for the job until it is finished",
        clip_filenames=[clip.filename for clip in clips],
    )  # fmt: skip


@compat.get("/api/check-job/{job_id}", scope=Scope.CLIPS_READ, compatible=True)
def check_job(call: Call, job_id: JobId) -> JobTold:
    """How far a job is, and its clips once it is finished. 404 ten minutes after its end."""
    job = _job(call, job_id)
    clips = service.clips_of(call, job)
    told = JobTold(success=True, **_told(job, [item for item, _ in clips]))
    if job.state == "failed":
        return told.model_copy(update={"error": job.error_message or ""})
    if job.state != "finished":
        return told
    errors = [_failed(item) for item, _ in clips if item.state == "failed"]
    return told.model_copy(
        update={
            "completed_at": job.completed_at,
            "clips": [
                _made(call.runtime, job, item) for item, _ in clips if item.state in {"ready", "deleted"}
            ],
            "errors": errors,
            "error_count": len(errors),
        }
    )


@compat.get("/api/jobs", scope=Scope.CLIPS_READ, compatible=True)
def list_compatible_jobs(call: Call) -> JobsTold:
    """All jobs that were made by these calls, newest first."""
    jobs = service.compatible_jobs(call)
    told = [_Job(**_told(job, items)) for job, items in jobs]
    return JobsTold(success=True, total=len(told), jobs=told)


@compat.delete("/api/jobs/{job_id}", scope=Scope.CLIPS_WRITE, compatible=True)
def delete_compatible_job(call: Call, job_id: JobId) -> Done:
    """Delete a job. It is gone at once, its files within seconds."""
    service.delete_job(call, _job(call, job_id).id)
    return Done(success=True, message="the job is deleted")


# --- clips ---------------------------------------------------------------------------------------------


@compat.get(
    "/clips/{filename}",
    scope=Scope.CLIPS_READ,
    media={"video/mp4": "the clip"},
    answers={206: "A part of it", 304: "It is what you have", 412: "It is another", 416: "It is shorter"},
    compatible=True,
)
def get_clip_file(call: Call, filename: Filename) -> StreamingResponse:
    """A clip: MP4, or the part of it that `Range` asks for."""
    file = service.newest_file(call, filename)
    if file is None:
        raise _no_clip()
    return _served(call.runtime, file.key, call.request)


@compat.get("/api/clips", scope=Scope.CLIPS_READ, compatible=True)
def list_clips(call: Call) -> ClipsTold:
    """All clips that can be had."""
    clips = [
        ClipListed(
            filename=name, file_size_mb=_megabytes(file.bytes), created_at=file.created_at,
            url=_url(call.runtime, name),
        )
        for name, file in service.compatible_files(call).items()
    ]  # fmt: skip
    return ClipsTold(success=True, total=len(clips), clips=clips)


@compat.delete("/api/clips/clear", scope=Scope.CLIPS_WRITE, compatible=True)
def clear_clips(call: Call) -> Cleared:
    """Delete all clips. Their jobs stay, as long as they do."""
    count = service.drop_files(call)
    return Cleared(success=True, message="all clips are deleted", deleted=count)


@compat.delete("/api/clips/{filename}", scope=Scope.CLIPS_WRITE, compatible=True)
def delete_clip(call: Call, filename: Filename) -> Done:
    """Delete a clip."""
    if not service.drop_files(call, filename):
        raise _no_clip()
    return Done(success=True, message="the clip is deleted")


# --- reading -------------------------------------------------------------------------------------------


def _source(settings: Settings, video_id: str) -> tuple[Source, str]:
    """What a `video_id` stands for, and what its clips' names begin with.

    Raises:
        InvalidError: nothing.
    """
    if VIDEO_ID.fullmatch(video_id):
        return Source(url=settings.compat_video_url.replace("{id}", video_id)), video_id
    if re.match(r"https?://", video_id, re.IGNORECASE):
        return Source(url=video_id), _stem(video_id, Remote(video_id))
    if settings.allow_local_paths is not None and Path(video_id).is_absolute():
        return Source(path=video_id), _stem(video_id, Path(video_id))
    raise InvalidError("video_id: give a YouTube id, or the http(s) address of a video")


def _stem(video_id: str, origin: Origin) -> str:
    """What a file is called, with what tells it from others of that name: those are many, `video.mp4` say."""
    mark = hashlib.sha256(video_id.encode()).hexdigest()[:8]
    return f"{shortened(safe(stem_of(origin)), LONGEST_STEM) or 'video'}-{mark}"


def _wanted(stem: str, clip: Any) -> Wanted:
    """A clip as it is asked for; what is wrong with it is told when its turn comes."""
    bounds = cast(dict[str, Any], clip) if isinstance(clip, dict) else {}
    start, end = bounds.get("start"), bounds.get("end")
    name = f"{stem}-{_text(start)}-{_text(end)}.mp4"
    return Wanted(_plain(clip), _number(start), _number(end), name)


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, Number) else None


def _text(value: Any) -> str:
    """A number as it was written; nothing for what is none."""
    return value.text[:LONGEST_NUMBER] if isinstance(value, Number) else ""


def _plain(value: Any) -> Any:
    """With numbers of Python's own, so that they are told as they came: 10 is not 10.0."""
    if isinstance(value, Number):
        return int(value.text) if re.fullmatch(r"-?\d+", value.text) else float(value)
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items()}  # pyright: ignore[reportUnknownVariableType]
    if isinstance(value, list):
        return [_plain(inner) for inner in value]  # pyright: ignore[reportUnknownVariableType]
    return value


def _job(call: Call, job_id: str) -> ClipJob:
    """A job that was made by these calls.

    Raises:
        NotFoundError: there is none, or none any more.
    """
    try:
        job = service.get_job(call, job_id)
    except NotFoundError:
        raise _no_job() from None
    if job.video_id is None:
        raise _no_job()
    return job


def _no_job() -> NotFoundError:
    return NotFoundError("there is no such job, or none any more")


def _no_clip() -> NotFoundError:
    return NotFoundError("there is no such clip, or none any more")


# --- telling -------------------------------------------------------------------------------------------


def _told(job: ClipJob, items: list[ClipItem]) -> dict[str, Any]:
    return {
        "job_id": job.id, "video_id": job.video_id, "status": job.state, "created_at": job.created_at,
        "total": job.total, "processed": job.processed, "clip_filenames": [item.filename for item in items],
    }  # fmt: skip


def _made(runtime: Runtime, job: ClipJob, item: ClipItem) -> ClipMade:
    result = item.result
    size = f"{result['width']}x{result['height']}" if result["width"] else None
    return ClipMade(
        start=item.asked["start"], end=item.asked["end"], filename=item.filename, video_title=job.title,
        resolution=size, file_size_mb=_megabytes(result["bytes"]), url=_url(runtime, item.filename),
    )  # fmt: skip


def _failed(item: ClipItem) -> ClipFailed:
    return ClipFailed(index=item.ordinal, error=item.error_message or "", clip=item.asked)


def _megabytes(size: int) -> float:
    return round(size / MB, 2)


def _url(runtime: Runtime, filename: str) -> str:
    return f"{runtime.url}/clips/{filename}"


def _served(runtime: Runtime, key: str, request: Request) -> StreamingResponse:
    """A stored file, or a part of it."""
    stored = runtime.storage.stat(key)
    method = "HEAD" if request.state.bodiless else request.method
    answer = answer_of(stored, method, request.headers)
    if answer.start == answer.end:
        return StreamingResponse(iter(()), answer.status, answer.headers)
    body = runtime.storage.open(key, answer.start, answer.end)
    return StreamingResponse(_pieces(body, request.app.state.meter), answer.status, answer.headers)


def _pieces(body: Body, meter: Meter) -> Iterator[bytes]:
    """What is left of a file, counted as it is taken."""
    owner = body.stored.key.partition("/")[0]
    with body:
        for data in body:
            yield data
            meter.add(owner, Metric.DELIVERED_BYTES, len(data))
