"""A source and, where it is a recording that breaks, the part of it that a range lies in.

At a break the clock begins anew, or the parameters by which pictures and sound are read: what is before and
what is behind are sources of their own that share one media time.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import replace
from types import TracebackType
from typing import Self

from tldr_highlight.errors import MediaError, RangeError
from tldr_highlight.media.frames import Source
from tldr_highlight.media.probe import probe
from tldr_highlight.media.recordings import Part
from tldr_highlight.media.remote import Opened
from tldr_highlight.media.types import MediaInfo, Origin, range_text

NEAR = 0.001
"""Seconds by which a range may reach across a break: its times are rounded."""


class Parts:
    """A source opened for cutting, as a context manager; one part of it at a time."""

    def __init__(self, info: MediaInfo, *, jumped: bool = False) -> None:
        self.info = info
        self._jumped = jumped
        self._breaks = _parts(info.origin)
        self._infos: dict[int, MediaInfo] = {}
        self._index = 0
        self._source: Source | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the source; whatever is read next opens it again."""
        if self._source:
            self._source.close()

    def of(self, start: float, end: float) -> Source:
        """What `[start, end)` is cut from.

        Raises:
            RangeError: a break is inside.
            TldrError: the source cannot be opened any more.
        """
        index = self._holding(start, end)
        if self._source is None or index != self._index:
            self.close()
            self._source, self._index = Source(self._info(index), jumped=self._jumped), index
        return self._source

    def _holding(self, start: float, end: float) -> int:
        """The part that a range lies in."""
        if not self._breaks:
            return 0
        starts = [part.start for part in self._breaks]
        index = max(0, bisect_right(starts, start + NEAR) - 1)
        if index + 1 < len(starts) and end > starts[index + 1] + NEAR:
            raise RangeError(
                f"{range_text(start, end)} reaches across a break in the recording, at"
                f" {starts[index + 1]:.3f} s: cut what is before and what is behind, and join them"
            )
        return index

    def _info(self, index: int) -> MediaInfo:
        """The part as a source: its media time is that of the whole."""
        if len(self._breaks) < 2:
            return self.info
        if index not in self._infos:
            part = self._breaks[index]
            sound = self.info.sound_origin
            seen = probe(_part(self.info.origin, index), sound=_part(sound, index) if sound else None)
            start = seen.start_time - part.start
            self._infos[index] = replace(seen, start_time=start, duration=part.start + seen.duration)
        return self._infos[index]


def _parts(origin: Origin) -> tuple[Part, ...]:
    return tuple(origin.medium.parts) if isinstance(origin, Opened) else ()


def _part(origin: Origin, index: int) -> Origin:
    if not isinstance(origin, Opened) or index >= len(origin.medium.parts):
        raise MediaError("its pictures break where its sound does not: cut from one address that has both")
    return origin.part(index)
