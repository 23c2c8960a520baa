"""The fitted table: how much each feature speaks for a moment.

An additive logistic model in `fusion.csv`: one row per feature with its middle, its width and its weight.
Fitted by `python -m benchmarks.detection.fit` on the tuning half of the benchmark, judged on kinds of
events and distractors it never heard (`docs/detection.md`). It is small on purpose: every weight can be
read, and boosted trees on the same features were no better on videos made by others.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import NamedTuple

import numpy as np

from tldr_highlight.analysis.base import Curve
from tldr_highlight.analysis.rolling import mean

SMOOTHING = 2.5
"""Seconds over which a feature is averaged before it is weighed."""

CLIP = 3.0
"""Widths beyond which a feature says no more: one wild value decides nothing alone."""


class Row(NamedTuple):
    """One feature of the table."""

    name: str
    middle: float  # median over proposals
    width: float  # half the distance of their 16th and 84th percentiles
    weight: float  # logits per width


@cache
def table() -> tuple[float, tuple[Row, ...]]:
    """The intercept (logits) and the rows."""
    text = files("tldr_highlight.analysis").joinpath("fusion.csv").read_text("utf-8")
    rows = [
        Row(r["name"], float(r["middle"]), float(r["width"]), float(r["weight"]))
        for r in csv.DictReader(text.splitlines())
    ]
    return rows[0].weight, tuple(rows[1:])


def standardised(curve: Curve, middle: float, width: float, smoothing: float = SMOOTHING) -> Curve:
    """Smoothed, in widths from the middle, clipped; what is unknown says nothing: 0."""
    return np.nan_to_num(np.clip((mean(curve, smoothing, least=0.2) - middle) / width, -CLIP, CLIP))


def fused(features: Mapping[str, Curve]) -> Curve:
    """Logit per step that a viewer keeps what happens there."""
    intercept, rows = table()
    total = np.full_like(features[rows[0].name], intercept)
    for row in rows:
        total += row.weight * standardised(features[row.name], row.middle, row.width)
    return total
