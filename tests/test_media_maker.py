"""Test films leave the process as it was."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.media_maker import Recipe, make


@pytest.mark.skipif(not hasattr(os, "sched_getscheduler"), reason="this system has no such thing")
def test_an_encoder_that_takes_real_time_gives_it_back(tmp_path: Path) -> None:
    make(tmp_path / "film.mp4", Recipe(seconds=1.0, codec="libsvtav1"))
    assert os.sched_getscheduler(0) == os.SCHED_OTHER
