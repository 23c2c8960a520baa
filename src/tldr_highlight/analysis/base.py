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


@dataclass(frozen=True, slots=True)
class Evidence:
    """One measured reason, fit to be read by a person."""

    dimension: str
    time: float  # media seconds
    text: str  # "crowd noise 3.1 σ above the last 2 minutes at 12:31"


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
