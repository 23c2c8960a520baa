"""One thing that happens: what it does to sound and picture, and the truth about it."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from benchmarks.detection.labels import Distractor, Event, Strength
from benchmarks.detection.synth.dsp import F32, RATE

LEVEL_DB: dict[Strength, tuple[float, float]] = {"weak": (3.5, 5), "medium": (6.5, 9), "strong": (10, 14)}
"""Decibels of bed and reaction together over the bed alone, in the core of an event."""

AROUSAL: dict[Strength, tuple[float, float]] = {
    "weak": (0.4, 0.55),
    "medium": (0.6, 0.8),
    "strong": (0.85, 1),
}


@dataclass(frozen=True, slots=True)
class Sound:
    """Samples of unit RMS to be mixed in, so that bed and sound together are `over` dB above the bed."""

    at: float
    samples: F32
    over: float
    wet: float = 0.5  # share of the room


@dataclass(frozen=True, slots=True)
class Bump:
    """A trapezoid over time: from `begin` up to `height` at `full`, down again between `until` and `gone`."""

    begin: float
    full: float
    until: float
    gone: float
    height: float

    def values(self, times: NDArray[np.float64]) -> NDArray[np.float64]:
        """The height at `times`."""
        return np.interp(
            times, [self.begin, self.full, self.until, self.gone], [0, self.height, self.height, 0]
        )

    def later(self, offset: float) -> Bump:
        """The same, `offset` seconds later."""
        return Bump(
            self.begin + offset, self.full + offset, self.until + offset, self.gone + offset, self.height
        )


@dataclass(slots=True)
class Happening:
    """Collected by the functions in `kinds`; all times are those of the video."""

    rng: Generator
    at: float  # the instant it hangs on: the ball crosses the line, the joke ends, the door slams
    strength: Strength = "medium"
    sounds: list[Sound] = field(default_factory=list[Sound])
    arousal: list[Bump] = field(default_factory=list[Bump])
    motion: list[Bump] = field(default_factory=list[Bump])  # camera and bodies, multiples of usual speed
    shake: list[Bump] = field(default_factory=list[Bump])  # pixels
    light: list[Bump] = field(default_factory=list[Bump])  # gray levels added to the picture
    ducks: list[Bump] = field(default_factory=list[Bump])  # dB taken off the scene's own sound
    gains: list[tuple[float, float]] = field(
        default_factory=list[tuple[float, float]]
    )  # (time, dB) of all sound
    cuts: list[float] = field(default_factory=list[float])
    black: list[tuple[float, float]] = field(default_factory=list[tuple[float, float]])
    foreign: list[tuple[float, float]] = field(default_factory=list[tuple[float, float]])  # other pictures
    event: Event | None = None
    distractor: Distractor | None = None

    @property
    def over(self) -> float:
        """Level of the reaction for this strength, dB over the bed."""
        return float(self.rng.uniform(*LEVEL_DB[self.strength]))

    @property
    def excitement(self) -> float:
        """Arousal of voices for this strength."""
        return float(self.rng.uniform(*AROUSAL[self.strength]))

    def pick(self, weak: float, medium: float, strong: float) -> float:
        """A value by strength, with some scatter."""
        value = {"weak": weak, "medium": medium, "strong": strong}[self.strength]
        return float(value * self.rng.uniform(0.85, 1.15))

    def sound(self, at: float, samples: F32, over: float, wet: float = 0.5) -> float:
        """Add a sound; gives back when it ends."""
        self.sounds.append(Sound(at, samples, over, wet))
        return at + len(samples) / RATE

    def excite(self, begin: float, full: float, until: float, gone: float, height: float) -> None:
        """Voices of the scene get excited."""
        self.arousal.append(Bump(begin, full, until, gone, height))

    def move(self, begin: float, until: float, height: float, *, shake: float = 0.0) -> None:
        """Faster pictures between two times."""
        self.motion.append(Bump(begin, begin + 0.5, until - 0.5, until, 1.4 * height))
        if shake:
            self.shake.append(Bump(begin, begin + 0.1, until - 0.3, until, shake))

    def flash(self, at: float, height: float, seconds: float = 0.15) -> None:
        """A photographer's flash, a muzzle, lightning."""
        self.light.append(Bump(at, at + 0.01, at + seconds / 2, at + seconds, height))

    def is_event(self, kind: str, start: float, core: tuple[float, float, float], end: float) -> None:
        """Label it; `core` is (from, peak, to)."""
        times = [max(0.0, round(float(t), 3)) for t in (start, *core, end)]
        self.event = Event(kind, self.strength, *times)

    def is_distractor(self, kind: str, start: float, end: float) -> None:
        """Label it."""
        self.distractor = Distractor(kind, round(float(start), 3), round(float(end), 3))

    @property
    def span(self) -> tuple[float, float]:
        """Start and end of the label."""
        label = self.event or self.distractor
        assert label is not None
        return label.start, label.end
