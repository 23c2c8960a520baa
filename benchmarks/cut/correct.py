"""Whether a clip holds what it should: `python -m benchmarks.cut.correct SOURCE START END CLIP` prints JSON.

Asks nothing of the cutter: source and clip are decoded by libav, edit lists honoured, and compared. The
source is one of `analyse/source.py`: 30 pictures per second from 0 on, sound that does not repeat within
seconds.
"""

from __future__ import annotations

import itertools
import json
import math
import sys
from collections import deque
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple, cast

import av
import numpy as np
from av.container import InputContainer
from av.error import FFmpegError
from av.video.frame import VideoFrame
from numpy.typing import NDArray

RATE = 30
AROUND = 90
"""Pictures compared at each end of a clip, and searched to both sides for the first one."""

HEARD = 5.0
"""Seconds of sound compared."""

MOST_DB = 99.0
"""What stands for pictures that are the same."""

REACH = 0.5
"""Seconds to both sides within which sound that is out of place is found."""

Planes = NDArray[np.uint8]
Samples = NDArray[np.float32]


class Verdict(NamedTuple):
    """What is wrong with a clip."""

    frames_off: int  # pictures too many
    first_off: int | None  # pictures by which it begins late; None: its first picture is not in the source
    lag: int | None  # samples by which the sound is late against the pictures; None: another sound
    worst_db: float  # PSNR of the worst plane of a picture near either end, in its place from the first on
    mb: float  # size of the file


def judge(source: Path, start: float, end: float, clip: Path) -> Verdict:
    first, last = _place(start), _place(end)
    pictures = list(_edges(clip))
    count = pictures[-1].number + 1 if pictures else 0
    begins = _found(source, pictures[0].planes, first) if pictures else None
    origin = first if begins is None else begins
    late = pictures[0].time if pictures else 0.0
    return Verdict(
        frames_off=count - (last - first),
        first_off=None if begins is None else begins - first,
        lag=_lag(source, origin / RATE - late, clip),
        worst_db=round(
            min(_worst(source, origin, part) for part in (pictures[:AROUND], pictures[AROUND:])), 1
        ),
        mb=clip.stat().st_size / 1e6,
    )


class Picture(NamedTuple):
    """One of a clip."""

    number: int  # from 0
    time: float  # seconds
    planes: Planes


def _place(seconds: float) -> int:
    """The first picture at or after a time."""
    return math.ceil(round(seconds * RATE, 3))


def _decoded(path: Path) -> Iterator[VideoFrame]:
    with av.open(path) as container:
        yield from _frames(container)


def _frames(container: InputContainer) -> Iterator[VideoFrame]:
    """Pictures, damaged packets left out."""
    stream = container.streams.video[0]
    stream.thread_type = "AUTO"
    for packet in container.demux(stream):
        try:
            yield from (f for f in cast("list[VideoFrame]", packet.decode()) if f.pts is not None)
        except FFmpegError:
            continue


def _planes(frame: VideoFrame) -> Planes:
    return cast("Planes", frame.reformat(format="yuv420p").to_ndarray())


def _edges(path: Path) -> Iterator[Picture]:
    """The first and the last `AROUND` pictures of a clip, or all where there are fewer."""
    ends: deque[Picture] = deque(maxlen=AROUND)
    for number, frame in enumerate(_decoded(path)):
        picture = Picture(number, frame.time or 0.0, _planes(frame))
        if number < AROUND:
            yield picture
        else:
            ends.append(picture)
    yield from ends


def _source_pictures(source: Path, first: int, count: int) -> Iterator[Planes]:
    with av.open(source) as container:
        stream = container.streams.video[0]
        assert stream.time_base
        at = max(0.0, (first - 0.5) / RATE)
        container.seek(int(at / stream.time_base), stream=stream)
        wanted = (f for f in _frames(container) if f.time is not None and f.time * RATE > first - 0.5)
        yield from map(_planes, itertools.islice(wanted, count))


def _found(source: Path, picture: Planes, expected: int) -> int | None:
    """Place in the source of the picture most like this one, near where it should be."""
    begin = max(0, expected - AROUND)
    likeness = [_psnr(picture, p) for p in _source_pictures(source, begin, expected - begin + AROUND)]
    best = int(np.argmax(likeness))
    return begin + best if likeness[best] > 25 else None


def _worst(source: Path, origin: int, pictures: list[Picture]) -> float:
    """Decibels of the worst of consecutive pictures, the clip's first one being the source's `origin`."""
    if not pictures:
        return MOST_DB
    theirs = list(_source_pictures(source, origin + pictures[0].number, len(pictures)))
    if len(theirs) < len(pictures):
        return 0.0
    return min(_psnr(p.planes, t) for p, t in zip(pictures, theirs, strict=True))


def _psnr(a: Planes, b: Planes) -> float:
    """Decibels of the worst plane."""
    if a.shape != b.shape:
        return 0.0
    height = a.shape[0] * 2 // 3
    quarter = height // 4
    planes = [slice(0, height), slice(height, height + quarter), slice(height + quarter, None)]
    errors = [float(np.mean((a[p].astype(np.int16) - b[p]).astype(np.int32) ** 2)) for p in planes]
    return min(MOST_DB, 10 * math.log10(255**2 / max(errors))) if max(errors) else MOST_DB


# --- sound ---------------------------------------------------------------------------------------------


def _lag(source: Path, start: float, clip: Path) -> int | None:
    """Samples by which the clip's sound is late, if its pictures begin at `start` of the source."""
    heard, rate = _sound(clip, 0.0, HEARD)
    reach = int(REACH * rate)
    wanted, _ = _sound(source, start - REACH, HEARD + 2 * REACH)
    size = 1 << (len(heard) + len(wanted)).bit_length()
    spectrum = np.fft.rfft(heard, size) * np.conj(np.fft.rfft(wanted, size))
    match = np.fft.irfft(spectrum / np.sqrt(np.maximum(np.abs(spectrum), 1e-9)), size)  # sharpened
    match = np.roll(match, 2 * reach)[: 2 * reach + 1]
    place = int(np.argmax(match))
    return place - reach if match[place] > 8 * np.std(match) else None


def _sound(path: Path, start: float, seconds: float) -> tuple[Samples, int]:
    """So many seconds of sound, channels averaged, silence where there is none."""
    with av.open(path) as container:
        stream = container.streams.audio[0]
        rate, tick = stream.rate, stream.time_base or Fraction(1, 48_000)
        out = np.zeros(int(seconds * rate), np.float32)
        if start > 1:
            container.seek(int((start - 1) / tick), stream=stream)
        for frame in container.decode(stream):
            samples = frame.to_ndarray().mean(axis=0)
            place = round(((frame.pts or 0) * float(tick) - start) * rate)
            begin, end = max(0, place), min(len(out), place + len(samples))
            if begin < end:
                out[begin:end] = samples[begin - place : end - place]
            if place > len(out):
                break
    return out, rate


if __name__ == "__main__":
    source, start, end, clip = sys.argv[1:]
    print(json.dumps(judge(Path(source), float(start), float(end), Path(clip))._asdict()))
