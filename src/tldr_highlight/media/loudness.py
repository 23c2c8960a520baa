"""Loudness of a clip's sound, and the one gain that brings it to a target.

Measured by libav's `ebur128` (ITU-R BS.1770-4, EBU R 128): integrated loudness with both gates, and the
true peak of the signal oversampled to 192 kHz.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from av.audio.frame import AudioFrame
from av.error import BlockingIOError, EOFError
from av.filter.graph import Graph

from tldr_highlight.media.frames import Source
from tldr_highlight.media.samples import Block, Samples

HIGHEST_PEAK = -1.0
"""dBTP that no clip exceeds because of us: EBU R 128."""

ENCODING_MARGIN = 0.5
"""dB that AAC may add to a peak."""

SILENCE = -69.9
"""LUFS below which there is nothing to measure: the absolute gate of BS.1770, and what a clip of less
than 0.4 s, one block, is said to have."""

MOST_GAIN = 30.0
"""dB; what would need more is noise."""

STEPS = 10
"""Of a second: `ebur128` takes them one at a time."""


@dataclass(frozen=True, slots=True)
class Loudness:
    """What was measured."""

    integrated: float  # LUFS; -70 of silence
    true_peak: float  # dBTP, at most 0.0005 of full scale too high; -inf of silence

    def gain(self, target: float) -> float:
        """The factor that brings it to `target` LUFS, or as near as its true peak allows; 1 of silence."""
        return 10 ** (self._decibels(target) / 20)

    def warning(self, target: float) -> str | None:
        """What to say where it does not get to `target` LUFS; None where it does."""
        reached = self.integrated + self._decibels(target)
        if target - reached < TOLERATED:
            return None
        if self.integrated <= SILENCE:
            return "its sound is silent: there is no loudness to change"
        told = f"its loudness is {reached:.1f} LUFS instead of {target:g}"
        limited = "its peaks allow no more" if self._room < MOST_GAIN else f"{MOST_GAIN:g} dB are the most"
        return f"{told}: {limited}"

    @property
    def _room(self) -> float:
        """dB up to which it may be made louder."""
        return HIGHEST_PEAK - ENCODING_MARGIN - self.true_peak

    def _decibels(self, target: float) -> float:
        if self.integrated <= SILENCE:
            return 0.0
        return min(target - self.integrated, self._room, MOST_GAIN)


TOLERATED = 0.1
"""LU that nobody is told of: the meter's own steps."""


def loudness_of(source: Source, span: tuple[float, float], rate: int, layout: str) -> Loudness:
    """Measure the sound between two media seconds; reads nothing else."""
    start, end = span
    samples = Samples(source.sounds(start), rate, layout, round(start * rate))
    return measure(samples.until(round(end * rate), pad=False), rate, layout)


def measure(blocks: Iterable[Block], rate: int, layout: str) -> Loudness:
    """Loudness of samples, (channels, n) each, at `rate` Hz."""
    graph = Graph()
    source = graph.add_abuffer(sample_rate=rate, format="fltp", layout=layout, time_base=Fraction(1, rate))
    meter = graph.add("ebur128", "metadata=1:peak=true")
    graph.link_nodes(source, meter, graph.add("abuffersink")).configure()
    told: dict[str, str] = {}
    done = 0
    for block in _in_steps(blocks, rate // STEPS, layout):
        frame = AudioFrame.from_ndarray(block, "fltp", layout)
        frame.sample_rate, frame.pts, frame.time_base = rate, done, Fraction(1, rate)
        done += frame.samples
        graph.push(frame)
        told.update(_last_told(graph))
    integrated = float(told.get("lavfi.r128.I", "nan"))
    if math.isnan(integrated):
        return Loudness(-70.0, -math.inf)
    peak = float(told["lavfi.r128.true_peak"]) + 0.0005  # it is told to three digits
    return Loudness(integrated, 20 * math.log10(peak))


def _in_steps(blocks: Iterable[Block], step: int, layout: str) -> Iterator[Block]:
    """The blocks, and silence after them until the last step is whole: the meter tells nothing of less."""
    done = 0
    for block in blocks:
        done += block.shape[1]
        yield np.ascontiguousarray(block)
    if done % step:
        yield np.zeros((1 if layout == "mono" else 2, step - done % step), np.float32)


def _last_told(graph: Graph) -> dict[str, str]:
    """What the meter says of the last step of sound it has finished."""
    told: dict[str, str] = {}
    with contextlib.suppress(BlockingIOError, EOFError):
        while True:
            told = dict(graph.pull().metadata)
    return told
