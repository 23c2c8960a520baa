"""SMPTE timecode against published values, the wall clock, and OpenTimelineIO."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.peers import need
from tldr_highlight.errors import RangeError, UsageError
from tldr_highlight.highlights.timecode import (
    base_of,
    editing_rate,
    frame_at,
    from_timecode,
    seconds_at,
    to_timecode,
)

NTSC, NTSC2, FILM = Fraction(30_000, 1001), Fraction(60_000, 1001), Fraction(24_000, 1001)
RATES = [FILM, Fraction(24), Fraction(25), NTSC, Fraction(30), Fraction(50), NTSC2, Fraction(60)]
ODD = [
    Fraction(25, 2),
    Fraction(15),
    Fraction(2997, 100),
    Fraction(120),
    Fraction(120_000, 1001),
    Fraction(1, 3),
]
DAY = 86_400

KNOWN = [
    (0, NTSC, True, "00:00:00;00"),
    (1799, NTSC, True, "00:00:59;29"),
    (1800, NTSC, True, "00:01:00;02"),
    (3597, NTSC, True, "00:01:59;29"),
    (3598, NTSC, True, "00:02:00;02"),
    (17_981, NTSC, True, "00:09:59;29"),
    (17_982, NTSC, True, "00:10:00;00"),
    (107_892, NTSC, True, "01:00:00;00"),
    (2_589_408, NTSC, True, "24:00:00;00"),
    (3599, NTSC2, True, "00:00:59;59"),
    (3600, NTSC2, True, "00:01:00;04"),
    (35_964, NTSC2, True, "00:10:00;00"),
    (215_784, NTSC2, True, "01:00:00;00"),
    (1800, NTSC, False, "00:01:00:00"),
    (108_000, NTSC, False, "01:00:00:00"),
    (86_400, FILM, False, "01:00:00:00"),
    (90_000, Fraction(25), False, "01:00:00:00"),
    (119, Fraction(120), False, "00:00:00:119"),
    (13, Fraction(25, 2), False, "00:00:01:00"),
    (100 * 3600, Fraction(1, 3), False, "100:00:00:00"),
]


@pytest.mark.parametrize(("frame", "rate", "drop", "text"), KNOWN)
def test_published_values(frame: int, rate: Fraction, drop: bool, text: str) -> None:
    assert to_timecode(frame, rate, drop) == text
    assert from_timecode(text, rate) == frame


rates = st.sampled_from([*RATES, *ODD])


@given(rates, st.integers(0, DAY * 130), st.booleans())
def test_every_frame_has_one_name(rate: Fraction, frame: int, drop: bool) -> None:
    frame %= int(30 * 3600 * rate)
    drop = drop and rate in (NTSC, NTSC2)
    text = to_timecode(frame, rate, drop)
    assert from_timecode(text, rate) == frame
    assert from_timecode(text, rate, drop) == frame
    assert to_timecode(frame + 1, rate, drop) > text or len(to_timecode(frame + 1, rate, drop)) > len(text)


@pytest.mark.parametrize("rate", [NTSC, NTSC2])
def test_drop_frame_follows_the_wall_clock(rate: Fraction) -> None:
    """Within what a minute leaves out, plus 86.4 ms that add up in a day, as SMPTE 12M says."""
    minute_long = base_of(rate) // 15 / rate
    for minute in range(24 * 60 + 1):
        name = f"{minute // 60:02}:{minute % 60:02}:01;00"
        assert abs(from_timecode(name, rate) / rate - (minute * 60 + 1)) <= minute_long + Fraction(
            864, 10_000
        )
    assert float(from_timecode("24:00:00;00", rate) / rate) == pytest.approx(DAY - 0.0864)


def test_names_left_out_are_refused() -> None:
    for frames in ("00", "01"):
        with pytest.raises(RangeError, match="names no frame: drop-frame leaves out the first 2"):
            from_timecode(f"00:01:00;{frames}", NTSC)
    assert from_timecode("00:10:00;00", NTSC) == 17_982
    with pytest.raises(RangeError, match="leaves out the first 4"):
        from_timecode("10:59:00;03", NTSC2)


def test_the_flag_outranks_the_separator() -> None:
    assert from_timecode("00:01:00:02", NTSC, drop=True) == 1800
    assert from_timecode("00:01:00;02", NTSC, drop=False) == 1802


@pytest.mark.parametrize(
    "text", ["", "1:2:3:4", "00:60:00:00", "00:00:61:00", "00:00:00", "-0:00:00:01", "x"]
)
def test_what_is_no_timecode_is_refused(text: str) -> None:
    with pytest.raises(RangeError, match="is no timecode"):
        from_timecode(text, Fraction(25))


def test_frames_beyond_the_rate_and_rates_beyond_reason() -> None:
    with pytest.raises(RangeError, match="has frame 25, but a second has 25"):
        from_timecode("00:00:00:25", Fraction(25))
    with pytest.raises(UsageError, match="drop-frame timecode exists at"):
        to_timecode(1, Fraction(25), drop=True)
    with pytest.raises(UsageError, match="drop-frame timecode exists at"):
        from_timecode("00:00:00;01", Fraction(25))
    with pytest.raises(UsageError, match="must be above 0"):
        to_timecode(1, Fraction(0))
    with pytest.raises(UsageError, match="must be above 0"):
        editing_rate(Fraction(0))
    with pytest.raises(RangeError, match="has no timecode"):
        to_timecode(-1, Fraction(25))
    with pytest.raises(RangeError, match="has no timecode"):
        to_timecode(3_600_000 * 25, Fraction(25))


@pytest.mark.parametrize(
    ("rate", "base"), [(FILM, 24), (NTSC, 30), (Fraction(2997, 100), 30), (Fraction(1, 3), 1)]
)
def test_base(rate: Fraction, base: int) -> None:
    assert base_of(rate) == base


@given(st.fractions(Fraction(1, 1000), 1000))
def test_any_rate_counts_in_one_that_editing_programs_have(rate: Fraction) -> None:
    found = editing_rate(rate)
    assert found in RATES or found == 48
    assert editing_rate(found) == found
    if found.denominator == 1001:  # such timecode is no clock: only where the rate is just that
        times = float(max(found / rate, rate / found))
        assert times == pytest.approx(round(times), abs=0.0005)


@given(rates, st.integers(0, DAY * 130))
def test_seconds_and_frames_are_inverse(rate: Fraction, frame: int) -> None:
    assert frame_at(seconds_at(frame, rate), rate) == frame


def test_a_time_snaps_to_the_nearest_frame() -> None:
    assert [frame_at(s, Fraction(25)) for s in (-1.0, 0.0, 0.019, 0.02, 0.021, 0.0599, 1.0)] == [
        0,
        0,
        0,
        1,
        1,
        1,
        25,
    ]


@given(st.sampled_from(RATES), st.integers(0, DAY * 23), st.booleans())  # there, hours end at 24
def test_opentimelineio_says_the_same(rate: Fraction, frame: int, drop: bool) -> None:
    need("otio")
    import opentimelineio as otio

    drop = drop and rate in (NTSC, NTSC2)
    text = otio.opentime.to_timecode(otio.opentime.RationalTime(frame, float(rate)), float(rate), drop)
    assert to_timecode(frame, rate, drop) == text
