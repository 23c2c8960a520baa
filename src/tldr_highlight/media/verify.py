"""Reading a finished clip again: one that was not verified is not delivered.

All packets are looked at, which costs milliseconds. What was copied must be the source's bytes; of what was
encoded, the pictures around the joints are decoded and compared with the source's.
"""

from __future__ import annotations

import bisect
import math
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import cast

import numpy as np
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.error import FFmpegError
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from tldr_highlight.errors import CutError, MediaError
from tldr_highlight.media.probe import AnyPacket, decoded, open_media, orientation
from tldr_highlight.media.samples import Block
from tldr_highlight.media.sync import lag

WARMING = 3 * 1024
"""Samples decoded before those that are compared: a packet of AAC needs the one before."""

FIRST_PICTURES = 12
"""Pictures decoded at the beginning."""

BESIDE_JOINT = 2
"""Pictures decoded at the beginning of a head and behind its joint, to show that the parts fit. The others
are the bytes that encoder and source gave, as their checksums tell."""

LEAST_LIKENESS = 30.0
"""dB below which an encoded picture is another one; neighbours differ by 20 to 30, encoding by 40 to 50."""

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
    heard: Mapping[int, Block] = field(default_factory=dict[int, Block])  # sample -> what is heard from there
    copied: Mapping[int, int] = field(default_factory=dict[int, int])  # pts -> CRC-32 of a copied packet
    encoded: Mapping[int, int] = field(default_factory=dict[int, int])  # the same of an edge's packets
    copied_sound: Sequence[int] = ()  # CRC-32 of every packet of sound, where that was copied
    shown: Mapping[int, VideoFrame] = field(default_factory=dict[int, VideoFrame])  # pts -> source's picture
    turned: tuple[int, bool] = (0, False)  # how players must turn and flip it, see `VideoInfo`
    warnings: tuple[str, ...] = ()  # what is as it was to be, and still not as asked for


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


def picture_size(path: Path) -> tuple[int, int]:
    """Width and height of a clip's pictures, before a player turns them; zeros where it has none."""
    with open_media(path) as container:
        video = next(iter(container.streams.video), None)
        return (video.width, video.height) if video else (0, 0)


@dataclass(slots=True)
class _Seen:
    """What reading the clip showed."""

    pts: list[int] = field(default_factory=list[int])
    sums: list[int] = field(default_factory=list[int])  # CRC-32 of pictures' packets
    gop: list[AnyPacket] = field(default_factory=list["AnyPacket"])  # the last one
    compared: set[int] = field(default_factory=set[int])
    decoded: int = 0
    sound_sums: list[int] = field(default_factory=list[int])
    heard: dict[int, list[Block]] = field(default_factory=dict[int, "list[Block]"])  # window -> blocks
    listened: int = 0  # sample up to which sound was decoded
    sound_start: Fraction | None = None  # seconds
    sound_end: Fraction = Fraction(0)


def _verified(container: InputContainer, expected: Expected) -> float:
    video = next(iter(container.streams.video), None)
    audio = next(iter(container.streams.audio), None)
    _need(bool(video) == bool(expected.pts), "its video track is missing or not wanted")
    _need(bool(audio) == bool(expected.rate), "its audio track is missing or not wanted")
    if video:
        video.codec_context.thread_type = "AUTO"
    seen = _look(container, video, audio, expected)
    if video:
        _check_pictures(video, seen, expected)
    late = _check_sound(seen, expected) if audio else 0
    length = float(expected.end * expected.tick)
    slack = max(length / max(1, len(expected.pts)), AAC_FRAME / (expected.rate or 48000)) + 0.001
    told = (container.duration or 0) / 1_000_000
    _need(abs(told - length) <= slack, f"it says to last {told:.3f} s instead of {length:.3f} s")
    return late / (expected.rate or 1)


def _need(fulfilled: bool, complaint: str) -> None:
    if not fulfilled:
        raise CutError(f"the finished clip is not right: {complaint}")


def _look(
    container: InputContainer, video: VideoStream | None, audio: AudioStream | None, expected: Expected
) -> _Seen:
    seen = _Seen()
    first = BESIDE_JOINT if expected.copied else FIRST_PICTURES
    border = _head(expected)
    for packet in container.demux(*[s for s in (video, audio) if s]):
        if packet.pts is None or not packet.size:
            continue
        if video and packet.stream_index == video.index:
            seen.pts.append(packet.pts)
            if expected.copied:
                seen.sums.append(zlib.crc32(packet))
            if packet.is_keyframe:
                seen.gop.clear()
            seen.gop.append(packet)
            if len(seen.pts) <= first or 0 < len(seen.pts) - border <= BESIDE_JOINT:
                _see(seen, video, packet, expected)
        elif audio:
            _hear(seen, audio, packet, expected)
            if expected.copied_sound:
                seen.sound_sums.append(zlib.crc32(packet))
    return seen


def _head(expected: Expected) -> int:
    """Pictures before the first copied one that is shown: encoded ones, or what an edit list hides."""
    border = min((pts for pts in expected.copied if pts >= 0), default=0)
    return bisect.bisect_left(expected.pts, border)


def _see(seen: _Seen, video: VideoStream, packet: AnyPacket | None, expected: Expected) -> None:
    """Decode a packet, or what is left, and compare what comes out with the source where that is kept."""
    for frame in decoded(video, packet):
        assert frame.pts is not None
        assert video.time_base
        seen.decoded += 1
        _need(not frame.is_corrupt, "pictures in it are damaged")
        if seen.decoded == 1:  # whoever looks at side data keeps a picture until the garbage is collected
            _need(orientation(frame) == expected.turned, "it is not shown upright")
        pts = round(frame.pts * video.time_base / expected.tick)
        if pts in expected.shown and pts not in seen.compared:
            seen.compared.add(pts)
            likeness = _likeness(frame, expected.shown[pts])
            least = math.inf if pts in expected.copied else LEAST_LIKENESS
            _need(likeness >= least, f"its picture at {float(pts * expected.tick):.3f} s is not the source's")


def _likeness(a: VideoFrame, b: VideoFrame) -> float:
    """Peak signal-to-noise ratio in dB, infinite where nothing differs."""
    if (a.width, a.height, a.format.name) != (b.width, b.height, b.format.name):
        return 0.0
    difference = a.to_ndarray().astype(np.int16) - b.to_ndarray()
    error = float(np.square(difference, dtype=np.int32).mean())
    return 10 * math.log10(255**2 / error) if error else math.inf


def _hear(seen: _Seen, audio: AudioStream, packet: AnyPacket, expected: Expected) -> None:
    """Decode sound where it is compared; note where it starts, and where it ends by its last packet."""
    assert packet.pts is not None
    begin, end = (round(t * packet.time_base * expected.rate) for t in (packet.pts, packet.pts + AAC_FRAME))
    window = next((at for at, block in expected.heard.items()
                   if at - WARMING < end and begin < at + block.shape[1]), None)  # fmt: skip
    if window is not None or seen.sound_start is None:
        if begin > seen.listened:
            audio.codec_context.flush_buffers()
        seen.listened = end
        for frame in audio.codec_context.decode(packet):  # pyright: ignore[reportUnknownMemberType]
            at = (frame.pts or 0) * packet.time_base
            if seen.sound_start is None:
                seen.sound_start = at
            for key, block in expected.heard.items():
                skipped = key - round(at * expected.rate)
                if -block.shape[1] < skipped < frame.samples:
                    sound = cast("Block", frame.to_ndarray())
                    seen.heard.setdefault(key, []).append(sound[:, max(0, skipped) :])
    seen.sound_end = (packet.pts + (packet.duration or 0)) * packet.time_base


def _check_pictures(video: VideoStream, seen: _Seen, expected: Expected) -> None:
    assert video.time_base
    scale = video.time_base / expected.tick  # whole numbers from here on: a Fraction costs 5 us a picture
    ticks = [_nearest(pts * scale.numerator, scale.denominator) for pts in seen.pts]
    _need(len(ticks) == len(expected.pts), f"{len(ticks)} pictures instead of {len(expected.pts)}")
    pairs = zip(sorted(ticks), expected.pts, strict=True)
    wrong = next((i for i, (ours, theirs) in enumerate(pairs) if ours != theirs), None)
    _need(wrong is None, f"picture {wrong} is not at its time")
    _need(0 in ticks, "its first picture is not at 0")
    given = {**expected.copied, **expected.encoded}
    for pts, total in zip(ticks, seen.sums, strict=bool(expected.copied)):
        _need(
            given.get(pts, total) == total,
            f"its picture at {float(pts * expected.tick):.3f} s changed",
        )
    _see(seen, video, None, expected)
    _need(seen.decoded > 0, "its first picture cannot be decoded")
    last = round((seen.gop[0].pts or 0) * video.time_base / expected.tick)
    if last not in expected.copied:
        video.codec_context.flush_buffers()
        seen.decoded = 0
        for packet in [*seen.gop, None]:
            _see(seen, video, packet, expected)
        _need(seen.decoded == len(seen.gop), "its last pictures cannot be decoded")
    _need(seen.compared == set(expected.shown), "a picture beside a joint cannot be decoded")


def _nearest(numerator: int, denominator: int) -> int:
    """The nearest whole number."""
    return (2 * numerator + denominator) // (2 * denominator)


def _check_sound(seen: _Seen, expected: Expected) -> int:
    """Samples by which the sound is late."""
    one = Fraction(1, expected.rate)
    start = seen.sound_start
    _need(start is not None and abs(start) < one, f"its sound starts {float(start or 0):.4f} s late")
    off = seen.sound_end - expected.samples * one
    _need(abs(off) < AAC_FRAME * one, f"its sound ends {float(off):+.3f} s off")
    if expected.copied_sound:
        _need(seen.sound_sums == list(expected.copied_sound), "its sound changed")
    ours = {at: np.concatenate(blocks, axis=1) for at, blocks in seen.heard.items()}
    late = lag(ours, expected.heard)
    _need(abs(late) <= 1, f"its sound is {late} samples late")
    return late
