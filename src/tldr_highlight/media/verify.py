"""Reading a finished clip again: one that was not verified is not delivered.

All packets are looked at, which costs milliseconds; only the first pictures and the last GOP are decoded.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

from av.audio.stream import AudioStream
from av.container import InputContainer
from av.error import FFmpegError
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from tldr_highlight.errors import CutError, MediaError
from tldr_highlight.media.probe import AnyPacket, decoded, open_media

FIRST_PICTURES = 12
"""Pictures decoded at the beginning."""

AAC_FRAME = 1024
"""Samples; what a player may add at the end of a clip."""


@dataclass(frozen=True, slots=True)
class Expected:
    """What a clip must be."""

    tick: Fraction  # seconds
    pts: Sequence[int]  # ticks of every picture, in order; none in a clip of sound only
    end: int  # ticks at which the last picture or sound ends
    rate: int  # Hz; 0 without sound
    samples: int


def verify(path: Path, expected: Expected) -> float:
    """Check a clip; return how much later its sound starts than its picture, in seconds.

    Raises:
        CutError: it is not what was asked for, with the first difference found.
    """
    try:
        with open_media(path) as container:
            return _verified(container, expected)
    except (FFmpegError, MediaError) as error:
        raise CutError(f"the finished clip cannot be read again: {error}") from error


@dataclass(slots=True)
class _Seen:
    """What demuxing the clip showed."""

    pts: list[int] = field(default_factory=list[int])
    first: list[VideoFrame] = field(default_factory=list[VideoFrame])
    gop: list[AnyPacket] = field(default_factory=list["AnyPacket"])  # the last one
    sound_start: Fraction | None = None  # seconds
    sound_end: Fraction = Fraction(0)


def _verified(container: InputContainer, expected: Expected) -> float:
    video = next(iter(container.streams.video), None)
    audio = next(iter(container.streams.audio), None)
    _need(bool(video) == bool(expected.pts), "its video track is missing or not wanted")
    _need(bool(audio) == bool(expected.rate), "its audio track is missing or not wanted")
    seen = _look(container, video, audio)
    if video:
        _check_pictures(video, seen, expected)
    if audio:
        _check_sound(seen, expected)
    length = float(expected.end * expected.tick)
    slack = max(length / max(1, len(expected.pts)), AAC_FRAME / (expected.rate or 48000)) + 0.001
    told = (container.duration or 0) / 1_000_000
    _need(abs(told - length) <= slack, f"it says to last {told:.3f} s instead of {length:.3f} s")
    return float(seen.sound_start or 0)


def _need(fulfilled: bool, complaint: str) -> None:
    if not fulfilled:
        raise CutError(f"the finished clip is not right: {complaint}")


def _look(container: InputContainer, video: VideoStream | None, audio: AudioStream | None) -> _Seen:
    seen = _Seen()
    for packet in container.demux(*[s for s in (video, audio) if s]):
        if packet.pts is None or not packet.size:
            continue
        if video and packet.stream_index == video.index:
            seen.pts.append(packet.pts)
            if packet.is_keyframe:
                seen.gop.clear()
            seen.gop.append(packet)
            if len(seen.pts) <= FIRST_PICTURES:
                seen.first += decoded(video, packet)
        elif audio:
            _hear(seen, audio, packet)
    return seen


def _hear(seen: _Seen, audio: AudioStream, packet: AnyPacket) -> None:
    """Note where sound starts, by decoding it, and where it ends, by its last packet."""
    assert packet.pts is not None
    if seen.sound_start is None:
        frames = audio.codec_context.decode(packet)  # pyright: ignore[reportUnknownMemberType]
        if frames and frames[0].samples:
            seen.sound_start = (frames[0].pts or 0) * packet.time_base
    seen.sound_end = (packet.pts + (packet.duration or 0)) * packet.time_base


def _check_pictures(video: VideoStream, seen: _Seen, expected: Expected) -> None:
    assert video.time_base
    times = [pts * video.time_base for pts in sorted(seen.pts)]
    _need(len(times) == len(expected.pts), f"{len(times)} pictures instead of {len(expected.pts)}")
    pairs = zip(times, expected.pts, strict=True)
    wrong = next((i for i, (time, pts) in enumerate(pairs) if time != pts * expected.tick), None)
    _need(wrong is None, f"picture {wrong} is not at its time")
    _need(times[0] == 0, "its first picture is not at 0")
    seen.first += decoded(video, None)
    _need(bool(seen.first) and seen.first[0].pts == 0, "its first picture cannot be decoded")
    video.codec_context.flush_buffers()
    last = [f for packet in [*seen.gop, None] for f in decoded(video, packet)]
    _need(len(last) == len(seen.gop), "its last pictures cannot be decoded")
    _need(not any(f.is_corrupt for f in [*seen.first, *last]), "pictures in it are damaged")


def _check_sound(seen: _Seen, expected: Expected) -> None:
    one = Fraction(1, expected.rate)
    start = seen.sound_start
    _need(start is not None and abs(start) < one, f"its sound starts {float(start or 0):.4f} s late")
    off = seen.sound_end - expected.samples * one
    _need(abs(off) < AAC_FRAME * one, f"its sound ends {float(off):+.3f} s off")
