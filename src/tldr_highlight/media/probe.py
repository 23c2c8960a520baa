"""What a file is: container, streams, duration, rotation, rate, distance of key pictures; or why it is refused.

Nothing is decoded before the caps are checked. `open_media` is the one place that opens a file for reading.
"""

from __future__ import annotations

import contextlib
import errno
import itertools
import stat
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.error import FFmpegError
from av.stream import Stream
from av.video.stream import VideoStream

from tldr_highlight.errors import (
    MediaError,
    MediaLimitError,
    NoStreamsError,
    NotFoundError,
    NotMediaError,
    UsageError,
)
from tldr_highlight.media.types import AudioInfo, MediaInfo, VideoInfo

DEMUXERS = (
    "mov,mp4,m4a,3gp,3g2,mj2", "matroska,webm", "mpegts", "mpeg", "flv", "live_flv", "avi", "asf", "ogg",
    "mp3", "aac", "wav", "w64", "flac", "aiff", "caf", "ac3", "eac3", "amr", "h264", "hevc", "m4v",
    "mpegvideo", "mxf", "nut", "ivf", "dv", "rm", "obu", "ape", "wv", "tta", "au",
)  # fmt: skip
"""What people have. Left out is what reads other files (concat, playlists, image rows) or draws text."""


@dataclass(frozen=True, slots=True)
class Limits:
    """More than this is refused before anything is decoded."""

    pixels: int = 8192 * 8192
    streams: int = 2000
    hours: float = 48.0
    sample_rate: int = 768_000
    channels: int = 64


@contextlib.contextmanager
def open_media(path: Path) -> Generator[InputContainer]:
    """Open a file for demuxing, through a Python file object: no name can be an option, URL or pattern.

    Raises:
        NotFoundError, UsageError, MediaError, NotMediaError: with the file's name and the reason.
    """
    with _file(path) as file:
        try:
            container = av.open(
                file,
                "r",
                container_options={"format_whitelist": ",".join(DEMUXERS), "protocol_whitelist": ""},
                metadata_errors="replace",
                buffer_size=1 << 18,
            )
        except (FFmpegError, ValueError, UnicodeDecodeError) as error:
            raise _refusal(path, error) from error
        with container:
            yield container


@contextlib.contextmanager
def _file(path: Path) -> Generator[object]:
    try:
        mode = path.stat().st_mode
        if stat.S_ISDIR(mode):
            raise UsageError(f"{path} is a folder, not a file")
        if not stat.S_ISREG(mode):
            raise UsageError(f"{path} is not a regular file")
        file = path.open("rb", buffering=0)
    except FileNotFoundError as error:
        raise NotFoundError(f"no such file: {path}") from error
    except (OSError, ValueError) as error:
        reason = "its name is too long" if getattr(error, "errno", 0) == errno.ENAMETOOLONG else error
        raise MediaError(f"cannot read {path}: {getattr(reason, 'strerror', None) or reason}") from error
    with file:
        yield file


_MAGIC = (
    (b"\x89PNG", "a PNG picture"), (b"\xff\xd8\xff", "a JPEG picture"), (b"GIF8", "a GIF picture"),
    (b"%PDF", "a PDF document"), (b"PK\x03\x04", "a ZIP archive"), (b"\x1f\x8b", "a gzip archive"),
    (b"#EXTM3U", "a playlist, not a recording"), (b"ffconcat", "a list of files, not a recording"),
    (b"BM", "a BMP picture"), (b"II*\x00", "a TIFF picture"), (b"MM\x00*", "a TIFF picture"),
    (b"\x7fELF", "a program"), (b"<?xml", "an XML text"), (b"<!DOCTYPE", "a web page"), (b"<html", "a web page"),
)  # fmt: skip


def _refusal(path: Path, error: Exception) -> MediaError:
    """Why libav did not take it, in words that help."""
    with path.open("rb") as file:
        head = file.read(4096)
    if not head:
        return NotMediaError(f"{path} is empty: was its download or recording finished?")
    for magic, what in _MAGIC:
        if head.startswith(magic):
            return NotMediaError(f"{path} is {what}, whatever its name says")
    if b"\0" not in head and _is_text(head):
        return NotMediaError(f"{path} is text, not audio or video")
    if b"moov" not in head and head[4:8] in {b"ftyp", b"mdat", b"free"}:
        return MediaError(
            f"{path} cannot be read: its index is missing, so the recording was cut off; ({error})"
        )
    return NotMediaError(f"{path} is not audio or video that can be read ({error})")


def _is_text(head: bytes) -> bool:
    try:
        head[: len(head) - 3].decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def probe(path: Path, limits: Limits | None = None) -> MediaInfo:
    """What `path` is. Reads its head, its index and at most 30 s of packets, whatever its length.

    Raises:
        NoStreamsError: neither picture nor sound that can be decoded.
        MediaLimitError: over one of `limits`.
        TldrError: as `open_media`.
    """
    limits = limits or Limits()
    with open_media(path) as container:
        if len(container.streams) > limits.streams:
            raise MediaLimitError(f"{path} has {len(container.streams)} streams, more than {limits.streams}")
        try:
            return _describe(path, container, limits)
        except FFmpegError as error:
            raise MediaError(f"{path} cannot be read: {error}") from error


def _describe(path: Path, container: InputContainer, limits: Limits) -> MediaInfo:
    video = _pick([s for s in container.streams.video if not _is_cover(s)])
    audio = _pick(list(container.streams.audio))
    if video is None and audio is None:
        raise NoStreamsError(_nothing_usable(path, container))
    _check(path, container, video, audio, limits)
    starts = [
        float(s.start_time * s.time_base)
        for s in (video, audio)
        if s and s.start_time is not None and s.time_base
    ]
    start = min(starts, default=0.0)
    scan = _scan(container, video) if isinstance(video, VideoStream) else _Scan(None, False, 0)
    tracks = len(container.streams.audio)
    return MediaInfo(
        path=path,
        container=container.format.name,
        duration=_duration(container, video, audio, start),
        start_time=start,
        size=path.stat().st_size,
        video=_video(video, scan) if isinstance(video, VideoStream) else None,
        audio=_audio(audio) if isinstance(audio, AudioStream) else None,
        audio_tracks=tracks,
        warnings=(f"{tracks} audio tracks; track {_ordinal(container, audio)} is used",)
        if tracks > 1 and audio
        else (),
    )


def _ordinal(container: InputContainer, audio: Stream) -> int:
    return 1 + [s.index for s in container.streams.audio].index(audio.index)


def _is_cover(stream: VideoStream) -> bool:
    return bool(
        stream.disposition & (av.stream.Disposition.attached_pic | av.stream.Disposition.timed_thumbnails)
    )


def _pick(streams: Sequence[VideoStream] | Sequence[AudioStream]) -> VideoStream | AudioStream | None:
    """The default stream, else the first, of those with a decoder and sane parameters."""
    usable = [s for s in streams if _decodable(s)]
    default = [s for s in usable if s.disposition & av.stream.Disposition.default]
    return next(iter(default or usable), None)


def _decodable(stream: VideoStream | AudioStream) -> bool:
    context = stream.codec_context
    if context is None or context.codec is None:  # pyright: ignore[reportUnnecessaryComparison]
        return False
    if isinstance(stream, VideoStream):
        return stream.codec_context.width > 0 and stream.codec_context.height > 0
    return stream.codec_context.sample_rate > 0


def _nothing_usable(path: Path, container: InputContainer) -> str:
    kinds = sorted({s.type for s in container.streams})
    if not kinds:
        return f"{path} has no streams: nothing to look at or listen to"
    if not {"video", "audio"} & set(kinds):
        return f"{path} has neither picture nor sound, only {', '.join(kinds)}"
    if all(_is_cover(s) for s in container.streams.video) and not container.streams.audio:
        return f"{path} holds a cover picture, but neither video nor sound"
    return f"{path} has streams that cannot be decoded here (damaged, encrypted, or an unknown codec)"


def _check(
    path: Path,
    container: InputContainer,
    video: VideoStream | AudioStream | None,
    audio: VideoStream | AudioStream | None,
    limits: Limits,
) -> None:
    if isinstance(video, VideoStream) and (pixels := video.width * video.height) > limits.pixels:
        raise MediaLimitError(f"{path}: pictures of {video.width}x{video.height} are {pixels / 1e6:.0f} megapixels, "
                              f"more than {limits.pixels / 1e6:.0f}")  # fmt: skip
    if isinstance(audio, AudioStream):
        if audio.codec_context.sample_rate > limits.sample_rate:
            raise MediaLimitError(
                f"{path}: sound at {audio.codec_context.sample_rate} Hz is over {limits.sample_rate}"
            )
        if audio.codec_context.channels > limits.channels:
            raise MediaLimitError(
                f"{path}: {audio.codec_context.channels} channels are over {limits.channels}"
            )


def _duration(
    container: InputContainer,
    video: VideoStream | AudioStream | None,
    audio: VideoStream | AudioStream | None,
    start: float,
) -> float:
    """Seconds from `start` to the end that the streams used, else the container, promise; 0 when none does."""
    ends = [
        float(((s.start_time or 0) + s.duration) * s.time_base) - start
        for s in (video, audio)
        if s and s.duration and s.duration > 0 and s.time_base
    ]
    if ends:
        return max(0.0, *ends)
    return (
        max(0.0, container.duration / av.time_base) if container.duration and container.duration > 0 else 0.0
    )


def _video(stream: VideoStream, scan: _Scan) -> VideoInfo:
    rate = stream.average_rate or stream.guessed_rate or Fraction(25)
    if not 0 < rate <= 1000:
        rate = Fraction(25)
    return VideoInfo(
        index=stream.index,
        codec=stream.codec_context.name,
        width=stream.codec_context.width,
        height=stream.codec_context.height,
        rotation=scan.rotation,
        frame_rate=Fraction(rate),
        variable_rate=scan.variable_rate,
        pixel_format=stream.codec_context.pix_fmt or "yuv420p",
        gop_seconds=scan.gop_seconds,
        sample_aspect=Fraction(stream.sample_aspect_ratio or 1),
    )


def _audio(stream: AudioStream) -> AudioInfo:
    context = stream.codec_context
    return AudioInfo(stream.index, context.name, context.sample_rate, context.channels)


# --- a look at the first packets -----------------------------------------------------------------------

SCAN_SECONDS = 30.0
SCAN_PACKETS = 4000
SCAN_BYTES = 40_000_000


@dataclass(frozen=True, slots=True)
class _Scan:
    gop_seconds: float | None
    variable_rate: bool
    rotation: int


def _scan(container: InputContainer, video: VideoStream) -> _Scan:
    """Distances of key pictures and of pictures in the first `SCAN_SECONDS`, and how the first one is turned."""
    base = float(video.time_base or 0)
    times: list[float] = []
    keys: list[float] = []
    size = 0
    rotation: int | None = None
    for packet in itertools.islice(_tolerant(container, video), SCAN_PACKETS):
        if packet.pts is None:
            continue
        at = packet.pts * base
        times.append(at)
        size += packet.size
        if packet.is_keyframe:
            keys.append(at)
        if rotation is None:
            rotation = _rotation(packet)
        if at - times[0] > SCAN_SECONDS or size > SCAN_BYTES:
            break
    steps = np.diff(np.sort(times))
    steps = steps[steps > 0]
    middle = float(np.median(steps)) if len(steps) else 0.0
    uneven = np.abs(steps - middle) > max(0.2 * middle, 2.1 * base)
    return _Scan(
        gop_seconds=float(np.median(np.diff(sorted(keys)))) if len(keys) > 1 else None,
        variable_rate=bool(len(steps) and uneven.mean() > 0.02),
        rotation=rotation or 0,
    )


def _tolerant(container: InputContainer, video: VideoStream) -> Generator[av.Packet]:
    """Packets of one stream up to the end or the first damage."""
    with contextlib.suppress(FFmpegError):
        for packet in container.demux(video):
            if packet.size:
                yield packet


def _rotation(packet: av.Packet) -> int | None:
    """Clockwise degrees by which a picture is to be turned; None while the decoder gives none out."""
    try:
        frames = packet.decode()
    except FFmpegError:
        return None
    return (-frames[0].rotation) % 360 if frames else None
