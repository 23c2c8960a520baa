"""Everything that can happen: each type of event, and what its `data` says. Documentation comes from here."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict


class EventType(StrEnum):
    """Everything that customers are told of."""

    STREAM_STARTED = "stream.started"
    STREAM_PROGRESS = "stream.progress"
    STREAM_COMPLETED = "stream.completed"
    STREAM_PARTIALLY_COMPLETED = "stream.partially_completed"
    STREAM_FAILED = "stream.failed"
    STREAM_CANCELLED = "stream.cancelled"
    HIGHLIGHT_DETECTED = "highlight.detected"
    HIGHLIGHT_READY = "highlight.ready"  # its clip can be had
    HIGHLIGHT_FAILED = "highlight.failed"  # its clip could not be made
    REEL_READY = "reel.ready"
    REEL_FAILED = "reel.failed"
    CLIP_JOB_FINISHED = "clip_job.finished"
    CLIP_JOB_FAILED = "clip_job.failed"
    BATCH_COMPLETED = "batch.completed"
    USAGE_WARNING = "usage.warning"
    USAGE_EXCEEDED = "usage.exceeded"
    PLAN_CHANGED = "plan.changed"
    WEBHOOK_TEST = "webhook.test"
    WEBHOOK_DISABLED = "webhook.disabled"
    CONTENT_EXPIRING = "content.expiring"


class Payload(BaseModel):
    """What an event says. Never a secret, never a link that opens something: events are kept."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    type: ClassVar[EventType]


# --- streams -------------------------------------------------------------------------------------------


class StreamStarted(Payload):
    """A worker has begun with a stream."""

    type = EventType.STREAM_STARTED

    stream_id: str
    title: str | None
    source: str  # what of it may be shown
    platform: str


class StreamProgress(Payload):
    """How far a stream has come; told when another tenth is done, for most recordings."""

    type = EventType.STREAM_PROGRESS

    stream_id: str
    percent: float | None  # none where the length is not known
    analysed_seconds: float
    highlights: int
    times_realtime: float | None
    seconds_left: float | None


class _StreamEnd(Payload):
    stream_id: str
    duration: float | None
    analysed_seconds: float
    highlights: int
    degraded: bool
    warnings: list[str]


class StreamCompleted(_StreamEnd):
    """All of a stream was analysed, and its highlights are there."""

    type = EventType.STREAM_COMPLETED


class StreamPartiallyCompleted(_StreamEnd):
    """A part of a stream was analysed; the highlights in it are there. It can be tried again from there."""

    type = EventType.STREAM_PARTIALLY_COMPLETED

    error_code: str
    error_message: str


class StreamFailed(Payload):
    """Nothing came of a stream."""

    type = EventType.STREAM_FAILED

    stream_id: str
    error_code: str
    error_message: str


class StreamCancelled(Payload):
    """Somebody did not want a stream any more; highlights that were published stay."""

    type = EventType.STREAM_CANCELLED

    stream_id: str
    highlights: int


# --- highlights ----------------------------------------------------------------------------------------


class _HighlightEvent(Payload):
    highlight_id: str
    stream_id: str
    start: float
    end: float
    peak: float
    score: float | None
    confidence: float | None
    types: list[str]
    title: str
    clip_start: float
    clip_end: float


class HighlightDetected(_HighlightEvent):
    """A highlight was found; its clip is being cut."""

    type = EventType.HIGHLIGHT_DETECTED


class HighlightReady(_HighlightEvent):
    """A highlight's clip can be had: `GET /api/v1/highlights/{highlight_id}/clip`."""

    type = EventType.HIGHLIGHT_READY

    clip_bytes: int
    clip_sha256: str
    has_thumbnail: bool


class HighlightFailed(_HighlightEvent):
    """A highlight's clip could not be made. Where it was found, it is tried again with its stream."""

    type = EventType.HIGHLIGHT_FAILED

    error_code: str
    error_message: str


class ReelReady(Payload):
    """A reel can be had: `GET /api/v1/reels/{reel_id}/video`."""

    type = EventType.REEL_READY

    reel_id: str
    stream_id: str
    target_seconds: float
    seconds: float
    note: str | None  # why it is not as long as it should be


class ReelFailed(Payload):
    """A reel could not be made."""

    type = EventType.REEL_FAILED

    reel_id: str
    stream_id: str
    error_code: str
    error_message: str


# --- clip jobs and batches -----------------------------------------------------------------------------


class ClipJobFinished(Payload):
    """Every clip of a list was tried; those that failed are counted, and may be all."""

    type = EventType.CLIP_JOB_FINISHED

    clip_job_id: str
    total: int
    succeeded: int
    failed: int
    delete_at: datetime | None


class ClipJobFailed(Payload):
    """The source of a list could never be opened, or its work ended worker after worker (`poison`)."""

    type = EventType.CLIP_JOB_FAILED

    clip_job_id: str
    error_code: str
    error_message: str


class BatchCompleted(Payload):
    """Every stream of a batch has ended, in whatever way."""

    type = EventType.BATCH_COMPLETED

    batch_id: str
    states: dict[str, int]  # state -> streams


# --- the account ---------------------------------------------------------------------------------------


class UsageWarning(Payload):
    """80 % of one of the plan's amounts is used; told once a month for each."""

    type = EventType.USAGE_WARNING

    limit: str
    used: float
    allowed: float
    period: str  # 2026-11


class UsageExceeded(UsageWarning):
    """One of the plan's amounts is used up; told once a month for each."""

    type = EventType.USAGE_EXCEEDED


class PlanChanged(Payload):
    """The organization is on another plan."""

    type = EventType.PLAN_CHANGED

    old_plan: str
    new_plan: str
    limits: dict[str, Any]


class ContentExpiring(Payload):
    """Files will be deleted soon, as the plan keeps them for no longer."""

    type = EventType.CONTENT_EXPIRING

    stream_id: str
    highlights: int
    expires_at: datetime


# --- endpoints -----------------------------------------------------------------------------------------


class WebhookTest(Payload):
    """Somebody asked for a test; goes to that endpoint alone."""

    type = EventType.WEBHOOK_TEST

    webhook_id: str
    message: str


class WebhookDisabled(Payload):
    """An endpoint gets nothing more, until somebody enables it again."""

    type = EventType.WEBHOOK_DISABLED

    webhook_id: str
    url: str  # of its server: a path, a query or credentials may be what opens it
    reason: str


PAYLOADS: dict[EventType, type[Payload]] = {
    payload.type: payload
    for payload in (
        StreamStarted,
        StreamProgress,
        StreamCompleted,
        StreamPartiallyCompleted,
        StreamFailed,
        StreamCancelled,
        HighlightDetected,
        HighlightReady,
        HighlightFailed,
        ReelReady,
        ReelFailed,
        ClipJobFinished,
        ClipJobFailed,
        BatchCompleted,
        UsageWarning,
        UsageExceeded,
        PlanChanged,
        ContentExpiring,
        WebhookTest,
        WebhookDisabled,
    )
}
"""Type -> what its events say."""
