"""How much later sound is in a clip than in its source, measured on the sound itself."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from tldr_highlight.media.samples import Block

Mono: TypeAlias = NDArray[np.float32]

WINDOW = 0.25
"""Seconds of sound that are compared at the beginning and at the end of a clip."""

REACH = 2048
"""Samples by which sound may be off and still be found: two packets of AAC."""

FEWEST = 1000
"""Samples that tell anything."""

QUIET = 1e-4
"""Standard deviation, of full scale 1, of what is too quiet to compare."""

ALIKE = 0.5
"""Correlation below which two stretches are not the same sound, and no lag is told."""


class Heard:
    """Keeps the first and the last `WINDOW` of samples that pass by."""

    def __init__(self, rate: int) -> None:
        self._most = round(WINDOW * rate)
        self._first: list[Block] = []
        self._last: deque[Block] = deque()
        self._count = self._kept = 0

    def add(self, block: Block) -> None:
        """The next samples."""
        if self._count < self._most:
            self._first.append(block)
        self._last.append(block)
        self._count += block.shape[1]
        self._kept += block.shape[1]
        while self._kept - self._last[0].shape[1] >= self._most:
            self._kept -= self._last.popleft().shape[1]

    def windows(self) -> dict[int, Block]:
        """The two stretches by the sample at which they begin."""
        if not self._count:
            return {}
        first = np.concatenate(self._first, axis=1)[:, : self._most]
        last = np.concatenate(list(self._last), axis=1)[:, -self._most :]
        return {0: first, self._count - last.shape[1]: last}


def lag(ours: Mapping[int, Block], theirs: Mapping[int, Block]) -> int:
    """Samples by which our windows are later than theirs at their worst; 0 where silence tells nothing."""
    found = [_lag(ours[at].mean(0), block.mean(0)) for at, block in theirs.items() if at in ours]
    return max(found, key=abs, default=0)


def _lag(ours: Mono, theirs: Mono) -> int:
    length = min(len(ours), len(theirs))
    if length < FEWEST:
        return 0
    a, b = (x[:length] - x[:length].mean() for x in (ours, theirs))
    loud = float(np.sqrt(np.dot(a, a) * np.dot(b, b)))
    if loud < QUIET**2 * length:
        return 0
    size = 1 << (2 * length).bit_length()
    products = np.fft.irfft(np.fft.rfft(a, size) * np.conj(np.fft.rfft(b, size)), size) / loud
    shifts = np.arange(-REACH, REACH + 1)
    best = int(shifts[np.argmax(products[shifts])])
    if products[best] < ALIKE or products[0] > 0.98 * products[best]:  # a tone is as like a period later
        return 0
    return best
