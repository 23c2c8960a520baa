"""What `find` and the service have in common and what opens no media: workers load it, and libav they do not.

A worker's process has 12 MB less for that, and no decoder in it that a hostile file could reach.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tldr_highlight.analysis.base import STEP, Moment, clock
from tldr_highlight.analysis.dimensions import DimensionSet
from tldr_highlight.analysis.local import INAUDIBLE, KNOWN
from tldr_highlight.analysis.scoring import known_share
from tldr_highlight.analysis.signals import Signals
from tldr_highlight.media.types import MediaInfo

MOST_STEPS = 60
"""Steps of one piece, half a minute: a gap of hours in a file is many pieces, and none is large."""


@dataclass(frozen=True, slots=True)
class Piece:
    """Curves of the stretch of a source that follows the piece before."""

    signals: Signals  # may be empty, in the last piece
    info: MediaInfo  # of the source
    read: float  # media seconds read so far; of the last piece: how long the source is
    damaged: int  # packets left out so far
    jumped: bool  # timestamps have leapt so far: media time counts what is played
    last: bool

    @property
    def start(self) -> float:
        """Media seconds at which it begins."""
        return self.signals.first * STEP

    @property
    def end(self) -> float:
        """Media seconds at which it ends."""
        return self.signals.end


def reading_notes(info: MediaInfo, last: Piece) -> tuple[str, ...]:
    """How the reading went, in words, where it went not quite well."""
    notes: list[str] = []
    if last.damaged:
        many = "1 damaged packet was" if last.damaged == 1 else f"{last.damaged} damaged packets were"
        notes.append(f"{many} left out")
    if last.jumped:
        notes.append("timestamps jump inside the file; times here count what is played, without the jumps")
    elif last.read < info.duration - 2.0:
        notes.append(f"the file ends at {clock(last.read)} though its header promises {clock(info.duration)}")
    return tuple(notes)


def blindness(info: MediaInfo, dimension_set: DimensionSet) -> tuple[bool, list[str]]:
    """What cannot be judged, in words, and whether that makes the result worth less."""
    degraded, warnings = False, list[str]()
    share = known_share(KNOWN, dimension_set)
    if share < 0.5:
        degraded = True
        warnings.append(
            f"signals can judge only {share:.0%} of the weight of dimension set {dimension_set.name!r};"
            " the ranking rests on what they can judge"
        )
    if info.audio is None:
        degraded = True
        warnings.append("no sound: judged by the picture alone, which finds about half as much")
    if info.video is None:
        warnings.append("no picture: judged by sound alone; clips hold sound only, no thumbnails")
    return degraded, warnings


SHORT = 20.0
"""Seconds in which nothing may be judged for lack of anything around it to compare it with."""


TOO_SHORT = "too short to judge: a moment is told by the seconds on both sides of it"
NOTHING_THERE = "there is nothing in it that could be judged"
UNJUDGED = frozenset({TOO_SHORT, NOTHING_THERE})
"""What warnings say where nothing at all could be judged."""


def audible(signals: Signals) -> bool:
    """Whether anything in them is loud enough to be heard."""
    return bool((signals.curves["peak"] >= INAUDIBLE).any())


def unjudged(info: MediaInfo, end: float, *, judged: bool, heard: bool) -> str | None:
    """What the curves of `end` seconds show: that nothing, or no sound, could be judged, in words."""
    if not judged:
        return TOO_SHORT if end < SHORT else NOTHING_THERE
    if not heard and info.audio and info.video:
        return "the sound is silent: judged by the picture alone, which finds about half as much"
    return None


SHORTEST_PIECE = 2.0
"""Seconds below which a piece of a reel shows nothing."""


def reel_ranges(moments: Sequence[Moment], target: float) -> list[tuple[float, float]]:
    """The best moments' clips, in order of time, that fill `target` seconds exactly or hold all there is.

    The last one taken is trimmed around its peak. Where less would be left for it than shows anything, the
    longest of the others gives the rest.
    """
    best = sorted(moments, key=lambda m: (-m.score, m.peak))
    shown: list[float] = []  # seconds of each
    for moment in best:
        left = target - sum(shown)
        if left < 0.001:
            break
        shown.append(min(left, _length(moment)))
    if len(shown) > 1:
        longest = max(range(len(shown) - 1), key=shown.__getitem__)
        both, whole = shown[longest] + shown[-1], _length(best[len(shown) - 1])
        lacking = min(SHORTEST_PIECE, whole, both / 2) - shown[-1]
        if lacking > 0:
            shown[longest] -= lacking
            shown[-1] += lacking
    return sorted(_around_peak(moment, seconds) for moment, seconds in zip(best, shown, strict=False))


def _length(moment: Moment) -> float:
    return moment.clip_end - moment.clip_start


def _around_peak(moment: Moment, seconds: float) -> tuple[float, float]:
    if seconds >= _length(moment):
        return moment.clip_start, moment.clip_end
    start = min(max(moment.clip_start, moment.peak - seconds / 2), moment.clip_end - seconds)
    return start, start + seconds
