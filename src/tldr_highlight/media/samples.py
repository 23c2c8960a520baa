"""Sound at exact places: sample `n` is the one heard `n / rate` seconds after media time 0."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Iterator
from typing import TypeAlias, cast

import numpy as np
from av.audio.frame import AudioFrame
from av.audio.resampler import AudioResampler
from numpy.typing import NDArray

from tldr_highlight.media.frames import Sound
from tldr_highlight.media.types import AudioInfo

Block: TypeAlias = NDArray[np.float32]
"""(channels, samples), -1..1."""

AAC_RATES = (96000, 88200, 64000, 48000, 44100, 32000, 24000, 22050, 16000, 12000, 11025, 8000, 7350)

OFF_PLACE = 0.012
"""Seconds that a block may be off the end of the one before and still follow it: milliseconds of rounding
and jitter do, one lost packet (AAC 21 ms, Opus 20 ms, MP3 24 ms) does not."""


class Samples:
    """Cuts blocks of decoded sound into runs of exact samples, with silence where there is none."""

    def __init__(
        self, sounds: Iterator[Sound], rate: int, layout: str, start: int, gain: float = 1.0
    ) -> None:
        """Deliver from sample `start` on, at `rate` Hz, mixed to `layout`, and multiplied by `gain`."""
        self.at = start  # next sample to be delivered
        self._rate = rate
        self._channels = 1 if layout == "mono" else 2
        runs = (_converted(run, rate, layout, gain) for run in _runs(sounds))
        self._blocks = itertools.chain.from_iterable(runs)
        self._waiting: deque[tuple[int, Block]] = deque()

    def until(self, end: int, *, pad: bool = True) -> Iterator[Block]:
        """Samples from where the last call stopped up to `end`.

        Behind the last sound there is silence, or nothing when `pad` is false.
        """
        while self.at < end:
            place, block = self._next() or (None, None)
            if place is None or block is None:
                if not pad:
                    return
                place, block = end, self._silence(0)
            if place > self.at:
                gap = min(place, end) - self.at
                yield from self._rest(gap)
            fresh = block[:, max(0, self.at - place) :]
            if fresh.shape[1] and self.at < end:
                taken = fresh[:, : end - self.at]
                self.at += taken.shape[1]
                yield taken
            if place + block.shape[1] > self.at:
                self._waiting.appendleft((place, block))

    def reaches(self, place: int) -> bool:
        """Whether there is sound behind sample `place`."""
        while not any(at + block.shape[1] > place for at, block in self._waiting):
            item = next(self._blocks, None)
            if item is None:
                return False
            self._waiting.append(item)
        return True

    def _next(self) -> tuple[int, Block] | None:
        return self._waiting.popleft() if self._waiting else next(self._blocks, None)

    def _rest(self, count: int) -> Iterator[Block]:
        """Silence, a second at a time."""
        while count > 0:
            block = self._silence(min(count, self._rate))
            self.at += block.shape[1]
            count -= block.shape[1]
            yield block

    def _silence(self, count: int) -> Block:
        return np.zeros((self._channels, count), np.float32)


def aac_rate(rate: int) -> int:
    """The sample rate to encode sound of `rate` Hz at: its own where AAC has it."""
    return rate if rate in AAC_RATES else 48000


def layout_of(audio: AudioInfo) -> str:
    """What clips with this sound carry."""
    return "mono" if audio.channels == 1 else "stereo"


def _runs(sounds: Iterator[Sound]) -> Iterator[Iterator[Sound]]:
    """Blocks that follow each other without gap or change of format, run by run."""
    pending = next(sounds, None)
    while pending is not None:
        first, pending = pending, None

        def run(first: Sound) -> Iterator[Sound]:
            nonlocal pending
            yield first
            end = first.at + first.frame.samples / first.frame.sample_rate
            for sound in sounds:
                if abs(sound.at - end) > OFF_PLACE or not _alike(sound.frame, first.frame):
                    pending = sound
                    return
                end += sound.frame.samples / sound.frame.sample_rate
                yield sound

        yield run(first)


def _alike(a: AudioFrame, b: AudioFrame) -> bool:
    return (a.sample_rate, a.format.name, a.layout.name) == (b.sample_rate, b.format.name, b.layout.name)


def _converted(run: Iterator[Sound], rate: int, layout: str, gain: float) -> Iterator[tuple[int, Block]]:
    """One run's samples with their places; without gaps, whatever the rounding of its times."""
    # Without the limit, libswresample mixes 5.1 down to floats beyond full scale.
    resampler = AudioResampler("fltp", layout, rate, options={"rematrix_maxval": "1.0"})
    place: int | None = None
    for sound in itertools.chain(run, [None]):
        if sound and place is None:
            place = round(sound.at * rate)
        for frame in resampler.resample(sound.frame if sound else None):
            if frame is None or place is None:  # pyright: ignore[reportUnnecessaryComparison]
                continue
            block = cast("Block", frame.to_ndarray())
            if not np.isfinite(block).all():
                block = np.nan_to_num(block, posinf=0, neginf=0)
            yield place, block if gain == 1 else block * np.float32(gain)
            place += frame.samples
