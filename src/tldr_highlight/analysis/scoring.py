"""How likely a viewer keeps an event: the analyzer's odds, shifted by what the dimension set cares about."""

from __future__ import annotations

import math

from tldr_highlight.analysis.base import Event
from tldr_highlight.analysis.dimensions import DimensionSet, weighted

TASTE = 2.0
"""Logits between a set that cares about nothing seen here and one that cares about just this."""

INDIFFERENT = 0.35
"""Weighted value that shifts nothing: halfway between what events and false proposals have (.42 and .24)."""


def score(event: Event, dimension_set: DimensionSet) -> float:
    """0..1. Calibrated so that 0.5 means even odds, for every analyzer and every set.

    Unknown dimensions are left out of the weighted mean; the smaller the known share, the less it shifts.
    """
    value, known = weighted(event.dimensions, dimension_set)
    shift = TASTE * (value - INDIFFERENT) * min(1.0, 2 * known) if known else 0.0
    return 1.0 / (1.0 + math.exp(-(event.worth + shift)))


def known_share(names: tuple[str, ...], dimension_set: DimensionSet) -> float:
    """Share of a set's weight on dimensions that can be judged at all."""
    return weighted(dict.fromkeys(names, 1.0), dimension_set)[1]
