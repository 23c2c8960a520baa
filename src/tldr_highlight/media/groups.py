"""The pictures of H.264, its groups of pictures decoded beside each other.

A picture waits for those it refers to, so frame threads cannot share the work of one group: three of them
kept 1.05 of two cores busy, six 1.47, and cost a twentieth more CPU. Behind an IDR picture
nothing refers to what was before it, so each group that begins with one gets a decoder of one thread.
"""

from __future__ import annotations

import os
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
from av.codec.context import CodecContext
from av.video.codeccontext import VideoCodecContext
from av.video.stream import VideoStream

from tldr_highlight.media.h264 import IDR, NotH264Error, ParameterSets, kind, units
from tldr_highlight.media.sampling import DENSE_SPACING, QUICK, AnyPacket, Picture, PictureSampler, too_soon

GROUP_SECONDS = 1.5
"""Shortest group: 2 s cost as much CPU as 4 s, a decoder for each of 30 IDR pictures a second would not."""

PART_SECONDS, PART_BYTES = 12.0, 24_000_000
"""Of longer groups, parts are handed on: GOPs of 10 s stay whole, and memory does not grow with a GOP."""

MOST_DECODERS = 4
DECODER_BYTES = 256_000_000
"""Limits of what is decoded at a time; a decoder holds about ten pictures, 3 MB each of 1080p, 12 of 4K."""


def decoders(pixels: int) -> int:
    """How many groups of pictures of that size are decoded at a time."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(cores, MOST_DECODERS, int(DECODER_BYTES / (15 * pixels))))


class GroupSampler:
    """Does what `PictureSampler` does, with the same pictures; they come out in order, but later.

    A picture has come out when packets `LATE` segments behind it are fed.
    """

    LATE = 1.9

    def __init__(self, stream: VideoStream, segment_seconds: float) -> None:
        self.damaged = 0  # packets that could not be decoded
        self._stream = stream
        self._header = stream.codec_context.extradata
        self._late = self.LATE * segment_seconds
        self._longest = min(PART_SECONDS, 0.6 * segment_seconds)
        self._workers = decoders(stream.width * stream.height)
        self._pool = ThreadPoolExecutor(self._workers)
        self._group: _Group | None = None
        self._handed: deque[tuple[float, Future[_Decoded]]] = deque()  # starts of parts and their pictures
        self._out: list[Picture] = []

    def feed(self, packet: AnyPacket, at: float, shift: float) -> list[Picture]:
        """The pictures that have come out by now; `packet` is of media time `at`, raw time plus `shift`."""
        if packet.has_sidedata("new_extradata"):
            self._header = bytes(packet.get_sidedata("new_extradata"))
        group = self._group
        if group is None or group.ends_before(packet, at):
            group = self._group = self._next_group(at)
        group.add(packet, at, shift)
        return self.due(at)

    def due(self, at: float) -> list[Picture]:
        """The pictures that have come out by media time `at`, at which something else was read."""
        if self._group and self._group.part.full(at, self._longest):
            self._hand_on(self._group, final=False)
        self._collect(at - self._late)
        out, self._out = self._out, []
        return out

    def finish(self) -> list[Picture]:
        """What is left."""
        if self._group:
            self._hand_on(self._group, final=True)
        self._group = None
        self._collect(np.inf)
        return self._out

    def __enter__(self) -> GroupSampler:
        return self

    def __exit__(self, *_: object) -> None:
        """Give up what is not decoded yet."""
        self._pool.shutdown(cancel_futures=True)

    def _next_group(self, at: float) -> _Group:
        """It goes on with the spacing of pictures where the one before will have ended."""
        last = -np.inf
        if self._group:
            last = self._group.last_kept()
            self._group.part.end_behind(last)
            self._hand_on(self._group, final=True)
        base = float(self._stream.time_base or 0)
        sampler = PictureSampler(self._decoder(), base, keys=False, last=last)
        return _Group(at, sampler, last, _length_size(self._header))

    def _decoder(self) -> VideoCodecContext:
        context = CodecContext.create("h264", "r")
        context.extradata = self._header
        context.reorder_depth = self._stream.codec_context.reorder_depth
        context.thread_count = 1
        context.skip_frame = "NONREF"
        context.options = dict(QUICK)
        return context

    def _hand_on(self, group: _Group, *, final: bool) -> None:
        part = group.part
        group.before = self._pool.submit(group.decode, part, group.before, final=final)
        self._handed.append((part.start, group.before))
        group.part = _Part()
        while len(self._handed) > self._workers + 1:  # one more than are worked on, to go on with at once
            self._take()

    def _collect(self, until: float) -> None:
        """Take in what is ready, and wait for what began before `until`."""
        while self._handed and (self._handed[0][1].done() or self._handed[0][0] < until):
            self._take()

    def _take(self) -> None:
        pictures, damaged = self._handed.popleft()[1].result()
        self._out += pictures
        self.damaged += damaged


_Decoded: TypeAlias = tuple[list[Picture], int]
"""Pictures, and how many packets of a group were damaged, told with its last part."""


@dataclass(slots=True)
class _Part:
    """Packets on their way to the decoder of their group."""

    packets: list[tuple[AnyPacket, float, float]] = field(
        default_factory=list[tuple[AnyPacket, float, float]]
    )
    start: float = -np.inf  # media seconds of the first one
    size: int = 0  # bytes

    def full(self, at: float, seconds: float) -> bool:
        """Whether it should be handed on at `at`, when it holds as many bytes or `seconds` as are allowed."""
        return bool(self.packets) and (self.size >= PART_BYTES or at - self.start >= seconds)

    def end_behind(self, last: float) -> None:
        """Leave out what comes after the last picture that is kept: 7 % of the work where groups last 2 s.

        One packet more stays, which may be the second field of that picture.
        """
        times = [at for _, at, _ in self.packets]
        if last in times:
            del self.packets[times.index(last) + 2 :]


@dataclass(slots=True)
class _Group:
    """What lies between two IDR pictures, and its decoder."""

    start: float
    sampler: PictureSampler
    last: float  # when the last picture before the group is kept
    length_size: int | None  # bytes before each unit, None: nobody can tell
    times: list[float] = field(default_factory=list[float])  # of pictures that others refer to
    part: _Part = field(default_factory=_Part)
    before: Future[_Decoded] | None = None  # the part handed on last

    def ends_before(self, packet: AnyPacket, at: float) -> bool:
        """Whether `packet` is an IDR picture, and not too soon."""
        if not packet.is_keyframe or too_soon(at, self.start, GROUP_SECONDS):
            return False
        return any(kind(unit) == IDR for unit in self._slices(packet))

    def add(self, packet: AnyPacket, at: float, shift: float) -> None:
        if not self.part.packets:
            self.part.start = at
        self.part.packets.append((packet, at, shift))
        self.part.size += packet.size
        if packet.pts is not None and any(unit[0] & REFERRED_TO for unit in self._slices(packet)):
            self.times.append(at)

    def last_kept(self) -> float:
        """When the sampler will have kept its last picture: known before anything is decoded."""
        last = self.last
        for at in sorted(self.times):
            if not too_soon(at, last, DENSE_SPACING):
                last = at
        return last

    def decode(self, part: _Part, before: Future[_Decoded] | None, *, final: bool) -> _Decoded:
        """The pictures of a part, in a thread of the pool, once the part before it is done."""
        if before:
            wait([before])
        pictures = [p for packet in part.packets for p in self.sampler.feed(*packet)]
        if final:
            pictures += self.sampler.finish()
        return pictures, self.sampler.damaged if final else 0

    def _slices(self, packet: AnyPacket) -> list[memoryview]:
        """The units of a packet that hold a picture, none where it is damaged."""
        if self.length_size is None:
            return []
        try:
            return [unit for unit in units(memoryview(packet), self.length_size) if 1 <= kind(unit) <= IDR]
        except NotH264Error:
            return []


REFERRED_TO = 0x60
"""Bits of a unit's first byte, nal_ref_idc: all zero where no other picture refers to this one."""


def _length_size(header: bytes | None) -> int | None:
    try:
        return ParameterSets.of(header).length_size
    except NotH264Error:
        return None
