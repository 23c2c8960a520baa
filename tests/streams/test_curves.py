"""Curves are stored without loss."""

from __future__ import annotations

import numpy as np

from tldr_highlight.analysis.signals import Signals
from tldr_highlight.streams.curves import packed, unpacked


def test_curves_come_back_as_they_were() -> None:
    chance = np.random.default_rng(1)
    curves = {
        name: chance.normal(size=40).astype(np.float32).astype(np.float64) for name in ("loudness", "mid")
    }
    curves["mid"][3] = np.nan
    back = unpacked(packed(Signals(80, curves)))
    assert back.first == 80
    for name, curve in curves.items():
        np.testing.assert_array_equal(back.curves[name], curve)
        assert back.curves[name].dtype == np.float64
