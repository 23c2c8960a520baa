"""Clip jobs: ranges of one source, cut exactly."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, cast

from tldr_highlight.client.calls import Calls, at, given
from tldr_highlight.client.pages import Pages
from tldr_highlight.client.streams import Failure
from tldr_highlight.client.waiting import awaited

ENDED = frozenset({"finished", "failed"})

Range = tuple[float, float] | Mapping[str, Any]
"""Start and end in seconds; or a dict, which can have a `name`, too."""


@dataclass(frozen=True)
class Clip:
    """One clip of a job."""

    id: str
    index: int
    state: str
    """`pending`, `ready`, `failed`, or `deleted`: its file alone was."""
    file_name: str
    start: float | None
    end: float | None
    actual_start: float | None = None
    actual_end: float | None = None
    frames: int | None = None
    method: str | None = None
    width: int | None = None
    height: int | None = None
    bytes: int | None = None
    sha256: str | None = None
    url: str | None = field(default=None, repr=False)
    """Opens the file, for an hour."""
    poster_url: str | None = field(default=None, repr=False)
    error: Failure | None = None


@dataclass(frozen=True)
class ClipJobSummary:
    """A clip job, as lists have it."""

    id: str
    state: str
    """`pending`, `processing`, `finished` or `failed`."""
    source: str
    total: int
    processed: int
    options: dict[str, Any]
    created_at: datetime
    title: str | None
    resolver: str | None
    error: Failure | None
    started_at: datetime | None
    completed_at: datetime | None
    delete_at: datetime | None
    """When it goes, with its files."""

    @property
    def ended(self) -> bool:
        """Whether nothing more will come."""
        return self.state in ENDED


@dataclass(frozen=True)
class ClipJob(ClipJobSummary):
    """A clip job with its clips, as it was when it was asked for."""

    clips: list[Clip]
    calls: Any = field(default=None, repr=False, compare=False)

    def refresh(self) -> ClipJob:
        """The job as it is now."""
        return cast("ClipJobs", self.calls).get(self.id)

    def wait(self, timeout: float | None = None) -> ClipJob:
        """The job at its end. That is `finished` also where clips failed: look at each one's `error`.

        Raises:
            TimeoutError: it goes on still after so many seconds.
            ConnectionProblem, Unavailable: the server was away for two minutes.
        """
        return awaited(self, timeout)


class ClipJobs:
    """Ranges in, exact clips out."""

    def __init__(self, calls: Calls) -> None:
        self._calls = calls

    def create(
        self,
        source_url: str | None = None,
        *,
        clips: Sequence[Range],
        upload_id: str | None = None,
        path: str | None = None,
        video_url: str | None = None,
        audio_url: str | None = None,
        headers: Mapping[str, str] | None = None,
        title: str | None = None,
        options: Mapping[str, Any] | None = None,
        file_name: str | None = None,
    ) -> ClipJob:
        """Have clips cut. The answer comes at once; `wait()` on it.

        Args:
            source_url: A file, a playlist, or a page.
            clips: Their ranges.
            upload_id: A finished upload, instead of an address.
            path: A file on the server, in a folder that its operator opened.
            video_url: Of the picture, where the sound has an address of its own.
            audio_url: Of the sound.
            headers: Sent with requests to the address's own host.
            title: Of the source.
            options: `mode`, `quality`, `watermark`, `loudness`, `clamp`, `posters`.
            file_name: What files are called: `{source}-{index:03}`.
        """
        body = given(
            source_url=source_url,
            clips=[_asked(clip) for clip in clips],
            upload_id=upload_id,
            path=path,
            video_url=video_url,
            audio_url=audio_url,
            headers=headers,
            title=title,
            options=options,
            file_name=file_name,
        )
        return self._with_calls(self._calls.one(ClipJob, "POST", "/clip-jobs", body, creates=True))

    def list(self, *, state: str | None = None, limit: int | None = None) -> Pages[ClipJobSummary]:
        """All clip jobs that are there, newest first."""
        return self._calls.pages(ClipJobSummary, "/clip-jobs", limit, state=state)

    def get(self, clip_job_id: str) -> ClipJob:
        """One clip job, with links to what is ready."""
        return self._with_calls(self._calls.one(ClipJob, "GET", at("clip-jobs", clip_job_id)))

    def delete(self, clip_job_id: str) -> None:
        """End and delete a clip job, with its files."""
        self._calls.do("DELETE", at("clip-jobs", clip_job_id))

    def _with_calls(self, job: ClipJob) -> ClipJob:
        object.__setattr__(job, "calls", self)
        return job


def _asked(clip: Range) -> dict[str, Any]:
    if isinstance(clip, Mapping):
        return dict(clip)
    start, end = clip
    return {"start": start, "end": end}
