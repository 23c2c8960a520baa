"""Curves of worth to events, and events to moments: peaks, borders, context, merging, types."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

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


def choose(
    analysis: Analysis, dimension_set: DimensionSet, duration: float, options: MomentOptions | None = None
) -> list[Moment]:
    """The moments worth keeping, in order of time, none twice, with clips that do not overlap."""
    options = options or MomentOptions()
    threshold = dimension_set.threshold if options.threshold is None else options.threshold
    scored = sorted(((score(e, dimension_set), e) for e in analysis.events), key=lambda s: (-s[0], s[1].peak))
    kept = _without_replays([s for s in scored if s[0] >= threshold], analysis)
    merged = _merge(sorted(kept, key=lambda s: s[1].start), options)
    best = sorted(merged, key=lambda s: (-s[0], s[1].peak))[: options.max_highlights]
    best.sort(key=lambda s: s[1].start)
    clips = _clips([e for _, e in best], analysis, duration, options)
    return [_moment(s, e, clip, dimension_set) for (s, e), clip in zip(best, clips, strict=True)]


def _merge(scored: list[tuple[float, Event]], options: MomentOptions) -> list[tuple[float, Event]]:
    """Join events closer than the gap, as long as a clip can hold them; the better one's peak stays."""
    out: list[tuple[float, Event]] = []
    for value, event in scored:
        room = options.longest_clip - options.context_before - options.context_after
        if out and event.start - out[-1][1].end < options.merge_gap and event.end - out[-1][1].start <= room:
            before_value, before = out.pop()
            best = event if value > before_value else before
            names = before.dimensions.keys() | event.dimensions.keys()
            event = replace(  # noqa: PLW2901
                best,
                start=min(before.start, event.start),
                end=max(before.end, event.end),
                dimensions={
                    n: max(before.dimensions.get(n, 0.0), event.dimensions.get(n, 0.0)) for n in sorted(names)
                },
                evidence=tuple(sorted(before.evidence + event.evidence, key=lambda e: e.time)),
            )
            value = max(value, before_value)  # noqa: PLW2901
        out.append((value, event))
    return out


def _without_replays(scored: list[tuple[float, Event]], analysis: Analysis) -> list[tuple[float, Event]]:
    """Leave out what was shown before: the better one of two that look and sound the same stays."""
    kept: list[tuple[float, Event]] = []
    for value, event in scored:
        if not any(_same(event, other, analysis) for _, other in kept):
            kept.append((value, event))
    return kept


SAME = 0.85
"""Correlation, in each field of the texture, from which on two events are one shown twice."""


def _same(a: Event, b: Event, analysis: Analysis) -> bool:
    mine = _texture(a, analysis, 0.0)
    return any(_correlation(mine, _texture(b, analysis, lag)) >= SAME for lag in (-1.0, -0.5, 0.0, 0.5, 1.0))


def _texture(event: Event, analysis: Analysis, lag: float) -> Curve:
    """(16 steps, fields) around the peak, `lag` steps later; half steps by the mean of their neighbours."""
    middle = int(event.peak / STEP) - analysis.first + math.floor(lag)
    rows = np.full((17, analysis.texture.shape[1]), np.nan)
    a, b = max(0, middle - 8), min(len(analysis.texture), middle + 9)
    if a < b:
        rows[a - middle + 8 : b - middle + 8] = analysis.texture[a:b]
    return rows[:16] if lag == math.floor(lag) else (rows[:16] + rows[1:]) / 2


def _correlation(a: Curve, b: Curve) -> float:
    """Smallest correlation over the fields that both have and that vary; 0 with fewer than three."""
    values: list[float] = []
    for x, y in zip(a.T, b.T, strict=True):
        both = np.isfinite(x) & np.isfinite(y)
        if both.sum() < 12 or x[both].std() < 1e-3 or y[both].std() < 1e-3:
            continue
        values.append(float(np.corrcoef(x[both], y[both])[0, 1]))
    return min(values) if len(values) >= 3 else 0.0


def _clips(
    events: list[Event], analysis: Analysis, duration: float, options: MomentOptions
) -> list[tuple[float, float]]:
    """Context around each event, at pauses and shot changes; neighbours meet in the middle."""
    clips = [
        (
            _snap(max(0.0, e.start - options.context_before), e.start, analysis, starts=True),
            _snap(min(duration, e.end + options.context_after), e.end, analysis, starts=False),
        )
        for e in events
    ]
    clips = [_long_enough(c, duration, options) for c in clips]
    for i in range(1, len(clips)):
        (a0, a1), (b0, b1) = clips[i - 1], clips[i]
        if b0 < a1:
            middle = min(max((a1 + b0) / 2, events[i - 1].end), events[i].start)
            clips[i - 1], clips[i] = (a0, middle), (middle, b1)
    return [(round(a, 3), round(b, 3)) for a, b in clips]


def _long_enough(clip: tuple[float, float], duration: float, options: MomentOptions) -> tuple[float, float]:
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


def _snap(at: float, edge: float, analysis: Analysis, *, starts: bool) -> float:
    """The best place for a border within `SNAP` of `at`: a shot change, else the quietest step."""
    middle = round(at / STEP) - analysis.first
    a, b = max(0, middle - steps(SNAP)), min(len(analysis.cuts), middle + steps(SNAP) + 1)
    places = [i for i in range(a, b) if ((i + analysis.first) * STEP <= edge) == starts]
    if not places or at <= 0:
        return at
    if changes := [i for i in places if analysis.cuts[i] > 0]:
        pick = min(changes, key=lambda i: abs(i - middle))
        return (pick + analysis.first) * STEP
    quiet = [i for i in places if np.isfinite(analysis.loudness[i])]
    if not quiet:
        return at
    pick = min(quiet, key=lambda i: (analysis.loudness[i] + abs(i - middle), i))
    here = analysis.loudness[min(max(middle, 0), len(analysis.loudness) - 1)]
    deep = np.isfinite(here) and analysis.loudness[pick] < here - PAUSE
    return (pick + analysis.first + 0.5) * STEP if deep else at


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


def _moment(value: float, event: Event, clip: tuple[float, float], dimension_set: DimensionSet) -> Moment:
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
        clip_start=clip[0],
        clip_end=clip[1],
    )
