"""Reels: finished clips one after another in one MP4, with or without cross-fades.

Where the clips' pictures agree they are copied, and only those around a cross-fade are encoded. Sound is
decoded to the sample and encoded once, so that nothing drifts however many clips there are.
"""
# PyAV's stubs leave the kind of packets open:
# pyright: reportUnknownMemberType=false

from __future__ import annotations

import itertools
import math
import zlib
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import cast

import numpy as np
from av.stream import Stream
from av.video.frame import VideoFrame

from tldr_highlight.errors import CutError, RangeError
from tldr_highlight.media import h264
from tldr_highlight.media.cut import Written, finished
from tldr_highlight.media.encode import FINEST_TICK, SoundTrack, Writer, new_mp4
from tldr_highlight.media.frames import Source
from tldr_highlight.media.loudness import measure
from tldr_highlight.media.plan import Copyable, NotCopyableError, copyable
from tldr_highlight.media.probe import AnyPacket, open_media, probe, shown
from tldr_highlight.media.quality import changed, edge_crf, upright_aspect, upright_size
from tldr_highlight.media.samples import Block, Samples, aac_rate
from tldr_highlight.media.smart import EdgeEncoder, for_mp4
from tldr_highlight.media.types import (
    DEFAULTS,
    AudioInfo,
    ClipResult,
    ClipSpec,
    CutOptions,
    MediaInfo,
    VideoInfo,
)
from tldr_highlight.media.upright import Upright, framed, matrix_of
from tldr_highlight.media.verify import Expected

Progress = Callable[[float], None]
"""Called with the seconds of the reel that are done."""


ROUNDING = Fraction(1, 2000)
"""Seconds up to which the length in a clip's header is that of its pictures. MP4 keeps times between
decodings, so where pictures are uneven the last one's own is off; the header's is exact to samples."""


def join(
    clips: Sequence[Path],
    path: Path,
    *,
    crossfade: float = 0.0,
    options: CutOptions = DEFAULTS,
    on_progress: Callable[[float], None] | None = None,
) -> ClipResult:
    """Join finished clips into `path`, exact to the picture and the sample at every joint.

    Each cross-fade takes `crossfade` seconds, rounded to the pictures of the clip that fades out, and at most
    half of the shorter clip; the reel is shorter by them. Clips that look different are shown at the size
    of the first, with bars where they have another shape. The quality is that of what is encoded, beside a
    cross-fade too; a watermark or fewer lines encode everything; loudness is that of the whole reel.

    The result's `actual_start` is 0 and its `actual_end` the reel's length in seconds. `on_progress` gets the
    share that is done, 0..1.

    Raises:
        RangeError: there is no clip, or no sense in `crossfade`.
        CutError: clips with and without pictures, or what was written is not right.
        DiskFullError, OutputError: it cannot be written.
        TldrError: a clip cannot be read.
    """
    if not clips:
        raise RangeError("a reel needs at least one clip")
    if not 0 <= crossfade < math.inf:
        raise RangeError(f"{crossfade:g} s is no length of a cross-fade: give 0 or more")
    looks = [_look(clip) for clip in clips]
    if path.exists() and any(path.samefile(clip) for clip in clips):
        raise CutError(f"{shown(path)} is one of the clips: choose another name")
    parts = _parts(looks, crossfade)
    total = float(parts[-1].end)
    spec = ClipSpec(0.0, total, path)

    def tell(seconds: float) -> None:
        if on_progress:
            on_progress(min(1.0, seconds / total))

    try:
        sets = _agreed(parts, options)
        found = [_copyable(part) for part in parts]
        if not any(found):
            raise NotCopyableError("no clip is longer than its cross-fades")
        encoded = any(part.fade_out or f is None or f.encoded for part, f in zip(parts, found, strict=True))
        method, reason = (
            ("smart", "only pictures around the cross-fades encoded")
            if encoded
            else ("copy", "the clips agree")
        )
        return finished(spec, method, reason, partial(_copied, parts, found, sets, options, tell))
    except NotCopyableError as error:
        reason = str(error)
    except CutError as error:
        reason = f"copying went wrong: {error}"
    return finished(spec, "encode", reason, partial(_encoded, parts, options, tell))


# --- what there is -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Clip:
    """A finished clip. Its times are ticks of its pictures, or of its sound where it has none."""

    name: str
    info: MediaInfo
    header: bytes | None  # with its pictures' parameter sets
    tick: Fraction  # seconds
    times: tuple[int, ...]  # of its pictures, in order
    depth: int  # pictures that one may overtake between decoding and presentation
    first: int
    end: int

    @property
    def length(self) -> Fraction:
        """Seconds."""
        return (self.end - self.first) * self.tick

    @property
    def origin(self) -> float:
        """Media seconds of its first picture."""
        return float(self.first * self.tick) - self.info.start_time

    def seconds(self, ticks: int) -> float:
        """Media seconds."""
        return float(ticks * self.tick) - self.info.start_time


@dataclass(frozen=True, slots=True)
class _Part:
    """A clip's place in the reel, in seconds of it."""

    clip: _Clip
    base: Fraction  # where the clip begins
    fade_in: Fraction
    fade_out: Fraction

    @property
    def end(self) -> Fraction:
        """Where the clip ends."""
        return self.base + self.clip.length

    @property
    def alone(self) -> tuple[int, int]:
        """Between which ticks of the clip it is seen alone."""
        times, tick = self.clip.times, self.clip.tick
        until = self.clip.end - self.fade_out / tick
        start = bisect_left(times, self.clip.first + self.fade_in / tick)
        return (times[start] if start < len(times) else self.clip.end), int(until)

    def at(self, ticks: int) -> Fraction:
        """Seconds of the reel at which a picture of the clip is shown."""
        return self.base + (ticks - self.clip.first) * self.clip.tick


def _look(path: Path) -> _Clip:
    """Read all of a clip's times, without decoding."""
    info = probe(path)
    kept = info.video or info.audio
    assert kept
    with open_media(path) as container:
        stream = container.streams[kept.index]
        assert stream.time_base
        tick, header = stream.time_base, stream.codec_context.extradata
        stamps = [(p.pts or 0, p.duration or 0) for p in container.demux(stream) if _shown(p)]
        told = Fraction(((container.start_time or 0) + (container.duration or 0)), 1_000_000)
    if not stamps:
        raise CutError(f"{shown(path)} holds nothing to join")
    pts = [stamp for stamp, _ in stamps]
    times = sorted(pts)
    rank = {at: place for place, at in enumerate(times)}
    if len(rank) < len(times):
        raise CutError(f"{shown(path)} has several pictures at one time")
    end = max(at + duration for at, duration in stamps)
    if abs(told - end * tick) > ROUNDING and told > times[-1] * tick:
        end = round(told / tick)
    if info.video is None:
        first = max(0, times[0])  # what is before is there for the decoder
        return _Clip(shown(path), info, header, tick, (), 0, first, end)
    depth = max(place - rank[at] for place, at in enumerate(pts))
    return _Clip(shown(path), info, header, tick, tuple(times), depth, times[0], end)


def _shown(packet: AnyPacket) -> bool:
    """Whether a packet is more than a start for the decoder that the edit list hides."""
    return packet.pts is not None and packet.size > 0 and not packet.is_discard


def _parts(clips: Sequence[_Clip], crossfade: float) -> list[_Part]:
    if len({clip.info.video is None for clip in clips}) > 1:
        raise CutError("clips with pictures and clips without cannot be joined")
    fades = [_fade(a, b, crossfade) for a, b in itertools.pairwise(clips)]
    parts: list[_Part] = []
    base = Fraction(0)
    for clip, fade_in, fade_out in zip(clips, [Fraction(0), *fades], [*fades, Fraction(0)], strict=True):
        parts.append(_Part(clip, base, fade_in, fade_out))
        base += clip.length - fade_out
    return parts


def _fade(clip: _Clip, following: _Clip, crossfade: float) -> Fraction:
    """Seconds for which the end of `clip` and the beginning of the next overlap."""
    wanted = min(Fraction(crossfade).limit_denominator(1_000_000), clip.length / 2, following.length / 2)
    if not clip.times:
        return int(wanted / clip.tick) * clip.tick
    start = bisect_left(clip.times, clip.end - wanted / clip.tick)
    return (clip.end - clip.times[start]) * clip.tick if start < len(clip.times) else Fraction(0)


# --- sound ---------------------------------------------------------------------------------------------


class _Sound:
    """The sound of a reel, kept in step with its pictures."""

    def __init__(self, parts: Sequence[_Part], track: SoundTrack) -> None:
        self._track = track
        self._gain = np.float32(1)
        if track.rate and track.loudness is not None:
            blocks = _sound(parts, track.rate, track.layout)
            loudness = measure(blocks, track.rate, track.layout)
            self._gain = np.float32(loudness.gain(track.loudness))
            track.warn(loudness.warning(track.loudness))
        self._blocks = _sound(parts, track.rate, track.layout) if track.rate else iter(())

    def fill(self, until: Fraction) -> None:
        """Write the sound up to `until` seconds of the reel, and the block that reaches across."""
        while self._track.samples < until * self._track.rate:
            block = next(self._blocks, None)
            if block is None:
                return
            self._track.write(block * self._gain)


def _sound(parts: Sequence[_Part], rate: int, layout: str) -> Iterator[Block]:
    """All samples of a reel, those of each clip as long as its pictures are."""
    fading: Block | None = None
    for part in parts:
        begin, end = round(part.base * rate), round(part.end * rate)
        fade_out = end - round((part.end - part.fade_out) * rate)
        with Source(part.clip.info) as source:
            samples = _samples(source, part.clip, rate, layout)
            if fading is not None:
                yield _mixed(fading, _taken(samples, fading.shape[1]))
            heard = fading.shape[1] if fading is not None else 0
            yield from _next(samples, end - begin - heard - fade_out)
            fading = _taken(samples, fade_out) if fade_out else None


def _samples(source: Source, clip: _Clip, rate: int, layout: str) -> Samples:
    sounds = source.sounds(clip.origin) if clip.info.audio else iter(())
    return Samples(sounds, rate, layout, round(clip.origin * rate))


def _next(samples: Samples, count: int) -> Iterator[Block]:
    return samples.until(samples.at + count)


def _taken(samples: Samples, count: int) -> Block:
    return np.concatenate(list(_next(samples, count)), axis=1)


def _mixed(out: Block, into: Block) -> Block:
    """One sound fading into another with equal power: they are not alike, so their powers add up."""
    angle = (np.arange(out.shape[1], dtype=np.float32) + 0.5) * np.float32(np.pi / 2 / out.shape[1])
    return out * np.cos(angle) + into * np.sin(angle)


def _heard(parts: Sequence[_Part]) -> AudioInfo | None:
    """Whose sound decides how the reel's is encoded: the first that has any."""
    return next((p.clip.info.audio for p in parts if p.clip.info.audio), None)


# --- pictures ------------------------------------------------------------------------------------------


def _times(parts: Sequence[_Part], tick: Fraction) -> list[int]:
    """Ticks of the reel's pictures, in order."""
    times: list[int] = []
    for part in parts:
        start = part.alone[0]
        times += [round(part.at(t) / tick) for t in part.clip.times if t >= start]
    return times


def _frames(part: _Part, start: int, until: int) -> Iterator[tuple[VideoFrame, Fraction]]:
    """A clip's pictures between two of its ticks, and when the reel shows them."""
    with Source(part.clip.info) as source:
        for picture in source.pictures(part.clip.seconds(start)):
            assert picture.frame.pts is not None
            if picture.frame.pts >= until:
                return
            if picture.frame.pts >= start:
                yield picture.frame, part.at(picture.frame.pts)


def _blended(
    part: _Part, following: _Part, alike: Callable[[VideoFrame, _Clip], VideoFrame]
) -> Iterator[tuple[VideoFrame, Fraction]]:
    """The pictures of a cross-fade: those of the clip that ends, more and more of the next one in them."""
    start = part.alone[1]
    count = len(part.clip.times) - bisect_left(part.clip.times, start)
    others = _frames(following, following.clip.first, following.clip.end)
    under, ahead = next(others, None), next(others, None)
    if under is None:
        raise CutError(f"no picture of {following.clip.name} can be decoded")
    for index, (frame, at) in enumerate(_frames(part, start, part.clip.end)):
        while ahead and ahead[1] <= at:
            under, ahead = ahead, next(others, None)
        picture = alike(frame, part.clip)
        _blend(picture, alike(under[0], following.clip), (index + 1) / (count + 1))
        yield picture, at


def _blend(picture: VideoFrame, other: VideoFrame, share: float) -> None:
    """Mix `share` of `other`, 8-bit and of the same size, into `picture`."""
    picture.make_writable()
    weight = np.uint16(round(256 * share))
    for plane, over in zip(picture.planes, other.planes, strict=True):
        mine = np.frombuffer(memoryview(plane), np.uint8).reshape(-1, plane.line_size)[:, : plane.width]
        theirs = np.frombuffer(memoryview(over), np.uint8).reshape(-1, over.line_size)[:, : plane.width]
        mine[:] = (mine * (np.uint16(256) - weight) + theirs * weight + np.uint16(128)) >> np.uint16(8)


# --- copying -------------------------------------------------------------------------------------------


def _agreed(parts: Sequence[_Part], options: CutOptions) -> h264.ParameterSets:
    """The parameter sets of all clips together.

    Raises:
        NotCopyableError: their pictures cannot stand in one track as they are, with the reason.
    """
    first = parts[0].clip
    if reason := ("asked for" if options.mode == "encode" else changed(options, first.info)):
        raise NotCopyableError(reason)
    merged = h264.ParameterSets(length_size=4)
    for part in parts:
        if part.clip.tick != first.tick or _look_of(part.clip.info) != _look_of(first.info):
            raise NotCopyableError("the clips do not look alike")
        try:
            sets = h264.ParameterSets.of(part.clip.header)
            agrees = merged.add(memoryview(s) for s in (*sets.sps.values(), *sets.pps.values()))
        except h264.NotH264Error as error:
            raise NotCopyableError(str(error)) from error
        if not agrees or sets.length_size != 4:
            raise NotCopyableError("the clips were encoded differently")
    return merged


def _look_of(info: MediaInfo) -> VideoInfo:
    if info.video is None:
        raise NotCopyableError("there are no pictures to copy")
    return replace(info.video, index=0, frame_rate=Fraction(1), variable_rate=False, gop_seconds=None)


def _copyable(part: _Part) -> Copyable | None:
    """What can be copied of what is seen of a clip alone; None where there is nothing."""
    start, until = (part.clip.seconds(ticks) for ticks in part.alone)
    if start >= until:
        return None
    with Source(part.clip.info) as source:
        try:
            return copyable(source, start, until, DEFAULTS)
        except NotCopyableError:
            return None


def _copied(
    parts: Sequence[_Part],
    found: Sequence[Copyable | None],
    sets: h264.ParameterSets,
    options: CutOptions,
    tell: Progress,
    draft: Path,
) -> Written:
    tick = parts[0].clip.tick
    with Source(parts[0].clip.info) as first:
        reel = _Reel(draft, first, parts, found, sets, options, tell)
        with reel.container:
            for part, following, copied in zip(parts, [*parts[1:], None], found, strict=True):
                reel.alone(part, copied)
                if following and part.fade_out:
                    reel.encode(_blended(part, following, lambda frame, clip: frame))
            reel.finish()
    end = round(parts[-1].end / tick)
    video, track = parts[0].clip.info.video, reel.track
    assert video
    expected = Expected(
        tick,
        reel.times,
        end,
        track.rate,
        track.samples,
        track.heard.windows(),
        copied=reel.sums,
        warnings=track.warnings,
        turned=(video.rotation, video.flipped),
    )
    _check_joints(draft, parts)
    return Written(0.0, float(parts[-1].end), expected)


class _Reel:
    """An MP4 of copied pictures and, between them, encoded ones."""

    def __init__(
        self,
        draft: Path,
        source: Source,
        parts: Sequence[_Part],
        found: Sequence[Copyable | None],
        sets: h264.ParameterSets,
        options: CutOptions,
        tell: Progress,
    ) -> None:
        """Write to `draft` what looks like `source`, the first clip."""
        first = parts[0].clip
        audio = _heard(parts)
        self.sums: dict[int, int] = {}  # pts -> CRC-32 of what was copied
        self.tick = first.tick
        self.times = _times(parts, self.tick)
        self.container = new_mp4(draft, aac_rate(audio.sample_rate) if audio else 0)
        self.track = SoundTrack(self.container, replace(first.info, audio=audio), options)
        self._sound = _Sound(parts, self.track)
        self._tell = tell
        self._end = round(parts[-1].end / self.tick)
        self._depth = max(part.clip.depth for part in parts)
        self._written = 0
        self._edge: EdgeEncoder | None = None
        like = next(copied for copied in found if copied)
        sequence = h264.Sequence.of(next(iter(sets.sps.values())))
        self._new_edge = partial(
            EdgeEncoder, source, replace(like, sets=sets), sequence, self.tick, edge_crf(options)
        )
        self._video: Stream = self.container.add_stream_from_template(source.video, opaque=True)
        self._video.codec_context.extradata = sets.avcc(self._new_edge().sets)
        self._video.time_base = self.tick
        if audio:
            self.track.open()

    def alone(self, part: _Part, copied: Copyable | None) -> None:
        """Write what is seen of a clip alone: copied, but for its edges, or encoded."""
        start, until = part.alone
        if copied is None:
            self.encode(_frames(part, start, until))
            return
        if copied.head:
            self.encode(_frames(part, start, copied.border[0]))
        self.copy(part, copied)
        if copied.tail:
            self.encode(_frames(part, copied.tail[0], until))

    def encode(self, frames: Iterable[tuple[VideoFrame, Fraction]]) -> None:
        """Encode pictures; they may refer to those of the calls just before, and to nothing copied."""
        for frame, at in frames:
            if self._edge is None:
                self._edge = self._new_edge()
            for packet in self._edge.encode(frame, round(at / self.tick)):
                self._write(for_mp4(packet), cast("int", packet.pts))

    def copy(self, part: _Part, copied: Copyable) -> None:
        """Copy the pictures of a clip between its border and its last clean point."""
        self._end_edge()
        begun = False
        with Source(part.clip.info) as source:
            for placed in source.picture_packets(part.clip.seconds(copied.border[0])):
                packet = placed.packet
                stamp = (packet.pts, packet.dts)
                begun = begun or stamp == copied.border
                if begun:
                    pts = round(part.at(cast("int", packet.pts)) / self.tick)
                    self.sums[pts] = zlib.crc32(packet)
                    self._write(packet, pts)
                if stamp == copied.last:
                    return
        raise NotCopyableError("a clip could not be read to its end")

    def finish(self) -> None:
        """Complete pictures and sound."""
        self._end_edge()
        self._sound.fill(self._end * self.tick)
        self.track.finish()

    def _end_edge(self) -> None:
        if self._edge:
            for packet in self._edge.encode(None, 0):
                self._write(for_mp4(packet), cast("int", packet.pts))
            self._edge = None

    def _write(self, packet: AnyPacket, pts: int) -> None:
        """Write the next packet in order of decoding.

        It is decoded when the picture is shown that is `_depth` pictures before it in order of decoding: the
        one distance that holds for clips with and without reordering.
        """
        times, place = self.times, self._written - self._depth
        index = bisect_left(times, pts)
        if index == len(times) or times[index] != pts:
            raise NotCopyableError("a clip's pictures are not where they were")
        step = times[1] - times[0] if len(times) > 1 else 1
        following = times[index + 1] if index + 1 < len(times) else self._end
        packet.stream = self._video
        packet.time_base = self.tick
        packet.pts, packet.dts = pts, times[place] if place >= 0 else times[0] + place * step
        packet.duration = following - pts
        self._written += 1
        self.container.mux(packet)
        self._sound.fill(pts * self.tick)
        self._tell(float(pts * self.tick))


def _check_joints(draft: Path, parts: Sequence[_Part]) -> None:
    """Decode the pictures around each joint, which `verify` does not.

    Raises:
        CutError: one is missing or damaged.
    """
    info = probe(draft)
    with Source(info) as source:
        for part in parts[1:]:
            around = (float(part.base), float(part.base + part.fade_in))
            seen = 0
            for picture in source.pictures(max(0.0, around[0] - 0.001)):
                if picture.frame.is_corrupt:
                    raise CutError("the reel is not right: a picture at a joint is damaged")
                seen += picture.at >= around[0] - 0.001
                if picture.at > around[1]:
                    break
            if not seen:
                raise CutError(f"the reel is not right: nothing can be decoded at {around[0]:.3f} s")


# --- encoding ------------------------------------------------------------------------------------------


def _encoded(parts: Sequence[_Part], options: CutOptions, tell: Progress, draft: Path) -> Written:
    """Write a reel of pictures that are all encoded, or of sound alone."""
    info = parts[0].clip.info
    info = replace(info, audio=_heard(parts), video=_upright(info.video) if info.video else None)
    with Writer(draft, info, options, _common_tick(parts)) as writer:
        sound = _Sound(parts, writer.sound)
        for frame, at in _alike(parts, info.video) if info.video else ():
            writer.picture(frame, round(at / writer.tick))
            sound.fill(at)
            tell(float(at))
        sound.fill(parts[-1].end)
        end = round(parts[-1].end / writer.tick)
        writer.finish(end)
    tell(float(parts[-1].end))
    times, track = _times(parts, writer.tick), writer.sound
    expected = Expected(
        writer.tick, times, end, track.rate, track.samples, track.heard.windows(), warnings=track.warnings
    )
    return Written(0.0, float(parts[-1].end), expected)


def _alike(parts: Sequence[_Part], video: VideoInfo) -> Iterator[tuple[VideoFrame, Fraction]]:
    """All pictures of the reel, of one size, and when it shows them."""
    alike = _Alike(video)
    for part, following in zip(parts, [*parts[1:], None], strict=True):
        for frame, at in _frames(part, *part.alone):
            yield alike(frame, part.clip), at
        if following and part.fade_out:
            yield from _blended(part, following, alike)


def _upright(video: VideoInfo) -> VideoInfo:
    """The same pictures, when they have been turned upright."""
    width, height = upright_size(video)
    aspect = upright_aspect(video)
    return replace(video, width=width, height=height, sample_aspect=aspect, rotation=0, flipped=False)


def _common_tick(parts: Sequence[_Part]) -> Fraction:
    """A tick that all clips' times are whole numbers of, where MP4 can say that."""
    common = math.lcm(*(part.clip.tick.denominator for part in parts))
    return Fraction(1, common if common <= FINEST_TICK else 90_000)


class _Alike:
    """Brings all clips' pictures to one size and matrix, upright, with bars where their shape is another."""

    def __init__(self, video: VideoInfo) -> None:
        self._size = video.width // 2 * 2, video.height // 2 * 2
        self._aspect = video.sample_aspect
        self._matrix: int | None = None  # the first picture's
        self._uprights: dict[VideoInfo, Upright] = {}

    def __call__(self, frame: VideoFrame, clip: _Clip) -> VideoFrame:
        assert clip.info.video
        self._matrix = matrix_of(frame) if self._matrix is None else self._matrix
        if clip.info.video not in self._uprights:
            size = self._fitted(_upright(clip.info.video))
            self._uprights[clip.info.video] = Upright(clip.info.video, *size, "yuv420p", self._matrix)
        return framed(self._uprights[clip.info.video](frame), *self._size)

    def _fitted(self, video: VideoInfo) -> tuple[int, int]:
        """The largest size that fits, both even."""
        width, height = self._size
        shape = Fraction(video.width, video.height) * video.sample_aspect / self._aspect
        if shape == Fraction(width, height):
            return self._size
        fitted = min(Fraction(width), height * shape)
        return max(2, round(fitted / 2) * 2), max(2, round(fitted / shape / 2) * 2)
