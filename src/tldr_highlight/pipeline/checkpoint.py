"""How far a stream's job has come: what its row of work says, beside the rows that it vouches for.

A checkpoint is counts: segments that are stored, moments that are published, clips that were tried. The rows
themselves are the segments and highlights; a checkpoint commits with them, so that they always agree. Moments
that were published too early to be counted it has by their places: their rows may be deleted.
"""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Self

from sqlalchemy.orm import Session

from tldr_highlight.core.work import Job
from tldr_highlight.runtime import Runtime

LEAST_PAUSE = 0.5
"""Seconds between two times that progress is written outside of checkpoints."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What is safe. Measuring goes on at step `steps` of the curves, publishing after moment `moments`."""

    segments: int = 0  # rows
    steps: int = 0  # of curves in them
    end: float = 0.0  # media seconds at which the last of them ends
    jumped: bool = False  # timestamps leapt in them
    whole: bool = False  # the source has no more
    moments: int = 0  # in the order in which they became certain; published, or known to be there
    clips: int = 0  # that were tried: each makes it another checkpoint
    early: list[list[float]] = field(default_factory=list[list[float]])
    """Start and end of each moment that was published when a source broke off, before it was certain."""
    version: str | None = None  # of the source, where that is known

    @classmethod
    def of(cls, job: Job[Runtime]) -> Self:
        """What the job last saved."""
        return cls(**job.checkpoint)

    def save(self, job: Job[Runtime], session: Session, progress: dict[str, Any] | None = None) -> None:
        """Store it in a step, together with what it vouches for."""
        job.save(session, checkpoint=asdict(self), progress=progress)

    def after(self, **changes: Any) -> Self:
        """The next one."""
        return replace(self, **changes)


@dataclass(slots=True)
class Progress:
    """How far a stream has come, as people are told."""

    duration: float | None = None  # media seconds
    analysed: float = 0.0
    highlights: int = 0
    stage: str = "resolving"
    began: float = field(default_factory=time.monotonic)
    before: float = 0.0  # media seconds that an earlier run had analysed
    told: float = 0.0  # on the monotonic clock

    def as_dict(self) -> dict[str, Any]:
        """For the row of work, and for events."""
        seconds = time.monotonic() - self.began
        pace = (self.analysed - self.before) / seconds if seconds > 0 else 0.0
        left = None if self.duration is None or pace <= 0 else max(0.0, self.duration - self.analysed) / pace
        return {
            "stage": self.stage,
            "percent": self.percent,
            "analysed_seconds": round(self.analysed, 3),
            "highlights": self.highlights,
            "times_realtime": round(pace, 2) if pace > 0 else None,
            "seconds_left": None if left is None else round(left, 1),
        }

    @property
    def percent(self) -> float | None:
        """Of the source that is analysed; None where its length is not known."""
        if not self.duration:
            return None
        return round(min(100.0, 100.0 * self.analysed / self.duration), 1)

    @property
    def tenths(self) -> int:
        """Whole tenths of the source that are analysed."""
        return int((self.percent or 0.0) // 10)

    def due(self) -> bool:
        """Whether it may be written again; asking notes that it was."""
        if time.monotonic() < self.told + LEAST_PAUSE:
            return False
        self.told = time.monotonic()
        return True
