"""What a result rests on, in words, and what a reel shows."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tldr_highlight.analysis.base import Moment
from tldr_highlight.analysis.signals import Signals
from tldr_highlight.media.types import AudioInfo, MediaInfo, VideoInfo
from tldr_highlight.pipeline.common import audible, reel_ranges, unjudged

SOUND = AudioInfo(1, "aac", 48_000, 2)
PICTURE = VideoInfo(0, "h264", 320, 192, 0, Fraction(25), False, "yuv420p", 2.0, Fraction(1))


@pytest.mark.parametrize(
    ("end", "judged", "heard", "picture", "sound", "expected"),
    [
        (60.0, True, True, PICTURE, SOUND, None),
        (3.0, False, True, PICTURE, SOUND, "too short to judge"),
        (60.0, True, False, PICTURE, SOUND, "the sound is silent"),
        (60.0, True, False, PICTURE, None, None),  # its headers tell
        (60.0, False, False, None, SOUND, "nothing in it that could be judged"),
    ],
)
def test_what_could_not_be_judged_is_said(
    end: float,
    judged: bool,
    heard: bool,
    picture: VideoInfo | None,
    sound: AudioInfo | None,
    expected: str | None,
) -> None:
    info = MediaInfo(Path("film.mkv"), "matroska", end, 0.0, 1000, picture, sound, int(bool(sound)))
    told = unjudged(info, end, judged=judged, heard=heard)
    if expected is None:
        assert told is None
    else:
        assert expected in (told or "")


@pytest.mark.parametrize(("peak", "heard"), [(-20.0, True), (-120.0, False), (np.nan, False)])
def test_what_is_nowhere_above_the_threshold_of_hearing_is_silent(peak: float, heard: bool) -> None:
    assert audible(Signals(0, {"peak": np.full(10, peak)})) is heard


# --- reels ---------------------------------------------------------------------------------------------


def moment(start: float, seconds: float, score: float) -> Moment:
    """A moment whose peak is two thirds into its clip."""
    peak, end = start + seconds * 2 / 3, start + seconds
    return Moment(start, end, peak, score, 1.0, (), "", {}, (), start, end)


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        (20.0, [(10.0, 27.1), (51.1, 54.0)]),
        (18.0, [(11.1, 27.1), (51.667, 53.667)]),  # 0.9 s would show nothing
        (15.0, [(12.1, 27.1)]),
        (200.0, [(10.0, 27.1), (50.0, 54.0), (80.0, 81.5)]),
    ],
)
def test_a_reel_is_filled_exactly_as_long_as_there_is_more_to_show(
    target: float, expected: list[tuple[float, float]]
) -> None:
    moments = [moment(80, 1.5, 0.6), moment(10, 17.1, 0.9), moment(50, 4, 0.8)]
    assert reel_ranges(moments, target) == [pytest.approx(each, abs=0.001) for each in expected]


@given(st.lists(st.floats(1, 60), min_size=1, max_size=8), st.floats(1, 300))
def test_a_reel_is_as_long_as_asked_for_and_shows_every_peak(lengths: list[float], target: float) -> None:
    moments = [moment(100.0 * n, length, n % 3 / 3) for n, length in enumerate(lengths)]
    ranges = reel_ranges(moments, target)
    assert sum(b - a for a, b in ranges) == pytest.approx(min(target, sum(lengths)), abs=0.0011)
    assert ranges == sorted(ranges)
    for start, end in ranges:
        [whose] = [m for m in moments if m.clip_start <= start and end <= m.clip_end]
        assert start <= whose.peak <= end
        if len(ranges) > 1 and end - start < min(2.0, whose.clip_end - whose.clip_start) - 1e-6:
            shown = [m for m in moments if any(m.clip_start <= a <= m.clip_end for a, _ in ranges)]
            assert all(m.clip_end - m.clip_start < 4 for m in shown), "others could have given"
