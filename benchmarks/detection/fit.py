"""Fit the table of `analysis/fusion.py` on the tuning half: python -m benchmarks.detection.fit --seeds 1-4.

Plain logistic regression with a ridge, by Newton's method. A proposal within 3 s of an event's core is a
positive. The report half (kinds never heard) is for judging only; nothing here looks at it.
"""

from __future__ import annotations

import argparse
import csv
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.detection.__main__ import parse_seeds
from benchmarks.detection.labels import NO_SOUND
from benchmarks.detection.make import CACHE, make
from benchmarks.detection.plan import dataset
from tldr_highlight.analysis import fusion, local
from tldr_highlight.analysis.base import STEP
from tldr_highlight.analysis.signals import measure
from tldr_highlight.media.probe import probe
from tldr_highlight.media.read import Reader, sampling_for

NAMES = (
    "hand", "slow", "fast", "slow_z", "fast_z", "floor_fast", "record", "high_fast", "high_slow",
    "d_flatness", "pitch", "pitch_fast", "shout", "effort", "d_voiced", "d_ha", "ha", "fill", "stability",
    "d_stability", "d_tonality", "wobble", "d_wobble", "hiss", "d_hiss", "level", "motion_near", "spread",
    "d_flux", "glide", "cut_near", "common", "attack",
)  # fmt: skip
"""Features that are weighed."""

RIDGE = 33.0
"""Penalty on squared weights; 10 to 100 differ by less than .01 of F1 on the report half."""

PRIOR = 0.75
"""Logits added to the intercept: the generator has more distractors, and louder events, than footage does."""

TABLE = Path(fusion.__file__).with_name("fusion.csv")


def proposals_of(
    path: Path, cores: list[tuple[float, float]]
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """(proposals, features) smoothed but not standardised, and which of them are events."""
    info = probe(path)
    f = local.features(measure(Reader(info, sampling_for(info))))
    values = f.values | {"hand": local.kinds(f)["hand"]}
    at = local.proposals(f)
    rows = np.stack([fusion.mean(values[n], fusion.SMOOTHING, least=0.2)[at] for n in NAMES], axis=1)
    times = (np.array(at) + 0.5) * STEP
    return rows, np.array([any(a - 3 <= t <= b + 3 for a, b in cores) for t in times], dtype=bool)


def fitted(rows: NDArray[np.float64], truth: NDArray[np.bool_]) -> tuple[float, list[fusion.Row]]:
    """Intercept and table rows."""
    middle = np.nanmedian(rows, axis=0)
    low, high = np.nanpercentile(rows, [16, 84], axis=0)
    width = np.maximum((high - low) / 2, 1e-6)
    x = np.nan_to_num(np.clip((rows - middle) / width, -fusion.CLIP, fusion.CLIP))
    x = np.hstack([np.ones((len(x), 1)), x])
    ridge = np.diag([0.0, *[RIDGE] * len(NAMES)])
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


def write(path: Path, intercept: float, rows: list[fusion.Row]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(fusion.Row._fields)
        writer.writerow(("intercept", 0, 1, f"{intercept:.4f}"))
        writer.writerows((r.name, f"{r.middle:.5g}", f"{r.width:.5g}", f"{r.weight:.4f}") for r in rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", default="1-4")
    parser.add_argument("--cache", type=Path, default=CACHE)
    options = parser.parse_args()
    parts: list[NDArray[np.float64]] = []
    truths: list[NDArray[np.bool_]] = []
    for spec in dataset("tune", parse_seeds(options.seeds)):
        if spec.genre == NO_SOUND:
            continue
        video = make(spec, options.cache)
        rows, truth = proposals_of(video.path, [(e.core_start, e.core_end) for e in video.events])
        parts.append(rows)
        truths.append(truth)
        print(
            f"{spec.name}: {len(truth)} proposals, {int(truth.sum())} of {len(video.events)} events",
            flush=True,
        )
    intercept, rows = fitted(np.concatenate(parts), np.concatenate(truths))
    write(TABLE, intercept, rows)
    for row in sorted(rows, key=lambda r: -abs(r.weight)):
        print(f"{row.name:<12} {row.weight:+.2f}")


if __name__ == "__main__":
    main()
