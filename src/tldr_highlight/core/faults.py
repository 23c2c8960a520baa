"""Faults that tests ask for: a process dies at a named point, as if the power had failed. Never in service.

    TLDR_FAULT=segment-stored            dies there, the first time that it gets there
    TLDR_FAULT=clip-put:2,ready          dies at the second clip, and later, in its next life, at `ready`

Each fault happens once in a data folder, whatever processes there are: a file says that it did.
"""

from __future__ import annotations

import os
import signal
from collections import Counter
from pathlib import Path


class Faults:
    """What is asked for, and how often each point was passed in this process.

    Args:
        asked: `point` or `point:n`, comma-separated; None: nothing.
        folder: Where it is written down that one happened.
    """

    def __init__(self, asked: str | None = None, folder: Path = Path()) -> None:
        pairs = (each.strip().partition(":") for each in (asked or "").split(",") if each.strip())
        self._asked = {point: int(number or 1) for point, _, number in pairs}
        self._folder = folder
        self._passed: Counter[str] = Counter()

    def at(self, point: str) -> None:
        """Pass a point, which is the end of this process if that is asked for."""
        if point not in self._asked:
            return
        self._passed[point] += 1
        if self._passed[point] == self._asked[point] and self._first(point):
            os.kill(os.getpid(), signal.SIGKILL)

    def _first(self, point: str) -> bool:
        self._folder.mkdir(parents=True, exist_ok=True)
        try:
            (self._folder / point).touch(exist_ok=False)
        except FileExistsError:
            return False
        return True
