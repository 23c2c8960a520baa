"""The analyzer on curves made from sound: what it keeps and leaves, and that splitting changes nothing."""

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.analysis.test_signals import RATE, noise, segments, tone
from tldr_highlight.analysis.base import STEP, Analysis
from tldr_highlight.analysis.dimensions import preset
from tldr_highlight.analysis.fusion import table
from tldr_highlight.analysis.local import CONTEXT, KNOWN, analyse, features, kinds
from tldr_highlight.analysis.moments import choose
from tldr_highlight.analysis.signals import SOUND_CURVES, Signals, measure
from tldr_highlight.media.types import Pictures, Segment

GENERAL = preset("general")


def bed(seconds: float, seed: int = 1) -> NDArray[np.float32]:
    """A crowd that never rests: low noise whose level wanders by some dB."""
    rng = np.random.default_rng(seed)
    knots = rng.normal(0, 1.2, int(seconds) + 2)
    wander = 10 ** (np.interp(np.arange(int(seconds * RATE)) / RATE, np.arange(len(knots)), knots) / 20)
    white = rng.standard_normal(int(seconds * RATE)).astype(np.float32)
    return (0.02 * wander * np.convolve(white, np.ones(6) / 2.4, "same")).astype(np.float32)


def roar(decibels: float, seconds: float = 6.0, seed: int = 9) -> NDArray[np.float32]:
    """A crowd's swell: half a second up, then falling."""
    t = np.arange(int(seconds * RATE)) / RATE
    shape = np.minimum(t / 0.8, 1) * np.exp(-np.maximum(t - 2.5, 0) / 1.5)
    level = 0.02 * 10 ** (decibels / 20)
    white = np.random.default_rng(seed).standard_normal(len(t))
    voices = np.convolve(np.convolve(white, np.ones(9) / 3, "same"), np.ones(9) / 3, "same")  # below 3 kHz
    return (0.5 * level * shape * voices).astype(np.float32)


def put(samples: NDArray[np.float32], at: float, what: NDArray[np.float32]) -> None:
    first = int(at * RATE)
    samples[first : first + len(what)] += what


@pytest.fixture(scope="module")
def match() -> tuple[Signals, list[float]]:
    """Ten minutes with four roars, a jingle, a step in level, knocks and a siren."""
    samples = bed(600)
    times = [90.0, 210.0, 345.0, 480.0]
    for i, at in enumerate(times):
        put(samples, at, roar(14 + i, seed=20 + i))
    put(samples, 150, tone(8, 523, 0.15) + tone(8, 659, 0.15))
    put(samples, 270, noise(25, 0.06, seed=4))
    for k in range(12):
        put(samples, 400 + 0.4 * k, noise(0.02, 0.5, seed=k))
    put(samples, 540, tone(6, 900, 0.2))
    return measure(segments(samples)), times


@pytest.fixture(scope="module")
def analysed(match: tuple[Signals, list[float]]) -> Analysis:
    return analyse(match[0])


def test_roars_are_found_where_they_are_and_nothing_else(
    match: tuple[Signals, list[float]], analysed: Analysis
) -> None:
    found = choose(analysed, GENERAL, 600)
    assert [round(m.peak / 5) for m in found] == [round((t + 2) / 5) for t in match[1]]
    for moment, at in zip(found, match[1], strict=True):
        assert abs(moment.peak - (at + 1.5)) <= 3
        assert abs(moment.start - at) <= 1.6
        assert moment.evidence
        assert "reaction" in moment.types


def test_what_signals_cannot_judge_is_absent(analysed: Analysis) -> None:
    assert set(analysed.dimensions) == set(KNOWN)
    for event in analysed.events:
        assert "action_intensity" not in event.dimensions, "there is no picture"


def test_values_are_shares(analysed: Analysis) -> None:
    for name, curve in analysed.dimensions.items():
        known = curve[np.isfinite(curve)]
        assert ((known >= 0) & (known <= 1)).all(), name


def test_half_the_volume_gives_the_same_moments(match: tuple[Signals, list[float]]) -> None:
    signals, _ = match
    levels = {"loudness", "low", "mid", "high", "air", "floor", "peak"}
    quiet = Signals(0, {n: c - 6.0206 if n in levels else c for n, c in signals.curves.items()})
    loud, soft = choose(analyse(signals), GENERAL, 600), choose(analyse(quiet), GENERAL, 600)
    assert [(m.start, m.peak, m.end, m.score) for m in loud] == [
        (m.start, m.peak, m.end, m.score) for m in soft
    ]


@pytest.mark.parametrize("seconds", [10.0, 20.0, 30.0])
def test_results_do_not_depend_on_where_segments_end(
    match: tuple[Signals, list[float]], analysed: Analysis, seconds: float
) -> None:
    signals, _ = match
    events = []
    for start in np.arange(0, 600, seconds):
        first = max(0, int((start - CONTEXT) / STEP))
        last = int((start + seconds + CONTEXT) / STEP)
        part = Signals(first, {n: c[first:last] for n, c in signals.curves.items()})
        result = analyse(part, (start, start + seconds))
        at = int(start / STEP)
        np.testing.assert_array_equal(result.worth, analysed.worth[at : at + len(result.worth)])
        for name, curve in result.dimensions.items():
            np.testing.assert_array_equal(curve, analysed.dimensions[name][at : at + len(curve)], name)
        events += result.events
    assert events == list(analysed.events)


def test_silence_and_nothing_at_all() -> None:
    assert choose(analyse(measure(segments(np.zeros(60 * RATE, np.float32)))), GENERAL, 60) == []
    assert choose(analyse(measure([])), GENERAL, 0) == []


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_calm_file_has_no_highlight(seed: int) -> None:
    assert choose(analyse(measure(segments(bed(300, seed)))), GENERAL, 300) == []


def test_the_table_is_whole(match: tuple[Signals, list[float]]) -> None:
    intercept, rows = table()
    assert np.isfinite(intercept)
    f = features(match[0])
    known = f.values.keys() | kinds(f).keys()
    assert {r.name for r in rows} <= known, "a row that nothing measures"
    assert len({r.name for r in rows}) == len(rows) >= 12
    assert all(r.width > 0 and np.isfinite(r.weight) and r.weight != 0 for r in rows)


def dinned(samples: NDArray[np.float32], low: float, high: float) -> NDArray[np.float32]:
    """Only what lies between two frequencies (Hz)."""
    spectrum = np.fft.rfft(samples)
    freqs = np.fft.rfftfreq(len(samples), 1 / RATE)
    spectrum[(freqs < low) | (freqs > high)] = 0
    return np.fft.irfft(spectrum, len(samples)).astype(np.float32)


@pytest.mark.parametrize(("low", "high", "sign"), [(40, 500, -1), (700, 1900, 1)])
def test_balance_tells_engines_from_people(low: float, high: float, sign: int) -> None:
    samples = bed(60)
    put(samples, 30, dinned(roar(20), low, high))
    at = int(32 / STEP)
    assert sign * features(measure(segments(samples)))["balance"][at] > 2.5


def attack(samples: NDArray[np.float32], at: float) -> float:
    return float(features(measure(segments(samples)))["attack"][int(at / STEP)])


def test_the_first_word_after_a_pause_is_no_attack_and_a_roar_is() -> None:
    spoken, cheered = bed(120), bed(120)
    spoken[int(56 * RATE) : int(60 * RATE)] *= 1e-3
    put(cheered, 60, roar(20))
    assert attack(spoken, 61) < 3
    assert attack(cheered, 61) > 6


def test_that_nothing_flashes_says_nothing() -> None:
    flashing = filmed(120, (40.0, 80.0))
    assert np.nanmin(features(flashing)["flash"]) == 0
    assert np.nanmax(features(flashing)["flash"]) > 1


def filmed(
    seconds: float, events: tuple[float, ...], seed: int = 3, *, stir: float = 3.0, show: bool = True
) -> Signals:
    """A picture without sound, four a second: restless all the time; at `events` `stir` times as much, with
    cuts and flashes (`show`) or without; bytes follow the motion.
    """
    rng = np.random.default_rng(seed)
    times = np.arange(0, seconds, 0.25)
    still = rng.integers(40, 200, (90, 160)).astype(np.float64)
    gray = np.empty((len(times), 90, 160), np.uint8)
    size = np.empty(len(times))
    for i, t in enumerate(times):
        near = [t - e for e in events if 0 <= t - e < 4]
        if show and near and near[0] in (1.5, 3.0):
            still = rng.integers(40, 200, (90, 160)).astype(np.float64)
        noise_level = 3.0 * np.exp(0.15 * rng.standard_normal()) * (stir if near else 1)
        light = 25 if show and near and near[0] in (0.5, 2.0) else 0
        gray[i] = np.clip(still + noise_level * rng.standard_normal(still.shape) + light, 0, 255)
        size[i] = 3000 * noise_level
    none = np.empty(0)
    return measure([Segment(0, 0.0, seconds, (), Pictures(times, gray), times, size, none)])


def test_without_sound_the_picture_is_judged_and_calm_pictures_are_left() -> None:
    found = choose(analyse(filmed(180, (60.0, 120.0))), GENERAL, 180)
    assert [round(m.peak / 10) * 10 for m in found] == [60, 120]
    for seed in range(3):
        assert choose(analyse(filmed(180, (), seed)), GENERAL, 180) == []
        assert choose(analyse(filmed(180, (60.0, 120.0), seed, stir=1.6, show=False)), GENERAL, 180) == []


def parted(whole: Signals, seconds: float, start: float) -> Analysis:
    """What is made of a part with its context."""
    first, last = max(0, int((start - CONTEXT) / STEP)), int((start + seconds + CONTEXT) / STEP)
    part = Signals(first, {n: c[first:last] for n, c in whole.curves.items()})
    return analyse(part, (start, start + seconds))


def test_without_sound_results_do_not_depend_on_where_segments_end() -> None:
    whole = filmed(480, (60.0, 200.0, 330.0, 440.0))
    events = [e for start in range(0, 480, 30) for e in parted(whole, 30.0, float(start)).events]
    assert events == list(analyse(whole).events)
    assert len(events) >= 4


def test_a_track_of_silence_is_no_sound() -> None:
    seen = filmed(180, (60.0, 120.0))
    nothing = measure(segments(np.zeros(180 * RATE, np.float32))).curves
    mute = Signals(0, dict(seen.curves) | {n: nothing[n][: seen.steps] for n in SOUND_CURVES})
    found = choose(analyse(mute), GENERAL, 180)
    assert [(m.peak, m.score) for m in found] == [
        (m.peak, m.score) for m in choose(analyse(seen), GENERAL, 180)
    ]
    assert len(found) == 2


def test_without_sound_what_opens_a_film_is_no_change() -> None:
    found = choose(analyse(filmed(120, (0.0, 60.0), show=False)), GENERAL, 120)
    assert [round(m.peak / 10) * 10 for m in found] == [60]


def test_what_happens_every_twenty_seconds_stands_out_less() -> None:
    """Passers-by, one after the other, and one who comes alone."""
    alone, passing = (
        features(filmed(240, times, stir=8, show=False))["stands_out"][int(121.5 / STEP)]
        for times in ((120.0,), tuple(float(t) for t in range(20, 230, 20)))
    )
    assert alone > 1.5
    assert passing < 0.5 * alone


@pytest.mark.parametrize("name", ["tremble", "cutting"])
def test_a_trembling_camera_and_a_flurry_of_cuts_speak_against_a_moment(name: str) -> None:
    calm = filmed(180, (60.0, 120.0), show=False)
    at = slice(int(110 / STEP), int(132 / STEP))
    curves = {n: c.copy() for n, c in calm.curves.items()}
    curves["tremble" if name == "tremble" else "shots"][at] = 0.7
    before, after = analyse(calm), analyse(Signals(0, curves))
    top = int(122 / STEP)
    assert after.worth[top] < before.worth[top] - 0.5
    assert after.worth[int(61 / STEP)] == before.worth[int(61 / STEP)]
