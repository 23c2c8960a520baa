"""Writing one MP4 that plays everywhere: H.264 (8 bit, 4:2:0, High) and AAC, exact to tick and sample.

Nothing of the source's metadata goes in; the index is at the front.
"""
# PyAV's stubs leave the kind of packets open:
# pyright: reportUnknownMemberType=false

from __future__ import annotations

import contextlib
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Self, cast

import av
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from av.codec.context import Flags
from av.container import OutputContainer
from av.error import FFmpegError
from av.video.codeccontext import VideoCodecContext
from av.video.frame import PictureType, VideoFrame
from av.video.stream import VideoStream

from tldr_highlight.media.probe import AnyPacket
from tldr_highlight.media.quality import clip_size, rung, upright_aspect
from tldr_highlight.media.samples import Block, aac_rate, layout_of
from tldr_highlight.media.sync import Heard
from tldr_highlight.media.types import CutOptions, MediaInfo, VideoInfo
from tldr_highlight.media.upright import Upright
from tldr_highlight.media.watermark import Overlay

THREADS = 4
"""A fixed number, for x264's output depends on it. (Where it uses AVX-512, one run in some dozens still
differs by a few bits from the others.)"""

GOP_SECONDS = 2.0
"""So that players seek quickly in a clip, and so that checking its end decodes little."""

LARGE_PIXELS = 4096 * 2304
"""Pixels of a picture above which x264 looks less far ahead: 8K then takes 1.8 GB instead of 2.7."""

FINEST_TICK = 10_000_000
"""Ticks per second above which timebases are rounded; MP4's and x264's counters are 32 bits wide."""


def new_mp4(path: Path, rate: int) -> OutputContainer:
    """An MP4 to write to: index first, no trace of the tool, edit lists exact to the sample at `rate` Hz."""
    options = {"movflags": "+faststart", "fflags": "+bitexact", "movie_timescale": str(rate or 90_000)}
    return av.open(f"file:{path}", "w", format="mp4", options=options)


class SoundTrack:
    """The AAC of an MP4 being written. Raises what `Writer` raises."""

    def __init__(self, container: OutputContainer, info: MediaInfo, options: CutOptions) -> None:
        """Nothing is added to the container before `open`; without sound in `info` nothing ever is."""
        self.samples = 0  # written so far
        self.rate = aac_rate(info.audio.sample_rate) if info.audio else 0  # Hz
        self.layout = layout_of(info.audio) if info.audio else "stereo"
        self.loudness = options.loudness  # LUFS it is to have
        self.heard = Heard(self.rate)
        self.warnings: tuple[str, ...] = ()  # what whoever hears it should know
        self._container = container
        self._bit_rate = rung(options).audio_bit_rate
        self._stream: AudioStream | None = None

    def warn(self, warning: str | None) -> None:
        """Note what whoever hears it should know, if there is anything."""
        if warning:
            self.warnings += (warning,)

    def open(self) -> AudioStream:
        """Add the stream to the container, once."""
        if self._stream is None:
            self._stream = self._container.add_stream("aac", rate=self.rate)
            self._stream.codec_context.layout = self.layout
            self._stream.codec_context.bit_rate = self._bit_rate
            self._stream.codec_context.flags |= Flags.bitexact  # or it signs the first frame
        return self._stream

    def write(self, block: Block) -> None:
        """Append samples."""
        frame = AudioFrame.from_ndarray(block, "fltp", self.layout)
        frame.sample_rate = self.rate
        frame.pts, frame.time_base = self.samples, Fraction(1, self.rate)
        self.samples += block.shape[1]
        self.heard.add(block)
        self._container.mux(self.open().encode(frame))

    def finish(self) -> None:
        """Write what is left."""
        if self._stream:
            self._container.mux(self._stream.encode(None))


class Writer:
    """An MP4 being written, as a context manager. Call `finish` inside it, or the file is not complete.

    Raises from every method:
        OSError: the disk is full or gone.
        FFmpegError: an encoder refused.
    """

    def __init__(self, path: Path, info: MediaInfo, options: CutOptions, tick: Fraction) -> None:
        """Write to `path`, which holds what a clip of `info` holds; pictures are timed in `tick` seconds.

        Raises:
            WatermarkError: the one in `options` cannot be put on.
        """
        self.pts: list[int] = []  # of the pictures written, in `self.tick`
        self.tick = Fraction(1, tick.denominator if tick.denominator <= FINEST_TICK else 1_000_000)
        self._info = info
        self._options = options
        self._size = clip_size(info.video, options) if info.video else (0, 0)
        self._overlay = _overlay(info.video, options)
        self._container = new_mp4(path, aac_rate(info.audio.sample_rate) if info.audio else 0)
        self.sound = SoundTrack(self._container, info, options)
        self._video: VideoStream | None = None
        self._upright: Upright | None = None
        self._held: VideoFrame | None = None  # encoded when the next one tells how long it is shown
        self._durations: dict[int, int] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self._container.close()
            return
        with contextlib.suppress(FFmpegError):  # the file is thrown away; the first error counts
            self._container.close()

    def picture(self, frame: VideoFrame, at: int) -> None:
        """Show `frame` from `at` ticks on, until the next one.

        A picture at the tick of the one before it is left out: damaged clocks may be finer than MP4 can tell.
        """
        if self.pts and at <= self.pts[-1]:
            return
        upright = self._opened(frame)(frame)
        upright.pts, upright.time_base = at, self.tick
        upright.pict_type = PictureType.NONE  # the source's own would be forced on the encoder
        if self._overlay:
            self._overlay(upright)
        self.pts.append(at)
        self._encode_held(at)
        self._held = upright

    def finish(self, end: int) -> None:
        """Write what is left; the last picture is shown until `end` ticks."""
        self._encode_held(end)
        if self._video:
            self._mux_pictures(None)
        self.sound.finish()

    def _opened(self, frame: VideoFrame) -> Upright:
        """What turns pictures into the encoder's, made for the first one."""
        if self._upright is None:
            assert self._info.video
            self._upright = Upright(self._info.video, *self._size, "yuv420p")
            self._video = self._add_video(self._info.video, self._upright(frame))
            if self._info.audio:
                self.sound.open()
        return self._upright

    def _add_video(self, video: VideoInfo, upright: VideoFrame) -> VideoStream:
        stream = self._container.add_stream(
            "libx264", rate=video.frame_rate, options=_encoding(self._options, self._size)
        )
        context = stream.codec_context
        context.width, context.height = self._size
        context.pix_fmt = "yuv420p"
        context.time_base = self.tick
        context.gop_size = max(1, round(GOP_SECONDS * min(video.frame_rate, Fraction(120))))
        context.thread_count = THREADS
        context.sample_aspect_ratio = upright_aspect(video)
        context.color_range, context.colorspace = upright.color_range, upright.colorspace
        context.color_primaries, context.color_trc = upright.color_primaries, upright.color_trc
        _keep_fields(context, upright)
        return stream

    def _encode_held(self, until: int) -> None:
        if self._held is not None:
            assert self._held.pts is not None
            self._durations[self._held.pts] = until - self._held.pts
            self._mux_pictures(self._held)
            self._held = None

    def _mux_pictures(self, frame: VideoFrame | None) -> None:
        assert self._video
        packets = cast("list[AnyPacket]", self._video.encode(frame))
        for packet in packets:
            assert packet.pts is not None
            packet.duration = self._durations.pop(packet.pts)
            self._container.mux(packet)


def _encoding(options: CutOptions, size: tuple[int, int]) -> dict[str, str]:
    large = {"rc-lookahead": "3", "bf": "0"} if size[0] * size[1] > LARGE_PIXELS else {}
    return {
        "preset": options.preset,
        "crf": str(rung(options).crf),
        "profile": "high",
        "a53cc": "0",  # captions are the source's metadata, and may lie
        **large,
        **options.extra,
    }


def _overlay(video: VideoInfo | None, options: CutOptions) -> Overlay | None:
    if video is None or options.watermark is None:
        return None
    return Overlay(options.watermark, clip_size(video, options), upright_aspect(video))


def _keep_fields(context: VideoCodecContext, frame: VideoFrame) -> None:
    """Interlaced pictures stay interlaced, where the encoder can: its field macroblocks need 4 lines."""
    if frame.interlaced_frame and frame.height % 4 == 0:
        context.flags |= Flags.interlaced_dct | Flags.interlaced_me
