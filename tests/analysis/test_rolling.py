"""Windows along curves: what they mean, and that they look no further than they say."""

import numpy as np
import pytest

from tldr_highlight.analysis.rolling import (
    contrast,
    highest,
    mean,
    over_baseline,
    rank,
    sigmoid,
    steps,
    windows,
)

RNG = np.random.default_rng(7)


def test_windows_are_padded_with_nan() -> None:
    view = windows(np.array([1.0, 2.0, 3.0]), -1, 2)
    assert np.isnan(view[0, 0])
    assert view[1].tolist() == [1.0, 2.0, 3.0]
    assert np.isnan(view[2, 2])


@pytest.mark.parametrize(("first", "last"), [(-5, -2), (2, 5), (-3, 4)])
def test_windows_hold_what_their_offsets_say(first: int, last: int) -> None:
    curve = np.arange(20.0)
    assert windows(curve, first, last)[10].tolist() == [10.0 + i for i in range(first, last)]


def test_rank_ignores_nan_and_wants_enough() -> None:
    curve = np.array([np.nan, 1, 2, 3, np.nan, np.nan])
    assert rank(curve, -2, 3, 1.0)[2] == 3
    assert np.isnan(rank(curve, -1, 2, 0.5, least=3)[0])


def test_contrast_sees_a_bump_but_no_step_and_no_drift() -> None:
    base = RNG.normal(0, 0.2, 400)
    bump = base.copy()
    bump[200:208] += 10
    step = base + np.where(np.arange(400) >= 200, 10, 0)
    drift = base + np.arange(400) * 0.02
    assert contrast(bump, 3.0, 18.0, 6.0)[203] > 8
    assert np.nanmax(contrast(step, 3.0, 18.0, 6.0)) < 1
    assert np.nanmax(contrast(drift, 3.0, 18.0, 6.0)) < 1


def test_contrast_is_the_same_at_half_the_volume() -> None:
    curve = RNG.normal(-30, 3, 300)
    np.testing.assert_allclose(
        contrast(curve, 3.0, 18.0, 6.0), contrast(curve - 6.02, 3.0, 18.0, 6.0), atol=1e-9
    )


def test_windows_look_no_further_than_they_say() -> None:
    curve = RNG.normal(0, 1, 1000)
    inner = slice(400, 600)
    for function in (
        lambda c: contrast(c, 3.0, 18.0, 6.0),
        lambda c: over_baseline(c, 3.0, 120.0, 0.1),
        lambda c: highest(c, 2.0, 2.0),
        lambda c: mean(c, 6.0),
    ):
        whole = function(curve)[inner]
        part = function(curve[250:750])[150:350]
        np.testing.assert_array_equal(whole, part)


def test_over_baseline_counts_sigmas() -> None:
    curve = RNG.normal(0, 1, 600)
    curve[300:306] += 5
    value = over_baseline(curve, 3.0, 120.0, 0.1)[302]
    assert 3.5 < value < 7


def test_sigmoid_is_half_in_the_middle_and_keeps_nan() -> None:
    values = sigmoid(np.array([2.0, np.nan, 1e9]), 2.0, 0.5)
    assert values[0] == 0.5
    assert np.isnan(values[1])
    assert values[2] == 1.0


def test_steps_rounds_to_the_grid() -> None:
    assert steps(3.0) == 6
