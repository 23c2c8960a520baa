"""Windows that move along a curve. Every result depends on a bounded stretch around its step only.

That is what makes results independent of where a source was split: with `CONTEXT` steps on both sides a
stretch gives the same values, bit for bit, as the whole.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from tldr_highlight.analysis.base import STEP, Curve

BLOCK = 4096
"""Steps looked at together: the windows of twelve hours at once would be 400 MB."""


def steps(seconds: float) -> int:
    """Seconds to whole steps."""
    return round(seconds / STEP)


def windows(curve: Curve, first: int, last: int) -> Curve:
    """(n,) -> (n, last - first): row `i` holds `curve[i + first : i + last]`, NaN beyond the ends."""
    if not len(curve):
        return np.empty((0, last - first))
    left, right = max(0, -first), max(0, last - 1)
    padded = np.pad(curve, (left, right), constant_values=np.nan)
    view = np.lib.stride_tricks.sliding_window_view(padded, last - first)
    return view[first + left : first + left + len(curve)]


def rank(curve: Curve, first: int, last: int, share: float, least: int = 1) -> Curve:
    """Per step the value below which `share` of its window lies; NaN with fewer than `least` values."""

    def one(view: Curve) -> Curve:
        ordered = np.sort(view, axis=1)
        count: NDArray[np.int64] = np.isfinite(ordered).sum(axis=1)
        pick: NDArray[np.int64] = np.rint(share * np.maximum(count - 1, 0)).astype(np.int64)
        return np.where(count >= least, ordered[np.arange(len(view)), pick], np.nan)

    return _in_blocks(windows(curve, first, last), one)


def mean(curve: Curve, seconds: float, least: float = 0.5) -> Curve:
    """Mean over `seconds` centred on each step; NaN where less than `least` of them was measured."""
    half = max(0, (steps(seconds) - 1) // 2)
    width = steps(seconds) or 1

    def one(view: Curve) -> Curve:
        count = np.isfinite(view).sum(axis=1)
        total = np.nansum(view, axis=1)
        return np.where(count >= max(1, least * width), total / np.maximum(count, 1), np.nan)

    return _in_blocks(windows(curve, -half, width - half), one)


def _in_blocks(view: Curve, function: Callable[[Curve], Curve]) -> Curve:
    """`function` of rows of windows, applied to some of them at a time."""
    parts = [function(view[at : at + BLOCK]) for at in range(0, len(view), BLOCK)]
    return np.concatenate(parts) if parts else np.empty(0)


def highest(curve: Curve, before: float, after: float) -> Curve:
    """Maximum from `before` seconds before to `after` seconds after each step."""
    view = windows(curve, -steps(before), steps(after) + 1)
    some = np.isfinite(view).any(axis=1)
    return np.where(some, np.max(np.where(np.isfinite(view), view, -np.inf), axis=1), np.nan)


def contrast(curve: Curve, core: float, side: float, guard: float, share: float = 0.75) -> Curve:
    """How far the `core` seconds around a step stand above both their sides (same unit as the curve).

    The sides are the `side` seconds that end `guard` seconds before, and begin `guard` seconds after, the
    step; each counts by the value below which `share` of it lies, the larger one decides. A step up, a drift,
    rain, a music bed or an advert break has one high side and so no contrast.
    """
    s, g = steps(side), steps(guard)
    least = max(1, s // 3)
    before = rank(curve, -g - s, -g, share, least)
    after = rank(curve, g + 1, g + 1 + s, share, least)
    return mean(curve, core) - np.fmax(before, after)


def over_baseline(curve: Curve, core: float, baseline: float, floor: float) -> Curve:
    """Robust z-score of the `core` seconds against the median and MAD of `baseline` seconds around.

    `floor` is the least deviation (same unit as the curve) that counts as one sigma.
    """
    half = steps(baseline / 2)
    least = max(4, half // 4)
    middle = rank(curve, -half, half + 1, 0.5, least)
    high = rank(curve, -half, half + 1, 0.84, least)
    return (mean(curve, core, least=0.34) - middle) / np.maximum(high - middle, floor)


def sigmoid(values: Curve, middle: float, width: float) -> Curve:
    """0..1, one half at `middle`, .88 at `middle + 2 * width`; NaN stays NaN."""
    return 1.0 / (1.0 + np.exp(-np.clip((values - middle) / width, -40, 40)))
