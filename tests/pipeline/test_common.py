"""What a result rests on, in words."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from tldr_highlight.analysis.signals import Signals
from tldr_highlight.media.types import AudioInfo, MediaInfo, VideoInfo
from tldr_highlight.pipeline.common import audible, unjudged

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
