"""What every analyzer takes and gives.

An analyzer turns a stretch of curves (with context on both sides) into dimension curves, one *worth*
curve, and events with start, peak and end inside the stretch, each with evidence. Everything after it
(`scoring`, `moments`) is the same for every analyzer.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Curve: TypeAlias = NDArray[np.float64]

STEP = 0.5
"""Seconds between two values of a curve. Step `i` covers media time `[i * STEP, (i + 1) * STEP)`."""


def clock(seconds: float) -> str:
    """Media time as a player shows it: `12:31`, `1:02:03`."""
    whole = int(seconds)
    hours, minutes = whole // 3600, whole // 60 % 60
    return f"{hours}:{minutes:02}:{whole % 60:02}" if hours else f"{minutes}:{whole % 60:02}"


@dataclass(frozen=True, slots=True)
class Evidence:
    """One measured reason, fit to be read by a person."""

    dimension: str
    time: float  # media seconds
    text: str  # "crowd noise 8.4 dB above both sides, 2.7 σ over the minutes around at 12:31"


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened, tight around it, before weights and thresholds."""

    start: float
    peak: float
    end: float
    worth: float  # logit: 0 means even odds that a viewer keeps it
    confidence: float  # 0..1: how much of what could be judged was judged
    dimensions: dict[str, float]  # name -> 0..1; what cannot be judged is absent
    evidence: tuple[Evidence, ...]


@dataclass(frozen=True, slots=True)
class Moment:
    """A scored event that passed the threshold, with the clip that shows it."""

    start: float
    end: float
    peak: float
    score: float  # 0..1, how likely a viewer keeps it
    confidence: float
    types: tuple[str, ...]
    title: str
    dimensions: dict[str, float | None]  # None: unknown
    evidence: tuple[Evidence, ...]
    clip_start: float
    clip_end: float


@dataclass(frozen=True, slots=True)
class Analysis:
    """What an analyzer makes of a stretch. Step `i` of every curve covers `[(first + i) * STEP, + STEP)`."""

    first: int
    worth: Curve  # logit of a moment around each step
    dimensions: dict[str, Curve]  # 0..1, NaN where unknown
    events: tuple[Event, ...]
    loudness: Curve  # LUFS, where clips look for pauses
    cuts: Curve  # shot changes per step, which clips like to start at
    texture: Curve  # (steps, fields): what a moment looks and sounds like, to know a replay again

    @property
    def judged_anything(self) -> bool:
        """Whether any dimension is known at any step."""
        return any(np.isfinite(curve).any() for curve in self.dimensions.values())
