"""Predictions against labels: matching and every figure of the report.

One prediction is paired with at most one event and the other way round, greedily by score: events lie
20 s apart, so no optimal assignment would do better. Two criteria, matched separately: *peak* (the
predicted peak lies within 3 s of the event's core) and *overlap* (temporal IoU of at least 0.3 with the
event's tight span).
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

from benchmarks.detection.labels import CONTROL, STRENGTHS, Distractor, Event, LabelledVideo, Prediction

TOLERANCE = 3.0
"""Seconds a peak may lie off the core."""

OVERLAP = 0.3
"""Smallest intersection over union."""

DISTRACTOR_SLACK = 2.0
"""Seconds around a distractor within which an unmatched peak counts as having taken it."""

Criterion = Callable[[Prediction, Event], float]
"""How well they agree; below 0 means not at all."""


def by_peak(prediction: Prediction, event: Event) -> float:
    """Seconds left of the tolerance."""
    off = max(event.core_start - prediction.peak, prediction.peak - event.core_end, 0.0)
    return TOLERANCE - off


def by_overlap(prediction: Prediction, event: Event) -> float:
    """Intersection over union, less what is demanded."""
    inside = min(prediction.end, event.end) - max(prediction.start, event.start)
    union = max(prediction.end, event.end) - min(prediction.start, event.start)
    return (inside / union if union > 0 else 0.0) - OVERLAP


def match(
    predictions: Sequence[Prediction], events: Sequence[Event], criterion: Criterion = by_peak
) -> dict[int, int]:
    """Index of prediction -> index of event, best score first."""
    pairs: dict[int, int] = {}
    taken: set[int] = set()
    for i in sorted(range(len(predictions)), key=lambda k: -predictions[k].score):
        fits = [(criterion(predictions[i], e), -j) for j, e in enumerate(events) if j not in taken]
        best = max(fits, default=(-1.0, 0))
        if best[0] >= 0:
            pairs[i] = -best[1]
            taken.add(-best[1])
    return pairs


@dataclass(frozen=True, slots=True)
class Figures:
    """Of one group of videos; NaN where there is nothing to divide by."""

    videos: int
    events: int
    predictions: int
    precision: float
    recall: float
    f1: float
    f1_overlap: float
    average_precision: float
    hit_at_1: float
    border_error: float  # s, median over matches of the mean of |start| and |end| difference
    false_per_hour: float
    distractors: int
    distractors_taken: float  # share
    order: float  # Spearman of score against strength over matched events


@dataclass(slots=True)
class Scores:
    """Everything; `genres` has one entry per row that occurs, `overall` all but the controls together."""

    overall: Figures
    genres: dict[str, Figures]
    mean_ap: float  # mean over genres
    control_false_per_hour: float
    recall_by_strength: dict[str, tuple[float, int]]  # share found, how many there were
    recall_by_kind: dict[str, tuple[float, int]]
    taken_by_kind: dict[str, tuple[float, int]] = field(default_factory=dict[str, tuple[float, int]])


@dataclass(frozen=True, slots=True)
class Outcome:
    """One video with what was predicted and what came of it."""

    video: LabelledVideo
    predictions: Sequence[Prediction]
    pairs: dict[int, int]
    overlaps: dict[int, int]
    taken: frozenset[int]  # indices of distractors


def judge(predictions: Sequence[Prediction], video: LabelledVideo) -> Outcome:
    """Match one video."""
    pairs = match(predictions, video.events)
    stray = [p.peak for i, p in enumerate(predictions) if i not in pairs]
    taken = {k for k, d in enumerate(video.distractors) if any(_within(peak, d) for peak in stray)}
    overlaps = match(predictions, video.events, by_overlap)
    return Outcome(video, predictions, pairs, overlaps, frozenset(taken))


def _within(peak: float, distractor: Distractor) -> bool:
    return distractor.start - DISTRACTOR_SLACK <= peak <= distractor.end + DISTRACTOR_SLACK


def score(predictions: Sequence[Sequence[Prediction]], labels: Sequence[LabelledVideo]) -> Scores:
    """All figures; `predictions[i]` belong to `labels[i]`."""
    return summarise([judge(p, v) for p, v in zip(predictions, labels, strict=True)])


def summarise(outcomes: Sequence[Outcome]) -> Scores:
    """All figures of matched videos."""
    rows: dict[str, list[Outcome]] = defaultdict(list)
    for outcome in outcomes:
        rows[outcome.video.genre].append(outcome)
    genres = {genre: figures(group) for genre, group in rows.items()}
    eventful = [o for o in outcomes if o.video.genre != CONTROL]
    precisions = [f.average_precision for f in genres.values() if f.events]
    control = genres.get(CONTROL)
    return Scores(
        overall=figures(eventful),
        genres=genres,
        mean_ap=_mean(precisions),
        control_false_per_hour=control.false_per_hour if control else math.nan,
        recall_by_strength=_recall(outcomes, lambda e: e.strength, STRENGTHS),
        recall_by_kind=_recall(outcomes, lambda e: e.kind),
        taken_by_kind=_taken(outcomes),
    )


def figures(outcomes: Sequence[Outcome]) -> Figures:
    """One row."""
    events = sum(len(o.video.events) for o in outcomes)
    made = sum(len(o.predictions) for o in outcomes)
    hits = sum(len(o.pairs) for o in outcomes)
    overlaps = sum(len(o.overlaps) for o in outcomes)
    hours = sum(o.video.duration for o in outcomes) / 3600
    planted = sum(len(o.video.distractors) for o in outcomes)
    return Figures(
        videos=len(outcomes),
        events=events,
        predictions=made,
        precision=_share(hits, made),
        recall=_share(hits, events),
        f1=_share(2 * hits, made + events),
        f1_overlap=_share(2 * overlaps, made + events),
        average_precision=average_precision(outcomes),
        hit_at_1=_mean([float(_top_hits(o)) for o in outcomes if o.video.events]),
        border_error=_median([_border(o, i, j) for o in outcomes for i, j in o.pairs.items()]),
        false_per_hour=_share(made - hits, hours),
        distractors=planted,
        distractors_taken=_share(sum(len(o.taken) for o in outcomes), planted),
        order=_order(outcomes),
    )


def average_precision(outcomes: Sequence[Outcome]) -> float:
    """Area under precision over recall, all videos in one list by score (as ActivityNet does)."""
    events = sum(len(o.video.events) for o in outcomes)
    ranked = sorted(
        ((p.score, i in o.pairs) for o in outcomes for i, p in enumerate(o.predictions)),
        key=lambda x: (-x[0], x[1]),
    )
    if not events:
        return math.nan
    hits, precision, recall = 0, [], []
    for place, (_, hit) in enumerate(ranked, 1):
        hits += hit
        precision.append(hits / place)
        recall.append(hits / events)
    area, best, right = 0.0, 0.0, recall[-1] if recall else 0.0
    for p, r in zip(reversed(precision), reversed(recall), strict=True):
        area += (right - r) * best
        right, best = r, max(best, p)
    return area + right * best


def _top_hits(outcome: Outcome) -> bool:
    if not outcome.predictions:
        return False
    top = max(range(len(outcome.predictions)), key=lambda k: outcome.predictions[k].score)
    return top in outcome.pairs


def _border(outcome: Outcome, i: int, j: int) -> float:
    prediction, event = outcome.predictions[i], outcome.video.events[j]
    return (abs(prediction.start - event.start) + abs(prediction.end - event.end)) / 2


def _order(outcomes: Sequence[Outcome]) -> float:
    pairs = [
        (o.predictions[i].score, STRENGTHS.index(o.video.events[j].strength))
        for o in outcomes
        for i, j in o.pairs.items()
    ]
    return spearman([p for p, _ in pairs], [s for _, s in pairs])


def spearman(a: Sequence[float], b: Sequence[float]) -> float:
    """Correlation of ranks, ties shared."""
    if len(a) < 3 or len(set(a)) < 2 or len(set(b)) < 2:
        return math.nan
    return float(np.corrcoef(_ranks(a), _ranks(b))[0, 1])


def _ranks(values: Sequence[float]) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    _, inverse, counts = np.unique(np.asarray(values, np.float64), return_inverse=True, return_counts=True)
    middle = np.cumsum(counts) - (counts - 1) / 2
    return middle[inverse]


def _recall(
    outcomes: Iterable[Outcome], key: Callable[[Event], str], first: Sequence[str] = ()
) -> dict[str, tuple[float, int]]:
    found: dict[str, list[bool]] = {name: [] for name in first}
    for outcome in outcomes:
        matched = set(outcome.pairs.values())
        for j, event in enumerate(outcome.video.events):
            found.setdefault(key(event), []).append(j in matched)
    return {name: (_share(sum(hits), len(hits)), len(hits)) for name, hits in found.items() if hits}


def _taken(outcomes: Iterable[Outcome]) -> dict[str, tuple[float, int]]:
    found: dict[str, list[bool]] = {}
    for outcome in outcomes:
        for k, distractor in enumerate(outcome.video.distractors):
            found.setdefault(distractor.kind, []).append(k in outcome.taken)
    return {name: (_share(sum(hits), len(hits)), len(hits)) for name, hits in found.items()}


def _share(part: float, whole: float) -> float:
    return part / whole if whole else math.nan


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else math.nan


def _median(values: Sequence[float]) -> float:
    return float(np.median(values)) if values else math.nan
