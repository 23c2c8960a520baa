"""When a delivery that failed is tried again."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime
from email.utils import parsedate_to_datetime

from tldr_highlight.errors import InvalidError
from tldr_highlight.settings import LONGEST_PAUSE, MOST_PAUSES

SCHEDULES: dict[str, tuple[int, ...]] = {
    "short": (10, 60, 360),
    "standard": (5, 300, 1_800, 7_200, 18_000, 36_000, 50_400, 72_000, 86_400),
}
"""Seconds from each failure to the next try. `short`: four tries in 7 minutes, each pause six times the one
before; `standard`: ten in 75.6 hours, the pauses that Standard Webhooks advises."""

JITTER = 0.2
"""Pauses vary by a fifth, so that what failed together does not come back together."""

SCHEDULE_PATTERN = r"^(short|standard|[0-9]{1,5}(,[0-9]{1,5})*)$"


def pauses_of(schedule: str) -> Sequence[int]:
    """The seconds of a schedule: a name, or numbers with commas.

    Raises:
        InvalidError: neither.
    """
    if schedule in SCHEDULES:
        return SCHEDULES[schedule]
    if not re.fullmatch(SCHEDULE_PATTERN, schedule):
        raise InvalidError("write `short`, `standard`, or seconds with commas: 5,60,600")
    seconds = [int(number) for number in schedule.split(",")]
    if len(seconds) > MOST_PAUSES or not all(1 <= s <= LONGEST_PAUSE for s in seconds):
        raise InvalidError(f"at most {MOST_PAUSES} pauses of 1 to {LONGEST_PAUSE} seconds")
    return seconds


def pause(schedule: str, failures: int, asked: float | None, chance: float) -> float | None:
    """Seconds until the next try; None: it was the last.

    Args:
        schedule: As it is stored: whatever that is, nothing is raised, and no pause is longer than a day.
        failures: Tries that have failed, from 1 on.
        asked: Seconds that the receiver asked for; it is not called earlier than that.
        chance: 0 to 1, for the jitter.
    """
    pauses = SCHEDULES.get(schedule) or [int(number) for number in re.findall(r"[0-9]+", schedule)]
    if failures > len(pauses):
        return None
    spread = min(pauses[failures - 1], LONGEST_PAUSE) * (1 + JITTER * (2 * chance - 1))
    if asked is None:
        return spread
    return max(spread, min(asked, LONGEST_PAUSE) * (1 + JITTER * chance))


def asked_pause(header: str | None, at: datetime) -> float | None:
    """Seconds that a `Retry-After` asks for, which is a number of them or a date; None: it says nothing."""
    text = (header or "").strip()
    if re.fullmatch(r"\d{1,9}", text):
        return float(text)
    try:
        return max(0.0, (parsedate_to_datetime(text) - at).total_seconds())
    except (ValueError, TypeError, OverflowError):  # TypeError: a date without a zone
        return None
