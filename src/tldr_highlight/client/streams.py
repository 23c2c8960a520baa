"""Streams: sources that are submitted, and followed until their end."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, cast

from tldr_highlight.client.calls import Calls, at, given
from tldr_highlight.client.pages import Pages
from tldr_highlight.client.waiting import awaited

ENDED = frozenset({"completed", "partially_completed", "failed", "cancelled"})


@dataclass(frozen=True)
class Failure:
    """Why something did not work."""

    code: str
    message: str


@dataclass(frozen=True)
class StreamProgress:
    """How far a stream is."""

    analysed_seconds: float
    highlights: int
    percent: float | None = None
    times_realtime: float | None = None
    seconds_left: float | None = None


@dataclass(frozen=True)
class Waiting:
    """Why a stream does not move."""

    reason: str
    message: str
    next_at: datetime | None = None


@dataclass(frozen=True)
class JudgingType:
    """A type of the organization's own, as a stream remembers it."""

    id: str
    name: str
    version: int
    when: dict[str, float]
    match: str
    priority: int


@dataclass(frozen=True)
class Stream:
    """A stream, as it was when it was asked for."""

    id: str
    job_id: str
    state: str
    """`pending`, `processing`, `completed`, `partially_completed`, `failed` or `cancelled`."""
    source: str
    platform: str
    protocol: str
    progress: StreamProgress
    processing_options: dict[str, Any]
    created_at: datetime
    batch_id: str | None = None
    title: str | None = None
    upload_id: str | None = None
    dimension_set_id: str | None = None
    """None: a preset, which `processing_options` names."""
    dimension_set_version: int | None = None
    highlight_types: list[JudgingType] | None = None
    """The organization's that it is judged by, as they were when it was submitted; None: those of today."""
    cancelling: bool = False
    waiting: Waiting | None = None
    media: dict[str, Any] = field(default_factory=dict[str, Any])
    duration: float | None = None
    analyzer: str | None = None
    degraded: bool = False
    warnings: list[str] = field(default_factory=list[str])
    error: Failure | None = None
    started_at: datetime | None = None
    ended_at: datetime | None = None
    calls: Any = field(default=None, repr=False, compare=False)

    @property
    def ended(self) -> bool:
        """Whether nothing more will come."""
        return self.state in ENDED

    def refresh(self) -> Stream:
        """The stream as it is now."""
        return self._streams.get(self.id)

    def wait(
        self, timeout: float | None = None, on_progress: Callable[[Stream], None] = lambda stream: None
    ) -> Stream:
        """The stream at its end, however that is; see `state` and `error`.

        Args:
            timeout: Seconds to wait at most.
            on_progress: Told of the stream each time it is looked at.

        Raises:
            TimeoutError: it goes on still.
            ConnectionProblem, Unavailable: the server was away for two minutes.
        """
        return awaited(self, timeout, on_progress)

    def cancel(self) -> Stream:
        """Stop it; what it found stays."""
        return self._streams.cancel(self.id)

    @property
    def _streams(self) -> Streams:
        if self.calls is None:
            raise ValueError(f"this stream is out of a list: get it by its id, {self.id}")
        return cast("Streams", self.calls)


@dataclass(frozen=True)
class Job:
    """A unit of work."""

    id: str
    kind: str
    state: str
    """`waiting`, `running`, `done`, `failed` or `cancelled`."""
    attempts: int
    progress: dict[str, Any]
    held: bool
    """It waits for others of yours, by the plan's limits."""
    created_at: datetime
    object_id: str | None = None
    error: Failure | None = None
    next_at: datetime | None = None
    started_at: datetime | None = None
    ended_at: datetime | None = None


class Streams:
    """What was submitted."""

    def __init__(self, calls: Calls) -> None:
        self._calls = calls

    def create(
        self,
        source_url: str | None = None,
        *,
        upload_id: str | None = None,
        path: str | None = None,
        video_url: str | None = None,
        audio_url: str | None = None,
        headers: Mapping[str, str] | None = None,
        title: str | None = None,
        options: Mapping[str, Any] | None = None,
    ) -> Stream:
        """Submit a source: exactly one of the first three, or a pair of addresses.

        Args:
            source_url: Of a file, a playlist, or a platform's page.
            upload_id: Of a finished upload.
            path: On the server, where its operator allows that.
            video_url: Of the picture, with
            audio_url: that of the sound.
            headers: Sent with requests to the address's own host.
            title: For people.
            options: What is to be found: `{"dimension_set": "sports", "max_highlights": 10}`.

        Raises:
            Invalid: `source_url_not_allowed`, `validation_failed` …
            Problem: 402, the plan's minutes or storage are used up.
            RateLimited: `too_many_pending`.
        """
        body = given(
            source_url=source_url,
            upload_id=upload_id,
            path=path,
            video_url=video_url,
            audio_url=audio_url,
            headers=headers and dict(headers),
            title=title,
            processing_options=options and dict(options),
        )
        return self._one("POST", "/streams", body, creates=True)

    def list(
        self,
        *,
        state: str | None = None,
        platform: str | None = None,
        batch_id: str | None = None,
        created_after: datetime | None = None,
        created_before: datetime | None = None,
        limit: int | None = None,
    ) -> Pages[Stream]:
        """Streams, newest first; `get` one to wait for it or to cancel it."""
        filters = given(
            state=state,
            platform=platform,
            batch_id=batch_id,
            created_after=created_after,
            created_before=created_before,
        )
        return self._calls.pages(Stream, "/streams", limit, **filters)

    def get(self, stream_id: str) -> Stream:
        """One stream."""
        return self._one("GET", at("streams", stream_id))

    def rename(self, stream_id: str, title: str | None) -> Stream:
        """Give it another title, or none."""
        return self._one("PATCH", at("streams", stream_id), {"title": title})

    def cancel(self, stream_id: str) -> Stream:
        """Stop it; what it found stays. Within 10 s where it is processed: `cancelling` until then."""
        return self._one("POST", at("streams", stream_id, "cancel"))

    def retry(self, stream_id: str) -> Stream:
        """Let one that failed, was cancelled or is partly done go on where it ended."""
        return self._one("POST", at("streams", stream_id, "retry"))

    def job(self, job_id: str) -> Job:
        """A stream's work, or any other of yours."""
        return self._calls.one(Job, "GET", at("jobs", job_id))

    def delete(self, stream_id: str) -> None:
        """Remove it, whatever its state, with everything that came of it."""
        self._calls.do("DELETE", at("streams", stream_id))

    def _one(self, method: str, path: str, body: object = None, **how: Any) -> Stream:
        stream = self._calls.one(Stream, method, path, body, **how)
        object.__setattr__(stream, "calls", self)  # frozen is what was told, which this is no part of
        return stream


# --- batches -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Refused:
    """A source of a batch that was not taken."""

    index: int
    code: str
    message: str


@dataclass(frozen=True)
class Batch:
    """Streams that were submitted together."""

    id: str
    count: int
    refused: list[Refused]
    states: dict[str, int]
    """State -> how many of its streams are so far."""
    created_at: datetime
    title: str | None = None
    ended_at: datetime | None = None


@dataclass(frozen=True)
class BatchCreated(Batch):
    """A batch, and its streams in the order of their sources; later `streams.list(batch_id=…)` has them."""

    streams: list[Stream] = field(default_factory=list[Stream])


class Batches:
    """Many sources in one call."""

    def __init__(self, calls: Calls) -> None:
        self._calls = calls

    def create(
        self,
        sources: Sequence[str | Mapping[str, Any]],
        *,
        title: str | None = None,
        options: Mapping[str, Any] | None = None,
    ) -> BatchCreated:
        """Submit sources: addresses, or members as `POST /streams` has them. See `refused` of the answer."""
        listed = [{"source_url": each} if isinstance(each, str) else dict(each) for each in sources]
        body = given(sources=listed, title=title, processing_options=options and dict(options))
        return self._calls.one(BatchCreated, "POST", "/batches", body, creates=True)

    def list(self, *, limit: int | None = None) -> Pages[Batch]:
        """Batches, newest first."""
        return self._calls.pages(Batch, "/batches", limit)

    def get(self, batch_id: str) -> Batch:
        """One batch."""
        return self._calls.one(Batch, "GET", at("batches", batch_id))
