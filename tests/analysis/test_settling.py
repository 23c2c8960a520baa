"""Moments as soon as they are certain: those of `choose`, however the curves were cut."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.analysis.test_local import RATE, bed, put, roar, segments
from tldr_highlight.analysis.base import STEP, Moment
from tldr_highlight.analysis.dimensions import preset
from tldr_highlight.analysis.local import CONTEXT, analyse
from tldr_highlight.analysis.moments import MomentOptions, choose
from tldr_highlight.analysis.settling import REACH, Settler, rescore
from tldr_highlight.analysis.signals import Signals, measure, strung

GENERAL = preset("general")
SECONDS = 640.0
ROARS = (20, 45, 52, 90, 150, 206, 301, 308, 420, 500, 580, 620, 633)
LOW = MomentOptions(threshold=0.02)


@pytest.fixture(scope="module")
def signals() -> Signals:
    """Eleven minutes with roars, some of which are near each other, and one that ends with it."""
    samples = bed(SECONDS, 1)
    for seed, at in enumerate(ROARS):
        put(samples, at, roar(seed))
    return measure(segments(samples[: int(SECONDS * RATE)]))


def settled(
    signals: Signals, cuts: list[int], options: MomentOptions | None, duration: float = SECONDS
) -> list[Moment]:
    settler = Settler(GENERAL, options)
    borders = sorted({signals.first, *cuts, signals.first + signals.steps})
    found: list[Moment] = []
    for a, b in itertools.pairwise(borders):
        found += settler.feed(signals.part(a, b))
    return found + settler.finish(duration)


@pytest.mark.parametrize(
    "options",
    [
        MomentOptions(),
        LOW,
        MomentOptions(threshold=0.02, merge_gap=20.0, longest_clip=60.0),
        MomentOptions(threshold=0.02, context_before=60.0, context_after=60.0, shortest_clip=60.0),
        MomentOptions(max_highlights=3),
    ],
    ids=["default", "low", "merging", "wide", "max"],
)
@pytest.mark.parametrize("size", [37, 40, 5000])
def test_moments_are_those_of_the_whole(signals: Signals, options: MomentOptions, size: int) -> None:
    whole = choose(analyse(signals), GENERAL, SECONDS, options)
    assert len(whole) >= 3
    assert settled(signals, list(range(0, signals.steps, size)), options) == whole
    assert rescore(signals, GENERAL, SECONDS, options) == whole


@settings(max_examples=10, deadline=None)
@given(cuts=st.lists(st.integers(1, int(SECONDS / STEP) - 1), max_size=60))
def test_moments_do_not_depend_on_where_curves_are_cut(signals: Signals, cuts: list[int]) -> None:
    assert settled(signals, cuts, LOW) == choose(analyse(signals), GENERAL, SECONDS, LOW)


@settings(max_examples=15, deadline=None)
@given(end=st.integers(2, int(SECONDS / STEP)), cut=st.integers(1, 100), short=st.floats(0, 1))
def test_a_source_may_end_anywhere(signals: Signals, end: int, cut: int, short: float) -> None:
    part = signals.part(0, end)
    duration = max(0.0, part.end - short)
    whole = choose(analyse(part), GENERAL, duration, LOW)
    assert settled(part, list(range(0, end, cut)), LOW, duration) == whole


def test_moments_come_early_and_in_order_of_time(signals: Signals) -> None:
    settler = Settler(GENERAL, MomentOptions(threshold=0.3))
    fed: dict[float, float] = {}
    for at in range(0, signals.steps, 40):
        for moment in settler.feed(signals.part(at, at + 40)):
            fed[moment.peak] = at * STEP + 20
    assert list(fed) == sorted(fed)
    first, *_ = fed.items()
    assert first[0] < 60
    assert first[1] <= 280
    assert all(end - peak <= 300 + CONTEXT + REACH + 30 for peak, end in fed.items())
    assert len(fed) >= 4, "about half of them before the end"


def test_nothing_is_certain_before_the_end_where_only_the_best_are_wanted(signals: Signals) -> None:
    settler = Settler(GENERAL, MomentOptions(max_highlights=2))
    assert settler.feed(signals) == []
    assert len(settler.finish(SECONDS)) == 2


def test_the_first_of_two_that_are_one_is_published_and_the_other_never(signals: Signals) -> None:
    curves = {n: c.copy() for n, c in signals.curves.items()}
    for name in ("motion", "brightness", "detail"):
        curves[name] = np.random.default_rng(3).uniform(20, 100, signals.steps)
    for curve in curves.values():  # what happens at 90 s is shown again at 470 s, a little louder
        curve[900:980] = curve[140:220]
    for name in ("loudness", "low", "mid", "high"):
        curves[name][935:970] += 3.0
    twice = Signals(0, curves)
    whole = [round(m.peak, -1) for m in choose(analyse(twice), GENERAL, SECONDS, LOW)]
    found = [round(m.peak, -1) for m in settled(twice, [500, 700, 900], LOW)]
    assert set(whole) - set(found) == {470}, "the better one"
    assert set(found) - set(whole) == {90}, "the first one"


def test_memory_does_not_grow(signals: Signals) -> None:
    settler = Settler(GENERAL, LOW)
    long = strung([signals] * 5)
    for at in range(0, long.steps, 60):
        settler.feed(long.part(at, at + 60))
        assert settler.kept_steps <= (300 + 2 * CONTEXT) / STEP + 60


def test_curves_must_follow_each_other(signals: Signals) -> None:
    settler = Settler(GENERAL)
    settler.feed(signals.part(0, 40))
    with pytest.raises(ValueError, match="do not follow"):
        settler.feed(signals.part(41, 80))


def test_nothing_at_all() -> None:
    assert Settler(GENERAL).finish(0.0) == []
    assert settled(measure([]), [], None, 0.0) == []
    silence = measure(segments(np.zeros(300 * RATE, np.float32)))
    assert settled(silence, [100, 300], LOW, 300.0) == []
    assert not math.isnan(silence.end)
