"""A source's curves in pieces, as they are read: what `find` and the service have in common.

A piece is final: nothing that is read later changes it, and whoever goes on behind it, in another process
on another day, gets what an undisturbed run would have given, bit for bit. What that takes is read again:
15 s, and where key pictures are too rare to show motion the block of `closer.py`.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator

from tldr_highlight.analysis.base import STEP
from tldr_highlight.analysis.signals import Extractor, Signals
from tldr_highlight.media.leaps import leaps
from tldr_highlight.media.read import SEGMENT_SECONDS, Reader, Sampling, sampling_for
from tldr_highlight.media.types import MediaInfo
from tldr_highlight.pipeline.closer import Closer, needs_closer_look
from tldr_highlight.pipeline.common import MOST_STEPS, Piece

READ_BEFORE = 15.0
"""Seconds read again before a piece: decoders and pairs of key pictures need a start."""


def pieces(
    info: MediaInfo,
    sampling: Sampling | None = None,
    *,
    first_step: int = 0,
    jumped: bool = False,
    segment_seconds: float = SEGMENT_SECONDS,
) -> Iterator[Piece]:
    """Read a source from `first_step` on; `jumped` is what the piece before it said.

    About `segment_seconds` of media are read at a time, which changes nothing but where pieces end.

    Not only the last piece may be empty: each tells how far reading is. Where the source is lost half-way,
    what is final of it comes first, then the reason.

    Raises:
        TldrError: the source cannot be read any more.
    """
    sampling = sampling or sampling_for(info)
    closer = Closer(info, first_step) if needs_closer_look(info, sampling) else None
    begin = closer.first_needed if closer else first_step
    if jumped or (begin and leaps(info)):
        begin = 0  # there is no way to the middle of it
    extractor = Extractor(first=begin)
    reader = Reader(
        info, sampling, start=max(0.0, begin * STEP - READ_BEFORE), segment_seconds=segment_seconds
    )

    def given(fresh: Signals, *, last: bool) -> Iterator[Piece]:
        final = closer.feed(fresh, last=last, jumped=reader.jumped) if closer else fresh
        *others, rest = _split(final.part(first_step, final.first + final.steps))
        for part in others:
            yield Piece(part, info, reader.end, reader.damaged, reader.jumped, last=False)
        yield Piece(rest, info, reader.end, reader.damaged, reader.jumped, last=last)

    for segment in reader:
        extractor.feed(segment)
        yield from given(extractor.take(), last=False)
    yield from given(extractor.finish(), last=True)


def _split(signals: Signals) -> list[Signals]:
    """Parts of about the same length, none too long."""
    count = max(1, -(-signals.steps // MOST_STEPS))
    borders = [signals.first + signals.steps * i // count for i in range(count + 1)]
    return [signals.part(a, b) for a, b in itertools.pairwise(borders)]
