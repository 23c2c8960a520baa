"""The second look: motion around what sound proposes, where key pictures are too rare to show it.

It is taken block by block. What is looked at in a block depends on the block and a minute on both its sides
and on nothing else, so that a run that begins in any block looks at the same pictures. See
`docs/decisions/0019-final-pieces.md`.
"""

from __future__ import annotations

from collections.abc import Sequence

from tldr_highlight.analysis.base import STEP
from tldr_highlight.analysis.local import analyse
from tldr_highlight.analysis.rolling import steps
from tldr_highlight.analysis.signals import Signals, joined, strung, with_pictures
from tldr_highlight.media.read import Sampling, keys_show_motion, pictures_between
from tldr_highlight.media.types import MediaInfo

BLOCK = steps(200.0)
"""Steps of a block: as many as one look takes at this share."""

AROUND = steps(60.0)
"""Steps on both sides of a block that what it proposes depends on."""

SHARE = 0.2
"""Share of a block that is decoded fully."""

SECONDS, LEAST = 20.0, 8.0
"""Seconds on both sides of a proposed event, and how few there may be where the share runs out: motion is
judged against 15 s around it, of which a third must be known, behind 3 s that are left out."""

Window = tuple[float, float]


def needs_closer_look(info: MediaInfo, sampling: Sampling) -> bool:
    """Whether only key pictures are read, which show no motion, and sound can propose where to look."""
    return sampling is Sampling.KEYS and not keys_show_motion(info) and info.audio is not None


class Closer:
    """Takes curves as they are read first, and gives them with motion where it counts, once that is known."""

    def __init__(self, info: MediaInfo, first_step: int) -> None:
        """Look for a run that begins at `first_step`; what is before is not looked at again."""
        self._info = info
        self._first = first_step
        self._read: Signals | None = None  # from `AROUND` before the next block on
        self._block = 0  # the next one's first step

    @property
    def first_needed(self) -> int:
        """The step from which on curves must be fed."""
        return max(0, self._first // BLOCK * BLOCK - AROUND)

    def feed(self, fresh: Signals, *, last: bool, jumped: bool) -> Signals:
        """Take the next stretch; give that of all blocks that are known with what surrounds them.

        Where timestamps have leapt no place can be found again, and nothing is looked at.
        """
        if self._read is None:
            self._block = fresh.first if fresh.first == 0 else fresh.first + AROUND
        self._read = joined(self._read, fresh)
        done = [self._read.part(self._block, self._block)]
        end = self._read.first + self._read.steps
        while self._block + BLOCK + AROUND <= end or (last and self._block < end):
            done.append(self._looked_at(self._read, jumped=jumped))
            self._block += BLOCK
        self._read = self._read.part(self._block - AROUND, end)
        return strung(done)

    def _looked_at(self, read: Signals, *, jumped: bool) -> Signals:
        """The next block."""
        block = read.part(self._block, self._block + BLOCK)
        if jumped:
            return block
        around = read.part(self._block - AROUND, self._block + BLOCK + AROUND)
        windows = [w for w in _windows(around, block) if w[1] > self._first * STEP]
        return with_pictures(block, pictures_between(self._info, windows)) if windows else block


def _windows(around: Signals, block: Signals) -> list[Window]:
    """Where to look: around the likeliest events first, as long as the share lasts."""
    start, end = block.first * STEP, block.end
    near = [e for e in analyse(around).events if start - SECONDS < e.peak < end + SECONDS]
    windows: list[Window] = []
    for event in sorted(near, key=lambda e: (-e.worth, e.peak)):
        left = SHARE * (end - start) - sum(b - a for a, b in windows)
        reach = min(SECONDS, left / 2)
        if reach < LEAST:
            break
        windows = _union([*windows, (max(start, event.peak - reach), min(end, event.peak + reach))])
    return [w for w in windows if w[0] < w[1]]


def _union(windows: Sequence[Window]) -> list[Window]:
    """The same stretches without overlaps, in order."""
    out: list[Window] = []
    for start, end in sorted(windows):
        if out and start <= out[-1][1]:
            out[-1] = (out[-1][0], max(end, out[-1][1]))
        else:
            out.append((start, end))
    return out
