"""Decoded pictures and sound of a source from any media time on.

Pictures and sound are read through a container each, so that badly interleaved files cost no memory and
neither waits for the other. Both step back until what they deliver begins at or before the time asked
for: demuxers land where they can, and decoders need a start.
"""

from __future__ import annotations

import itertools
import math
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar, cast

import av
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.error import FFmpegError
from av.stream import Stream
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from tldr_highlight.errors import SourceChangedError
from tldr_highlight.media.probe import MOST_PIXELS, AnyPacket, decoded, open_media, packets, use_only
from tldr_highlight.media.remote import Opened
from tldr_highlight.media.timeline import FORWARD, Timeline
from tldr_highlight.media.types import MediaInfo, Origin, shown

PREROLL = 0.3
"""Seconds of sound decoded before it is used: overlap, bit reservoirs (MP3: 0.24 s), Opus' 80 ms."""

STEPS_BACK = (0.0, 0.5, 2.0, 8.0, 30.0, 120.0, 600.0)
"""Seconds tried before the wanted time until a landing is early enough; after them the file's beginning."""

NEAR = 1.0
"""Seconds before the wanted time from which every picture is decoded, not only those others need."""

MOST_SLACK = 0.001
"""Seconds; some containers' ticks are whole pictures."""

FINE_ENOUGH = 2.0
"""Samples of one tick up to which a timebase is trusted with the places of samples."""

MOST_REORDERED = 16
"""Pictures that H.264 and HEVC reorder at most."""

INTERLEAVED = 1 << 20
"""Bytes that pictures and sound of one time may lie apart and still be read as one."""

UNHURRIED = {"libdav1d"}
"""Decoders that look at `skip_frame` once, as they begin, and then leave the same pictures out for ever."""

MOST_THREADS = 8
"""Decoding threads; each holds pictures, and of 8K ones 50 MB each."""


@dataclass(frozen=True, slots=True)
class Picture:
    """One decoded picture."""

    at: float  # media seconds
    ticks: int  # the same instant in the stream's timebase, from an origin all pictures share
    duration: int  # ticks; 0 when unknown
    tick: float  # seconds
    frame: VideoFrame

    def before(self, time: float) -> bool:
        """Whether it begins before `time`, which may be off by the container's rounding."""
        return self.at < time - slack(self.tick)


def slack(tick: float) -> float:
    """Seconds by which a given time and a picture's own may differ and still be meant as the same."""
    return min(tick / 2, MOST_SLACK)


@dataclass(frozen=True, slots=True)
class Sound:
    """One block of decoded samples."""

    at: float  # media seconds of the first sample
    frame: AudioFrame


@dataclass(frozen=True, slots=True)
class Placed:
    """A packet with its media time and what turns its stream's seconds into that."""

    packet: AnyPacket
    at: float  # media seconds of its presentation
    shift: float
    length: float  # seconds

    @property
    def end(self) -> float:
        """When it ends, in media seconds."""
        return self.at + self.length


Timed = TypeVar("Timed", Picture, Sound, Placed)


@dataclass(frozen=True, slots=True)
class _Grid:
    """Where blocks of sound truly begin, in containers that round times to milliseconds.

    The first block of a file tells; as long as nothing is missing, all others follow at equal distances.
    """

    origin: float  # media seconds
    step: float  # seconds of one block
    reach: float  # seconds that rounding may move a block

    def true(self, at: float, length: float) -> float:
        """The time of a block of `length` seconds whose rounded time is `at`.

        Its end counts, for blocks after a seek are shortened at their beginning.
        """
        end = at + length
        nearest = self.origin + round((end - self.origin) / self.step) * self.step
        return nearest - length if abs(nearest - end) <= self.reach else at


class Source:
    """A source opened for reading stretches of it; use it as a context manager.

    Every method reads anew from the time it is given, so only one iterator of a kind may be in use.
    `jumped` says that the timestamps leap: then everything is read from the beginning, through a
    `Timeline`, as the reader did that found the times.
    """

    def __init__(self, info: MediaInfo, *, jumped: bool = False, most_threads: int = MOST_THREADS) -> None:
        self.info = info
        self._threads = min(os.cpu_count() or 1, most_threads)
        self.jumped = jumped
        self._video: Stream | None = None
        self._audio: Stream | None = None
        self._grid: _Grid | None = None
        self._identities = [_identity(path) for path in self.files]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the source; whatever is read next opens it again."""
        for stream in (self._video, self._audio):
            if stream:
                stream.container.close()
        self._video = self._audio = None

    def check_unchanged(self) -> None:
        """Make sure that the local files are still what they were; servers' are checked as they are read.

        Raises:
            SourceChangedError: one was written to, or another took its name.
        """
        for path, before in zip(self.files, self._identities, strict=True):
            if _identity(path) != before:
                raise SourceChangedError(
                    f"{shown(path)} changed while it was read: cut it when it is finished"
                )

    def expect(self, start: float, end: float) -> None:
        """Say that this range is read next, so that what comes from a server is on its way early.

        Of MP4 only, whose index says where everything lies.
        """
        if self.jumped:
            return
        start, end = start + self.info.start_time, end + self.info.start_time
        seen = heard = None
        if self.info.video and isinstance(self.info.origin, Opened):
            seen = _place(self._video_stream(), start, end)
        if self.info.audio and isinstance(self._sound_origin, Opened):
            heard = _place(self._audio_stream(), start - PREROLL, end)
        if seen and heard and not self.info.sound_origin:
            seen, heard = _together(seen, heard)
        wanted: dict[Origin, list[tuple[int, int]]] = {self.info.origin: [], self._sound_origin: []}
        if seen:
            wanted[self.info.origin] += [(seen.begin, seen.key), (seen.key, seen.end)]
        if heard:
            wanted[self._sound_origin].append((heard.begin, heard.end))
        for origin, stretches in wanted.items():
            if isinstance(origin, Opened) and stretches:
                origin.medium.expect(*stretches)

    @property
    def files(self) -> list[Path]:
        """The local files that are read."""
        return [o for o in (self.info.origin, self.info.sound_origin) if isinstance(o, Path)]

    def pictures(self, start: float, near: float = NEAR) -> Iterator[Picture]:
        """Pictures in order, beginning with one shown at or before `start` where there is one.

        More than `near` seconds before `start` only those come that others need. Damaged packets are left
        out; what can be decoded goes on behind them.

        Raises:
            TldrError: the source cannot be opened any more.
        """
        start += slack(float(self.picture_tick))
        if self.jumped:
            return self._pictures_linear(start, near)
        return _landing(start, lambda back: self._pictures_from(start, back, near))

    def sounds(self, start: float) -> Iterator[Sound]:
        """Sound in order, beginning with a block at or before `start` where there is one."""
        early = start - PREROLL
        if self.jumped:
            return self._sounds_from(early, None)
        return _landing(early, lambda back: self._sounds_from(early, back))

    def picture_packets(self, start: float) -> Iterator[Placed]:
        """Packets of pictures as they lie in the source, from a key picture shown at or before `start`.

        Not where the timestamps leap.
        """
        start += slack(float(self.picture_tick))
        return _landing(start, lambda back: self._picture_packets_from(start, back))

    def sound_packets(self, start: float) -> Iterator[Placed]:
        """Packets of sound as they lie in the source, beginning at or before `start` where there is one.

        Their `at` is exact to the sample. Not where the timestamps leap.
        """
        return _landing(start, lambda back: self._sound_packets_from(start, back))

    @property
    def video(self) -> VideoStream:
        """The stream of pictures."""
        return self._video_stream()

    @property
    def audio(self) -> AudioStream:
        """The stream of sound."""
        return self._audio_stream()

    @property
    def picture_tick(self) -> Fraction:
        """Seconds of one tick of the pictures' timebase."""
        return self._video_stream().time_base or Fraction(1, av.time_base)

    def _pictures_from(self, start: float, back: float | None, near: float) -> Iterator[Picture]:
        """Pictures from the key picture found `back` seconds before `start`, or from the beginning."""
        stream = self._video_stream(fresh=back is None)
        if back is not None and not _sought(stream, start - back + self.info.start_time):
            return iter(())
        return _decode_pictures(stream, self._placed(stream), start - near, from_key=back is not None)

    def _picture_packets_from(self, start: float, back: float | None) -> Iterator[Placed]:
        stream = self._video_stream(fresh=back is None)
        if back is not None and not _sought(stream, start - back + self.info.start_time):
            return iter(())
        return _with_dts(itertools.dropwhile(lambda p: not p.packet.is_keyframe, self._placed(stream)))

    def _sound_packets_from(self, start: float, back: float | None) -> Iterator[Placed]:
        stream = self._audio_stream(fresh=back is None)
        if back is not None and not _sought(self._guide(stream), start - back + self.info.start_time):
            return iter(())
        grid = self._grid
        return (replace(p, at=grid.true(p.at, grid.step)) if grid else p for p in self._placed(stream))

    def _pictures_linear(self, start: float, near: float) -> Iterator[Picture]:
        """Read once to find the key picture to begin with, and again to decode from it."""
        key = 0
        for number, placed in enumerate(self._placed(self._video_stream(fresh=True))):
            if placed.packet.is_keyframe and placed.at <= start:
                key = number
            if placed.at > start + NEAR:
                break
        stream = self._video_stream(fresh=True)
        packets = itertools.islice(self._placed(stream), key, None)
        return _decode_pictures(stream, packets, start - near, from_key=True)

    def _sounds_from(self, early: float, back: float | None) -> Iterator[Sound]:
        stream = self._audio_stream(fresh=back is None)
        if back is not None and not _sought(self._guide(stream), early - back + self.info.start_time):
            return iter(())
        return _decode_sounds(stream, self._placed(stream), early, self._grid)

    def _video_stream(self, *, fresh: bool = False) -> VideoStream:
        assert self.info.video
        if fresh or self._video is None:
            self._video = _reopened(self._video, self.info.origin, self.info.video.index)
            use_only(_container(self._video), self._listened(self._video))
            _prepare(self._video, self._threads)
        assert isinstance(self._video, VideoStream)
        return self._video

    def _audio_stream(self, *, fresh: bool = False) -> AudioStream:
        assert self.info.audio
        first = self._audio is None
        if fresh or self._audio is None:
            self._audio = _reopened(self._audio, self._sound_origin, self.info.audio.index)
            use_only(_container(self._audio), [*self._listened(self._audio), self._guide(self._audio)])
        assert isinstance(self._audio, AudioStream)
        if first and not self.jumped and _is_coarse(self._audio):
            self._grid = self._found_grid(self._audio)
            return self._audio_stream(fresh=True)
        return self._audio

    @property
    def _sound_origin(self) -> Origin:
        return self.info.sound_origin or self.info.origin

    def _found_grid(self, stream: AudioStream) -> _Grid | None:
        """Where blocks of sound begin, in a timebase that rounds them; `stream` is at its beginning."""
        assert stream.time_base
        tick, rate = float(stream.time_base), stream.sample_rate
        first = list(itertools.islice(_decode_sounds(stream, self._placed(stream), -math.inf, None), 3))
        sizes = {s.frame.samples for s in first[1:]}
        if len(first) < 3 or len(sizes) > 1 or any(s.frame.sample_rate != rate for s in first):
            return None
        return _Grid(first[0].at + first[0].frame.samples / rate, sizes.pop() / rate, 1.5 * tick)

    def _guide(self, audio: Stream) -> Stream:
        """The stream by whose index sound is sought.

        MP4 finds sound by itself and may skip the pictures, as does a source of sound only; others index
        the pictures only and, asked for sound, scan from the beginning.
        """
        if self.info.video is None or self.info.sound_origin or "mp4" in self.info.container:
            return audio
        return _container(audio).streams[self.info.video.index]

    def _listened(self, stream: Stream) -> list[Stream]:
        """Streams to demux for `stream`: with a `Timeline` both, since they share its jumps."""
        if not self.jumped:
            return [stream]
        indexes = {s.index for s in (self.info.video, self.info.audio) if s}
        return [s for s in stream.container.streams if s.index in indexes]

    def _placed(self, stream: Stream) -> Iterator[Placed]:
        """The stream's packets with their media times, as the reader places them."""
        timeline = Timeline() if self.jumped else None
        origin = self.info.start_time
        listened = self._listened(stream)
        ticks = {s.index: float(s.time_base or 0) for s in listened}  # a Fraction costs 5 us a packet
        for packet in packets(_container(stream), listened):
            tick = ticks[packet.stream_index]
            stamp = packet.dts if packet.dts is not None else packet.pts
            if stamp is None or (packet.pts is not None and _absurd(packet.pts, stamp, tick)):
                continue
            shift, length = -origin, (packet.duration or 0) * tick
            if timeline:
                shift += timeline.offset(packet.stream_index, stamp * tick - origin, length)
            if packet.stream_index == stream.index:
                at = packet.pts if packet.pts is not None else stamp
                yield Placed(packet, at * tick + shift, shift, length)


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a stream's packets of a stretch of time lie in the file, in bytes."""

    begin: int
    key: int  # of the last key picture before the end, with which planning goes on
    end: int


def _place(stream: Stream, start: float, end: float) -> _Place | None:
    """Where everything lies that is read for raw seconds `start` to `end`, where that is known."""
    entries = stream.index_entries
    if "mp4" not in stream.container.format.name or not len(entries) or not stream.time_base:
        return None
    delay = max(0, (stream.start_time or 0) - entries[0].timestamp)  # the index has decoding times
    since, until = (int(seconds // stream.time_base) for seconds in (start, end))
    if entries[len(entries) - 1].timestamp < since:
        return None  # in fragments, of which it knows only those that were read
    found = cast("Callable[..., int]", entries.search_timestamp)  # -1: before the first
    first, key = (entries[max(0, found(ticks - delay))] for ticks in (since, until))
    last = entries[min(found(until, any_frame=True) + MOST_REORDERED + 2, len(entries) - 1)]
    return _Place(first.pos, max(first.pos, key.pos), last.pos + last.size)


def _together(seen: _Place, heard: _Place) -> tuple[_Place, _Place | None]:
    """One place of pictures and sound that are interleaved, as they nearly always are."""
    if heard.begin > seen.end + INTERLEAVED or heard.end < seen.begin - INTERLEAVED:
        return seen, heard
    return _Place(min(seen.begin, heard.begin), seen.key, max(seen.end, heard.end)), None


def _with_dts(packets: Iterator[Placed]) -> Iterator[Placed]:
    """Give the first packets the decoding times they lack.

    Matroska stores none, and libav knows them only from where as many pictures as are reordered have come.
    """
    waiting: list[Placed] = []
    for placed in packets:
        waiting.append(placed)
        if placed.packet.dts is not None or len(waiting) > MOST_REORDERED:
            break
    for later, earlier in itertools.pairwise(reversed(waiting)):
        if later.packet.dts is not None:
            earlier.packet.dts = later.packet.dts - max(1, earlier.packet.duration or 0)
    yield from waiting
    yield from packets


def _identity(path: Path) -> tuple[int, int, int] | None:
    """What changes when a file is written to or replaced: inode, size, time of the last change in ns."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_ino, status.st_size, status.st_mtime_ns


def _absurd(pts: int, dts: int, tick: float) -> bool:
    """Whether decoding and presentation are further apart than any reordering: the reader skips these too."""
    return abs(pts - dts) * tick > FORWARD


def _is_coarse(audio: AudioStream) -> bool:
    """Whether its timebase rounds the places of samples."""
    return float(audio.time_base or 0) * audio.sample_rate > FINE_ENOUGH


def _reopened(stream: Stream | None, origin: Origin, index: int) -> Stream:
    if stream:
        stream.container.close()
    return open_media(origin).streams[index]


def _container(stream: Stream) -> InputContainer:
    assert isinstance(stream.container, InputContainer)
    return stream.container


def _prepare(stream: Stream, threads: int) -> None:
    assert isinstance(stream, VideoStream)
    context = stream.codec_context
    context.thread_type = "AUTO"
    context.thread_count = threads
    context.options = {"max_pixels": str(MOST_PIXELS)}


def _landing(wanted: float, read_from: Callable[[float | None], Iterator[Timed]]) -> Iterator[Timed]:
    """Read from ever further back until the first thing that comes out is early enough.

    `read_from` takes seconds to step back, or None for the beginning.
    """
    for back in (*(s for s in STEPS_BACK if s < max(wanted, 0.1)), None):
        items = read_from(back)
        first = next(items, None)
        if first and (back is None or first.at <= wanted):
            yield first
            yield from items
            return


def _sought(stream: Stream, seconds: float) -> bool:
    """Move to the key picture before `seconds` of raw time, if the demuxer can."""
    assert stream.time_base
    try:
        _container(stream).seek(int(seconds // stream.time_base), backward=True, stream=stream)
    except FFmpegError:
        return False
    return True


def _decode_pictures(
    stream: VideoStream, packets: Iterator[Placed], all_from: float, *, from_key: bool
) -> Iterator[Picture]:
    """Pictures from the first key picture on, in order; without one when `from_key` is false.

    Before `all_from` only those come that others need.
    """
    packets = itertools.dropwhile(lambda p: from_key and not p.packet.is_keyframe, packets)
    last: int | None = None
    for picture in _decoded(stream, packets, all_from):
        if last is None or picture.ticks > last:
            last = picture.ticks
            yield picture


def _decoded(stream: VideoStream, packets: Iterable[Placed], all_from: float) -> Iterator[Picture]:
    """All pictures that come out, as they come out."""
    assert stream.time_base
    tick = stream.time_base
    shifts: dict[int, float] = {}
    shift = 0.0
    if stream.codec_context.codec.name in UNHURRIED:
        all_from = -math.inf
    for placed in packets:
        shift = placed.shift
        if placed.packet.pts is not None:
            shifts[placed.packet.pts] = shift
        hurry = placed.end < all_from and placed.packet.duration
        stream.codec_context.skip_frame = "NONREF" if hurry else "DEFAULT"
        for frame in _tried(stream, placed.packet):
            yield _picture(frame, shifts.pop(frame.pts or 0, shift), float(tick))
        if len(shifts) > 64:
            del shifts[next(iter(shifts))]
    for frame in _tried(stream, None):
        yield _picture(frame, shifts.pop(frame.pts or 0, shift), float(tick))


def _tried(stream: VideoStream, packet: AnyPacket | None) -> list[VideoFrame]:
    try:
        return [f for f in decoded(stream, packet) if f.pts is not None]
    except FFmpegError:
        return []


def _picture(frame: VideoFrame, shift: float, tick: float) -> Picture:
    assert frame.pts is not None
    return Picture(frame.pts * tick + shift, frame.pts + round(shift / tick), frame.duration, tick, frame)


def _decode_sounds(
    stream: AudioStream, packets: Iterable[Placed], early: float, grid: _Grid | None
) -> Iterator[Sound]:
    """Sound from about `early` on."""
    assert stream.time_base
    at = shift = 0.0
    for placed in itertools.chain((p for p in packets if p.end >= early), [None]):
        if placed:
            at, shift = placed.at, placed.shift
        try:
            frames = stream.codec_context.decode(placed.packet if placed else None)  # pyright: ignore[reportUnknownMemberType]
        except FFmpegError:
            continue
        for frame in frames:
            if believable(frame):
                begin = at if frame.pts is None else float(frame.pts * stream.time_base) + shift
                length = frame.samples / frame.sample_rate
                yield Sound(grid.true(begin, length) if grid else begin, frame)


MOST_PLANES = 8


def believable(frame: AudioFrame) -> bool:
    """Whether a decoded block of sound may be looked at.

    Damaged AAC makes libav's decoder speak of dozens of channels without names and point to memory that is
    not there: reading it ends the process. Sound that has so many (PCM) comes in one plane.
    """
    if not frame.samples or not frame.sample_rate:
        return False
    layout = frame.layout
    many = layout.nb_channels > MOST_PLANES and frame.format.is_planar
    return not (many and layout.name.endswith("channels"))
