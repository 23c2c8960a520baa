"""A source's curves for the service: measured in a process of their own, piece by piece.

    for piece in measure(visit, first_step=of_the_checkpoint):
        store(piece)                       each is final, and the next run goes on behind it
        publish(settler.feed(piece.signals))

The process works one piece ahead of whoever takes them, and waits then. See `inside.py` for its side.
"""

from __future__ import annotations

import base64
import binascii
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import Self

import numpy as np

from tldr_highlight.analysis.base import Curve
from tldr_highlight.analysis.signals import PICTURE_CURVES, SOUND_CURVES, Signals
from tldr_highlight.core.egress import Policy
from tldr_highlight.core.wire import Json, pack, unpack
from tldr_highlight.errors import MediaCrashError, MediaTimeoutError
from tldr_highlight.media.job import ANYWHERE, Visit
from tldr_highlight.media.sandbox import ProcessLimits
from tldr_highlight.media.types import MediaInfo, Origin
from tldr_highlight.pipeline.common import MOST_STEPS, Piece

MEASURING = ProcessLimits(seconds=120.0)
"""For a stretch of some 20 s of media. Who gives nothing for so long, and had processors, gives nothing any
more."""

SEGMENT_SECONDS = 20.0
"""Of media that are read at a time, where nobody wants more or less."""

PATIENCE, PACE = 1800.0, 2.0
"""Seconds of work that any source may take, and how many more for each second of media: a recording that
comes at half its speed is slow and no attack."""

MEASURE = "tldr_highlight.pipeline.inside:measure"
"""What runs in the process."""

NAMES = SOUND_CURVES + PICTURE_CURVES
"""In the order in which curves are sent."""

Progress = Callable[[float, float], None]
"""Called with the media seconds that were read, and of how many."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """Where the process is to begin."""

    first_step: int
    jumped: bool
    segment_seconds: float


@dataclass(frozen=True, slots=True)
class Sent:
    """A piece on its way: curves are single precision, so nothing is lost."""

    first: int
    steps: int
    curves: str  # base64 of float32, a row for each of `NAMES`
    read: float
    damaged: int
    jumped: bool
    last: bool

    @classmethod
    def of(cls, piece: Piece) -> Self:
        """The form of `piece`."""
        signals = piece.signals
        rows = np.array([signals.curves[name] for name in NAMES], "<f4")
        curves = base64.b64encode(rows.tobytes()).decode()
        return cls(
            signals.first, signals.steps, curves, piece.read, piece.damaged, piece.jumped, last=piece.last
        )

    def piece(self, info: MediaInfo) -> Piece:
        """The piece again.

        Raises:
            ValueError: that is none.
        """
        if not 0 <= self.steps <= MOST_STEPS:
            raise ValueError(f"a piece of {self.steps} steps")
        rows = np.frombuffer(base64.b64decode(self.curves, validate=True), "<f4").astype(np.float64)
        curves: dict[str, Curve] = dict(zip(NAMES, rows.reshape(len(NAMES), self.steps), strict=True))
        signals = Signals(self.first, curves)
        return Piece(signals, info, self.read, self.damaged, self.jumped, last=self.last)


def measure(
    source: Origin | MediaInfo | Visit,
    *,
    sound: Origin | None = None,
    policy: Policy = ANYWHERE,
    first_step: int = 0,
    jumped: bool = False,
    segment_seconds: float = SEGMENT_SECONDS,
    limits: ProcessLimits = MEASURING,
    on_progress: Progress | None = None,
    target: str = MEASURE,
) -> Iterator[Piece]:
    """The curves of a source from `first_step` on, in pieces of up to half a minute that follow each other.

    They are those of an undisturbed run, bit for bit; `jumped` is what the piece before said. A source that
    was not looked at yet is, first. A `Visit` has its own policy; its process is left for cutting.
    The process is ended when the iteration is. `limits.seconds` are for each stretch that is read.

    Raises:
        MediaTimeoutError, MediaMemoryError, MediaCrashError: the process had to be ended, or died.
        TldrError: what `inspect` raises; the source was lost half-way, behind the pieces that were had of it.
    """
    with (
        _apart(source, sound, policy, limits, target) as visit,
        closing(_items(visit, Wanted(first_step, jumped, segment_seconds))) as items,
    ):
        info, step = visit.info, first_step
        for item in items:
            piece = _received(item, info, step)
            step += piece.signals.steps
            if on_progress:
                on_progress(piece.read, max(info.duration, piece.read))
            if piece.signals.steps or piece.last:
                yield piece
            if piece.last:
                return
        raise MediaCrashError("its process ended before the source did")


def _apart(
    source: Origin | MediaInfo | Visit,
    sound: Origin | None,
    policy: Policy,
    limits: ProcessLimits,
    target: str,
) -> Visit:
    """A process for the source alone."""
    if isinstance(source, Visit):
        visit = Visit.of(source.info, policy=source.policy, limits=limits, target=target)
        visit.meanwhile = source.meanwhile
        return visit
    if isinstance(source, MediaInfo):
        return Visit.of(source, policy=policy, limits=limits, target=target)
    return Visit(source, sound=sound, policy=policy, limits=limits, target=target)


def _items(visit: Visit, wanted: Wanted) -> Generator[Json]:
    """What the process gives, as long as it does not take too long in all; whoever takes it may."""
    items = visit.given(pack(wanted))
    left = PATIENCE + PACE * visit.info.duration
    while left > 0:
        began = time.monotonic()
        try:
            item = next(items)
        except StopIteration:
            return
        left -= time.monotonic() - began
        yield item
    raise MediaTimeoutError("it takes more than twice as long as it plays: its process was ended")


def _received(item: Json, info: MediaInfo, step: int) -> Piece:
    """What the process sent, if it is the piece that begins at `step`."""
    try:
        sent = unpack(Sent, item)
        if sent.first != step and sent.steps:
            raise ValueError(f"a piece from step {sent.first} on instead of {step}")
        return sent.piece(info)
    except (ValueError, binascii.Error) as error:
        raise MediaCrashError(f"its process gave what was not asked for: {error}") from error
