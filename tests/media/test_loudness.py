"""Loudness is what the standards say, and one gain brings it to the target."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.media.conftest import Maker
from tests.media_maker import read
from tests.peers import need
from tldr_highlight.media.cut import cut
from tldr_highlight.media.loudness import Loudness, measure
from tldr_highlight.media.types import ClipResult, ClipSpec, CutOptions

RATE = 48_000
Sound = NDArray[np.float32]


def sine(level: float, seconds: float, frequency: float = 1000.0, phase: float = 0.0) -> Sound:
    """A stereo sine of `level` dBFS."""
    at = np.arange(round(seconds * RATE)) / RATE
    wave = 10 ** (level / 20) * np.sin(2 * np.pi * frequency * at + np.radians(phase))
    return np.stack([wave, wave]).astype(np.float32)


def in_blocks(samples: Sound) -> Iterator[Sound]:
    for at in range(0, samples.shape[1], 1024):
        yield samples[:, at : at + 1024]


TECH_3341: dict[str, tuple[list[tuple[float, float]], float]] = {
    "1": ([(-23.0, 20)], -23.0),
    "2": ([(-33.0, 20)], -33.0),
    "3": ([(-36.0, 10), (-23.0, 60), (-36.0, 10)], -23.0),
    "4": ([(-72.0, 10), (-36.0, 10), (-23.0, 60), (-36.0, 10), (-72.0, 10)], -23.0),
    "5": ([(-26.0, 20), (-20.0, 20.1), (-26.0, 20)], -23.0),
}
"""EBU Tech 3341, table 1: (level, seconds) of its test signals, and their loudness, within 0.1."""


@pytest.mark.parametrize("signal", TECH_3341)
def test_test_signals_of_ebu(signal: str) -> None:
    parts, wanted = TECH_3341[signal]
    samples = np.concatenate([sine(*part) for part in parts], axis=1)
    assert measure(in_blocks(samples), RATE, "stereo").integrated == pytest.approx(wanted, abs=0.1)


def test_one_channel_at_full_scale() -> None:
    """ITU-R BS.1770: a sine of 997 Hz and 0 dBFS in one channel is -3.01 LUFS."""
    samples = sine(0.0, 10, 997.0)[:1]
    assert measure(in_blocks(samples), RATE, "mono").integrated == pytest.approx(-3.01, abs=0.05)


@pytest.mark.parametrize(("phase", "frequency"), [(0.0, RATE / 4), (45.0, RATE / 4), (60.0, RATE / 6)])
def test_peaks_between_samples(phase: float, frequency: float) -> None:
    """EBU Tech 3341, 15 to 18: the true peak of a sine of -6 dBFS is -6, +0.2 -0.4, wherever samples fall."""
    samples = sine(-6.0, 1, frequency, phase)
    ramp = np.minimum(1, np.arange(samples.shape[1]) / 4800)
    samples = (samples * np.minimum(ramp, ramp[::-1])).astype(np.float32)
    assert -6.4 <= measure(in_blocks(samples), RATE, "stereo").true_peak <= -5.8


def test_what_gain_is_taken() -> None:
    assert 20 * np.log10(Loudness(-23.0, -20.0).gain(-16.0)) == pytest.approx(7.0)
    assert 20 * np.log10(Loudness(-10.0, -3.0).gain(-16.0)) == pytest.approx(-6.0)
    assert 20 * np.log10(Loudness(-23.0, -4.0).gain(-16.0)) == pytest.approx(2.5)  # to -1.5 dBTP
    assert 20 * np.log10(Loudness(-60.0, -50.0).gain(-16.0)) == pytest.approx(30.0)
    assert Loudness(-70.0, -90.0).gain(-16.0) == 1.0


@pytest.mark.parametrize("seconds", [0.0, 0.05, 0.3, 2.0])
def test_silence_is_not_made_louder(seconds: float) -> None:
    samples = np.zeros((2, round(seconds * RATE)), np.float32)
    assert measure(in_blocks(samples), RATE, "stereo").gain(-14.0) == 1.0


@pytest.mark.parametrize("rate", [7350, 11_025, 22_050, 44_100, 96_000])
def test_other_rates(rate: int) -> None:
    at = np.arange(5 * rate) / rate
    wave = (0.1 * np.sin(2 * np.pi * 997 * at)).astype(np.float32)[None]
    assert measure(iter([wave]), rate, "mono").integrated == pytest.approx(-23.01, abs=0.1)


# --- in clips ------------------------------------------------------------------------------------------


def judged(path: Path) -> tuple[float, float]:
    """Integrated loudness and true peak, by ffmpeg."""
    told = subprocess.run(
        [need("ffmpeg"), "-nostats", "-i", str(path), "-af", "ebur128=peak=true", "-f", "null", "-"],
        check=True, capture_output=True, text=True,
    ).stderr  # fmt: skip
    summary = told[told.rindex("Summary:") :]
    found = [re.search(rf"{name}:\s+(-?[\d.]+|-?inf)", summary) for name in ("I", "Peak")]
    integrated, peak = (float(m[1]) for m in found if m)
    return integrated, peak


@pytest.mark.parametrize("target", [-14.0, -16.0, -23.0, -31.0])
def test_clip_is_as_loud_as_asked(target: float, media: Maker, tmp_path: Path) -> None:
    made = media("mp4", seconds=6.0)
    spec = ClipSpec(1.0, 5.0, tmp_path / "clip.mp4")
    result = next(iter(cut(made.info, [spec], options=CutOptions("encode", loudness=target))))
    made.assert_exact(result, 1.0, 5.0)  # in sync to the sample
    integrated, peak = judged(spec.path)
    assert peak <= -0.9  # told to one digit
    own, own_peak = judged(made.path)
    reachable = min(target, own - 1.5 - own_peak)
    assert integrated == pytest.approx(reachable, abs=0.5 if reachable < target else 0.2)
    assert isinstance(result, ClipResult)
    if reachable >= target:
        assert result.warnings == ()
    else:
        (warning,) = result.warnings
        told = re.fullmatch(
            r"its loudness is (-[\d.]+) LUFS instead of (-\d+): its peaks allow no more", warning
        )
        assert told
        assert float(told[1]) == pytest.approx(integrated, abs=0.5)
        assert float(told[2]) == target


def test_what_is_said_of_a_loudness_that_is_not_reached() -> None:
    assert Loudness(-23.0, -20.0).warning(-16.0) is None
    assert Loudness(-10.0, -3.0).warning(-16.0) is None
    limited = "its loudness is -20.5 LUFS instead of -16: its peaks allow no more"
    assert Loudness(-23.0, -4.0).warning(-16.0) == limited
    assert (
        Loudness(-60.0, -50.0).warning(-16.0)
        == "its loudness is -30.0 LUFS instead of -16: 30 dB are the most"
    )
    assert "silent" in (Loudness(-70.0, -90.0).warning(-16.0) or "")


def test_silence_stays_silence(media: Maker, tmp_path: Path) -> None:
    made = media("mkv", audio_start=1.5)
    spec = ClipSpec(0.2, 1.2, tmp_path / "clip.mp4")
    assert isinstance(next(iter(cut(made.info, [spec], options=CutOptions(loudness=-14.0)))), ClipResult)
    assert abs(read(spec.path).samples).max() == 0


def test_only_the_clip_s_own_sound_counts(media: Maker, tmp_path: Path) -> None:
    made = media("mkv", audio_start=1.5)  # silence before it would change nothing, by the gate;
    gains: list[float] = []
    for start in (1.6, 2.5):
        spec = ClipSpec(start, start + 1.0, tmp_path / f"{start}.mp4")
        assert isinstance(next(iter(cut(made.info, [spec], options=CutOptions(loudness=-30.0)))), ClipResult)
        gains.append(judged(spec.path)[0])
    assert gains == pytest.approx([-30.0, -30.0], abs=0.2)


def test_without_sound_nothing_is_done(media: Maker, tmp_path: Path) -> None:
    spec = ClipSpec(0.0, 1.0, tmp_path / "clip.mp4")
    outcome = next(iter(cut(media("mp4", audio=None).info, [spec], options=CutOptions(loudness=-14.0))))
    assert isinstance(outcome, ClipResult)
