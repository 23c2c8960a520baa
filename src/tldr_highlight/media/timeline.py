"""One clock for a whole source, whatever its timestamps do.

Recordings of live streams restart their clocks, wrap, and leap. `Timeline` turns raw packet times into
media time that never runs back and never leaps: a step back of more than `BACK` or forward of more than
`FORWARD` is a discontinuity, and the stream goes on where it was. Reader and cutter share this class, so
a time found by one means the same picture to the other.
"""

from __future__ import annotations

BACK = 10.0
"""Seconds. Reordering and interleaving stay well below; libav itself tolerates 10 s before it complains."""

FORWARD = 3600.0
"""Seconds. Screen recordings leave minutes between pictures; nobody waits an hour for the next one."""

SAME_JUMP = 5.0
"""Seconds within which a second stream's jump counts as the same one, so that sound stays in sync."""


class Timeline:
    """Maps raw seconds (container time minus its start) of each stream to media seconds.

    Feed packets in demuxing order. `jumped` tells whether any discontinuity was met.
    """

    def __init__(self) -> None:
        self._offsets: dict[int, float] = {}
        self._last: dict[int, float] = {}
        self._latest_offset = 0.0
        self.jumped = False

    def offset(self, stream: int, raw: float, duration: float = 0.0) -> float:
        """Seconds to add to the times of this packet of `stream`, whose decoding time is `raw`."""
        offset = self._offsets.get(stream, self._latest_offset)
        last = self._last.get(stream)
        if last is None:
            last = max(self._last.values(), default=0.0)
        placed = raw + offset
        if not -BACK <= placed - last <= FORWARD:
            wanted = last + duration - raw
            offset = self._latest_offset if abs(wanted - self._latest_offset) <= SAME_JUMP else wanted
            placed = raw + offset
            self._latest_offset = offset
            self.jumped = True
        self._offsets[stream] = offset
        self._last[stream] = placed
        return offset
