"""Fit the table of `analysis/fusion.py` on the tuning half: python -m benchmarks.detection.fit --seeds 1-4.

Plain logistic regression with a ridge, by Newton's method. A proposal within 3 s of an event's core is a
positive. Every video is heard in three takes (`curves.py`). The report half is for judging only; nothing
here looks at it. `--check` says how good the features are on kinds that the weights were not fitted on:
half of the kinds and a third of the seeds are left out in turn.
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.detection.__main__ import parse_seeds
from benchmarks.detection.curves import curves
from benchmarks.detection.labels import NO_SOUND, LabelledVideo
from benchmarks.detection.make import CACHE, make
from benchmarks.detection.plan import dataset
from tldr_highlight.analysis import fusion, local
from tldr_highlight.analysis.base import STEP
from tldr_highlight.analysis.signals import Signals

NAMES = (
    "hand", "gate", "mid_z", "balance", "floor", "attack", "d_tonality", "d_wobble", "voiced", "d_voiced",
    "d_syllables", "ha", "hiss", "hissing", "motion_near", "stir_near", "flash", "tremble",
)  # fmt: skip
"""Features that are weighed: those whose absence costs on kinds not heard or on videos made by others."""

RIDGE = 40.0
"""Penalty on squared weights. 20 is .006 better on kinds not heard, 80 as much on videos made by others."""

PRIOR = 0.4
"""Logits added to the intercept: the generator has more distractors, and louder events, than footage does."""

TAKES = (0, 1, 2)

TABLE = Path(fusion.__file__).with_name("fusion.csv")

F64 = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Heard:
    """The proposals of one take of one video."""

    seed: int
    rows: F64  # (proposals, NAMES), smoothed but not standardised
    truth: NDArray[np.bool_]  # which of them are events
    kinds: tuple[str, ...]  # of the event or distractor each lies in, or ""


def heard(signals: Signals, video: LabelledVideo) -> Heard:
    """What the table is to weigh, and the truth about it."""
    f = local.features(signals)
    parts = local.kinds(f)
    values = f.values | {"hand": parts["hand"], "gate": parts["gate"]}
    at = local.proposals(f)
    rows = np.stack([fusion.mean(values[n], fusion.SMOOTHING, least=0.2)[at] for n in NAMES], axis=1)
    times = [(top + 0.5) * STEP for top in at]
    truth = [any(e.core_start - 3 <= t <= e.core_end + 3 for e in video.events) for t in times]
    return Heard(video.spec.seed, rows, np.array(truth, dtype=bool), tuple(_kind(video, t) for t in times))


def _kind(video: LabelledVideo, time: float) -> str:
    events = [e.kind for e in video.events if e.start - 5 <= time <= e.end + 5]
    others = [d.kind for d in video.distractors if d.start - 2 <= time <= d.end + 2]
    return (events + others + [""])[0]


def fitted(rows: F64, truth: NDArray[np.bool_]) -> tuple[float, list[fusion.Row]]:
    """Intercept and table rows."""
    middle = np.nanmedian(rows, axis=0)
    low, high = np.nanpercentile(rows, [16, 84], axis=0)
    width = np.maximum((high - low) / 2, 1e-6)
    x = np.hstack([np.ones((len(rows), 1)), _standardised(rows, middle, width)])
    ridge = np.diag([0.0, *[RIDGE] * rows.shape[1]])
    weights = np.zeros(x.shape[1])
    for _ in range(50):
        p = 1 / (1 + np.exp(-x @ weights))
        gradient = x.T @ (p - truth) + ridge @ weights
        hessian = (x * (p * (1 - p))[:, None]).T @ x + ridge
        step = np.linalg.solve(hessian, gradient)
        weights -= step
        if np.abs(step).max() < 1e-9:
            break
    made = zip(NAMES, middle, width, weights[1:], strict=True)
    return float(weights[0]) + PRIOR, [fusion.Row(n, float(m), float(s), float(w)) for n, m, s, w in made]


def _standardised(rows: F64, middle: F64, width: F64) -> F64:
    return np.nan_to_num(np.clip((rows - middle) / width, -fusion.CLIP, fusion.CLIP))


def weighed(rows: F64, intercept: float, table: Sequence[fusion.Row]) -> F64:
    """Logits of proposals by a table."""
    middle, width = np.array([r.middle for r in table]), np.array([r.width for r in table])
    return intercept + _standardised(rows, middle, width) @ np.array([r.weight for r in table])


def unheard(videos: Sequence[Heard], rng: np.random.Generator) -> float:
    """Average precision over proposals, each weighed by a table that knows neither its kind nor its seed."""
    kinds = sorted({k for v in videos for k in v.kinds if k})
    half = dict(zip(kinds, rng.permutation(len(kinds)) % 2, strict=True)) | {"": -1}
    seeds = sorted({v.seed for v in videos})
    scores = [np.zeros(len(v.truth)) for v in videos]
    for hidden_seeds in (seeds[i::3] for i in range(3)):
        for hidden in (0, 1):
            known = [v for v in videos if v.seed not in hidden_seeds]
            keep = [np.array([half[k] != hidden for k in v.kinds], bool) for v in known]
            intercept, table = fitted(
                np.concatenate([v.rows[k] for v, k in zip(known, keep, strict=True)]),
                np.concatenate([v.truth[k] for v, k in zip(known, keep, strict=True)]),
            )
            for i, v in enumerate(videos):
                if v.seed in hidden_seeds:
                    fold = np.array([half[k] for k in v.kinds])
                    share = (fold == hidden) + 0.5 * (fold == -1)  # what lies in nothing is weighed by both
                    scores[i] += weighed(v.rows, intercept, table) * share
    return average_precision(np.concatenate(scores), np.concatenate([v.truth for v in videos]))


def average_precision(scores: F64, truth: NDArray[np.bool_]) -> float:
    """Mean over the positives of the precision at their rank."""
    ranked = truth[np.argsort(-scores, kind="stable")]
    precision = np.cumsum(ranked) / np.arange(1, len(ranked) + 1)
    return float(precision[ranked].mean())


def write(path: Path, intercept: float, rows: list[fusion.Row]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(fusion.Row._fields)
        writer.writerow(("intercept", 0, 1, f"{intercept:.4f}"))
        writer.writerows((r.name, f"{r.middle:.5g}", f"{r.width:.5g}", f"{r.weight:.4f}") for r in rows)


def _all_heard(seeds: Sequence[int], cache: Path) -> Iterator[Heard]:
    for spec in dataset("tune", seeds):
        if spec.genre == NO_SOUND:
            continue
        video = make(spec, cache)
        takes = [heard(signals, video) for signals in curves(video, TAKES)]
        found, there = int(takes[0].truth.sum()), len(video.events)
        print(f"{spec.name}: {len(takes[0].truth)} proposals, {found} of {there} events", flush=True)
        yield from (t for t in takes if len(t.truth))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", default="1-4")
    parser.add_argument("--check", action="store_true", help="judge on kinds left out; write nothing")
    parser.add_argument("--cache", type=Path, default=CACHE)
    options = parser.parse_args()
    videos = list(_all_heard(parse_seeds(options.seeds), options.cache))
    if options.check:
        precisions = [unheard(videos, np.random.default_rng(seed)) for seed in range(4)]
        print("average precision on kinds not heard: " + " ".join(f"{p:.3f}" for p in precisions))
        return
    rows, truth = np.concatenate([v.rows for v in videos]), np.concatenate([v.truth for v in videos])
    intercept, table = fitted(rows, truth)
    write(TABLE, intercept, table)
    print(f"{len(truth)} proposals in {len(TAKES)} takes, {int(truth.sum())} of them events")
    for row in sorted(table, key=lambda r: -abs(r.weight)):
        print(f"{row.name:<12} {row.weight:+.2f}")


if __name__ == "__main__":
    main()
