"""Curves: they measure what they say, and do not care how the sound was split."""

import numpy as np
import pytest
from numpy.typing import NDArray

from tldr_highlight.analysis.base import STEP
from tldr_highlight.analysis.signals import PICTURE_CURVES, SOUND_CURVES, Extractor, Signals, joined, measure
from tldr_highlight.media.types import AudioBlock, Pictures, Segment

RATE = 48_000


def tone(seconds: float, hertz: float, level: float = 0.5, rate: int = RATE) -> NDArray[np.float32]:
    return (level * np.sin(2 * np.pi * hertz * np.arange(int(seconds * rate)) / rate)).astype(np.float32)


def noise(seconds: float, level: float = 0.1, seed: int = 1, rate: int = RATE) -> NDArray[np.float32]:
    return (level * np.random.default_rng(seed).standard_normal(int(seconds * rate))).astype(np.float32)


def segments(
    samples: NDArray[np.float32], seconds: float = 20.0, rate: int = RATE, start: float = 0.0
) -> list[Segment]:
    size = int(seconds * rate)
    return [
        segment(i, start + at / rate, (AudioBlock(start + at / rate, rate, samples[at : at + size]),))
        for i, at in enumerate(range(0, len(samples), size))
    ]


def segment(
    index: int,
    start: float,
    audio: tuple[AudioBlock, ...] = (),
    pictures: tuple[list[float], NDArray[np.uint8]] | None = None,
) -> Segment:
    times, gray = pictures or ([], np.empty((0, 90, 160), np.uint8))
    return Segment(
        index,
        start,
        start + 20,
        audio,
        Pictures(np.array(times), gray),
        np.empty(0),
        np.empty(0),
        np.empty(0),
    )


def middle(signals: Signals, name: str) -> float:
    curve = signals.curves[name]
    return float(np.nanmedian(curve[4:-4]))


def test_loudness_of_a_full_scale_sine_is_minus_three_lufs() -> None:
    """BS.1770-5: a 0 dBFS 997 Hz sine in one channel reads -3.01 LUFS."""
    signals = measure(segments(tone(10, 997, 1.0)))
    assert middle(signals, "loudness") == pytest.approx(-3.01, abs=0.1)


@pytest.mark.parametrize("rate", [8_000, 16_000, 22_050, 44_100, 48_000, 96_000])
def test_levels_do_not_depend_on_the_sample_rate(rate: int) -> None:
    signals = measure(segments(tone(6, 1000, 0.5, rate), rate=rate))
    assert middle(signals, "mid") == pytest.approx(-9.03, abs=0.15)


@pytest.mark.parametrize("seconds", [0.013, 0.5, 7.3, 20.0, 61.0])
def test_curves_do_not_depend_on_how_sound_is_split(seconds: float) -> None:
    samples = noise(62, seed=3) * (1 + np.sin(np.arange(62 * RATE) / RATE)).astype(np.float32)
    samples[: 20 * RATE] += tone(20, 300, 0.2)
    if seconds < 0.1:
        samples = samples[: 6 * RATE]
    whole, split = measure(segments(samples, 100.0)), measure(segments(samples, seconds))
    for name in SOUND_CURVES:
        np.testing.assert_array_equal(whole.curves[name], split.curves[name], err_msg=name)


@pytest.mark.parametrize("name", ["mid", "floor", "flatness"])
def test_a_file_that_begins_a_little_later_looks_the_same(name: str) -> None:
    """Voices and bangs of half a second and a second in noise, cut off by a part of a step."""
    samples = noise(60, 0.02)
    for at in range(6, 56, 5):
        length = 0.5 + 0.5 * (at % 2)
        sound = tone(length, 300 + at, 0.3) if at % 3 else noise(length, 0.3, seed=at)
        samples[round((at + 0.13) * RATE) :][: len(sound)] += sound
    whole = measure(segments(samples)).curves[name]
    off = np.interp(np.arange(100) + 0.5, np.arange(len(whole)), whole)
    later = measure(segments(samples[RATE // 4 :])).curves[name][:100]
    assert np.nanstd(later - off) < 0.35 * np.nanstd(whole)  # .55 to .64 of one look


def test_half_the_volume_moves_levels_and_nothing_else() -> None:
    samples = noise(20) + tone(20, 220, 0.2)
    loud, quiet = measure(segments(samples)), measure(segments(samples / 2))
    assert middle(loud, "mid") - middle(quiet, "mid") == pytest.approx(6.02, abs=0.01)
    for name in ("tonality", "stability", "flatness", "voiced", "fill", "flux"):
        assert middle(loud, name) == pytest.approx(middle(quiet, name), abs=1e-3), name


def test_kinds_of_sound_differ() -> None:
    hiss, note = measure(segments(noise(12))), measure(segments(tone(12, 440) + tone(12, 880, 0.3)))
    assert middle(hiss, "flatness") > 0.4 > middle(note, "flatness")
    assert middle(note, "tonality") > 0.8
    assert middle(hiss, "tonality") < 0.3
    assert middle(note, "stability") > 0.7 > middle(hiss, "stability")


def test_a_pitch_is_found_and_noise_has_none() -> None:
    t = np.arange(10 * RATE) / RATE
    voice = sum(np.sin(2 * np.pi * 150 * k * t) / k for k in range(1, 15)).astype(np.float32) * 0.2
    signals = measure(segments(voice))
    assert middle(signals, "voiced") > 0.95
    assert 2 ** middle(signals, "pitch") == pytest.approx(150, rel=0.03)
    assert middle(measure(segments(noise(10))), "voiced") < 0.1


def test_a_click_does_not_move_the_bands_but_the_peak() -> None:
    samples = noise(20, 0.01)
    samples[490_000:490_400] += noise(1, 0.5)[:400]  # 10.2 s
    signals = measure(segments(samples))
    at = int(10 / STEP)
    assert abs(signals.curves["mid"][at] - middle(signals, "mid")) < 1.5
    assert signals.curves["peak"][at] > middle(signals, "peak") + 10
    assert signals.curves["fill"][at] < 0.4


def test_laughter_rhythm_and_speech_rhythm() -> None:
    t = np.arange(20 * RATE) / RATE
    for hertz, name in ((5.0, "ha"), (3.0, "syllables")):
        bursts = noise(20) * (0.55 + 0.45 * np.sign(np.sin(2 * np.pi * hertz * t))).astype(np.float32)
        assert middle(measure(segments(bursts)), name) > 0.5, name


def test_a_gap_in_the_sound_is_unknown_not_silent() -> None:
    part = noise(10)
    signals = measure([
        segment(0, 0, (AudioBlock(0.0, RATE, part),)),
        segment(1, 20, (AudioBlock(30.0, RATE, part),)),
    ])  # fmt: skip
    assert np.isnan(signals.curves["low"][25:55]).all()
    assert np.isfinite(signals.curves["low"][62:78]).all()


def test_damaged_samples_become_no_nan_in_silence() -> None:
    signals = measure(segments(np.zeros(5 * RATE, np.float32)))
    assert np.isfinite(signals.curves["loudness"][:8]).all()


def moving(times: list[float], speed: float, cut_at: float | None = None) -> NDArray[np.uint8]:
    """A sliding pattern of 24 gray levels' contrast; after `cut_at` another one."""
    x = np.arange(160)[None, :]
    y = np.arange(90)[:, None]
    frames = []
    for t in times:
        frame = 110 + 24 * np.sin((x + speed * t) / 7) * np.cos(y / 9)
        if cut_at is not None and t >= cut_at:
            frame = 200 - 100 * (((x // 20) + (y // 15)) % 2)
        frames.append(frame)
    return np.array(frames).astype(np.uint8)


def test_motion_measures_movement_not_brightness() -> None:
    times = [i * 0.25 for i in range(80)]
    still, fast = moving(times, 0), moving(times, 30)
    flicker = np.clip(still + (np.arange(80) % 2 * 40)[:, None, None], 0, 255).astype(np.uint8)
    values = {
        name: middle(measure([segment(0, 0, (), (times, gray))]), "motion")
        for name, gray in {"still": still, "fast": fast, "flicker": flicker}.items()
    }
    assert values["fast"] > 5 > values["flicker"] >= values["still"]


def test_a_cut_is_counted_once_and_is_no_motion() -> None:
    times = [i * 0.25 for i in range(80)]
    signals = measure([segment(0, 0, (), (times, moving(times, 1, cut_at=10.0)))])
    assert np.nansum(signals.curves["cuts"]) == 1
    assert signals.curves["cuts"][int(10 / STEP)] == 1
    assert np.nanmax(signals.curves["motion"]) < 5


def wandering(way: NDArray[np.int64], light: float = 1.0) -> NDArray[np.uint8]:
    """What a camera sees of one wall, whose left upper corner is at `way` (x, y); four pictures a second."""
    wall = np.random.default_rng(5).standard_normal((130, 400))
    kernel = np.ones(13) / 13
    for axis in (0, 1):
        wall = np.apply_along_axis(np.convolve, axis, wall, kernel, "same")
    wall = 110 + 40 * wall / wall.std()
    return np.array([light * wall[y : y + 90, x : x + 160] for x, y in way]).clip(0, 255).astype(np.uint8)


def watched(gray: NDArray[np.uint8]) -> Signals:
    return measure([segment(0, 0, (), ([i * 0.25 for i in range(len(gray))], gray))])


def test_what_stirs_is_the_same_in_the_dark() -> None:
    way = np.array([(2 * i, 10) for i in range(80)])
    bright, dark = watched(wandering(way)), watched(wandering(way, 0.25))
    assert middle(dark, "motion") < 0.5 * middle(bright, "motion")
    assert middle(dark, "stir") == pytest.approx(middle(bright, "stir"), rel=0.1)


def test_a_cut_in_the_dark_is_a_shot_change_and_stirs_nothing() -> None:
    way = np.array([(10 if i < 40 else 210, 10) for i in range(80)])
    signals = watched(wandering(way, 0.25))
    assert np.nansum(signals.curves["cuts"]) == 0, "too dark for it"
    assert np.flatnonzero(np.nan_to_num(signals.curves["shots"])).tolist() == [int(10 / STEP)]
    assert np.nanmax(signals.curves["stir"]) < 0.01


def test_a_swift_pan_is_no_shot_change_and_goes_straight_while_shaking_turns() -> None:
    rng = np.random.default_rng(3)
    pan = np.array([(min(3 * i, 480 - 3 * i), 20) for i in range(160)])
    shake = (np.array([100, 20]) + rng.normal(0, 6, (160, 2)).clip(-15, 15)).astype(np.int64)
    swift, shaken = watched(wandering(pan)), watched(wandering(shake))
    assert np.nansum(swift.curves["shots"]) == np.nansum(shaken.curves["shots"]) == 0
    assert middle(swift, "tremble") < 0.1
    assert middle(shaken, "tremble") > 0.6


def test_sparse_pictures_tell_what_stirs_and_nothing_of_the_camera() -> None:
    times = [i * 2.0 for i in range(20)]
    curves = measure([segment(0, 0, (), (times, moving(times, 3)))]).curves
    assert np.isfinite(curves["stir"]).all()
    assert np.isnan(curves["tremble"]).all()


def test_sparse_pictures_leave_no_holes() -> None:
    times = [i * 2.0 for i in range(20)]
    signals = measure([segment(0, 0, (), (times, moving(times, 3)))])
    assert np.isfinite(signals.curves["motion"]).all()


def test_all_curves_are_there_and_equally_long() -> None:
    signals = measure(segments(noise(7)))
    assert set(signals.curves) == set(SOUND_CURVES + PICTURE_CURVES)
    assert {len(c) for c in signals.curves.values()} == {signals.steps}


def test_nothing_in_nothing_out() -> None:
    assert measure([]).steps == 0


def test_a_measurement_can_be_taken_up_again() -> None:
    """What `so_far` tells is final, and going on from there gives what one run would have given."""
    samples = noise(100, seed=5) * np.linspace(0.1, 1, 100 * RATE, dtype=np.float32)
    parts = segments(samples)
    first = Extractor()
    for part in parts[:3]:
        first.feed(part)
    before = first.so_far()
    assert 25 < before.end <= 40
    again = Extractor(first=before.steps)
    start = int((before.end - 15) * RATE)
    for part in segments(samples[start:], start=start / RATE):
        again.feed(part)
    both, whole = joined(before, again.finish()), measure(parts)
    for name in SOUND_CURVES:
        np.testing.assert_allclose(both.curves[name], whole.curves[name], atol=2e-3, err_msg=name)
