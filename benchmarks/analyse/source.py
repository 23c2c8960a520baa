"""Makes the file that the contestants read: `python -m benchmarks.analyse.source MINUTES OUT [GOP]`.

1080p30 H.264 High at 6 Mbit/s with a key picture every 2 s, AAC at 128 kbit/s, in MP4: what cameras,
recorders and download buttons give. Where a GOP of 10 s is asked for, key pictures come at cuts too, as on
video sites. 64 s are encoded once (they begin with a key picture, and are a whole number of AAC frames),
the rest is their packets again with later times, which costs seconds instead of hours.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from av.stream import Stream
from av.video.frame import VideoFrame
from av.video.stream import VideoStream
from numpy.typing import NDArray

WIDTH, HEIGHT, RATE, SOUND = 1920, 1080, 30, 48_000
GOP = 2  # seconds
PART = 64  # seconds: 32 GOPs of 2 s, and 3000 AAC frames of 1024 samples
SHOT = 5.3  # seconds between cuts, on purpose no multiple of the GOP

Gray = NDArray[np.uint8]


def make(minutes: float, path: Path, part: Path, gop: int = GOP) -> None:
    """Write `minutes` of video to `path`; `part` holds the encoded 64 seconds, made when missing.

    Key pictures are `gop` seconds apart; where that is more than 2 s, cuts are key pictures as well.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    if not part.exists():
        draft = part.with_suffix(".tmp.mp4")
        _encode(draft, gop)
        draft.replace(part)
    draft = path.with_suffix(".tmp.mp4")
    _repeat(part, draft, minutes * 60)
    draft.replace(path)


def _encode(path: Path, gop: int) -> None:
    with av.open(path, "w") as out:
        video = out.add_stream("libx264", rate=RATE)
        video.width, video.height, video.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        video.bit_rate = 6_000_000
        even = {"keyint_min": str(gop * RATE), "sc_threshold": "0"} if gop <= GOP else {}
        video.options = {"preset": "veryfast", "profile": "high", "g": str(gop * RATE), **even,
                         "maxrate": "6500k", "bufsize": "6000k"}  # fmt: skip
        audio = out.add_stream("aac", rate=SOUND, layout="stereo")
        audio.bit_rate = 128_000
        sounds = _sounds()
        for index, frame in enumerate(_pictures()):
            out.mux(video.encode(frame))
            if index % RATE == 0:
                out.mux(audio.encode(next(sounds)))
        for sound in sounds:
            out.mux(audio.encode(sound))
        out.mux(video.encode(None))
        out.mux(audio.encode(None))


def _pictures() -> Iterator[VideoFrame]:
    """Shots of different pace: a textured ground that pans, things that move on it, a camera's grain."""
    rng = np.random.default_rng(1)
    grain = rng.integers(0, 7, (HEIGHT + 64, WIDTH + 64)).astype(np.uint8)
    ground, things = _ground(rng), _things(rng)
    shot, pace = -1, 0.0
    for index in range(PART * RATE):
        if int(index / RATE / SHOT) != shot:
            shot = int(index / RATE / SHOT)
            ground, things = _ground(rng), _things(rng)
            pace = (0.5, 2.0, 6.0)[shot % 3]
        left, top = int(index * pace) % 800, int(index * pace / 3) % 300
        luma = ground[top : top + HEIGHT, left : left + WIDTH].copy()
        for thing in things:
            thing.draw(luma, grain, index * pace)
        gx, gy = rng.integers(0, 64, 2)
        luma += grain[gy : gy + HEIGHT, gx : gx + WIDTH]
        yield _frame(luma, hue=shot, index=index)


def _ground(rng: np.random.Generator) -> Gray:
    """A picture larger than the screen with detail at every scale, 20..200."""
    total = np.zeros((HEIGHT + 300, WIDTH + 800), np.float32)
    for scale in (4, 8, 16, 32, 64, 128, 256):
        rows, columns = -(-total.shape[0] // scale), -(-total.shape[1] // scale)
        coarse = rng.random((rows, columns), np.float32) * scale**0.7
        total += np.repeat(np.repeat(coarse, scale, 0), scale, 1)[: total.shape[0], : total.shape[1]]
    total -= total.min()
    return (20 + 180 * total / total.max()).astype(np.uint8)


@dataclass(frozen=True, slots=True)
class Thing:
    """A textured square that moves."""

    x: float
    y: float
    dx: float
    dy: float
    size: int
    shade: int

    def draw(self, luma: Gray, grain: Gray, moved: float) -> None:
        x = int(self.x + self.dx * moved) % (WIDTH - self.size)
        y = int(self.y + self.dy * moved) % (HEIGHT - self.size)
        luma[y : y + self.size, x : x + self.size] = self.shade + grain[: self.size, : self.size] * 6


def _things(rng: np.random.Generator) -> list[Thing]:
    def one() -> Thing:
        x, y, dx, dy = rng.uniform((0, 0, -2, -2), (800, 800, 2, 2)).tolist()
        return Thing(x, y, dx, dy, int(rng.integers(60, 260)), int(rng.integers(20, 180)))

    return [one() for _ in range(8)]


def _frame(luma: Gray, *, hue: int, index: int) -> VideoFrame:
    half = luma[::2, ::2] >> 3
    blue, red = 96 + hue % 5 * 8 + half, 160 - hue % 3 * 8 - half
    planes = np.concatenate([luma.ravel(), blue.ravel(), red.ravel()]).astype(np.uint8)
    frame = VideoFrame.from_ndarray(planes.reshape(HEIGHT * 3 // 2, WIDTH), format="yuv420p")
    frame.pts, frame.time_base = index, Fraction(1, RATE)
    return frame


def _sounds() -> Iterator[AudioFrame]:
    """A second at a time: syllables over a noise floor, and a swell of noise now and then."""
    rng = np.random.default_rng(2)
    second = np.arange(SOUND) / SOUND
    for index in range(PART + 1):
        voice = sum(np.sin(2 * np.pi * 140 * k * second) / k for k in range(1, 20))
        syllables = np.maximum(np.sin(2 * np.pi * 3.5 * (second + index)), 0)
        swell = 0.02 + 0.2 * (index % 17 in (9, 10))
        mono = 0.08 * voice * syllables + swell * rng.standard_normal(SOUND)
        samples = np.clip(np.stack([mono, mono]), -1, 1).astype(np.float32)
        frame = AudioFrame.from_ndarray(samples, format="fltp", layout="stereo")
        frame.sample_rate, frame.pts, frame.time_base = SOUND, index * SOUND, Fraction(1, SOUND)
        yield frame


def _repeat(part: Path, path: Path, seconds: float) -> None:
    with av.open(part) as source, av.open(path, "w") as out:
        streams = [s for s in source.streams if isinstance(s, VideoStream | AudioStream)]
        copies: dict[int, Stream] = {s.index: out.add_stream_from_template(s) for s in streams}
        for turn in range(int(-(-seconds // PART))):
            for packet in source.demux(*streams):
                base = packet.stream.time_base
                assert base is not None
                if packet.pts is None or packet.dts is None or not 0 <= packet.pts * base < PART:
                    continue
                later = int(turn * PART / base)
                packet.pts, packet.dts = packet.pts + later, packet.dts + later
                if packet.pts * base < seconds:
                    packet.stream = copies[packet.stream.index]
                    out.mux(packet)
            source.seek(0)


if __name__ == "__main__":
    minutes, path, gop = float(sys.argv[1]), Path(sys.argv[2]), int((*sys.argv, GOP)[3])
    make(minutes, path, path.parent / ("part.mp4" if gop == GOP else f"part-g{gop}.mp4"), gop)
