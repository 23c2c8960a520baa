"""One clock, whatever the timestamps do."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tldr_highlight.media.timeline import FORWARD, Timeline


def test_ordinary_times_stay() -> None:
    line = Timeline()
    assert [line.offset(0, t / 25, 0.04) for t in range(100)] == [0.0] * 100
    assert not line.jumped


def test_a_step_back_goes_on_where_it_was() -> None:
    line = Timeline()
    line.offset(0, 100.0, 0.04)
    assert line.offset(0, 0.0, 0.04) == 100.04
    assert line.offset(0, 0.04, 0.04) == 100.04
    assert line.jumped


def test_a_leap_of_100_hours_is_taken_out() -> None:
    line = Timeline()
    line.offset(0, 0.0, 0.04)
    assert 360_000 + line.offset(0, 360_000.0, 0.04) == pytest.approx(0.04)


def test_a_long_pause_is_kept() -> None:
    line = Timeline()
    line.offset(0, 0.0, 0.04)
    assert line.offset(0, FORWARD - 1, 0.04) == 0.0


def test_sound_jumps_with_the_picture_and_stays_in_sync() -> None:
    line = Timeline()
    line.offset(0, 100.0, 0.04)
    line.offset(1, 100.02, 0.02)
    picture = line.offset(0, 5.0, 0.04)
    assert line.offset(1, 100.04, 0.02) == 0.0  # still from before the jump
    assert line.offset(1, 5.01, 0.02) == picture


@given(st.lists(st.tuples(st.integers(0, 1), st.floats(-1e6, 1e6)), max_size=60))
def test_placed_times_never_leap(packets: list[tuple[int, float]]) -> None:
    line = Timeline()
    last: dict[int, float] = {}
    for stream, raw in packets:
        placed = raw + line.offset(stream, raw, 0.04)
        if stream in last:
            assert -10.001 <= placed - last[stream] <= FORWARD + 0.001
        last[stream] = placed
