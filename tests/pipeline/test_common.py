"""What a result rests on, in words."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from tldr_highlight.analysis.base import STEP, Analysis
from tldr_highlight.analysis.signals import Signals
from tldr_highlight.media.types import AudioInfo, MediaInfo, VideoInfo
from tldr_highlight.pipeline.common import unjudged

SOUND = AudioInfo(1, "aac", 48_000, 2)
PICTURE = VideoInfo(0, "h264", 320, 192, 0, Fraction(25), False, "yuv420p", 2.0, Fraction(1))
NOTHING = np.nan


@pytest.mark.parametrize(
    ("seconds", "peak", "judged", "picture", "sound", "expected"),
    [
        (60.0, -20.0, 0.4, PICTURE, SOUND, None),
        (3.0, -20.0, NOTHING, PICTURE, SOUND, "too short to judge"),
        (60.0, -120.0, 0.4, PICTURE, SOUND, "the sound is silent"),
        (60.0, NOTHING, 0.4, PICTURE, SOUND, "the sound is silent"),
        (60.0, NOTHING, 0.4, PICTURE, None, None),  # its headers tell
        (60.0, -120.0, NOTHING, None, SOUND, "nothing in it that could be judged"),
    ],
)
def test_what_could_not_be_judged_is_said(
    seconds: float,
    peak: float,
    judged: float,
    picture: VideoInfo | None,
    sound: AudioInfo | None,
    expected: str | None,
) -> None:
    steps = round(seconds / STEP)
    info = MediaInfo(Path("film.mkv"), "matroska", seconds, 0.0, 1000, picture, sound, int(bool(sound)))
    signals = Signals(0, {"peak": np.full(steps, peak), "loudness": np.full(steps, -30.0)})
    flat, known = np.zeros(steps), np.full(steps, judged)
    analysis = Analysis(0, flat, {"scene_energy": known}, (), flat, flat, np.zeros((steps, 3)))
    told = unjudged(analysis, signals, info)
    if expected is None:
        assert told is None
    else:
        assert expected in (told or "")
