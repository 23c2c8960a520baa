"""From events to moments: kept, merged, never twice, with clips that do not overlap."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tldr_highlight.analysis.base import STEP, Analysis, Event, Evidence
from tldr_highlight.analysis.dimensions import preset
from tldr_highlight.analysis.moments import MomentOptions, choose, peaks, region

GENERAL = preset("general")
RNG = np.random.default_rng(11)


def event(peak: float, worth: float = 2.0, half: float = 2.0) -> Event:
    why = (Evidence("crowd_reaction", peak, "crowd noise"),)
    return Event(peak - half, peak, peak + half, worth, 0.9, {"crowd_reaction": 0.8}, why)


def analysis(*events: Event, seconds: float = 600, texture: np.ndarray | None = None) -> Analysis:
    n = int(seconds / STEP)
    if texture is None:
        texture = np.random.default_rng(1).normal(size=(n, 6))
    flat = np.full(n, -30.0)
    return Analysis(0, np.full(n, -5.0), {}, tuple(events), flat, np.zeros(n), texture)


def test_peaks_need_prominence_and_come_best_first() -> None:
    curve = np.array([-5, 0, 1, 0.9, 1.05, 0, -5, 3, -5, -1.0])
    assert peaks(curve, -2, 0.6) == [7, 4, 9]


def test_a_plateau_counts_once() -> None:
    assert peaks(np.array([-5.0, 1, 1, 1, -5]), -2) == [1]


def test_unknown_stretches_hold_no_peak() -> None:
    assert peaks(np.array([np.nan, np.nan, 1.0, np.nan]), -2) == [2]
    assert peaks(np.full(5, np.nan), -2) == []


def test_a_region_steps_over_short_dips_only() -> None:
    excess = np.array([0, 0, 5, 6, 1, 1, 5, 0, 0, 0, 0, 0, 6.0])
    assert region(excess, 3, 0.4, 1.2, bridge=1.0) == (2, 6)


def test_what_is_below_the_threshold_is_not_padded_in() -> None:
    assert choose(analysis(event(100, worth=-3)), GENERAL, 600) == []


def test_max_keeps_the_best_in_order_of_time() -> None:
    found = choose(
        analysis(event(100, 1.5), event(200, 3), event(300, 2)), GENERAL, 600, MomentOptions(max_highlights=2)
    )
    assert [m.peak for m in found] == [200, 300]


def test_the_clip_has_context_and_the_moment_none() -> None:
    (found,) = choose(analysis(event(100)), GENERAL, 600)
    assert (found.start, found.end) == (98, 102)
    assert (found.clip_start, found.clip_end) == (93, 107)


def test_near_moments_become_one() -> None:
    (found,) = choose(analysis(event(100, 2), event(106, 3)), GENERAL, 600)
    assert (found.start, found.end, found.peak) == (98, 108, 106)


def test_merging_stops_where_a_clip_could_not_hold_it() -> None:
    row = [event(20 + 5 * i) for i in range(40)]
    found = choose(analysis(*row), GENERAL, 600, MomentOptions(longest_clip=60))
    assert len(found) > 1
    assert all(m.clip_end - m.clip_start <= 60 for m in found)


def test_neighbouring_clips_meet() -> None:
    first, second = choose(analysis(event(100), event(109)), GENERAL, 600)
    assert first.clip_end == second.clip_start


def test_clips_stay_inside_the_source_and_are_long_enough() -> None:
    found = choose(analysis(event(1, half=0.5), event(599.5, half=0.5)), GENERAL, 600)
    assert found[0].clip_start == 0
    assert found[1].clip_end == 600
    assert all(m.clip_end - m.clip_start >= 5 for m in found)


def test_a_source_shorter_than_the_shortest_clip_is_one_clip() -> None:
    (found,) = choose(analysis(event(1.5, half=1), seconds=3), GENERAL, 3.0)
    assert (found.clip_start, found.clip_end) == (0, 3)


def test_a_replay_is_left_out_and_a_likeness_is_not() -> None:
    texture = RNG.normal(size=(1200, 6))
    texture[380:420] = texture[180:220] + RNG.normal(0, 0.02, (40, 6))
    found = choose(analysis(event(100, 3), event(200, 2), event(150, 2), texture=texture), GENERAL, 600)
    assert [m.peak for m in found] == [100, 150]


@pytest.mark.parametrize("shift", [0.0, 0.25, 0.4, 0.5, 0.9])  # steps
def test_a_replay_may_begin_between_two_steps(shift: float) -> None:
    fine = 20  # values of each step
    raw = RNG.normal(size=(1200 * fine, 6))
    slow = np.apply_along_axis(lambda c: np.convolve(c, np.hanning(fine * 4), "same"), 0, raw)
    begin, length, moved = 180 * fine, 40 * fine, round(200 * fine + shift * fine)
    slow[begin + moved : begin + moved + length] = slow[begin : begin + length]
    texture = slow.reshape(1200, fine, 6).mean(axis=1)
    found = choose(analysis(event(100, 3), event(200, 2), event(150, 2), texture=texture), GENERAL, 600)
    assert [m.peak for m in found] == [100, 150]


@pytest.mark.parametrize(("fields", "replayed"), [(3, False), (6, True), (8, True)])
def test_the_less_there_is_to_compare_the_more_alike_it_must_be(fields: int, *, replayed: bool) -> None:
    texture = RNG.normal(size=(1200, 8))
    texture[380:420] = texture[180:220] + RNG.normal(0, 0.32, (40, 8))  # a correlation of .94
    texture[:, fields:] = np.nan if fields == 3 else 7.0  # unknown, or of a still picture
    found = choose(analysis(event(100, 3), event(200, 2), texture=texture), GENERAL, 600)
    assert [m.peak for m in found] == [100] + [200] * (not replayed)


def test_two_roars_over_the_same_pictures_are_two() -> None:
    texture = RNG.normal(size=(1200, 8))
    texture[380:420] = texture[180:220]
    across = np.sin(np.arange(1200))
    texture[:, 1] = np.where(np.arange(1200) < 300, across, 0.3 * across + np.cos(2 * np.arange(1200)))
    found = choose(analysis(event(100, 3), event(200, 2), texture=texture), GENERAL, 600)
    assert [m.peak for m in found] == [100, 200]


def test_what_is_unknown_in_part_is_not_compared() -> None:
    texture = RNG.normal(size=(1200, 8))
    texture[380:420, :6] = texture[180:220, :6]
    texture[392, 6], texture[206:220, 7] = np.nan, -np.inf
    found = choose(analysis(event(100, 3), event(200, 2), texture=texture), GENERAL, 600)
    assert [m.peak for m in found] == [100]


def test_nothing_is_like_what_nothing_is_known_of() -> None:
    texture = np.full((1200, 8), np.nan)
    found = choose(analysis(event(100, 3), event(200, 2), texture=texture), GENERAL, 600)
    assert [m.peak for m in found] == [100, 200]


def test_a_clip_begins_at_a_shot_change_or_a_pause() -> None:
    a = analysis(event(100), event(200))
    a.cuts[int(93.5 / STEP)] = 1
    a.loudness[int(194.0 / STEP)] = -60
    first, second = choose(a, GENERAL, 600)
    assert first.clip_start == 93.5
    assert second.clip_start == pytest.approx(194.25)


def test_dimensions_that_nobody_judged_are_unknown() -> None:
    (found,) = choose(analysis(event(100)), GENERAL, 600)
    assert found.dimensions["crowd_reaction"] == 0.8
    assert found.dimensions["humor"] is None


@settings(max_examples=80, deadline=None)
@given(
    st.lists(st.tuples(st.floats(0, 600), st.floats(-2, 4), st.floats(0.3, 20)), max_size=25),
    st.integers(1, 30),
)
def test_clips_never_overlap_and_hold_their_moment(rows: list[tuple[float, float, float]], most: int) -> None:
    events = [
        Event(max(0.0, p - h), p, min(600.0, p + h), w, 0.9, {"crowd_reaction": 0.5}, ()) for p, w, h in rows
    ]
    found = choose(
        analysis(*sorted(events, key=lambda e: e.start)), GENERAL, 600, MomentOptions(max_highlights=most)
    )
    assert len(found) <= most
    for m in found:
        assert 0 <= m.clip_start < m.clip_end <= 600
        assert m.clip_end - m.clip_start <= 120.001
        assert m.clip_start <= m.peak <= m.clip_end
    for a, b in itertools.pairwise(found):
        assert a.clip_end <= b.clip_start + 1e-9
