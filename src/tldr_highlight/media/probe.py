"""What a file is, before anything of it is believed.

`open_media` is the only door through which media enters: it lets libav use the containers on a list and,
for files, the `file` protocol, so that no playlist, no concat script and no reference inside a file can
make it open another one; sources on servers come through `remote.py`. `probe` looks at the headers, the
first half minute of packets (of sources on servers the first megabyte) and one picture.
"""

from __future__ import annotations

import contextlib
import itertools
import stat
import statistics
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path
from typing import TypeAlias, TypeVar, cast

import av
import numpy as np
from av.audio.stream import AudioStream
from av.buffer import Buffer
from av.container import InputContainer
from av.error import FFmpegError, MemoryError, PermissionError
from av.packet import Packet
from av.sidedata.sidedata import Type as SideDataType
from av.stream import Discard, Disposition, Stream
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from tldr_highlight.errors import (
    MediaError,
    MediaLimitError,
    NoStreamsError,
    NotFoundError,
    NotMediaError,
    TldrError,
    UsageError,
)
from tldr_highlight.media.remote import HEAD, Medium, Opened
from tldr_highlight.media.types import AudioInfo, MediaInfo, Origin, VideoInfo, shown

AnyPacket: TypeAlias = "Packet[Stream]"
AnyStream = TypeVar("AnyStream", VideoStream, AudioStream)

CONTAINERS = (
    "mov", "matroska", "mpegts", "flv", "live_flv", "avi", "asf", "mpeg", "mpegvideo", "mxf", "nut", "ivf",
    "dv", "rm", "ogg", "mp3", "aac", "wav", "w64", "flac", "aiff", "caf", "ac3", "eac3", "amr", "ape", "wv",
    "tta", "au",
)  # fmt: skip
"""libav's demuxers that read one file and nothing else. No playlists, scripts, picture files or subtitles,
and no bare H.264 or HEVC, which has no times."""

MOST_STREAMS = 200
"""Opening costs a decoder each: 900 streams take 1.7 s, a broadcaster's whole multiplex holds about 100."""

MOST_PIXELS = 8192 * 8192
"""Of one picture: 8K with room; 100 MB as 4:2:0."""

OPTIONS = {
    "format_whitelist": ",".join(CONTAINERS),
    "max_streams": str(MOST_STREAMS),
    "max_pixels": str(MOST_PIXELS),  # for the decoders that look at the first pictures
}

PATIENCE = 60.0
"""Seconds that opening, or reading one packet, may take before the file is given up."""

LOOK_SECONDS = 30.0
LOOK_BYTES = 48_000_000
LOOK_PACKETS = 6_000
LOOK_WALL = 2.0
"""How far `probe` reads on to see rate and key pictures: media seconds, bytes, packets, seconds of ours."""

LOOK_BYTES_AWAY = 1_000_000
"""The bytes where they come over a network: a clip of 10 s is 7.5 MB."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What we are willing to decode; anything above is refused before a decoder sees it."""

    pixels: int = MOST_PIXELS
    streams: int = MOST_STREAMS - 1
    seconds: float = 7 * 24 * 3600.0
    sample_rate: int = 768_000  # Hz
    channels: int = 64


# --- opening -------------------------------------------------------------------------------------------


def open_media(origin: Origin) -> InputContainer:
    """Open a source to read from; use it as a context manager. An address must be `remote.opened` before.

    Raises:
        NotFoundError: nothing has this name.
        UsageError: it is a folder or a device.
        NotMediaError: empty, a picture, text, or nothing we know.
        MediaError: media that is damaged beyond opening, or that may not be read.
        MediaLimitError: more streams than anyone needs.
        SourceError: a source on a server that cannot be reached.
    """
    head = _head(origin)
    try:
        if isinstance(origin, Opened):
            return origin.medium.container(OPTIONS)
        # After the `file:` prefix libav takes a name as it is: dashes, colons, percent signs, newlines.
        # A Python file object does the same and costs 6 ms more for 900 packets.
        options = OPTIONS | {"protocol_whitelist": "file"}
        return av.open(f"file:{origin}", "r", options=options, metadata_errors="replace", timeout=PATIENCE)
    except FFmpegError as error:
        raise _refusal(origin, head, error) from error


def _head(origin: Origin) -> bytes:
    """The first bytes, when they do not rule the source out already."""
    if isinstance(origin, Path):
        head = _first_bytes(origin)
    elif isinstance(origin, Opened):
        head = origin.head
    else:
        raise UsageError(f"{shown(origin)} is an address that was not opened: name a file")
    if not head:
        raise NotMediaError(f"{shown(origin)} is empty: download or record it again")
    if head[4:8] == b"ftyp" and head[8:12] in _PICTURE_BRANDS:
        raise NotMediaError(f"{shown(origin)} is a HEIF or AVIF picture: name an audio or video file")
    return head


def _first_bytes(path: Path) -> bytes:
    try:
        status = path.stat()
        if stat.S_ISDIR(status.st_mode):
            raise UsageError(f"{shown(path)} is a folder: name the files in it")
        if not stat.S_ISREG(status.st_mode):
            raise UsageError(f"{shown(path)} is not a regular file: name a media file")
        with path.open("rb") as file:
            return file.read(HEAD)
    except (FileNotFoundError, NotADirectoryError, ValueError) as error:
        raise NotFoundError(f"{shown(path)} does not exist in {path.parent}") from error
    except OSError as error:
        raise MediaError(f"{shown(path)} cannot be read: {error.strerror}") from error


def _refusal(origin: Origin, head: bytes, error: FFmpegError) -> TldrError:
    """Our error for what libav said about a file that starts with `head`."""
    name = shown(origin)
    if isinstance(error, MemoryError):
        return MediaLimitError(
            f"{name} holds more than {MOST_STREAMS} streams, or asks for more memory than there is:"
            " copy the ones you need into a new file"
        )
    if isinstance(error, PermissionError):
        return MediaError(f"{name} cannot be read: {error.strerror}")
    if isinstance(origin, Opened) and origin.medium.parts:
        return MediaError(f"{name} names segments that cannot be read ({error.strerror}): it is damaged")
    if bare := _signature(head, _BARE_SIGNATURES):
        return MediaError(f"{name} is {bare} and has no times: put it into a container, such as MP4")
    if media := _signature(head, _MEDIA_SIGNATURES):
        return MediaError(f"{name} is {media} and cannot be opened ({error.strerror}): repair or replace it")
    other = _signature(head, _OTHER_SIGNATURES) or _plain(head)
    what = f"is {other}" if other else f"is not audio or video ({error.strerror})"
    return NotMediaError(f"{name} {what}: name an audio or video file, or convert it to MP4")


_PICTURE_BRANDS = {b"avif", b"heic", b"heix", b"mif1"}

_Signatures: TypeAlias = tuple[tuple[int, bytes, str], ...]

_NO_INDEX = "an MP4 or MOV file without a readable index (moov), as an unfinished recording is,"

_MEDIA_SIGNATURES: _Signatures = (
    (4, b"ftyp", _NO_INDEX),
    (4, b"mdat", _NO_INDEX),
    (4, b"moov", "a MOV file"),
    (0, b"\x1a\x45\xdf\xa3", "a Matroska or WebM file"),
    (8, b"AVI ", "an AVI file"),
    (8, b"WAVE", "a WAV file"),
    (0, b"FLV\x01", "an FLV file"),
    (0, b"OggS", "an OGG file"),
    (0, b"fLaC", "a FLAC file"),
    (0, b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", "an ASF or WMV file"),
    (0, b"ID3", "an MP3 file"),
)

_BARE_SIGNATURES: _Signatures = tuple(
    (0, begin + first, f"bare {codec} video")
    for begin in (b"\0\0\1", b"\0\0\0\1")
    for first, codec in ((b"\x67", "H.264"), (b"\x27", "H.264"), (b"\x09", "H.264"), (b"\x06", "H.264"),
                         (b"\x40\x01", "HEVC"), (b"\x46\x01", "HEVC"))
)  # fmt: skip
"""A start code, and what comes first: parameters, a delimiter or a remark."""

_OTHER_SIGNATURES: _Signatures = (
    (0, b"\x89PNG", "a PNG picture"),
    (0, b"\xff\xd8\xff", "a JPEG picture"),
    (0, b"GIF8", "a GIF picture"),
    (8, b"WEBP", "a WebP picture"),
    (0, b"BM", "a BMP picture"),
    (0, b"II*\x00", "a TIFF picture"),
    (0, b"MM\x00*", "a TIFF picture"),
    (0, b"%PDF", "a PDF document"),
    (0, b"PK\x03\x04", "a ZIP archive or an office document"),
    (0, b"\x1f\x8b", "a gzip archive"),
    (0, b"7z\xbc\xaf", "a 7z archive"),
    (0, b"Rar!", "a RAR archive"),
    (0, b"\x7fELF", "a program"),
    (0, b"MZ", "a program"),
    (0, b"#EXTM3U", "a playlist, not the media it names"),
    (0, b"<MPD", "a DASH manifest, not the media it names"),
    (0, b"ffconcat", "a concat script, not the media it names"),
    (0, b"<!DOCTYPE", "a web page"),
    (0, b"<html", "a web page"),
)


def _signature(head: bytes, table: _Signatures) -> str | None:
    return next((what for at, magic, what in table if head.startswith(magic, at)), None)


def _plain(head: bytes) -> str | None:
    """Text and blank files, which have no signature."""
    if not head.strip(b"\0"):
        return "a file of zeros, as an interrupted download is"
    try:
        text = head[: len(head) - 3].decode("utf-8-sig") if len(head) == HEAD else head.decode("utf-8-sig")
    except UnicodeDecodeError:
        return None
    return "text" if all(c.isprintable() or c.isspace() for c in text) else None


# --- probing -------------------------------------------------------------------------------------------


def probe(origin: Origin, limits: Limits = Limits(), *, sound: Origin | None = None) -> MediaInfo:
    """Say what is in a source and which streams of it are used. Reads its start, never all of it.

    With `sound`, the pictures of `origin` and the sound of `sound` are one source. Both then share a clock,
    as such pairs do that a player is given: what has the same raw time is seen and heard together, and
    media time 0 is where the earlier of them starts.

    Raises:
        NoStreamsError: neither picture nor sound that can be decoded, with the reason; or one is missing
            in a pair.
        MediaLimitError: over `limits`.
        MediaError: damaged so that nothing can be said about it.
        TldrError: what `open_media` raises.
    """
    if sound is None:
        return _probed(origin, limits, _BOTH)
    return _paired(_probed(origin, limits, {"video"}), _probed(sound, limits, {"audio"}))


_BOTH = {"video", "audio"}


def _paired(seen: MediaInfo, heard: MediaInfo) -> MediaInfo:
    """One source of the pictures and the sound of two."""
    start = min(seen.start_time, heard.start_time)
    end = max(i.start_time + i.duration for i in (seen, heard))
    return replace(
        seen,
        duration=end - start,
        start_time=start,
        size=seen.size + heard.size,
        audio=heard.audio,
        audio_tracks=heard.audio_tracks,
        warnings=tuple(dict.fromkeys([*seen.warnings, *heard.warnings])),
        sound_origin=heard.origin,
        version=f"{seen.version} {heard.version}" if seen.version and heard.version else None,
    )


def _probed(origin: Origin, limits: Limits, kinds: Set[str]) -> MediaInfo:
    with open_media(origin) as container:
        try:
            return _described(origin, container, limits, kinds)
        except FFmpegError as error:
            raise MediaError(f"{shown(origin)} cannot be read ({error.strerror}): repair it first") from error


def _described(origin: Origin, container: InputContainer, limits: Limits, kinds: Set[str]) -> MediaInfo:
    """What is in an open source, of the `kinds` of streams that are wanted."""
    _check_streams(origin, len(container.streams), limits)
    away = origin.medium if isinstance(origin, Opened) else None
    video = _best(_pictures(container)) if "video" in kinds else None
    audio = _best(container.streams.audio) if "audio" in kinds else None
    if video is None and audio is None:
        raise NoStreamsError(f"{shown(origin)} {_why_none(container, kinds)}")
    _check_sizes(origin, video, audio, limits)
    use_only(container, [s for s in (video, audio) if s])
    look = _look(container, video, audio, LOOK_BYTES_AWAY if away else LOOK_BYTES)
    video = None if video and video.index in look.encrypted else video
    audio = None if audio and audio.index in look.encrypted else audio
    if video is None and audio is None:
        raise NoStreamsError(f"{shown(origin)} is encrypted: name a copy without protection")
    starts = _starts(video, audio, look)
    start = min(starts.values(), default=(container.start_time or 0) / av.time_base)
    used = [s for s in (video, audio) if s]
    duration, estimated = _whole_length(away) or _duration(container, used, look, starts, start)
    _check_duration(origin, duration, limits)
    picture = _video_info(video, look) if video else None
    return MediaInfo(
        origin=origin,
        container=container.format.name,
        duration=duration,
        start_time=start,
        size=away.size if away else container.size,
        video=picture,
        audio=_audio_info(audio) if audio else None,
        audio_tracks=len(container.streams.audio) if "audio" in kinds else 0,
        warnings=(
            *_warnings(container, picture, audio, look, start, estimated=estimated),
            *_breaks(away),
        ),
        version=away.version if away else _version(origin),
    )


def _version(origin: Origin) -> str | None:
    """Size and time of a file."""
    if not isinstance(origin, Path):
        return None
    status = origin.stat()
    return f"{status.st_size} {status.st_mtime_ns}"


def use_only(container: InputContainer, streams: Iterable[Stream]) -> None:
    """Have the demuxer skip all other streams, where it can without reading them."""
    wanted = {s.index for s in streams}
    for stream in container.streams:
        stream.discard = Discard.default if stream.index in wanted else Discard.all


MOST_ERRORS = 100
"""Damaged reads until the rest of a file is given up."""


def packets(
    container: InputContainer, streams: Iterable[Stream], most_errors: int = MOST_ERRORS
) -> Iterator[AnyPacket]:
    """Every packet of `streams` that holds something, from where the container stands to its end.

    Reading goes on behind damage, `most_errors` times.
    """
    wanted = list(streams)
    for _ in range(most_errors):
        try:
            yield from (p for p in container.demux(*wanted) if p.size)
        except FFmpegError:
            continue
        except IndexError:
            return  # PyAV at the end of a file in which further streams appeared while it was read
        return


def _pictures(container: InputContainer) -> Iterable[VideoStream]:
    """Video streams that are no cover picture and no strip of thumbnails."""
    still = Disposition.attached_pic | Disposition.timed_thumbnails | Disposition.still_image
    return (s for s in container.streams.video if not s.disposition & still)


def _best(streams: Iterable[AnyStream]) -> AnyStream | None:
    """The first usable one that is marked as default, else the first usable one."""
    usable = [s for s in streams if _useless(s) is None]
    return next((s for s in usable if s.disposition & Disposition.default), usable[0] if usable else None)


_CONTEXT = "codec_context"  # absent where libav has no decoder, whatever the stubs say


def _useless(stream: Stream) -> str | None:
    """Why a stream cannot be decoded."""
    if getattr(stream, _CONTEXT, None) is None:
        return "is of a codec that has no decoder here"
    if isinstance(stream, VideoStream) and not (stream.width and stream.height):
        return "does not say how large its pictures are"
    if isinstance(stream, AudioStream) and not (stream.sample_rate and stream.channels):
        return "does not say its sample rate"
    return None


def _why_none(container: InputContainer, kinds: Set[str]) -> str:
    reasons = [
        f"stream {s.index} ({s.type}) {_useless(s) or 'is a cover picture'}"
        for s in container.streams
        if s.type in kinds
    ]
    if not reasons:
        what = "neither picture nor sound" if kinds == _BOTH else f"no {', '.join(kinds)}"
        return f"holds {what}: name another file"
    return f"holds nothing that can be decoded: {', '.join(reasons[:5])}; convert it first"


def _check_streams(origin: Origin, count: int, limits: Limits) -> None:
    if count > limits.streams:
        raise MediaLimitError(
            f"{shown(origin)} holds {count} streams or more; the limit is {limits.streams}:"
            " copy the ones you need into a new file"
        )


def _check_sizes(
    origin: Origin, video: VideoStream | None, audio: AudioStream | None, limits: Limits
) -> None:
    if video and video.width * video.height > limits.pixels:
        raise MediaLimitError(
            f"{shown(origin)} has pictures of {video.width}x{video.height};"
            f" the limit is {limits.pixels / 1e6:.0f} million pixels: scale it down first"
        )
    if audio and (audio.sample_rate > limits.sample_rate or audio.channels > limits.channels):
        raise MediaLimitError(
            f"{shown(origin)} has sound of {audio.channels} channels at {audio.sample_rate} Hz;"
            f" the limit is {limits.channels} at {limits.sample_rate}: convert it first"
        )


def _check_duration(origin: Origin, duration: float, limits: Limits) -> None:
    if duration > limits.seconds:
        raise MediaLimitError(
            f"{shown(origin)} claims to last {duration / 3600:.0f} hours; the limit is"
            f" {limits.seconds / 3600:.0f}: its header is wrong, or split it first"
        )


# --- looking at the first packets ----------------------------------------------------------------------


MOST_OF_IT = 0.8
"""Share of a file's bytes behind which reading ended because the file did, not because of damage."""


@dataclass(slots=True)
class _Look:
    """What the first packets showed. Times are raw seconds."""

    times: list[float] = field(default_factory=list[float])  # pts of pictures shown, in order of decoding
    keys: list[float] = field(default_factory=list[float])
    key_packet: AnyPacket | None = None
    first_sound: float | None = None
    last: float = 0.0
    count: int = 0
    position: int = 0  # byte in the file that was reached
    encrypted: set[int] = field(default_factory=set[int])  # streams whose packets nobody can read
    complete: bool = False  # saw the whole file


def _bytes(container: InputContainer) -> int:
    """Bytes of the file; 0 of a recording in segments, whose file is a playlist."""
    return 0 if container.format.name == "hls" else container.size


def _look(
    container: InputContainer, video: VideoStream | None, audio: AudioStream | None, budget: int
) -> _Look:
    """Read the first packets until one of the bounds; damage ends it early."""
    look = _Look()
    deadline = time.monotonic() + LOOK_WALL
    for packet in packets(container, [s for s in (video, audio) if s], most_errors=1):
        if packet.pts is None:
            continue
        _note(look, packet, audio)
        budget -= packet.size
        seen = look.last - (look.times[0] if look.times else look.first_sound or 0.0)
        if budget < 0 or seen > LOOK_SECONDS or look.count > LOOK_PACKETS or time.monotonic() > deadline:
            return look
    look.complete = look.position >= MOST_OF_IT * _bytes(container)
    return look


def _note(look: _Look, packet: AnyPacket, audio: AudioStream | None) -> None:
    assert packet.pts is not None
    look.count += 1
    if packet.has_sidedata("encryption_info"):
        look.encrypted.add(packet.stream_index)
    at = float(packet.pts * packet.time_base)
    look.last = max(look.last, at + float((packet.duration or 0) * packet.time_base))
    look.position = max(look.position, packet.pos or 0)
    if audio and packet.stream_index == audio.index:
        if look.first_sound is None:
            look.first_sound = at
        return
    if not packet.is_discard:
        look.times.append(at)
    if packet.is_keyframe:
        look.keys.append(at)
        look.key_packet = look.key_packet or packet


def _starts(video: VideoStream | None, audio: AudioStream | None, look: _Look) -> dict[int, float]:
    """Raw seconds at which each stream's first picture or sample is presented, by stream index."""
    starts: dict[int, float] = {}
    if video and look.times:  # libav's own guess is the first one with a decoding time: maybe the seventh
        starts[video.index] = min(look.times)
    elif video and video.start_time is not None:
        starts[video.index] = _seconds(video, video.start_time)
    if audio and audio.start_time is not None:
        starts[audio.index] = _seconds(audio, audio.start_time)  # behind what only primes the decoder
    elif audio and look.first_sound is not None:
        starts[audio.index] = look.first_sound
    return starts


def _seconds(stream: Stream, ticks: int) -> float:
    return float(ticks * (stream.time_base or 0))


TAIL_PACKETS = 2_000
TAIL_BYTES = 4_000_000
"""What is read at the end of a file that does not say how long it is."""


def _duration(
    container: InputContainer, used: Sequence[Stream], look: _Look, starts: Mapping[int, float], start: float
) -> tuple[float, bool]:
    """Seconds of media time, and whether they are an estimate."""
    ends = [starts.get(s.index, start) + _seconds(s, s.duration) for s in used if s.duration]
    if "matroska" in container.format.name and start > 0.5 and not look.complete:
        # Some writers state how long the file is, others when it ends.
        return _estimate(container, used, look, start), False
    if len(ends) < len(used) and container.duration and not look.complete:
        ends.append(start + container.duration / av.time_base)
    if ends and max(ends) > start:
        return max(ends) - start, False
    if look.complete:
        return max(look.last - start, 0.0), False
    return _estimate(container, used, look, start), True


CUT_OFF = 2.0
"""Seconds that are missing where a file was cut off; headers round, and count silence behind the end."""


def _promised(container: InputContainer) -> float:
    """Seconds, or when it ends, by a header that speaks of the whole; 0 where its streams say it."""
    if any(s.duration for s in container.streams):
        return 0.0
    return (container.duration or 0) / av.time_base


def _whole_length(medium: Medium | None) -> tuple[float, bool] | None:
    """Seconds of a recording in several parts, of which libav sees one at a time, and that they are known."""
    if medium is None or len(medium.parts) < 2:
        return None
    last = medium.parts[-1]
    return last.start + last.seconds, False


def _estimate(container: InputContainer, used: Sequence[Stream], look: _Look, start: float) -> float:
    """Seconds by the file's last packets, or by its bytes where there is no seeking."""
    size = _bytes(container)
    tail = _Look()
    with contextlib.suppress(FFmpegError):  # where there is no seeking, what is read next will not be the end
        container.seek(2**62, backward=True)
    for packet in itertools.islice(packets(container, used, most_errors=1), TAIL_PACKETS):
        if packet.pts is not None:
            _note(tail, packet, None)
    if tail.last > look.last and tail.position > size - TAIL_BYTES:
        return tail.last - start
    return (look.last - start) * size / max(look.position, 1)


# --- describing ----------------------------------------------------------------------------------------


def _video_info(stream: VideoStream, look: _Look) -> VideoInfo:
    gaps = _gaps(look)
    variable = _variable(gaps, float(stream.time_base or 0))
    rotation, flipped = orientation(_first_picture(stream, look))
    distances = [b - a for a, b in itertools.pairwise(sorted(look.keys))]
    return VideoInfo(
        index=stream.index,
        codec=stream.codec_context.codec.canonical_name,
        width=stream.width,
        height=stream.height,
        rotation=rotation,
        frame_rate=_frame_rate(stream, gaps, variable=variable),
        variable_rate=variable,
        pixel_format=stream.pix_fmt or "unknown",
        gop_seconds=statistics.median(distances) if distances else None,
        sample_aspect=_aspect(stream),
        flipped=flipped,
    )


def _audio_info(stream: AudioStream) -> AudioInfo:
    context = stream.codec_context
    return AudioInfo(stream.index, context.codec.canonical_name, context.sample_rate, context.channels)


def _aspect(stream: VideoStream) -> Fraction:
    """Shape of a pixel; nonsense counts as square."""
    aspect = stream.sample_aspect_ratio or Fraction(1)
    return aspect if Fraction(1, 8) <= aspect <= 8 else Fraction(1)


REORDER = 16
"""Pictures at the end of a look between which others may still be missing: H.264 reorders no more."""


def _gaps(look: _Look) -> list[float]:
    """Distances of the pictures seen."""
    times = look.times if look.complete else look.times[:-REORDER]
    return [b - a for a, b in itertools.pairwise(sorted(times)[: None if look.complete else -REORDER])]


UNEVEN_SHARE = 0.01
"""Share of odd distances that make a rate variable; a single dropped picture does not."""


def _variable(gaps: Sequence[float], tick: float) -> bool:
    if not gaps:
        return False
    middle = statistics.median(gaps)
    uneven = sum(abs(g - middle) > 1.5 * tick + 1e-6 for g in gaps)
    return uneven > UNEVEN_SHARE * len(gaps)


RATE_ERROR = 0.01
"""Relative difference of declared and measured frame rate that half a minute's rounding explains."""


def _frame_rate(stream: VideoStream, gaps: Sequence[float], *, variable: bool) -> Fraction:
    """What the container declares where the pictures agree, else what they show."""
    declared = [r for r in (stream.guessed_rate, stream.average_rate, stream.base_rate) if r]
    if not gaps or sum(gaps) <= 0:
        return next((r for r in declared if 1 <= r <= 300), Fraction(25))
    middle = statistics.median(gaps)
    even = gaps if variable else [g for g in gaps if 0.5 * middle < g < 1.5 * middle]
    measured = 1 / statistics.fmean(even)
    near = [r for r in declared if abs(float(r) - measured) <= RATE_ERROR * measured]
    return near[0] if near else Fraction(measured).limit_denominator(1001)


def _first_picture(stream: VideoStream, look: _Look) -> VideoFrame | None:
    """The first key picture, decoded by itself: only frames carry their orientation."""
    if look.key_packet is None:
        return None
    stream.codec_context.thread_count = 1
    stream.codec_context.options = {"skip_loop_filter": "all", "max_pixels": str(MOST_PIXELS)}
    try:
        frames = [*decoded(stream, look.key_packet), *decoded(stream, None)]
    except FFmpegError:
        return None
    return frames[0] if frames else None


def decoded(stream: VideoStream, packet: AnyPacket | None) -> list[VideoFrame]:
    """The pictures that come out of the decoder for a packet, or that are left in it."""
    return stream.codec_context.decode(packet)  # pyright: ignore[reportUnknownMemberType]


def orientation(frame: VideoFrame | None) -> tuple[int, bool]:
    """Clockwise degrees to show a picture upright, and whether to flip it before."""
    if frame is None:
        return 0, False
    side_data = cast("Mapping[SideDataType, Buffer]", frame.side_data)
    if SideDataType.DISPLAYMATRIX not in side_data:
        return 0, False
    matrix = bytes(side_data[SideDataType.DISPLAYMATRIX])
    a, b, _, c, d = (float(x) for x in np.frombuffer(matrix, np.int32)[:5])
    return round(-frame.rotation / 90) % 4 * 90, a * d - b * c < 0


def _breaks(medium: Medium | None) -> Iterator[str]:
    """What to say of a recording whose clock or parameters begin anew inside."""
    places = [f"{part.start:.3f}" for part in medium.parts[1:]] if medium else []
    if places:
        more = ", ..." if len(places) > MOST_BREAKS_TOLD else ""
        told = ", ".join(places[:MOST_BREAKS_TOLD])
        yield f"the recording breaks at {told}{more} s; no clip can reach across"


MOST_BREAKS_TOLD = 5


def _warnings(
    container: InputContainer,
    video: VideoInfo | None,
    audio: AudioStream | None,
    look: _Look,
    start: float,
    *,
    estimated: bool,
) -> Iterable[str]:
    tracks = container.streams.audio
    if audio and len(tracks) > 1:
        place = [t.index for t in tracks].index(audio.index) + 1
        language = f" ({audio.language})" if audio.language not in {None, "und"} else ""
        yield f"{len(tracks)} audio tracks: track {place}{language} is used"
    if video and video.variable_rate:
        yield f"the frame rate varies, {float(video.frame_rate):.2f} per second on average"
    if abs(start) > 0.5:
        yield f"timestamps start at {start:.3f} s; times here count from there"
    if look.complete and (promised := _promised(container)) > look.last + CUT_OFF:
        yield f"the file ends at {look.last - start:.1f} s though its header promises {promised:.1f} s"
    if estimated:
        yield "the file does not say how long it is; its length is an estimate until it is read"
    for stream in container.streams:
        reason = "is encrypted" if stream.index in look.encrypted else _useless(stream)
        if reason and stream.type in {"video", "audio"}:
            yield f"stream {stream.index} ({stream.type}) {reason}: left out"
