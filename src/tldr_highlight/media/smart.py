"""Clips that are copied: packets as they lie in the source, and only the edges encoded anew.

The parts of a clip follow each other without a seam because each begins with an IDR picture, all keep the
source's distance between decoding and presentation, and one header carries the parameter sets of the
source and, under another id, those of the edges.
"""
# PyAV's stubs leave the kind of packets open:
# pyright: reportUnknownMemberType=false

from __future__ import annotations

import os
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from pathlib import Path
from typing import cast

from av.codec.context import CodecContext, Flags
from av.packet import Packet
from av.stream import Stream
from av.video.frame import PictureType, VideoFrame

from tldr_highlight.media import h264
from tldr_highlight.media.encode import FINEST_TICK, SoundTrack, new_mp4
from tldr_highlight.media.frames import Placed, Source
from tldr_highlight.media.plan import Copyable, NotCopyableError, check_packet
from tldr_highlight.media.probe import AnyPacket
from tldr_highlight.media.quality import EDGE_CRF
from tldr_highlight.media.samples import aac_rate
from tldr_highlight.media.sound import CopiedSound, EncodedSound, Progress
from tldr_highlight.media.types import CutOptions
from tldr_highlight.media.verify import Expected

EDGE_EFFORT = "keyint=infinite:scenecut=0:ref=1:mbtree=1:rc-lookahead=5:sync-lookahead=0"
"""With `superfast`: 18 CPU-ms a picture of 1080p. Without looking ahead, edges of animation take 2.5 times
the bytes; `veryfast` saves a tenth more and takes half as long again."""


def copy_range(
    source: Source, found: Copyable, draft: Path, options: CutOptions, tell: Progress, *, copy_sound: bool
) -> Expected:
    """Write a clip of what was found to be copyable; return what the file must hold.

    Raises:
        SoundNotCopyableError: the sound has to be encoded, which was found too late: begin anew.
        NotCopyableError: something in the middle forbids copying.
        OSError, FFmpegError: as `Writer` raises.
    """
    clip = _Clip(source, found, draft, options, tell, copy_sound=copy_sound)
    with ThreadPoolExecutor(1) as beside, clip.container:
        clip.begin()
        tail = beside.submit(clip.encode_tail) if found.tail else None  # 0.2 s of 1080p beside the rest
        if found.head:
            clip.encode(source, found.head)
        clip.copy(source.picture_packets(clip.seconds(found.border[0])))
        if tail:
            tail.result()
        return clip.finish()


class _Clip:
    """A clip being written. Times are ticks of the source unless a name says otherwise."""

    def __init__(
        self,
        source: Source,
        found: Copyable,
        draft: Path,
        options: CutOptions,
        tell: Progress,
        *,
        copy_sound: bool,
    ) -> None:
        tick = source.picture_tick
        if tick.denominator > FINEST_TICK:
            raise NotCopyableError("its clock is finer than MP4 can say")
        self._source, self._found, self._tell = source, found, tell
        self._tick = Fraction(1, tick.denominator)
        self._scale = tick.numerator
        self._delay = found.border[0] - found.border[1]
        self._pts: list[int] = []
        self._held: list[tuple[AnyPacket, int, int, int]] = []  # the tail's, for `_write`
        self._reached = Fraction(-1)
        self._last_dts: int | None = None
        self._encoders: dict[tuple[int, ...], EdgeEncoder] = {}  # alike: their parameter sets share an id
        self._sums: dict[int, int] = {}  # CRC-32 of copied packets
        self._edges: dict[int, int] = {}  # and of encoded ones
        self._shown: dict[int, VideoFrame] = {}
        self._sequence = h264.Sequence.of(next(iter(found.sets.sps.values())))
        info = source.info
        rate = aac_rate(info.audio.sample_rate) if info.audio else 0
        self.container = new_mp4(draft, rate)
        self._copied = CopiedSound(source, self.container) if info.audio and copy_sound else None
        self._track = SoundTrack(self.container, info, options)
        self._encoded = None if self._copied else EncodedSound(source, self._track)
        self._video: Stream | None = None

    def seconds(self, ticks: int) -> float:
        """Media seconds."""
        return ticks * float(self._source.picture_tick) - self._source.info.start_time

    def begin(self) -> None:
        """Open the streams."""
        found, start = self._found, self.seconds(self._found.first)
        self._encoders = {edge: self._encoder() for edge in (found.head, found.tail) if edge}
        others = next((encoder.sets for encoder in self._encoders.values()), None)
        video = self.container.add_stream_from_template(self._source.video, opaque=True)
        video.codec_context.extradata = found.sets.avcc(others)
        video.time_base = self._tick
        self._video = video
        if self._copied:
            self._copied.begin(start, self._clip_seconds(found.end))
        elif self._encoded and self._source.info.audio:
            self._encoded.begin(start, self.seconds(found.end))
            self._track.open()

    def encode_tail(self) -> None:
        """Encode the tail, which is written at the end; from a source of its own, for the other is in use."""
        with Source(self._source.info, most_threads=1) as source:
            self.encode(source, self._found.tail)

    def encode(self, source: Source, wanted: tuple[int, ...]) -> None:
        """Encode the pictures of an edge: an IDR picture and pictures that refer back.

        Those beside a joint, and the first of all, are kept for comparison.
        """
        encoder = self._encoders[wanted]
        compared = {wanted[0], *(wanted[-1:] if wanted is self._found.tail else (self._found.border[0],))}
        missing = set(wanted)
        for picture in source.pictures(self.seconds(wanted[0]), near=0.0):
            at = cast("int", picture.frame.pts)  # `picture.ticks` counts from media time 0
            if at in compared:
                self._shown[self._clip_ticks(at)] = picture.frame
            if at in missing:
                missing.discard(at)
                for packet in encoder.encode(picture.frame, self._clip_ticks(at)):
                    self._write_edge(packet, wanted)
                if wanted is self._found.head:
                    self._heard(at)
            elif at > wanted[-1]:
                break
        for packet in encoder.encode(None, 0):
            self._write_edge(packet, wanted)
        if missing:
            raise NotCopyableError("its pictures cannot all be decoded")

    def copy(self, packets: Iterator[Placed]) -> None:
        """Copy everything from the border to the last clean point."""
        found, sets = self._found, self._found.sets
        known = (len(sets.sps), len(sets.pps))
        begun = False
        for placed in packets:
            packet = placed.packet
            at = packet.pts  # writing changes the packet's own; and dts may be a guess, another one each time
            begun = begun or at == found.border[0]
            if not begun:
                continue
            check_packet(placed, sets)
            if (len(sets.sps), len(sets.pps)) != known:
                raise NotCopyableError("it brings new parameter sets in its middle")
            self._copy(packet)
            self._heard(cast("int", at))
            if at == found.last[0]:
                return
        raise NotCopyableError("it could not be read to its end")

    def finish(self) -> Expected:
        """Complete pictures and sound."""
        assert self._source.info.video
        for made in self._held:
            self._write(*made)
        length = self._clip_seconds(self._found.end)
        if self._copied:
            self._copied.finish()
            rate, samples = self._copied.rate, round(length * self._copied.rate)
            heard = self._copied.heard()
        else:
            assert self._encoded
            self._encoded.fill(length)
            self._track.finish()
            rate, samples = self._track.rate, self._track.samples
            heard = self._track.heard.windows()
        self._tell(float(length))
        return Expected(
            self._tick,
            sorted(self._pts),
            self._clip_ticks(self._found.end),
            rate,
            samples,
            heard,
            copied=self._sums,
            encoded=self._edges,
            copied_sound=self._copied.sums if self._copied else (),
            shown=self._shown,
            turned=(self._source.info.video.rotation, self._source.info.video.flipped),
            warnings=self._track.warnings,
        )

    def _encoder(self) -> EdgeEncoder:
        return EdgeEncoder(self._source, self._found, self._sequence, self._tick)

    def _heard(self, ticks: int) -> None:
        """Let the sound follow."""
        seconds = self._clip_seconds(ticks)
        if seconds > self._reached:  # packets come in order of decoding
            self._reached = seconds
            (self._copied or cast("EncodedSound", self._encoded)).fill(seconds)
            self._tell(float(seconds))

    def _clip_ticks(self, ticks: int) -> int:
        return (ticks - self._found.first) * self._scale

    def _clip_seconds(self, ticks: int) -> Fraction:
        return (ticks - self._found.first) * self._source.picture_tick

    def _write_edge(self, packet: AnyPacket, wanted: tuple[int, ...]) -> None:
        """Write a packet of an edge: no SEI, lengths in four bytes, the source's distance to decoding."""
        pts = cast("int", packet.pts)
        place = wanted.index(pts // self._scale + self._found.first)
        following = wanted[place + 1] if place + 1 < len(wanted) else self._behind(wanted)
        duration = self._clip_ticks(following) - pts
        written = for_mp4(packet)
        self._edges[pts] = zlib.crc32(written)
        made = (written, pts, pts - self._delay * self._scale, duration)
        if wanted is self._found.tail:
            self._held.append(made)
        else:
            self._write(*made)

    def _behind(self, wanted: tuple[int, ...]) -> int:
        """When the last picture of an edge ends."""
        return self._found.end if wanted is self._found.tail else self._found.border[0]

    def _copy(self, packet: AnyPacket) -> None:
        """Write a packet of the source as it is, but for what does not belong into a clip."""
        assert packet.pts is not None
        assert packet.dts is not None
        pts, dts = self._clip_ticks(packet.pts), self._clip_ticks(packet.dts)
        final = packet.pts == self._found.final
        duration = self._clip_ticks(self._found.end) - pts if final else (packet.duration or 0) * self._scale
        bare = _bare(packet, self._found.sets.length_size)
        self._sums[pts] = zlib.crc32(bare)
        is_key = packet.is_keyframe
        if isinstance(bare, bytes):
            packet = Packet(bare)
            packet.is_keyframe = is_key
        self._write(packet, pts, dts, duration)

    def _write(self, packet: AnyPacket, pts: int, dts: int, duration: int) -> None:
        if dts > pts or (self._last_dts is not None and dts <= self._last_dts):
            raise NotCopyableError("its decoding times are not in order")
        self._last_dts = dts
        assert self._video
        packet.stream = self._video
        packet.pts, packet.dts, packet.duration, packet.time_base = pts, dts, duration, self._tick
        self._pts.append(pts)
        self.container.mux(packet)


DROPPED = {h264.SEI, h264.SPS, h264.PPS, h264.DELIMITER, h264.FILLER}
"""Units that a packet of an edge does without."""


def for_mp4(packet: AnyPacket) -> AnyPacket:
    """What an edge encoder made, as it is written: no SEI, no sets, lengths in four bytes."""
    parts = h264.units(memoryview(packet), 0)
    wrapped = Packet(h264.with_lengths(u for u in parts if h264.kind(u) not in DROPPED))
    wrapped.is_keyframe = packet.is_keyframe
    return wrapped


def _bare(packet: AnyPacket, length_size: int) -> AnyPacket | bytes:
    """The packet for MP4, without the source's metadata: itself, where nothing has to change."""
    parts = list(h264.units(memoryview(packet), length_size))
    kept = [u for u in parts if h264.kind(u) not in DROPPED - {h264.SEI} and not _tells(u)]
    if length_size == 4 and len(kept) == len(parts):
        return packet
    return h264.with_lengths(kept)


def _tells(unit: memoryview) -> bool:
    return h264.kind(unit) == h264.SEI and h264.has_user_data(unit)


class EdgeEncoder:
    """x264, set up so that its pictures may stand beside the source's in one track."""

    def __init__(
        self,
        source: Source,
        found: Copyable,
        sequence: h264.Sequence,
        tick: Fraction,
        crf: int = EDGE_CRF,
    ) -> None:
        assert source.info.video
        theirs = source.video.codec_context
        context = CodecContext.create("libx264", "w")
        context.width, context.height, context.pix_fmt = theirs.width, theirs.height, theirs.pix_fmt
        context.time_base, context.framerate = tick, source.info.video.frame_rate
        context.sample_aspect_ratio = source.info.video.sample_aspect
        context.color_range, context.colorspace = theirs.color_range, theirs.colorspace
        context.color_primaries, context.color_trc = theirs.color_primaries, theirs.color_trc
        context.thread_count = min(4, os.cpu_count() or 1)
        context.flags |= Flags.global_header
        profile = h264.PROFILES[sequence.profile]
        context.options = {
            "preset": "superfast",
            "crf": str(crf),
            "profile": profile,
            "level": sequence.level,
            "bf": "0",
            "a53cc": "0",
            "x264-params": f"sps-id={found.sets.free_id()}:{EDGE_EFFORT}",
        }
        context.open()
        self._context = context
        self.sets = h264.ParameterSets.of(context.extradata)

    def encode(self, frame: VideoFrame | None, at: int) -> list[AnyPacket]:
        """Packets that are ready; all that are left without a frame."""
        if frame is not None:
            frame.pts, frame.time_base = at, self._context.time_base
            frame.pict_type = PictureType.NONE  # the source's own would be forced on the encoder
        return cast("list[AnyPacket]", self._context.encode(frame))
