"""Films with something to find: a crowd that murmurs, and roars at known times."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from av.audio.frame import AudioFrame
from av.packet import Packet
from av.video.frame import VideoFrame

from tests import media_maker
from tests.media_maker import Gray, Recipe, Samples, make

SMALL = Recipe(seconds=24.0, fps=Fraction(10), size=(128, 72), gop=20, rate=16_000, layout="mono")
"""A roar at second 12 fits in; reading and cutting it take a quarter of a second."""

ROAR = 12.0
ROAR_SECONDS = 5.0

Sound = Callable[[int, int, int, int], Samples]


def roaring(times: Sequence[float]) -> Sound:
    """A murmur with roars 34 dB louder around `times` (seconds), no two alike."""

    def sound(start: int, count: int, rate: int, track: int = 0) -> Samples:
        at = (start + np.arange(count)) / rate
        gain = np.full(count, 0.02)
        for time in times:
            swell = np.random.default_rng(round(time)).uniform(0.3, 1.0, 24)
            inside = np.abs(at - time) < ROAR_SECONDS / 2
            gain[inside] = np.interp((at[inside] - time) * 4, np.arange(-12, 12), swell)
        return (gain * _noise(rate, track).take(range(start, start + count), mode="wrap")).astype(np.float32)

    return sound


@functools.cache
def _noise(rate: int, track: int) -> Samples:
    """Half a minute of it; the maker's own, which never repeats, takes seconds to make."""
    raw = np.random.default_rng([rate, track]).standard_normal(30 * rate)
    return (0.25 * np.convolve(raw, np.hanning(12) / np.hanning(12).sum(), "same")).astype(np.float32)


def film(path: Path, roars: Sequence[float] = (ROAR,), recipe: Recipe = SMALL, **changes: Any) -> Path:
    """Make a film that roars at these seconds; `changes` are fields of the recipe."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(media_maker, "sound", roaring(roars))
        return make(path, replace(recipe, **changes))


def silent(path: Path, recipe: Recipe = SMALL) -> Path:
    """A film without sound in which nothing moves but for two seconds on both sides of `ROAR`."""
    rng = np.random.default_rng(5)
    blocks = rng.integers(60, 200, (recipe.size[1] // 8, recipe.size[0] // 8), dtype=np.uint8)
    still = blocks.repeat(8, axis=0).repeat(8, axis=1)

    def picture(number: int, size: tuple[int, int], noise: float = 0.0) -> Gray:
        if abs(number / recipe.fps - Fraction(ROAR)) >= 2:
            return still
        shown, (down, right) = still.copy(), rng.integers(0, (size[1] * 3 // 4, size[0] * 7 // 8))
        shown[down : down + size[1] // 4, right : right + size[0] // 8] = 230
        return shown

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(media_maker, "picture", picture)
        return make(path, replace(recipe, audio=None))


# --- long ones -----------------------------------------------------------------------------------------


def hours(path: Path, turns: int, *, heard: float) -> Path:
    """Ten minutes, `turns` times over: a picture every ten seconds, sound for the first `heard` seconds."""
    unit = path.with_name("unit.mkv")
    _ten_minutes(unit, heard)
    with av.open(str(unit)) as source, av.open(str(path), "w") as target:
        streams = {s.index: target.add_stream_from_template(s) for s in source.streams}
        packets = [(p, bytes(p)) for p in source.demux() if p.pts is not None]
        for turn in range(turns):
            for old, data in packets:
                assert old.pts is not None
                packet: Packet[Any] = Packet(data)
                packet.stream, packet.time_base = streams[old.stream_index], old.time_base
                packet.pts = packet.dts = old.pts + round(turn * 600 / old.time_base)
                packet.is_keyframe = old.is_keyframe
                target.mux(packet)
    unit.unlink()
    return path


def _ten_minutes(path: Path, heard: float) -> None:
    with av.open(str(path), "w") as container:
        video = container.add_stream("libx264", rate=1, options={"preset": "ultrafast"})
        video.width, video.height, video.pix_fmt = 64, 36, "yuv420p"
        video.codec_context.max_b_frames = 0
        sound = container.add_stream("flac", rate=8000, layout="mono")
        for second in range(0, 600, 10):
            frame = VideoFrame.from_ndarray(np.full((54, 64), 40 + second % 150, np.uint8), "yuv420p")
            frame.pts, frame.time_base = second, Fraction(1)
            container.mux(video.encode(frame))
            if second < heard:
                container.mux(sound.encode(_ten_seconds(second)))
        container.mux(video.encode(None))
        container.mux(sound.encode(None))


def _ten_seconds(second: int) -> AudioFrame:
    """8 kHz; near silence takes hardly any room in FLAC."""
    at = (second * 8000 + np.arange(80_000)) / 8000
    level = np.where(np.abs(at - 30) < ROAR_SECONDS / 2, 6000, 3)
    noise = np.random.default_rng(second).standard_normal(80_000)
    samples = (level * noise).clip(-32_000, 32_000).astype(np.int16)
    frame = AudioFrame.from_ndarray(samples[None], "s16", "mono")
    frame.sample_rate, frame.pts, frame.time_base = 8000, second * 8000, Fraction(1, 8000)
    return frame


# --- strange ones --------------------------------------------------------------------------------------


def plain(path: Path, size: tuple[int, int], seconds: Sequence[int], codec: str = "libx264") -> Path:
    """Gray pictures of any size at these seconds."""
    with av.open(str(path), "w") as container:
        options = {"preset": "ultrafast"} if codec == "libx264" else {}
        stream = container.add_stream(codec, rate=1, options=options)
        stream.width, stream.height, stream.pix_fmt = *size, "yuvj420p" if codec == "mjpeg" else "yuv420p"
        for second in seconds:
            frame = VideoFrame(*size, stream.pix_fmt)
            for plane in frame.planes:
                plane.update(bytes([100 + second % 2]) * plane.buffer_size)
            frame.pts, frame.time_base = second, Fraction(1)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def many_streams(path: Path, count: int) -> Path:
    """A file of `count` sound tracks."""
    with av.open(str(path), "w") as container:
        streams = [container.add_stream("pcm_s16le", rate=8000, layout="mono") for _ in range(count)]
        for stream in streams:
            frame = AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), "s16", "mono")
            frame.sample_rate, frame.pts = 8000, 0
            container.mux(stream.encode(frame))
    return path


def no_tracks(path: Path) -> Path:
    """An MP4 whose tracks are all blotted out."""
    film(path, seconds=2.0)
    path.write_bytes(path.read_bytes().replace(b"trak", b"free"))
    return path


def damaged(data: bytes, seed: int) -> bytes:
    """A third cut short, a third with flipped bits, a third with a stretch of noise."""
    rng = np.random.default_rng(seed)
    if seed % 3 == 0:
        return data[: int(rng.integers(1, len(data)))]
    raw = np.frombuffer(data, np.uint8).copy()
    if seed % 3 == 1:
        places = rng.integers(0, len(raw), int(rng.integers(1, 200)))
        raw[places] ^= (1 << rng.integers(0, 8, len(places))).astype(np.uint8)
    else:
        length = int(rng.integers(1, len(raw) // 4))
        start = int(rng.integers(0, len(raw) - length))
        raw[start : start + length] = rng.integers(0, 256, length, np.uint8)
    return raw.tobytes()
