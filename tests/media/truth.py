"""What a source truly holds and whether a clip shows just that, decoded by libav alone."""

from __future__ import annotations

import functools
import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.video.frame import VideoFrame
from numpy.typing import NDArray

from tests.media_maker import Content, Samples, hear, units
from tldr_highlight.media.probe import probe
from tldr_highlight.media.types import ClipResult, MediaInfo

DECIBELS = 40.0
"""What every plane of every picture that is encoded anew reaches against the source's own."""

REACH = 2400
"""Samples to both sides within which sound that is out of place is looked for."""

QUIET = 0.02
"""Highest sample of what an encoder makes of silence."""

AAC_FRAME = 1024
"""Samples."""

FAITHFUL = 0.9
"""Correlation of encoded sound with the source's; 160 kbit/s keep the noise of these sources so well."""

Plane = NDArray[np.uint8]


@dataclass(frozen=True)
class Shown:
    """One picture as a player shows it."""

    at: Fraction  # seconds
    duration: Fraction  # seconds
    planes: tuple[Plane, ...]  # Y, U, V of 4:2:0, upright

    def like(self, other: Shown) -> float:
        """Decibels of the plane that differs most; infinite where both are the same."""
        return min(map(psnr, self.planes, other.planes))


def psnr(a: Plane, b: Plane) -> float:
    """Peak signal-to-noise ratio of two planes, dB."""
    if np.array_equal(a, b):
        return math.inf
    error = float(np.mean((a.astype(np.int16) - b).astype(np.int32) ** 2))
    return 10 * math.log10(255**2 / error)


def pictures(path: Path) -> list[Shown]:
    """Every picture of a file, edit lists honoured."""
    with av.open(f"file:{path}") as container:
        frames = container.decode(video=0)
        return [Shown(f.pts * f.time_base, f.duration * f.time_base, _planes(f)) for f in frames]


def _planes(frame: VideoFrame) -> tuple[Plane, ...]:
    flat = frame.reformat(format="yuv420p").to_ndarray()
    height, width = frame.height, frame.width
    luma, chroma = flat[:height], flat[height:].reshape(2, height // 2, width // 2)
    return tuple(np.rot90(p, frame.rotation // 90) for p in (luma, *chroma))


@dataclass(frozen=True)
class Truth:
    """A source and all there is in it."""

    path: Path

    @functools.cached_property
    def info(self) -> MediaInfo:
        return probe(self.path)

    @functools.cached_property
    def pictures(self) -> list[Shown]:
        return pictures(self.path)

    @functools.cached_property
    def content(self) -> Content:
        """The sound."""
        return hear(self.path)

    @functools.cached_property
    def times(self) -> list[float]:
        """Media seconds of every picture."""
        return [float(p.at) - self.info.start_time for p in self.pictures]

    @functools.cached_property
    def end(self) -> float:
        """Media seconds at which the last picture ends."""
        return self.times[-1] + float(self.pictures[-1].duration)

    @functools.cached_property
    def keys(self) -> list[int]:
        """Places of the pictures from which decoding can begin with nothing before them."""
        with av.open(f"file:{self.path}") as container:
            stream = container.streams.video[0]
            header = bytes(stream.codec_context.extradata or b"")
            length = (header[4] & 3) + 1 if header[:1] == b"\x01" else None
            fresh = stream.codec_context.name == "h264"
            at = {
                p.pts * p.time_base
                for p in container.demux(stream)
                if p.is_keyframe and not p.is_discard and (not fresh or _refreshes(bytes(p), length))
            }
        return [i for i, p in enumerate(self.pictures) if p.at in at]

    @functools.cached_property
    def sound_packets(self) -> set[bytes]:
        return set(sound_packets(self.path))

    def chosen(self, start: float, end: float) -> list[int]:
        """Places of the pictures that begin in `[start, end)`."""
        return [i for i, t in enumerate(self.times) if start - 5e-4 <= t < end - 5e-4]

    def rounding(self, start: float) -> int:
        """Samples that a clip's sound may be off because it cannot begin between two samples."""
        assert self.content.sound_start is not None
        place = (start + self.info.start_time - float(self.content.sound_start)) * self.content.rate
        return 0 if abs(place - round(place)) < 0.01 else 1

    def sound(self, start: float, count: int) -> Samples:
        """So many samples from a media second on, silence where there is no sound."""
        return on_clock(self.content, start + self.info.start_time, count)


def _refreshes(data: bytes, length: int | None) -> bool:
    """Whether an H.264 packet is an instantaneous refresh: unit type 5."""
    found = units(data, length) if length else data.split(b"\0\0\1")[1:]
    return any(unit[:1] and unit[0] & 31 == 5 for unit in found)


def sound_packets(path: Path) -> list[bytes]:
    """AAC packets without what transport streams put before each."""
    with av.open(f"file:{path}") as container:
        packets = [bytes(p) for p in container.demux(audio=0) if p.size]
    return [p[7:] if p[:2] == b"\xff\xf1" else p for p in packets]


def on_clock(content: Content, start: float, count: int) -> Samples:
    """Samples from a raw second on, silence where there is no sound."""
    out = np.zeros(count, np.float32)
    if content.sound_start is None:
        return out
    place = round((float(content.sound_start) - start) * content.rate)
    begin, end = max(0, place), min(count, place + len(content.samples))
    if begin < end:
        out[begin:end] = content.samples[begin - place : end - place]
    return out


def lag(heard: Samples, wanted: Samples) -> int:
    """Samples by which `heard` is late; `wanted` begins `REACH` before it and ends `REACH` behind it."""
    size = 1 << (len(wanted) - 1).bit_length()  # the lags looked at fit in; the others may wrap
    spectrum = np.fft.rfft(heard, size) * np.conj(np.fft.rfft(wanted, size))
    match = np.roll(np.fft.irfft(spectrum, size), 2 * REACH)[: 2 * REACH + 1]
    assert match.max() > 5 * np.std(match), "this is not the source's sound"
    return int(np.argmax(match)) - REACH


# --- judging -------------------------------------------------------------------------------------------


def judge(truth: Truth, result: object, start: float, end: float) -> int:
    """Check a clip of `[start, end)` whole; return how many of its pictures are the source's own."""
    assert isinstance(result, ClipResult), repr(result)
    judge_file(result)
    same = judge_pictures(truth, result, start, end) if truth.info.video else 0
    if truth.info.audio:
        judge_sound(truth, result)
    return same


def judge_file(result: ClipResult) -> None:
    data = result.spec.path.read_bytes()
    assert (result.bytes, result.sha256) == (len(data), hashlib.sha256(data).hexdigest())
    assert data.index(b"moov") < data.index(b"mdat")
    assert result.reason
    length = result.actual_end - result.actual_start
    with av.open(f"file:{result.spec.path}") as container:
        slack = max(length / max(1, result.frames), 0.0235)  # a picture, or an AAC frame at 44.1 kHz
        assert abs(container.duration / av.time_base - length) <= slack


def judge_pictures(truth: Truth, result: ClipResult, start: float, end: float) -> int:
    wanted = truth.chosen(start, end)
    clip = pictures(result.spec.path)
    first = truth.pictures[wanted[0]].at
    assert [p.at for p in clip] == [truth.pictures[i].at - first for i in wanted]
    assert result.frames == len(wanted)
    after = [*truth.times, truth.end][wanted[-1] + 1]
    assert abs(result.actual_start - truth.times[wanted[0]]) < 1e-6
    assert abs(result.actual_end - after) < 1e-3
    likeness = {i: p.like(truth.pictures[i]) for i, p in zip(wanted, clip, strict=True)}
    worst = min(likeness, key=lambda i: likeness[i])
    assert likeness[worst] >= DECIBELS, f"picture {worst}: {likeness[worst]:.1f} dB"
    own = {i for i, decibels in likeness.items() if decibels == math.inf}
    copied = _to_be_copied(truth, result, wanted)
    assert set(copied) <= own, f"not copied: {sorted(set(copied) - own)} of {wanted[0]}-{wanted[-1]}"
    return len(own)


def _to_be_copied(truth: Truth, result: ClipResult, wanted: Sequence[int]) -> Sequence[int]:
    """Pictures that a clip of this method holds as they are: all, or those of whole GOPs, or none."""
    if result.method == "copy":
        return wanted
    if result.method == "encode":
        return []
    borders = [k for k in (*truth.keys, len(truth.pictures)) if wanted[0] <= k <= wanted[-1] + 1]
    return range(borders[0], borders[-1])


def judge_sound(truth: Truth, result: ClipResult) -> None:
    clip, rate = hear(result.spec.path), truth.content.rate
    assert clip.rate == rate
    assert abs(result.sync_ms) <= 1000 / rate
    length = result.actual_end - result.actual_start
    count = int(length * rate)
    wanted = truth.sound(result.actual_start - REACH / rate, count + 2 * REACH)
    heard = on_clock(clip, 0.0, count)
    expected = wanted[REACH:-REACH]
    if np.abs(expected).max(initial=0) < QUIET:
        assert np.abs(heard).max(initial=0) < QUIET
        return
    assert clip.sound_start is not None
    assert float(clip.sound_start) + len(clip.samples) / rate <= length + AAC_FRAME / rate
    assert abs(lag(heard, wanted)) <= truth.rounding(result.actual_start)
    if set(sound_packets(result.spec.path)) <= truth.sound_packets:
        shifted = [wanted[REACH + n : REACH + n + count] for n in (0, -1, 1)]
        assert any(np.array_equal(heard, s) for s in shifted), "copied sound differs from the source's"
    else:
        assert np.corrcoef(heard, expected)[0, 1] > FAITHFUL
