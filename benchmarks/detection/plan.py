"""Spec -> what happens when: events first, distractors into the gaps."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator

from benchmarks.detection import distractors, events
from benchmarks.detection.happening import Happening
from benchmarks.detection.labels import (
    CONTROL,
    GENRES,
    NO_PICTURE,
    NO_SOUND,
    STRENGTHS,
    Split,
    Strength,
    VideoSpec,
)

Kind = Callable[[Happening], None]

CONTROLS = ("calm-talk", "music-only", "rain-only", "still-camera")
"""Files in which nothing ever happens."""

CONTROLS_HELD_OUT = ("monotone-lecture", "market")

GAP = 20.0
"""Seconds between the end of an event and the start of the next one, at least."""

CLEAR = 5.0
"""Seconds between an event's label and a distractor's, at least: whoever takes one takes only that."""


@dataclass(slots=True)
class Plan:
    """Everything that happens in one video, in order of time."""

    seconds: float
    happenings: list[Happening]


def generator(spec: VideoSpec, part: str) -> Generator:
    """Random numbers for one part of one video: changing a part leaves the others as they were."""
    return np.random.default_rng([zlib.crc32(f"{spec.name}/{part}".encode()), spec.seed])


def dataset(split: Split, seeds: Sequence[int], minutes: float = 10.0) -> list[VideoSpec]:
    """Per seed: every genre, one file without sound or picture, two controls of half the length."""
    controls = CONTROLS if split == "tune" else CONTROLS + CONTROLS_HELD_OUT
    halves = ((NO_SOUND, "sports"), (NO_PICTURE, "sports"), (NO_SOUND, "gaming"), (NO_PICTURE, "talk"))
    specs: list[VideoSpec] = []
    for seed in seeds:
        specs += [VideoSpec(genre, split, seed, minutes) for genre in GENRES]
        half, scene = halves[seed % len(halves)]
        specs.append(VideoSpec(half, split, seed, minutes, scene))
        for k in (2 * seed, 2 * seed + 1):
            specs.append(VideoSpec(CONTROL, split, seed, minutes / 2, controls[k % len(controls)]))
    return specs


def make_plan(spec: VideoSpec) -> Plan:
    """All happenings of a video, with their sounds already made."""
    seconds = spec.minutes * 60
    if spec.genre == CONTROL:
        return Plan(seconds, [])
    rng = generator(spec, "plan")
    kinds = _event_kinds(spec, rng, max(1, round(seconds / 600 * rng.uniform(6, 10))))
    happenings: list[Happening] = []
    for at, kind in zip(_instants(rng, len(kinds), seconds), kinds, strict=True):
        happening = Happening(rng, at, _strength(rng))
        kind(happening)
        happenings.append(happening)
    happenings = _spaced(happenings, seconds)
    count = round(seconds / 600 * rng.uniform(14, 21))
    for kind in _distractor_kinds(spec, rng, count):
        fitting = _fit(rng, kind, happenings, seconds)
        if fitting:
            happenings.append(fitting)
    return Plan(seconds, sorted(happenings, key=lambda h: h.span))


def _strength(rng: Generator) -> Strength:
    return STRENGTHS[int(rng.choice(3, p=[0.3, 0.4, 0.3]))]


def _event_kinds(spec: VideoSpec, rng: Generator, count: int) -> list[Kind]:
    """Tuning draws from the known kinds; a report every other time from those held out."""
    known = events.KINDS[spec.scene]
    hidden = events.HELD_OUT[spec.scene]
    picks: list[Kind] = []
    for k in range(count):
        pool = hidden if spec.split == "report" and k % 2 else known
        picks.append(pool[int(rng.integers(len(pool)))])
    return picks


def _distractor_kinds(spec: VideoSpec, rng: Generator, count: int) -> list[Kind]:
    """Every kind about equally often: shuffled decks, dealt."""
    if spec.genre == NO_SOUND:
        return [distractors.PICTURE_ONLY[k % len(distractors.PICTURE_ONLY)] for k in range(count)]

    def fits(kind: Kind) -> bool:
        return spec.scene in distractors.SCENES.get(kind, (spec.scene,))

    known = [k for k in distractors.KINDS if fits(k)]
    hidden = [k for k in distractors.HELD_OUT if fits(k)]
    decks = [known, hidden] if spec.split == "report" else [known]
    dealt: list[Kind] = []
    for k, deck in enumerate(decks):
        share = count * (k + 1) // len(decks) - count * k // len(decks)
        order = np.concatenate([rng.permutation(len(deck)) for _ in range(share // len(deck) + 1)])[:share]
        dealt += [deck[int(i)] for i in order]
    return dealt


def _instants(rng: Generator, count: int, seconds: float) -> list[float]:
    """`count` instants with room for an event of 15 s and its gap between each two."""
    room = GAP + 15
    slack = max(0.0, seconds - 22 - count * room)
    free = np.sort(rng.uniform(0, slack, count))
    return [float(12 + f + k * room) for k, f in enumerate(free)]


def _spaced(happenings: list[Happening], seconds: float) -> list[Happening]:
    """Those that keep their distance and end before the video does."""
    kept: list[Happening] = []
    for h in happenings:
        start, end = h.span
        if end < seconds - 2 and (not kept or start - kept[-1].span[1] >= GAP * 0.9):
            kept.append(h)
    return kept


def _fit(rng: Generator, kind: Kind, taken: list[Happening], seconds: float) -> Happening | None:
    """The distractor somewhere free; None after 40 tries."""
    sounded: Happening | None = None
    for _ in range(40):
        at = float(rng.uniform(6, seconds - 8))
        if sounded is None:
            sounded = Happening(rng, at)
            kind(sounded)
        start, end = sounded.span
        offset = at - sounded.at
        if kind in distractors.LASTING:
            free = end < seconds
        else:
            free = all(_apart(start + offset, end + offset, other) for other in taken)
        if free and end + offset < seconds - 1:
            return _moved(sounded, offset, kind)
    return None


def _apart(start: float, end: float, other: Happening) -> bool:
    if other.distractor and other.distractor.kind in ("level step", "level drift"):
        return True
    clear = CLEAR if other.event else 3.0
    a, b = other.span
    return end + clear < a or b + clear < start


def _moved(h: Happening, offset: float, kind: Kind) -> Happening:
    """The same happening `offset` seconds later."""
    if offset == 0:
        return h
    moved = Happening(h.rng, h.at + offset, h.strength)
    moved.sounds = [type(s)(s.at + offset, s.samples, s.over, s.wet) for s in h.sounds]
    for name in ("arousal", "motion", "shake", "light", "ducks"):
        bumps = getattr(h, name)
        setattr(moved, name, [b.later(offset) for b in bumps])
    moved.gains = [(t + offset, g) for t, g in h.gains]
    moved.cuts = [t + offset for t in h.cuts]
    moved.black = [(a + offset, b + offset) for a, b in h.black]
    moved.foreign = [(a + offset, b + offset) for a, b in h.foreign]
    assert h.distractor is not None, kind
    moved.is_distractor(h.distractor.kind, h.distractor.start + offset, h.distractor.end + offset)
    return moved
