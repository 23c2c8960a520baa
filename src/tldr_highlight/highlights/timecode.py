"""SMPTE 12M timecode and frames, with exact rational frame rates.

A frame number counts from media time 0. Timecode *names* frames as `hours:minutes:seconds:frames` with a
whole number of frames per named second: at 30000/1001 frames per second that clock runs 3.6 s per hour
slow. Drop-frame timecode keeps up by leaving out names (never frames): the first two of every minute but
each tenth (four at 60000/1001).
"""

from __future__ import annotations

import re
from fractions import Fraction

from tldr_highlight.errors import RangeError, UsageError

_TIMECODE = re.compile(r"(\d{2,3}):([0-5]\d):([0-5]\d)([:;.,])(\d{2,3})")

DROP_RATES = (Fraction(30_000, 1001), Fraction(60_000, 1001))
"""The rates that drop-frame timecode is defined for: 29.97 and 59.94."""

EDITING_RATES = tuple(
    Fraction(*rate)
    for rate in ((24_000, 1001), (24,), (25,), (30_000, 1001), (30,), (48,), (50,), (60_000, 1001), (60,))
)
"""The rates that editing programs have in common. A list in timecode does not say which it counts in: they
take it for the project's."""


def editing_rate(rate: Fraction) -> Fraction:
    """The rate that times of a source with this one are counted in: one that editing programs have.

    Its own (29.97, which containers round, is 30000/1001), else the nearest one that is a multiple of it or
    a part (15 in 30, 240 in 60). Any other, as of sources whose rate varies, is none that an editor counts
    in: the nearest whole one, whose timecode is the clock's.

    Raises:
        UsageError: a rate that is not above 0.
    """
    base_of(rate)
    even = [known for known in EDITING_RATES if _is_whole(max(known / rate, rate / known))]
    whole = [known for known in EDITING_RATES if known.denominator == 1]
    return min(even or whole, key=lambda known: abs(known - rate))


def _is_whole(ratio: Fraction) -> bool:
    return abs(ratio - round(ratio)) < Fraction(1, 2000)  # 30 and 29.97 are twice as far from each other


def base_of(rate: Fraction) -> int:
    """Named frames per named second: the whole number nearest to the rate, at least 1.

    Raises:
        UsageError: a rate that is not above 0.
    """
    if rate <= 0:
        raise UsageError(f"a frame rate of {rate} has no timecode; it must be above 0")
    return max(1, int(rate + Fraction(1, 2)))


def frame_at(seconds: float | Fraction, rate: Fraction) -> int:
    """The frame whose start is nearest to a media time; of two equally near, the later one."""
    return int(Fraction(seconds) * rate + Fraction(1, 2)) if seconds > 0 else 0


def seconds_at(frame: int, rate: Fraction) -> float:
    """Media seconds at which a frame starts."""
    return float(Fraction(frame) / rate)


def to_timecode(frame: int, rate: Fraction, drop: bool = False) -> str:
    """`01:02:03:04`, drop-frame `01:02:03;04`. Hours go on beyond 24, up to 999.

    Raises:
        UsageError: drop-frame at a rate that it is not defined for.
        RangeError: a frame before 0 or after 999 hours.
    """
    base = base_of(rate)
    named = frame + _dropped_before(frame, base) if _checked(rate, drop) else frame
    seconds, frames = divmod(named, base)
    if frame < 0 or seconds >= 3_600_000:
        raise RangeError(f"frame {frame} at {rate} per second has no timecode")
    digits = max(2, len(str(base - 1)))
    hours, minutes = seconds // 3600, seconds // 60 % 60
    return f"{hours:02}:{minutes:02}:{seconds % 60:02}{';' if drop else ':'}{frames:0{digits}}"


def from_timecode(text: str, rate: Fraction, drop: bool | None = None) -> int:
    """The frame that a timecode names. Without `drop`, a semicolon or comma before the frames means it.

    Raises:
        UsageError: drop-frame at a rate that it is not defined for.
        RangeError: no timecode, or one that names no frame at this rate.
    """
    match = _TIMECODE.fullmatch(text.strip())
    if match is None:
        raise RangeError(f"{text!r} is no timecode; write hours:minutes:seconds:frames, such as 00:12:31:07")
    hours, minutes, seconds, frames = (int(match[i]) for i in (1, 2, 3, 5))
    base = base_of(rate)
    drop = match[4] in ";," if drop is None else drop
    if frames >= base:
        raise RangeError(f"{text} has frame {frames}, but a second has {base} at this rate")
    minute = hours * 60 + minutes
    named = (minute * 60 + seconds) * base + frames
    if not _checked(rate, drop):
        return named
    per_minute = base // 15
    if minute % 10 and seconds == 0 and frames < per_minute:
        raise RangeError(
            f"{text} names no frame: drop-frame leaves out the first {per_minute} of this minute"
        )
    return named - per_minute * (minute - minute // 10)


def _checked(rate: Fraction, drop: bool) -> bool:
    if drop and rate not in DROP_RATES:
        raise UsageError(
            f"drop-frame timecode exists at 30000/1001 and 60000/1001 frames per second, not at {rate}"
        )
    return drop


def _dropped_before(frame: int, base: int) -> int:
    """Names left out before a frame (SMPTE 12M-1, 8.2.2)."""
    per_minute = base // 15
    tens, rest = divmod(frame, base * 600 - per_minute * 9)
    minutes = max(0, rest - per_minute) // (base * 60 - per_minute)
    return per_minute * (9 * tens + minutes)
