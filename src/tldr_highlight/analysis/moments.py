"""Curves of worth to events, and events to moments: peaks, borders, context, merging, types."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from tldr_highlight.analysis.base import STEP, Analysis, Curve, Event, Moment, clock
from tldr_highlight.analysis.dimensions import DimensionSet, classify
from tldr_highlight.analysis.rolling import steps
from tldr_highlight.analysis.scoring import score

LEAST_PROMINENCE = 0.6
"""Logits that a peak must stand above the saddle to a higher one."""

SUPPRESSION = 5.0
"""Seconds beyond a region in which weaker peaks belong to it."""

REACTION_LEAD, REACTION_TAIL = 0.8, 0.8
"""Seconds before a region at which the moment starts, for reactions come 0-2 s late, and after it at which it
ends, for they die down below what can be measured."""

LONGEST_MOMENT = 45.0


def peaks(worth: Curve, floor: float, prominence: float = LEAST_PROMINENCE) -> list[int]:
    """Steps of local maxima above `floor` with enough prominence, best first; equal neighbours count once."""
    filled = np.where(np.isfinite(worth), worth, -np.inf)
    inner = np.concatenate([[-np.inf], filled, [-np.inf]])
    tops = np.flatnonzero((inner[1:-1] > inner[:-2]) & (inner[1:-1] >= inner[2:]) & (filled > floor))
    kept = [int(t) for t in tops if _prominence(filled, int(t)) >= prominence]
    return sorted(kept, key=lambda t: (-filled[t], t))


def _prominence(curve: Curve, top: int) -> float:
    """Height of `top` above the highest saddle that leads to something higher; infinite for the highest."""
    height = curve[top]
    left = np.flatnonzero(curve[:top] > height)
    right = np.flatnonzero(curve[top + 1 :] > height)
    saddles = [curve[left[-1] : top + 1].min()] if len(left) else []
    saddles += [curve[top : top + 2 + right[0]].min()] if len(right) else []
    return float(height - max(saddles, default=-np.inf))


def region(excess: Curve, peak: int, share: float, least: float, bridge: float = 2.5) -> tuple[int, int]:
    """`[first, last]` steps around `peak` in which `excess` stays above `share` of its height there.

    Dips of up to `bridge` seconds are stepped over.
    """
    around = excess[max(0, peak - 1) : peak + 2]
    height = float(np.nanmax(around)) if np.isfinite(around).any() else 0.0
    inside = np.nan_to_num(excess, nan=-np.inf) >= max(least, share * height)
    limit = steps(LONGEST_MOMENT / 2)
    return peak - _reach(inside[: peak + 1][::-1], bridge, limit), peak + _reach(inside[peak:], bridge, limit)


def _reach(inside: np.ndarray[tuple[int], np.dtype[np.bool_]], bridge: float, limit: int) -> int:
    """How many steps from the first one the stretch goes on."""
    last = gap = 0
    for i, yes in enumerate(inside[: limit + 1].tolist()):
        gap = 0 if yes else gap + 1
        if yes:
            last = i
        elif gap > steps(bridge):
            break
    return last


# --- events to moments ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class MomentOptions:
    """The contract's defaults. All seconds."""

    threshold: float | None = None  # None: the dimension set's
    context_before: float = 5.0  # in the clip only
    context_after: float = 5.0
    merge_gap: float = 3.0
    shortest_clip: float = 5.0
    longest_clip: float = 120.0
    max_highlights: int | None = None


Scored: TypeAlias = tuple[float, Event]
"""An event and its score, 0..1."""

Clip: TypeAlias = tuple[float, float]
"""Start and end, media seconds."""


class Ground(Protocol):
    """The curves that borders of clips look at; step `i` covers `[(first + i) * STEP, + STEP)`."""

    @property
    def first(self) -> int: ...  # noqa: D102
    @property
    def loudness(self) -> Curve: ...  # noqa: D102
    @property
    def cuts(self) -> Curve: ...  # noqa: D102


def choose(
    analysis: Analysis, dimension_set: DimensionSet, duration: float, options: MomentOptions | None = None
) -> list[Moment]:
    """The moments worth keeping, in order of time, none twice, with clips that do not overlap."""
    options = options or MomentOptions()
    kept = _without_replays(worthy(analysis.events, dimension_set, options), analysis)
    merged = _merge(sorted(kept, key=lambda s: s[1].start), options)
    best = sorted(merged, key=lambda s: (-s[0], s[1].peak))[: options.max_highlights]
    best.sort(key=lambda s: s[1].start)
    clips = _clips([e for _, e in best], analysis, duration, options)
    return [moment(s, clip, dimension_set) for s, clip in zip(best, clips, strict=True)]


def worthy(events: Iterable[Event], dimension_set: DimensionSet, options: MomentOptions) -> list[Scored]:
    """Those that reach the threshold, best first."""
    threshold = dimension_set.threshold if options.threshold is None else options.threshold
    scored = ((score(e, dimension_set), e) for e in events)
    return sorted((s for s in scored if s[0] >= threshold), key=lambda s: (-s[0], s[1].peak))


def _merge(scored: list[Scored], options: MomentOptions) -> list[Scored]:
    """Join what belongs together."""
    out: list[Scored] = []
    for each in scored:
        one = united(out[-1], each, options) if out else None
        if one:
            out[-1] = one
        else:
            out.append(each)
    return out


def united(before: Scored, after: Scored, options: MomentOptions) -> Scored | None:
    """Two events closer than the gap as one, if a clip can hold it, else None; the better peak stays."""
    (worth, first), (other_worth, second) = before, after
    room = options.longest_clip - options.context_before - options.context_after
    if second.start - first.end >= options.merge_gap or second.end - first.start > room:
        return None
    names = first.dimensions.keys() | second.dimensions.keys()
    event = replace(
        second if other_worth > worth else first,
        start=min(first.start, second.start),
        end=max(first.end, second.end),
        dimensions={
            n: max(first.dimensions.get(n, 0.0), second.dimensions.get(n, 0.0)) for n in sorted(names)
        },
        evidence=tuple(sorted(first.evidence + second.evidence, key=lambda e: e.time)),
    )
    return max(worth, other_worth), event


# --- replays -------------------------------------------------------------------------------------------


def _without_replays(scored: list[Scored], analysis: Analysis) -> list[Scored]:
    """Leave out what was shown before: the better one of two that look and sound the same stays."""
    kept: list[Scored] = []
    known = np.empty((len(scored), analysis.texture.shape[1], len(LAGS), LONG), np.float32)
    for each in scored:
        look = look_of(each[1], analysis)
        if not shown_before(look, known[: len(kept)]):
            known[len(kept)] = look
            kept.append(each)
    return kept


SAME = 0.92
"""Mean correlation of all fields of the texture from which on two events are one shown twice. Two goals
that are directed alike have .91."""

FIELDS = 8
"""Fields of the texture where there is sound and picture."""

SAME_OF_FEWER = 0.01
"""Added to it for each field that one of them lacks: three fields of two different things can have .95."""

LEAST_ALIKE = 0.7
"""Correlation that each field must have: two roars over the same pictures are two.

Of 87 moments of five videos, shifted by a part of a step and encoded again, 74 are known again; of 3076 pairs
of different events in 107 videos none is taken for the same (2026-11-26).
"""

LAGS = tuple(lag / 4 for lag in range(-6, 7))
"""Steps by which peaks of one thing shown twice may differ; it need not begin on the grid of steps."""

LONG = 16
"""Steps of an event, around its peak, that are compared."""


Look: TypeAlias = NDArray[np.float32]
"""(fields, lags, 16)"""

Looks: TypeAlias = NDArray[np.float32]
"""(any number of looks, fields, lags, 16)"""


def look_of(event: Event, analysis: Analysis) -> Look:
    """What an event looks and sounds like around its peak. 7 KB.

    Each row is of length 1 about its mean, so that products are correlations; of zeros, where a field is
    unknown somewhere in it or does not vary.
    """
    reach = LONG // 2 + math.ceil(LAGS[-1]) + 1  # and a neighbour each, to smooth with
    middle = int(event.peak / STEP) - analysis.first
    around = np.full((2 * reach + 1, analysis.texture.shape[1]), np.nan)
    a, b = max(0, middle - reach), min(len(analysis.texture), middle + reach + 1)
    if a < b:
        known = np.isfinite(analysis.texture[a:b])
        around[a - middle + reach : b - middle + reach] = np.where(known, analysis.texture[a:b], np.nan)
    # what lies between two steps is known from neighbours: smoothed, a shift by half a step costs little
    smooth = (around[:-2] + 2 * around[1:-1] + around[2:]) / 4
    rows = np.stack([_later(smooth, lag) for lag in LAGS]).transpose(2, 0, 1)
    rows -= rows.mean(axis=2, keepdims=True)
    length = np.sqrt((rows**2).mean(axis=2, keepdims=True))
    varies = length >= 1e-3  # not where one of the 16 is unknown
    return np.where(varies, rows / np.where(varies, length * math.sqrt(LONG), 1.0), 0.0).astype(np.float32)


def _later(smooth: Curve, lag: float) -> Curve:
    """16 steps of it around its middle, `lag` steps later."""
    whole = math.floor(lag)
    first = len(smooth) // 2 - LONG // 2 + whole
    part = lag - whole
    here, there = smooth[first : first + LONG], smooth[first + 1 : first + 1 + LONG]
    return here if part == 0 else (1 - part) * here + part * there


def shown_before(look: Look, known: Looks) -> bool:
    """Whether one of the `known` looks is this one: 1 ms for 256 of them."""
    mine = look[:, LAGS.index(0.0)]
    both = np.any(mine, axis=1)[None, :, None] & np.any(known, axis=3)  # (known, fields, lags)
    fields = np.sum(both, axis=1)
    each = np.einsum("fs,nfls->nfl", mine, known)
    least = np.min(each, axis=1, where=both, initial=1.0)
    mean = np.sum(each, axis=1) / np.maximum(fields, 1)
    same = (mean >= SAME + SAME_OF_FEWER * (FIELDS - fields)) & (least >= LEAST_ALIKE)
    return bool(np.any(same & (fields >= 3)))


# --- clips ---------------------------------------------------------------------------------------------


def _clips(events: list[Event], ground: Ground, duration: float, options: MomentOptions) -> list[Clip]:
    """Context around each event, at pauses and shot changes; neighbours meet in the middle."""
    clips = [framed(e, ground, duration, options) for e in events]
    for i in range(1, len(clips)):
        clips[i - 1], clips[i] = apart(events[i - 1], clips[i - 1], events[i], clips[i])
    return clips


def framed(event: Event, ground: Ground, duration: float, options: MomentOptions) -> Clip:
    """The clip of an event that has no neighbours: with context, at pauses and shot changes."""
    start = _snap(max(0.0, event.start - options.context_before), event.start, ground, starts=True)
    end = _snap(min(duration, event.end + options.context_after), event.end, ground, starts=False)
    return _long_enough((start, end), duration, options)


def apart(first: Event, clip: Clip, second: Event, next_clip: Clip) -> tuple[Clip, Clip]:
    """Two clips that do not overlap: where they did, they meet in the middle, between the events."""
    (a0, a1), (b0, b1) = clip, next_clip
    if b0 >= a1:
        return clip, next_clip
    middle = min(max((a1 + b0) / 2, first.end), second.start)
    return (a0, middle), (middle, b1)


def _long_enough(clip: Clip, duration: float, options: MomentOptions) -> Clip:
    start, end = clip
    if end - start > options.longest_clip:
        end = start + options.longest_clip
    missing = options.shortest_clip - (end - start)
    if missing > 0:
        start = max(0.0, start - missing / 2)
        end = min(duration, start + options.shortest_clip)
        start = max(0.0, end - options.shortest_clip)
    return start, end


SNAP = 1.0
"""Seconds that a clip's border may move to a pause or a shot change, never into the moment."""


def _snap(at: float, edge: float, ground: Ground, *, starts: bool) -> float:
    """The best place for a border within `SNAP` of `at`: a shot change, else the quietest step."""
    middle = round(at / STEP) - ground.first
    a, b = max(0, middle - steps(SNAP)), min(len(ground.cuts), middle + steps(SNAP) + 1)
    places = [i for i in range(a, b) if ((i + ground.first) * STEP <= edge) == starts]
    if not places or at <= 0:
        return at
    if changes := [i for i in places if ground.cuts[i] > 0]:
        pick = min(changes, key=lambda i: abs(i - middle))
        return (pick + ground.first) * STEP
    quiet = [i for i in places if np.isfinite(ground.loudness[i])]
    if not quiet:
        return at
    pick = min(quiet, key=lambda i: (ground.loudness[i] + abs(i - middle), i))
    here = ground.loudness[min(max(middle, 0), len(ground.loudness) - 1)]
    deep = np.isfinite(here) and ground.loudness[pick] < here - PAUSE
    return (pick + ground.first + 0.5) * STEP if deep else at


PAUSE = 6.0
"""LU by which a step must be quieter for a border to move there: the gap between two words."""

NAMES = {
    "reaction": "Crowd reaction",
    "funny": "Laughter",
    "emotional": "Emotional moment",
    "climactic": "Climax",
    "score": "Score",
    "skillful": "Skill",
    "clutch": "Clutch play",
    "fail": "Fail",
    "key_concept": "Key concept",
    "question_answered": "Question answered",
    "summary": "Summary",
    "generic": "Highlight",
}


def moment(scored: Scored, clip: Clip, dimension_set: DimensionSet) -> Moment:
    """An event as it is published, with the clip that shows it."""
    value, event = scored
    names = [d.name for d in dimension_set.dimensions]
    values = {n: event.dimensions.get(n) for n in names}
    types = classify(values, dimension_set)
    title = NAMES.get(types[0], types[0].replace("_", " ").capitalize()) if types else "Highlight"
    return Moment(
        start=round(event.start, 3),
        end=round(event.end, 3),
        peak=round(event.peak, 3),
        score=round(value, 4),
        confidence=round(event.confidence, 4),
        types=types,
        title=f"{title} at {clock(event.peak)}",
        dimensions={n: None if v is None else round(v, 4) for n, v in values.items()},
        evidence=event.evidence,
        clip_start=round(clip[0], 3),
        clip_end=round(clip[1], 3),
    )
