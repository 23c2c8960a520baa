"""One demux pass over a source: packets, cheap pictures and sound, as a row of segments.

Decoding is what costs: a 1080p frame takes 5 CPU-ms, so 30 of them a second allow 12x realtime at best.
`Sampling.KEYS` hands only key pictures to the decoder, without its loop filter, two of them at a time
(each stands alone, so libav's frame threads run them in parallel); `Sampling.ALL` decodes everything
other pictures need, groups of H.264 beside each other (`groups.py`), and is chosen where pictures are
small enough for it to be cheap.
"""

from __future__ import annotations

import contextlib
import heapq
import itertools
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from enum import Enum
from typing import TypeVar

import av
import numpy as np
from av.audio.codeccontext import AudioCodecContext
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from av.codec.context import CodecContext
from av.container import InputContainer
from av.error import FFmpegError
from av.stream import Stream
from av.video.stream import VideoStream

from tldr_highlight.errors import MediaError, MediaLimitError, TldrError
from tldr_highlight.media.frames import believable
from tldr_highlight.media.groups import GroupSampler
from tldr_highlight.media.probe import Limits, open_media, packets, shown
from tldr_highlight.media.sampling import (
    HEIGHT,
    QUICK,
    WIDTH,
    AnyPacket,
    Gray,
    Picture,
    PictureSampler,
)
from tldr_highlight.media.timeline import FORWARD, Timeline
from tldr_highlight.media.types import AudioBlock, FloatArray, MediaInfo, Pictures, Segment

SEGMENT_SECONDS = 20.0
LONGEST_SEGMENT = 30.0
CHEAP_PIXELS = 10e6
"""Pixels per second of source that may all be decoded: 854x480 at 24 fps, about 80x realtime on 2 cores."""

LONGEST_GOP = 3.0
"""Seconds up to which key pictures alone show motion (rank correlation .79 at 2 s, .30 at 10 s)."""

SOUND_GAP = 0.05
"""Seconds that sound may be off its place before a new block starts."""

SOUND_OVER = 2.0
"""Seconds that sound may be behind the pictures until what there is of a block need not wait for more."""

LONGEST = Limits().seconds
"""Media seconds after which a source is given up."""


class Sampling(Enum):
    """Which pictures are decoded."""

    NONE = "none"
    KEYS = "keys"
    ALL = "all"


def sampling_for(info: MediaInfo) -> Sampling:
    """All pictures where that is cheap or nothing else tells what happens, else key pictures."""
    if info.video is None:
        return Sampling.NONE
    rate = float(info.video.frame_rate)
    cheap = info.video.width * info.video.height * rate <= CHEAP_PIXELS
    return Sampling.ALL if cheap or info.audio is None else Sampling.KEYS


def keys_show_motion(info: MediaInfo) -> bool:
    """Whether key pictures come often enough to measure motion by them."""
    return info.video is not None and (info.video.gop_seconds or np.inf) <= LONGEST_GOP


@dataclass(slots=True)
class Reader:
    """Iterate over it for the source's segments; afterwards it tells how the reading went.

    The next segment is read in a thread of its own while the caller works on one.
    """

    info: MediaInfo
    sampling: Sampling
    start: float = 0.0  # media seconds to begin at; earlier pictures and sound are left out
    segment_seconds: float = SEGMENT_SECONDS
    end: float = field(default=0.0, init=False)  # media seconds at which the last picture or sound ends
    damaged: int = field(default=0, init=False)  # packets that could not be read or decoded
    jumped: bool = field(default=False, init=False)  # timestamps leapt, see `Timeline`
    _end: float = field(default=0.0, init=False)  # the same three, in the thread that is ahead
    _damaged: int = field(default=0, init=False)
    _jumped: bool = field(default=False, init=False)
    _lost: TldrError | None = field(default=None, init=False)  # why the source cannot be read any more

    def __iter__(self) -> Iterator[Segment]:
        try:
            for segment, so_far in ahead(self._told()):
                self.end, self.damaged, self.jumped = so_far
                yield segment
        finally:
            self.end, self.damaged, self.jumped = self._end, self._damaged, self._jumped

    def _told(self) -> Iterator[tuple[Segment, tuple[float, int, bool]]]:
        """Each segment with how the reading went until then."""
        for segment in self._read():
            yield segment, (self._end, self._damaged, self._jumped)

    def _read(self) -> Iterator[Segment]:
        with contextlib.ExitStack() as opened:
            container = opened.enter_context(open_media(self.info.origin))
            apart = self.info.sound_origin
            heard = opened.enter_context(open_media(apart)) if apart else container
            video = _video_stream(container, self.info, self.sampling)
            pictures = _sampler(video, self.sampling, self.segment_seconds, opened) if video else None
            yield from self._segments(container, heard, video, pictures)

    def _segments(
        self,
        container: InputContainer,
        heard: InputContainer,
        video: VideoStream | None,
        pictures: PictureSampler | GroupSampler | None,
    ) -> Iterator[Segment]:
        audio = _audio_stream(heard, self.info)
        sound = _SoundReader(audio) if audio else None
        held = 2 if isinstance(pictures, GroupSampler) else 1
        segments = _Segmenter(self.segment_seconds, by_key=video is not None, start=self.start, held=held)
        if self.start > 0:
            for each in {container, heard}:
                each.seek(int((self.start + self.info.start_time) * av.time_base), backward=True)
        timeline = Timeline()
        bases = [_tick(s) if s else 0.0 for s in (audio, video)]
        for packet in self._until_lost(_in_order(container, heard, [s for s in (video, audio) if s])):
            stamp = packet.dts if packet.dts is not None else packet.pts
            if stamp is None:
                continue
            seen = packet.stream is video
            base = bases[seen]
            if packet.pts is not None and abs(packet.pts - stamp) * base > FORWARD:
                # no reordering, but nonsense
                self._damaged += 1
                continue
            length = (packet.duration or 0) * base
            shift = timeline.offset(seen, stamp * base - self.info.start_time, length) - self.info.start_time
            at = (packet.pts if packet.pts is not None else stamp) * base + shift
            self._end = max(self._end, at + length)
            self._jumped = timeline.jumped
            self._check_clock()
            self._check_length()
            if pictures and seen:
                if sound:
                    yield from segments.sound(sound.due(at))
                yield from segments.packet(at, packet.size, packet.is_keyframe)
                segments.pictures(pictures.feed(packet, at, shift))
            elif sound:
                if pictures:
                    segments.pictures(pictures.due(at))
                yield from segments.sound(sound.feed(packet, shift))
        if pictures:
            segments.pictures(pictures.finish())
        if sound:
            yield from segments.sound(sound.finish())
        self._damaged += sum(s.damaged for s in (pictures, sound) if s)
        yield from segments.finish(self._end)
        if self._lost:
            raise self._lost

    def _until_lost(self, packets: Iterator[AnyPacket]) -> Iterator[AnyPacket]:
        """Packets until the source is gone: what is read of it is given, and only then the reason."""
        try:
            yield from packets
        except TldrError as error:
            self._lost = error

    def _check_clock(self) -> None:
        """Where each of a pair leaps by itself, nothing tells any more what belongs together."""
        if self._jumped and self.info.sound_origin:
            raise MediaError(
                f"the timestamps of {shown(self.info.origin)} or its sound leap: join the two into one file"
            )

    def _check_length(self) -> None:
        """A few kilobytes of timestamps an hour apart are weeks of curves, whatever the header promised."""
        if self._end > LONGEST:
            raise MediaLimitError(
                f"{shown(self.info.origin)} goes on for more than {LONGEST / 3600:.0f} hours:"
                " its timestamps are wrong, or split it first"
            )


Item = TypeVar("Item")


def ahead(items: Iterator[Item]) -> Iterator[Item]:
    """The same, each but the first made in a thread while its predecessor is worked on."""
    with ThreadPoolExecutor(1) as thread:
        coming = thread.submit(next, items, None)
        while (item := coming.result()) is not None:
            coming = thread.submit(next, items, None)
            yield item


def pictures_between(info: MediaInfo, windows: Iterable[tuple[float, float]]) -> Iterator[Pictures]:
    """The pictures of each window of media time, all decoded, four a second."""
    with open_media(info.origin) as container:
        video = _video_stream(container, info, Sampling.ALL)
        for start, end in windows:
            yield _window(container, video, info, (start, end)) if video else _stack([])


def _window(
    container: InputContainer, video: VideoStream, info: MediaInfo, window: tuple[float, float]
) -> Pictures:
    kept: list[Picture] = []
    container.seek(int((window[0] + info.start_time) * av.time_base), backward=True)
    with contextlib.ExitStack() as opened:
        sampler = _sampler(video, Sampling.ALL, SEGMENT_SECONDS, opened)
        for packet in packets(container, [video]):
            if packet.pts is None:
                continue
            at = packet.pts * _tick(video) - info.start_time
            kept += sampler.feed(packet, at, -info.start_time)
            if packet.is_keyframe and at >= window[1]:
                break
            if at >= window[1] + 1.0:
                break
        kept += sampler.finish()
    video.codec_context.flush_buffers()
    return _stack([(t, g) for t, g in kept if window[0] <= t < window[1]])


def _sampler(
    video: VideoStream, sampling: Sampling, segment_seconds: float, opened: contextlib.ExitStack
) -> PictureSampler | GroupSampler:
    if sampling is Sampling.ALL and video.codec_context.name == "h264":
        return opened.enter_context(GroupSampler(video, segment_seconds))
    return PictureSampler(video.codec_context, _tick(video), keys=sampling is Sampling.KEYS)


def _video_stream(container: InputContainer, info: MediaInfo, sampling: Sampling) -> VideoStream | None:
    if info.video is None or sampling is Sampling.NONE:
        return None
    video = container.streams[info.video.index]
    assert isinstance(video, VideoStream)
    context = video.codec_context
    context.thread_type = "FRAME"
    context.thread_count = 3
    context.options = dict(QUICK)
    if sampling is Sampling.ALL:
        context.skip_frame = "NONREF"
    return video


def _tick(stream: Stream) -> float:
    """Seconds of one tick of the stream's timestamps."""
    return float(stream.time_base or 0)


def _audio_stream(container: InputContainer, info: MediaInfo) -> AudioStream | None:
    if info.audio is None:
        return None
    audio = container.streams[info.audio.index]
    assert isinstance(audio, AudioStream)
    return audio


def _in_order(
    container: InputContainer, heard: InputContainer, streams: Sequence[Stream]
) -> Iterator[AnyPacket]:
    """The packets of all streams; those of a pair of sources, which share a clock, by their times."""
    if heard is container:
        return packets(container, streams)
    apart = [packets(s.container, [s]) for s in streams if isinstance(s.container, InputContainer)]
    return heapq.merge(*apart, key=lambda p: float((p.dts or p.pts or 0) * p.time_base))


MAKE_NOISE = frozenset({"aac", "aac_latm", "ac3", "eac3"})
"""Codecs whose decoders put in noise of their own, which depends on all that they decoded before."""

AFRESH = 10.0
"""Seconds of raw time from one fresh decoder of these to the next."""

WARM_UP = 1.0
"""Seconds of packets that a fresh decoder gets for its start: 20 times what overlaps, and a header of SBR."""


class _SoundDecoder:
    """Packets in, frames out, the same ones, bit for bit, wherever reading began 11 s before or earlier."""

    def __init__(self, stream: AudioStream) -> None:
        self._own = stream.codec_context
        self._makes_noise = self._own.name in MAKE_NOISE
        self._fresh: AudioCodecContext | None = None
        self._turn: int | None = None
        self._recent: deque[tuple[float, AnyPacket]] = deque()

    def decode(self, packet: AnyPacket) -> Sequence[object]:
        """The packet's frames.

        Raises:
            FFmpegError: it is damaged.
        """
        stamp = packet.dts if packet.dts is not None else packet.pts
        if not self._makes_noise or stamp is None:
            return packet.decode()
        at = float(stamp * packet.time_base)
        turn = int(at // AFRESH)
        if self._turn not in {None, turn}:
            self._start_afresh()
        self._turn = turn
        self._recent.append((at, packet))
        while not 0 <= at - self._recent[0][0] <= WARM_UP:
            self._recent.popleft()
        if self._fresh is None:
            return packet.decode()
        return self._fresh.decode(packet)  # pyright: ignore[reportUnknownMemberType]

    def _start_afresh(self) -> None:
        fresh = CodecContext.create(self._own.codec, "r")
        assert isinstance(fresh, AudioCodecContext)
        fresh.extradata = self._own.extradata
        for _, packet in self._recent:
            with contextlib.suppress(FFmpegError):
                fresh.decode(packet)  # pyright: ignore[reportUnknownMemberType]
        self._fresh = fresh


class _SoundReader:
    """Audio packets in, mono blocks of about a second out: numpy costs per call, not per sample.

    A block ends early where the sound has a gap or changes its format.
    """

    def __init__(self, stream: AudioStream) -> None:
        self.damaged = 0  # packets that could not be decoded
        self._decoder = _SoundDecoder(stream)
        self._frames: list[AudioFrame] = []
        self._kind: tuple[int, str, int] | None = None  # of the frames
        self._start: float = -np.inf
        self._end: float = -np.inf
        self._joined: float = -np.inf  # where the last block ended

    def feed(self, packet: AnyPacket, shift: float) -> list[tuple[bool, AudioBlock]]:
        """Blocks that are complete, each with whether it continues the one before."""
        blocks: list[tuple[bool, AudioBlock]] = []
        for frame in self._decoded(packet):
            assert isinstance(frame, AudioFrame)
            if not believable(frame):
                continue
            at = max(self._end, 0.0) if frame.time is None else frame.time + shift
            kind = (frame.sample_rate, frame.format.name, frame.layout.nb_channels)
            if self._frames and (abs(at - self._end) > SOUND_GAP or kind != self._kind):
                blocks += self.finish()
            self._kind = kind
            if not self._frames:
                self._start = self._end = self._joined if abs(at - self._joined) <= SOUND_GAP else at
            self._frames.append(frame)
            self._end += frame.samples / frame.sample_rate
            if self._end - self._start >= 1.0:
                blocks += self.finish()
        return blocks

    def _decoded(self, packet: AnyPacket) -> Sequence[object]:
        try:
            return self._decoder.decode(packet)
        except FFmpegError:
            self.damaged += 1
            return ()

    def due(self, at: float) -> list[tuple[bool, AudioBlock]]:
        """What is left, where pictures have come to `at` and no more sound has."""
        return self.finish() if at - self._end > SOUND_OVER else []

    def finish(self) -> list[tuple[bool, AudioBlock]]:
        """What is left."""
        if not self._frames:
            return []
        block = AudioBlock(self._start, self._frames[0].sample_rate, _mono(self._frames))
        follows = self._start == self._joined
        self._joined = self._end
        self._frames = []
        return [(follows, block)]


_SAMPLES = {"u8": "u1", "s16": "i2", "s32": "i4", "s64": "i8", "flt": "f4", "dbl": "f8"}


def _mono(frames: Sequence[AudioFrame]) -> FloatArray:
    """Channels averaged to float32 in -1..1; damaged float samples (NaN, inf) become silence."""
    kind = np.dtype(_SAMPLES[frames[0].format.name.removesuffix("p")])
    channels = frames[0].layout.nb_channels
    planar = frames[0].format.is_planar
    mono = np.zeros(sum(f.samples for f in frames), np.float32)
    for plane in range(channels if planar else 1):
        size = 1 if planar else channels
        parts = [np.frombuffer(memoryview(f.planes[plane]), kind, f.samples * size) for f in frames]
        samples = np.concatenate(parts).astype(np.float32)
        mono += samples if planar else samples.reshape(-1, channels).sum(axis=1)
    mono /= channels
    if kind.kind == "f":
        return np.clip(np.nan_to_num(mono, posinf=0.0, neginf=0.0), -1.5, 1.5)
    return (mono - 128) / 128 if kind.kind == "u" else mono / np.float32(-float(np.iinfo(kind).min))


class _Segmenter:
    """Collects what was read until a border is due.

    Pictures leave a threaded decoder a few packets late, groups of them up to `GroupSampler.LATE` segments:
    the last `held` of closed segments are held back.
    """

    def __init__(self, seconds: float, *, by_key: bool, start: float, held: int) -> None:
        self._seconds = seconds
        self._by_key = by_key
        self._held = held
        self._index = itertools.count()
        self._start = start
        self._origin = start
        self._open = _Draft(start)
        self._closed: list[_Draft] = []

    def packet(self, at: float, size: int, key: bool) -> Iterator[Segment]:
        """A video packet."""
        age = at - self._open.start
        if (key and age >= self._seconds) or age >= LONGEST_SEGMENT:
            yield from self._close(at)
        self._open.packets.append((at, size))
        if key:
            self._open.keys.append(at)

    def sound(self, blocks: list[tuple[bool, AudioBlock]]) -> Iterator[Segment]:
        """Sound; borders follow it where there is no picture, or none for long."""
        for follows, block in blocks:
            limit = LONGEST_SEGMENT if self._by_key else self._seconds
            if block.start - self._open.start >= limit:
                yield from self._close(block.start)
            if block.start + len(block.samples) / block.rate > self._origin:
                self._open.add(block, follows=follows)

    def pictures(self, pictures: list[Picture]) -> None:
        for at, gray in pictures:
            if at >= self._origin:
                self._draft_at(at).pictures.append((at, gray))

    def finish(self, end: float) -> Iterator[Segment]:
        self._open.end = max(end, self._open.start)
        for draft in [*self._closed, self._open]:
            if not draft.empty:
                yield draft.build(next(self._index))

    def _close(self, at: float) -> Iterator[Segment]:
        self._open.end = at
        self._closed.append(self._open)
        self._open = _Draft(at)
        if len(self._closed) > self._held:
            yield self._closed.pop(0).build(next(self._index))

    def _draft_at(self, at: float) -> _Draft:
        return next((d for d in self._closed if at < d.end), self._open)


@dataclass(slots=True)
class _Draft:
    start: float
    end: float = np.inf
    packets: list[tuple[float, int]] = field(default_factory=list[tuple[float, int]])
    keys: list[float] = field(default_factory=list[float])
    pictures: list[Picture] = field(default_factory=list[Picture])
    blocks: list[list[AudioBlock]] = field(default_factory=list[list[AudioBlock]])

    @property
    def empty(self) -> bool:
        return not (self.packets or self.pictures or self.blocks)

    def add(self, block: AudioBlock, *, follows: bool) -> None:
        if follows and self.blocks and self.blocks[-1][0].rate == block.rate:
            self.blocks[-1].append(block)
        else:
            self.blocks.append([block])

    def build(self, index: int) -> Segment:
        times, sizes = zip(*self.packets, strict=True) if self.packets else ((), ())
        return Segment(
            index=index,
            start=self.start,
            end=self.end,
            audio=tuple(
                AudioBlock(run[0].start, run[0].rate, np.concatenate([b.samples for b in run]))
                for run in self.blocks
            ),
            pictures=_stack(sorted(self.pictures, key=lambda p: p[0])),
            packet_times=np.array(times, dtype=np.float64),
            packet_sizes=np.array(sizes, dtype=np.float64),
            key_times=np.array(self.keys, dtype=np.float64),
        )


def _stack(pictures: Sequence[tuple[float, Gray]]) -> Pictures:
    gray = np.stack([g for _, g in pictures]) if pictures else np.empty((0, HEIGHT, WIDTH), np.uint8)
    return Pictures(np.array([t for t, _ in pictures], dtype=np.float64), gray)
