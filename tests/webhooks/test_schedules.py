"""W3: when a delivery is tried again, to the second; jitter within a fifth; what receivers ask for."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tldr_highlight.errors import InvalidError
from tldr_highlight.settings import Settings
from tldr_highlight.webhooks.schedules import asked_pause, pause, pauses_of

AT = datetime(2026, 11, 25, 12, 0, 0, tzinfo=UTC)

STANDARD = [5, 300, 1800, 7200, 18000, 36000, 50400, 72000, 86400]
"""What standardwebhooks.com advises: 5 s, 5 min, 30 min, 2 h, 5 h, 10 h, 14 h, 20 h, 24 h."""


@pytest.mark.parametrize(
    ("schedule", "seconds"), [("short", [10, 60, 360]), ("standard", STANDARD), ("1,2,86400", [1, 2, 86400])]
)
def test_pauses_are_the_schedules(schedule: str, seconds: list[int]) -> None:
    middle = [pause(schedule, failures, None, 0.5) for failures in range(1, len(seconds) + 1)]
    assert middle == pytest.approx(seconds)
    assert pause(schedule, len(seconds) + 1, None, 0.5) is None


def test_standard_is_ten_tries_in_75_hours() -> None:
    assert len(STANDARD) + 1 == 10
    assert 75 * 3600 <= sum(pauses_of("standard")) < 76 * 3600


@given(st.sampled_from(["short", "standard", "7"]), st.integers(1, 9), st.floats(0, 1))
def test_jitter_is_a_fifth_either_way(schedule: str, failures: int, chance: float) -> None:
    exact, spread = pause(schedule, failures, None, 0.5), pause(schedule, failures, None, chance)
    assert (exact is None) == (spread is None)
    if exact is not None and spread is not None:
        assert 0.8 * exact <= spread * (1 + 1e-9)
        assert spread <= 1.2 * exact * (1 + 1e-9)


@given(st.floats(0, 1e9), st.floats(0, 1))
def test_nobody_is_called_before_they_asked_to_be_but_for_a_day(asked: float, chance: float) -> None:
    seconds = pause("short", 1, asked, chance)
    assert seconds is not None
    assert seconds >= min(asked, 86_400)
    assert seconds <= 1.2 * 86_400


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("120", 120.0),
        (" 7 ", 7.0),
        ("Wed, 25 Nov 2026 12:05:00 GMT", 300.0),
        ("Wed, 25 Nov 2026 11:00:00 GMT", 0.0),
        ("Wed, 25 Nov 2026 12:05:00 -0000", None),
        ("soon", None),
        ("-5", None),
        ("1e3", None),
        ("9" * 30, None),
        ("", None),
        (None, None),
    ],
)
def test_retry_after_is_read(header: str | None, seconds: float | None) -> None:
    assert asked_pause(header, AT) == seconds


NONE = ["", "long", "0", "86401", "60,99999", "5,", "5;6", "-1", ",".join(["1"] * 21)]


@pytest.mark.parametrize("schedule", NONE)
def test_what_is_no_schedule_is_refused(schedule: str) -> None:
    with pytest.raises(InvalidError):
        pauses_of(schedule)


@pytest.mark.parametrize("schedule", NONE)
def test_the_setting_takes_no_other_either(schedule: str) -> None:
    with pytest.raises(ValueError, match="webhook_schedule"):
        Settings(_env_file=None, webhook_schedule=schedule)


@pytest.mark.parametrize("schedule", ["short", "standard", "1,86400", "007", ",".join(["1"] * 20)])
def test_the_setting_takes_what_endpoints_may_have(schedule: str) -> None:
    assert pauses_of(Settings(_env_file=None, webhook_schedule=schedule).webhook_schedule)


@pytest.mark.parametrize(
    ("stored", "seconds"),
    [("99999", 86_400.0), ("5,", 5.0), ("9" * 30, 86_400.0), ("long", None), ("", None)],
)
def test_whatever_is_stored_raises_nothing(stored: str, seconds: float | None) -> None:
    """Earlier settings were copied into rows."""
    assert pause(stored, 1, None, 0.5) == seconds
