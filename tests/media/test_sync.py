"""Lags are found to the sample, and not made up."""

from __future__ import annotations

import numpy as np
import pytest

from tldr_highlight.media.sync import REACH, Heard, lag

RATE = 48_000


def noise(seed: int = 1, count: int = RATE, channels: int = 2) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 0.1, (channels, count)).astype(np.float32)


@pytest.mark.parametrize("late", [0, 1, -1, 17, -300, 1024, -REACH, REACH])
def test_a_lag_is_found_to_the_sample(late: int) -> None:
    sound = noise()
    begin = 10_000
    theirs = sound[:, begin : begin + 12_000]
    ours = sound[:, begin - late : begin - late + 12_000] + noise(2, 12_000) / 10
    assert lag({0: ours}, {0: theirs}) == late


def test_the_worst_window_counts() -> None:
    sound = noise()
    theirs = {0: sound[:, 5000:15_000], 20_000: sound[:, 25_000:35_000]}
    ours = {0: sound[:, 4998:14_998], 20_000: sound[:, 25_050:35_050]}
    assert lag(ours, theirs) == -50


def test_nothing_is_told_of_what_tells_nothing() -> None:
    silence = np.zeros((2, 12_000), np.float32)
    tone = np.sin(2 * np.pi * 480 * np.arange(12_000) / RATE)[None].astype(np.float32)  # 100 samples a period
    assert lag({0: silence}, {0: noise()[:, :12_000]}) == 0
    assert lag({0: noise(3, 12_000)}, {0: noise(4, 12_000)}) == 0
    assert lag({0: tone + noise(5, 12_000, 1) / 100}, {0: tone}) == 0
    assert lag({0: noise()[:, :500]}, {0: noise()[:, 50:550]}) == 0
    assert lag({}, {0: noise()}) == 0


@pytest.mark.parametrize("count", [0, 700, 12_000, 20_000, 100_001])
def test_beginning_and_end_are_kept(count: int) -> None:
    sound, heard = noise(count=count), Heard(RATE)
    for at in range(0, count, 777):
        heard.add(sound[:, at : at + 777])
    windows = heard.windows()
    most = min(count, 12_000)
    assert set(windows) == ({0, count - most} if count else set())
    for at, block in windows.items():
        assert np.array_equal(block, sound[:, at : at + most])
