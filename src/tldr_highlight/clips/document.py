"""The documents of `cut`: what `--json` prints (contract, CLI)."""

from __future__ import annotations

from typing import NotRequired, TypedDict


class ClipDoc(TypedDict):
    """One finished, verified clip. Times are media seconds of the source."""

    start: float  # as asked for
    end: float
    actual_start: float  # snapped to the source's pictures
    actual_end: float
    frames: int
    method: str
    reason: str
    sync_ms: float
    bytes: int
    sha256: str
    file: str
    poster: NotRequired[str]
    warnings: NotRequired[list[str]]  # where it is not quite what was asked for


class FailureDoc(TypedDict):
    """One range of which no clip was made."""

    index: int  # among the ranges asked for, from 0
    code: str
    message: str
    range: list[float]  # start and end as asked for


class CutDoc(TypedDict):
    """Clips in the order of their ranges, and what failed."""

    source: str
    clips: list[ClipDoc]
    errors: list[FailureDoc]
    reel: NotRequired[str | None]  # where one was asked for; None: it failed


class PlannedDoc(TypedDict):
    """How one range would be cut."""

    start: float
    end: float
    actual_start: float
    actual_end: float
    frames: int
    encoded_frames: int
    method: str
    reason: str
    expected_bytes: int
    expected_seconds: float
    file: str


class PlanDoc(TypedDict):
    """What would be done, and what would fail."""

    source: str
    plan: list[PlannedDoc]
    errors: list[FailureDoc]
