"""Measuring and settling in one piece, at the end."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from tldr_highlight.analysis.base import Moment
from tldr_highlight.analysis.dimensions import DimensionSet
from tldr_highlight.analysis.local import analyse
from tldr_highlight.analysis.moments import MomentOptions, choose
from tldr_highlight.analysis.signals import Extractor, Signals, joined
from tldr_highlight.core.egress import Egress
from tldr_highlight.media.job import Visit
from tldr_highlight.media.probe import probe
from tldr_highlight.media.read import Reader, sampling_for
from tldr_highlight.media.remote import opened


@dataclass(frozen=True, slots=True)
class Piece:
    start: float
    end: float
    signals: Signals


def measure(visit: Visit, *, first_step: int) -> Iterator[Piece]:
    if first_step:
        return
    look = visit._look
    with Egress(look.policy) as egress, opened(look.origin, egress) as origin:
        info = probe(origin)
        extractor = Extractor()
        reader = Reader(info, sampling_for(info))
        for segment in reader:
            extractor.feed(segment)
        yield Piece(0.0, reader.end, extractor.finish())


@dataclass
class Settler:
    dimension_set: DimensionSet
    options: MomentOptions
    signals: Signals | None = field(default=None)

    def feed(self, signals: Signals) -> list[Moment]:
        self.signals = joined(self.signals, signals)
        return []

    def finish(self, duration: float) -> list[Moment]:
        assert self.signals
        return choose(analyse(self.signals), self.dimension_set, duration, self.options)
