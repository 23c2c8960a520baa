"""The table is fitted on what was heard in several takes, and judged on kinds it never heard."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from benchmarks.detection.curves import curves, retaken
from benchmarks.detection.fit import NAMES, Heard, average_precision, fitted, heard, unheard, weighed
from benchmarks.detection.labels import Event, LabelledVideo, VideoSpec
from tests.analysis.test_signals import RATE, noise, segments
from tests.media_maker import Recipe, make
from tldr_highlight.analysis.signals import PICTURE_CURVES, measure
from tldr_highlight.media.probe import probe
from tldr_highlight.media.read import Reader, sampling_for
from tldr_highlight.media.types import Segment


def test_a_take_is_the_same_every_time_and_as_long_as_the_sound() -> None:
    before = segments(noise(45, 0.05))
    one, again, other = (retaken(before, np.random.default_rng([7, k])) for k in (1, 1, 2))

    def sound(taken: Sequence[Segment]) -> NDArray[np.float32]:
        return np.concatenate([b.samples for s in taken for b in s.audio])

    np.testing.assert_array_equal(sound(one), sound(again))
    assert len(sound(one)) == len(sound(other)) == 45 * RATE
    assert not np.array_equal(sound(one), sound(other))
    assert [b.start for s in one for b in s.audio] == [b.start for s in before for b in s.audio]
    assert np.abs(sound(one)).max() <= 1


def test_curves_are_kept_and_a_take_changes_sound_only(tmp_path: Path) -> None:
    path = make(tmp_path / "x.mp4", Recipe(seconds=6))
    video = LabelledVideo(path, VideoSpec("talk", "tune", 1), 6.0, (), (), {})
    plain, taken = curves(video, (0, 3))
    info = probe(path)
    for name, curve in measure(Reader(info, sampling_for(info))).curves.items():
        np.testing.assert_array_equal(plain.curves[name], curve)
    for name in PICTURE_CURVES:
        np.testing.assert_array_equal(plain.curves[name], taken.curves[name])
    assert not np.array_equal(plain.curves["loudness"], taken.curves["loudness"], equal_nan=True)
    for npz in tmp_path.glob("*.npz"):
        npz.unlink()
    again = curves(video, (0, 3))[1]
    path.unlink()
    kept = curves(video, (0, 3))[1]
    for name in ("loudness", "high"):
        np.testing.assert_array_equal(again.curves[name], taken.curves[name])
        np.testing.assert_array_equal(kept.curves[name], taken.curves[name])


def test_a_proposal_is_an_event_when_it_lies_near_a_core() -> None:
    samples = noise(80, 0.02)
    samples[30 * RATE : 34 * RATE] *= 6
    event = Event("goal", "strong", 29, 30.5, 31, 33, 34)
    video = LabelledVideo(Path("x.mp4"), VideoSpec("sports", "tune", 4), 80.0, (event,), (), {})
    got = heard(measure(segments(samples)), video)
    assert got.rows.shape == (len(got.truth), len(NAMES))
    assert got.truth.any()
    assert all(k == "goal" for k, yes in zip(got.kinds, got.truth, strict=True) if yes)
    moved = replace(video, events=(replace(event, core_start=60.5, peak=61, core_end=63),))
    assert not heard(measure(segments(samples)), moved).truth.any()


def _videos(*, by_kind: bool = False, by_seed: bool = False) -> list[Heard]:
    """Six kinds, each an event or not: told by one feature, or by one that a kind, or a seed, has alone."""
    rng = np.random.default_rng(5)
    videos: list[Heard] = []
    for seed in (1, 2, 3):
        kinds = tuple(f"k{i}" for i in rng.integers(0, 6, 240))
        truth = np.array([int(k[1]) % 2 == 0 for k in kinds])
        rows = rng.standard_normal((len(kinds), len(NAMES)))
        for row, kind, yes in zip(rows, kinds, truth, strict=True):
            teller = int(kind[1]) if by_kind else seed if by_seed else 7
            row[teller] += 3.0 if yes or by_kind else -3.0
        videos.append(Heard(seed, rows, truth, kinds))
    return videos


def test_the_fit_finds_what_tells_events_and_says_so() -> None:
    video = _videos()[0]
    intercept, table = fitted(video.rows, video.truth)
    assert max(table, key=lambda r: abs(r.weight)).name == NAMES[7]
    assert average_precision(weighed(video.rows, intercept, table), video.truth) > 0.99


@pytest.mark.parametrize("told", ["by_kind", "by_seed"])
def test_what_was_learnt_by_heart_is_worth_nothing_unheard(told: str) -> None:
    """Heard, both are easy; on kinds or seeds not heard, only the feature that all share helps."""
    by_heart = _videos(**{told: True})
    intercept, table = fitted(by_heart[0].rows, by_heart[0].truth)
    assert average_precision(weighed(by_heart[0].rows, intercept, table), by_heart[0].truth) > 0.95
    assert unheard(by_heart, np.random.default_rng(0)) < 0.75
    assert unheard(_videos(), np.random.default_rng(0)) > 0.95


def test_average_precision_is_the_mean_precision_at_positives() -> None:
    truth = np.array([True, False, True, False])
    assert average_precision(np.array([4.0, 3.0, 2.0, 1.0]), truth) == pytest.approx((1 + 2 / 3) / 2)
