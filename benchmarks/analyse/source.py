"""Makes the file that the contestants read: `python -m benchmarks.analyse.source MINUTES OUT`.

1080p30 H.264 High at 6 Mbit/s with a key picture every 2 s, AAC at 128 kbit/s, in MP4: what cameras,
recorders and download buttons give. With `--gop 10` key pictures come at cuts and every 10 s, as on video
sites. 64 s are encoded once (they begin with a key picture, and are a whole number of AAC frames), the
rest is their packets again with later times, which costs seconds instead of hours. With `--cheers` the
sound is another one and encoded whole: murmur, and a crowd that cheers every six minutes.
"""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from av.container import OutputContainer
from av.packet import Packet
from av.stream import Stream
from av.video.frame import VideoFrame
from av.video.stream import VideoStream
from numpy.typing import NDArray

from benchmarks.detection.synth import crowd, dsp

WIDTH, HEIGHT, RATE, SOUND = 1920, 1080, 30, 48_000
GOP = 2  # seconds
PART = 64  # seconds: 32 GOPs of 2 s, and 3000 AAC frames of 1024 samples
EVERY = 360  # seconds between cheers, ten an hour
SHOT = 5.3  # seconds between cuts, on purpose no multiple of the GOP

Gray = NDArray[np.uint8]


def make(minutes: float, path: Path, part: Path, gop: int = GOP, *, cheers: bool = False) -> None:
    """Write `minutes` of video to `path`; `part` holds the encoded 64 seconds, made when missing.

    Key pictures are `gop` seconds apart; where that is more than 2 s, cuts are key pictures as well.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    if not part.exists():
        draft = part.with_suffix(".tmp.mp4")
        _encode(draft, gop)
        draft.replace(part)
    draft = path.with_suffix(".tmp.mp4")
    _repeat(part, draft, minutes * 60, cheers=cheers)
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


def _cheers(seconds: float) -> Iterator[AudioFrame]:
    """A second at a time: murmur that never repeats, and cheering, another one each time."""
    rng = np.random.default_rng(3)
    rate = dsp.RATE
    loud = np.zeros(0, np.float32)
    for index in range(int(seconds)):
        if index % EVERY == EVERY // 2:
            loud = 0.15 * crowd.roar(rng, attack=0.8, hold=4.0, decay=2.0)
        mono = 0.03 * crowd.bed_noise(rng, rate)
        now, loud = loud[:rate], loud[rate:]
        mono[: len(now)] += now
        frame = AudioFrame.from_ndarray(np.clip(mono, -1, 1)[None].repeat(2, axis=0), "fltp", "stereo")
        frame.sample_rate, frame.pts, frame.time_base = rate, index * rate, Fraction(1, rate)
        yield frame


def _encoded(out: OutputContainer, frames: Iterable[AudioFrame]) -> Iterator[Packet[AudioStream]]:
    audio = out.add_stream("aac", rate=dsp.RATE, layout="stereo")
    audio.bit_rate = 128_000
    for frame in itertools.chain(frames, [None]):
        yield from audio.encode(frame)


def _repeat(part: Path, path: Path, seconds: float, *, cheers: bool) -> None:
    with av.open(part) as source, av.open(path, "w") as out:
        streams = [
            s for s in source.streams if isinstance(s, VideoStream if cheers else VideoStream | AudioStream)
        ]
        copies: dict[int, Stream] = {s.index: out.add_stream_from_template(s) for s in streams}
        sound = _encoded(out, _cheers(seconds)) if cheers else iter(())
        for turn in range(int(-(-seconds // PART))):
            out.mux(list(itertools.islice(sound, PART * dsp.RATE // 1024)))
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
        out.mux(list(sound))


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.analyse.source", description=__doc__)
    parser.add_argument("minutes", type=float)
    parser.add_argument("path", type=Path)
    parser.add_argument("--gop", type=int, default=GOP, help="most seconds between key pictures")
    parser.add_argument("--cheers", action="store_true", help="a crowd that cheers now and then")
    asked = parser.parse_args()
    part = asked.path.parent / ("part.mp4" if asked.gop == GOP else f"part-g{asked.gop}.mp4")
    make(asked.minutes, asked.path, part, asked.gop, cheers=asked.cheers)


if __name__ == "__main__":
    main()
