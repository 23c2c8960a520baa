"""Makes all media that tests need, with PyAV alone, and reads back what is in it.

Every picture carries its number as black and white squares that survive any encoder, and every sample of
sound belongs to a noise that never repeats, so a test can tell exactly which picture and which sample of
a source it sees in a clip.
"""

from __future__ import annotations

import functools
import itertools
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.audio.frame import AudioFrame
from av.codec.context import Flags
from av.container import InputContainer, OutputContainer
from av.packet import Packet
from av.video.frame import VideoFrame
from numpy.typing import NDArray

os.environ.setdefault("SVT_LOG", "0")  # SVT-AV1 talks on stderr

BITS = 16
TICK = Fraction(1, 90_000)

Gray = NDArray[np.uint8]
Samples = NDArray[np.float32]

FAST = {
    "libx264": {"preset": "veryfast", "crf": "18"},
    "libx265": {"preset": "ultrafast", "crf": "20", "x265-params": "log-level=none"},
    "libvpx-vp9": {"deadline": "realtime", "cpu-used": "8", "crf": "20", "b": "0"},
    "libsvtav1": {"preset": "12", "crf": "25"},
    "aac": {"aac_coder": "fast"},
}

FILLED = {"preset": "ultrafast"}
"""For pictures that are mostly noise, which no encoder makes less of: half the time."""


FORMATS = {
    ".mkv": "matroska",
    ".mka": "matroska",
    ".ts": "mpegts",
    ".m4a": "mp4",
    ".wmv": "asf",
    ".mpg": "vob",
}
"""libav's names of containers whose files end differently."""


@dataclass(frozen=True)
class Recipe:
    """What to make. Times are seconds."""

    seconds: float = 4.0
    # pictures
    codec: str | None = "libx264"
    fps: Fraction = Fraction(25)
    times: tuple[Fraction, ...] = ()  # of the pictures, instead of `seconds` and `fps`
    size: tuple[int, int] = (320, 192)  # upright
    gop: int = 12
    bframes: int = 2
    pix_fmt: str = "yuv420p"
    rotation: int = 0  # clockwise degrees a player must turn the stored picture
    flipped: bool = False  # stored upside down, before turning
    aspect: Fraction = Fraction(1)
    colours: int | None = None  # one number of libav's for primaries, transfer and matrix
    full_range: bool = False
    interlaced: bool = False  # coded so; the pictures are what they are
    options: tuple[tuple[str, str], ...] = ()
    video_start: float = 0.0
    noise: float = 0.0  # of the background, to fill files
    # sound
    audio: str | None = "aac"
    rate: int = 48_000
    layout: str = "stereo"
    audio_start: float = 0.0
    audio_seconds: float | None = None  # where the sound ends; None: with the pictures
    tracks: int = 1
    sound_options: tuple[tuple[str, str], ...] = ()
    # file
    start: float = 0.0  # raw time of media time 0
    cover: bool = False
    metadata: tuple[tuple[str, str], ...] = ()
    mux: tuple[tuple[str, str], ...] = ()

    def picture_times(self) -> list[Fraction]:
        """Media seconds of every picture."""
        if self.times:
            return list(self.times)
        count = round(self.seconds * self.fps)
        return [Fraction(self.video_start) + i / self.fps for i in range(count)]


def make(path: Path, recipe: Recipe) -> Path:
    """Write a file; its name's end says the container."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(f"file:{path}", "w", options=dict(recipe.mux), format=_format(path)) as container:
        container.metadata.update(dict(recipe.metadata))
        streams: list[Iterator[tuple[Fraction, list[Packet[Any]]]]] = []
        if recipe.codec:
            streams.append(_pictures(container, recipe))
        if recipe.audio:
            streams += [_sound(container, recipe, track) for track in range(recipe.tracks)]
        if recipe.cover:
            _add_cover(container)
        _interleave(container, streams)
    _schedule_as_usual()
    return path


def _schedule_as_usual() -> None:
    """As root, SVT-AV1 takes real time for the thread that opens it, and what that starts later inherits it.

    Two browsers at real time left nothing to anybody else: a load of 100, and pictures that came too late.
    """
    if hasattr(os, "sched_setscheduler") and os.sched_getscheduler(0) != os.SCHED_OTHER:
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))


def _format(path: Path) -> str:
    return FORMATS.get(path.suffix, path.suffix[1:])


def _interleave(
    container: OutputContainer, streams: Sequence[Iterator[tuple[Fraction, list[Packet[Any]]]]]
) -> None:
    """Write packets of all streams in order of time."""
    heads = {i: head for i, s in enumerate(streams) if (head := next(s, None))}
    while heads:
        i = min(heads, key=lambda k: (heads[k][0], k))
        container.mux(heads[i][1])
        if head := next(streams[i], None):
            heads[i] = head
        else:
            del heads[i]


# --- pictures ------------------------------------------------------------------------------------------


def picture(number: int, size: tuple[int, int], noise: float = 0.0) -> Gray:
    """A gray picture that carries `number`: squares in the top row, their inverse in the row below."""
    width, height = size
    row = height // 6
    gray = (_slopes(size) + np.uint8(5 * number % 256)) // 2 + 64  # which wraps at 256
    if noise:
        gray += np.random.default_rng(number).integers(0, int(noise), gray.shape, np.uint8)
    bits = [(number >> i) & 1 for i in range(BITS)]
    columns = np.repeat([16 + 219 * b for b in bits], -(-width // BITS))[:width]
    gray[:row] = columns
    gray[row : 2 * row] = 251 - columns
    return gray


@functools.cache
def _slopes(size: tuple[int, int]) -> Gray:
    y, x = np.mgrid[0 : size[1], 0 : size[0]]
    return (x + 2 * y).astype(np.uint8)


def number_of(gray: Gray) -> int:
    """The number a picture carries, at whatever size it is shown.

    Raises:
        ValueError: none can be read, because the picture is turned, damaged or another one.
    """
    height, width = gray.shape
    row = height / 6
    value = 0
    for i in range(BITS):
        left, right = width * (i + 0.3) / BITS, width * (i + 0.7) / BITS
        upper = gray[int(row * 0.3) : int(row * 0.7) + 1, int(left) : int(right) + 1].mean()
        lower = gray[int(row * 1.3) : int(row * 1.7) + 1, int(left) : int(right) + 1].mean()
        if abs(upper - lower) < 90:
            raise ValueError(f"bit {i} is unreadable: {upper:.0f} over {lower:.0f}")
        value |= int(upper > lower) << i
    return value


def _pictures(container: OutputContainer, recipe: Recipe) -> Iterator[tuple[Fraction, list[Packet[Any]]]]:
    assert recipe.codec
    options = {**FAST.get(recipe.codec, {}), **(FILLED if recipe.noise > 30 else {}), **dict(recipe.options)}
    stream = container.add_stream(recipe.codec, rate=recipe.fps, options=options)
    turned = recipe.rotation in {90, 270}
    stream.width, stream.height = recipe.size[::-1] if turned else recipe.size
    stream.pix_fmt = recipe.pix_fmt
    context = stream.codec_context
    context.gop_size = recipe.gop
    context.sample_aspect_ratio = recipe.aspect
    context.thread_count = 2
    if recipe.codec in {"libx264", "libx265", "mpeg4", "mpeg2video"}:
        context.max_b_frames = recipe.bframes
    if recipe.times:
        context.time_base = TICK
    if recipe.colours:
        context.colorspace = context.color_trc = context.color_primaries = recipe.colours
    if recipe.full_range:
        context.color_range = 2
    if recipe.interlaced:
        context.flags |= Flags.interlaced_dct | Flags.interlaced_me
    if recipe.rotation or recipe.flipped:
        across = recipe.flipped and turned  # the flip comes after the turn there, and before it here
        stream.set_display_rotation(-recipe.rotation, vflip=recipe.flipped and not turned, hflip=across)
    tick = TICK if recipe.times else 1 / recipe.fps

    def packets() -> Iterator[tuple[Fraction, list[Packet[Any]]]]:
        for number, at in enumerate(recipe.picture_times()):
            frame = _stored(number, recipe)
            frame.time_base = tick
            frame.pts = round((at + Fraction(recipe.start)) / tick)
            yield at, stream.encode(frame)
        yield Fraction(10**6), stream.encode(None)

    return packets()


def _stored(number: int, recipe: Recipe) -> VideoFrame:
    """The picture as it is stored: turned back."""
    gray = np.rot90(picture(number, recipe.size, recipe.noise), recipe.rotation // 90)
    if recipe.flipped:
        gray = np.flipud(gray)
    if not recipe.full_range:
        gray = (gray.astype(np.uint16) * 219 // 255 + 16).astype(np.uint8)
    if recipe.pix_fmt == "yuv444p":  # the one format here that has odd sizes
        flat = np.full_like(gray, 128)
        return VideoFrame.from_ndarray(np.stack([gray, flat, flat]), "yuv444p")
    height, width = gray.shape
    chroma = np.full((2, height // 2, width // 2), 128, np.uint8)
    chroma[0, :, : width // 4] = 110 + number % 30
    chroma[1, :, width // 4 :] = 150 - number % 30
    planes = np.concatenate([gray.ravel(), chroma.ravel()]).reshape(height * 3 // 2, width)
    frame = VideoFrame.from_ndarray(planes, "yuv420p")
    if recipe.pix_fmt == "yuv420p":
        return frame
    side = 2 if recipe.full_range else 1
    return frame.reformat(format=recipe.pix_fmt, src_color_range=side, dst_color_range=side)


def _add_cover(container: OutputContainer) -> None:
    """An attached picture, as music files have."""
    from av.stream import Disposition

    stream = container.add_stream("mjpeg", rate=1)
    stream.width, stream.height, stream.pix_fmt = 64, 64, "yuvj420p"
    stream.disposition = Disposition.attached_pic
    frame = VideoFrame(64, 64, "yuvj420p")
    frame.pts = 0
    container.mux(stream.encode(frame))
    container.mux(stream.encode(None))


# --- sound ---------------------------------------------------------------------------------------------


def sound(start: int, count: int, rate: int, track: int = 0) -> Samples:
    """Samples `start`... of a track's noise: no stretch of it occurs twice, and codecs keep it well."""
    first = start // rate
    seconds = [_second(n, rate, track) for n in range(first, (start + count) // rate + 1)]
    return np.concatenate(seconds)[start - first * rate :][:count]


@functools.lru_cache(maxsize=64)
def _second(number: int, rate: int, track: int) -> Samples:
    """One second of a track, smoothed into the next."""
    raw = [np.random.default_rng([track, n]).standard_normal(rate) for n in (number, number + 1)]
    window = np.hanning(12) / np.hanning(12).sum()
    smooth = np.convolve(np.concatenate(raw)[: rate + 11], window, "valid")
    return (0.25 * smooth).astype(np.float32)


def lag(samples: Samples, start: int, rate: int, track: int = 0, reach: int = 4000) -> int:
    """How many samples late `samples` are, taken for those from `start` on of a track.

    Raises:
        ValueError: they are nothing of the sort.
    """
    low = max(0, start - reach)
    reference = sound(low, len(samples) + reach + start - low, rate, track)
    size = 1 << (len(reference) + len(samples)).bit_length()
    spectrum = np.fft.rfft(reference, size) * np.conj(np.fft.rfft(samples, size))
    match = np.fft.irfft(spectrum, size)
    place = int(np.argmax(match))
    if match[place] < 8 * np.std(match):
        raise ValueError("the sound is not in the source")
    place = place if place < size // 2 else place - size
    return start - low - place


def _sound(
    container: OutputContainer, recipe: Recipe, track: int
) -> Iterator[tuple[Fraction, list[Packet[Any]]]]:
    assert recipe.audio
    rate = recipe.rate
    stream = container.add_stream(recipe.audio, rate=rate, layout=recipe.layout)
    experimental = {"strict": "-2"} if recipe.audio in {"vorbis", "opus"} else {}
    options = {**FAST.get(recipe.audio, {}), **experimental, **dict(recipe.sound_options)}
    stream.codec_context.options = options
    stream.codec_context.bit_rate = 192_000
    times = recipe.picture_times()
    end = recipe.audio_seconds or (times[-1] + 1 / recipe.fps if recipe.codec else recipe.seconds)
    total = round(Fraction(end) * rate)
    begin = round(recipe.audio_start * rate)

    def packets() -> Iterator[tuple[Fraction, list[Packet[Any]]]]:
        for at in range(begin, total, 1024):
            mono = sound(at, min(1024, total - at), rate, track)
            channels = len(av.AudioLayout(recipe.layout).channels)
            frame = AudioFrame.from_ndarray(np.repeat(mono[None], channels, axis=0), "fltp", recipe.layout)
            frame.sample_rate, frame.time_base = rate, Fraction(1, rate)
            frame.pts = at + round(recipe.start * rate)
            yield Fraction(at, rate), stream.encode(frame)
        yield Fraction(10**6), stream.encode(None)

    return packets()


# --- what other programs make of files -----------------------------------------------------------------


def hidden_start(path: Path, source: Path, seconds: Fraction) -> Path:
    """Packets of `source` in an MP4 whose edit list hides the first `seconds`, as tools that copy make it."""
    with av.open(f"file:{source}") as old, av.open(f"file:{path}", "w") as new:
        streams = [new.add_stream_from_template(s) for s in old.streams]
        for packet in _whole(old):
            _move(packet, -seconds)
            packet.stream = streams[packet.stream_index]
            new.mux(packet)
    return path


def spliced(path: Path, first: Path, second: Path, at: Fraction) -> Path:
    """Pictures of `first` before `at` seconds, of `second` behind; there both have a key picture.

    The sound is the first one's. Where an MP4 is made of MP4s, its header holds both parameter sets.
    """
    with (
        av.open(f"file:{first}") as one,
        av.open(f"file:{second}") as two,
        av.open(f"file:{path}", "w", format=_format(path)) as new,
    ):
        streams = [new.add_stream_from_template(s) for s in one.streams]
        if path.suffix == ".mp4":
            headers = [bytes(c.streams.video[0].codec_context.extradata or b"") for c in (one, two)]
            streams[0].codec_context.extradata = _both_parameters(*headers)
        heads, tails = _whole(one), _whole(two)
        begins = [min(p.pts * p.time_base for p in ps if not p.stream_index) for ps in (heads, tails)]
        kept = [p for p in heads if p.stream_index or p.pts * p.time_base - begins[0] < at]
        added = [p for p in tails if not p.stream_index and p.pts * p.time_base - begins[1] >= at]
        for packet in added:
            _move(packet, begins[0] - begins[1])
        for packet in sorted(kept + added, key=lambda p: p.dts * p.time_base):
            packet.stream = streams[packet.stream_index]
            new.mux(packet)
    return path


def shifted(path: Path, source: Path, kind: str, ticks: int) -> Path:
    """The same file, but for one kind of its packets, which are some ticks late."""
    with av.open(f"file:{source}") as old, av.open(f"file:{path}", "w", format=_format(path)) as new:
        streams = [new.add_stream_from_template(s) for s in old.streams]
        for packet in _whole(old):
            if packet.stream.type == kind:
                packet.pts, packet.dts = packet.pts + ticks, packet.dts + ticks
            packet.stream = streams[packet.stream_index]
            new.mux(packet)
    return path


def short_lengths(path: Path, source: Path) -> Path:
    """An MP4 of H.264 whose units are preceded by lengths of two bytes instead of four."""
    with av.open(f"file:{source}") as old, av.open(f"file:{path}", "w") as new:
        streams = [new.add_stream_from_template(s) for s in old.streams]
        header = bytearray(old.streams.video[0].codec_context.extradata or b"")
        header[4] = header[4] & 0xFC | 1
        streams[0].codec_context.extradata = bytes(header)
        for packet in _whole(old):
            shorter = packet if packet.stream_index else _with_units(packet, 2)
            shorter.stream = streams[packet.stream_index]
            new.mux(shorter)
    return path


def _whole(container: InputContainer) -> list[Packet[Any]]:
    return [p for p in container.demux() if p.pts is not None and p.dts is not None and p.size]


def _move(packet: Packet[Any], seconds: Fraction) -> None:
    ticks = round(seconds / packet.time_base)
    packet.pts, packet.dts = packet.pts + ticks, packet.dts + ticks


def units(data: bytes, length: int = 4) -> Iterator[bytes]:
    """H.264 units of a packet as MP4 and Matroska hold it, with lengths of so many bytes."""
    place = 0
    while place + length <= len(data):
        size = int.from_bytes(data[place : place + length], "big")
        yield data[place + length : place + length + size]
        place += length + size


def _with_units(packet: Packet[Any], length: int) -> Packet[Any]:
    made = Packet(b"".join(len(u).to_bytes(length, "big") + u for u in units(bytes(packet))))
    made.pts, made.dts, made.time_base = packet.pts, packet.dts, packet.time_base
    made.duration, made.is_keyframe = packet.duration, packet.is_keyframe
    return made


def _both_parameters(first: bytes, second: bytes) -> bytes:
    """One avcC (ISO/IEC 14496-15) with the parameter sets of two; what follows them is the first one's."""
    (sequence, picture, rest), (more_sequence, more_picture, _) = map(_parameters, (first, second))
    sequences, pictures = sequence + more_sequence, picture + more_picture
    sets = [bytes([0xE0 | len(sequences)]), *sequences, bytes([len(pictures)]), *pictures]
    return first[:5] + b"".join(sets) + rest


def _parameters(header: bytes) -> tuple[list[bytes], list[bytes], bytes]:
    """Sequence and picture parameter sets of an avcC, lengths in front, and what is behind them."""
    place = 5
    found: list[list[bytes]] = []
    for mask in (0x1F, 0xFF):
        count, place = header[place] & mask, place + 1
        found.append([])
        for _ in range(count):
            end = place + 2 + int.from_bytes(header[place : place + 2], "big")
            found[-1].append(header[place:end])
            place = end
    return found[0], found[1], header[place:]


# --- reading -------------------------------------------------------------------------------------------


@dataclass
class Content:
    """What is in a finished file, as a player shows it."""

    numbers: list[int] = field(default_factory=list[int])
    times: list[Fraction] = field(default_factory=list[Fraction])  # seconds
    samples: Samples = field(default_factory=lambda: np.zeros(0, np.float32))  # channels averaged
    sound_start: Fraction | None = None
    rate: int = 0
    sizes: set[tuple[int, int]] = field(default_factory=set[tuple[int, int]])


def read(path: Path, rotation: int = 0, *, flipped: bool = False) -> Content:
    """Decode a whole file, edit lists honoured, pictures turned as a player would by these."""
    content = Content()
    parts: list[Samples] = []
    with av.open(f"file:{path}") as container:
        streams = [*container.streams.video[:1], *container.streams.audio[:1]]
        for frame in itertools.chain.from_iterable(p.decode() for p in container.demux(*streams)):
            if isinstance(frame, VideoFrame):
                _see(content, frame, rotation, flipped=flipped)
            elif isinstance(frame, AudioFrame) and frame.samples:
                parts += _hear(content, frame, sum(map(len, parts)))
    content.samples = np.concatenate(parts) if parts else content.samples
    return content


def hear(path: Path) -> Content:
    """Decode the sound of a whole file alone, edit lists honoured."""
    content = Content()
    parts: list[Samples] = []
    with av.open(f"file:{path}") as container:
        for frame in container.decode(audio=0):
            if frame.samples:
                parts += _hear(content, frame, sum(map(len, parts)))
    content.samples = np.concatenate(parts) if parts else content.samples
    return content


def _hear(content: Content, frame: AudioFrame, heard: int) -> list[Samples]:
    """A block of sound, and silence before it where it does not follow the one before."""
    tick = frame.time_base or Fraction(1, frame.sample_rate)
    if content.sound_start is None:
        content.sound_start = frame.pts * tick
        content.rate = frame.sample_rate
    place = heard if frame.pts is None else round((frame.pts * tick - content.sound_start) * content.rate)
    gap = place - heard if place - heard > content.rate * 0.015 else 0
    return [np.zeros(gap, np.float32), mono_of(frame)]


def _see(content: Content, frame: VideoFrame, rotation: int, *, flipped: bool) -> None:
    gray = gray_of(frame)
    gray = np.rot90(np.flipud(gray) if flipped else gray, -rotation // 90)
    content.numbers.append(number_of(gray))
    content.times.append(frame.pts * frame.time_base)
    content.sizes.add((frame.width, frame.height))


def gray_of(frame: VideoFrame) -> Gray:
    """A picture's brightness, 0..255 whatever its range."""
    return frame.reformat(format="gray", dst_color_range=2).to_ndarray()


def mono_of(frame: AudioFrame) -> Samples:
    """A block's channels averaged, -1..1."""
    samples = frame.to_ndarray()
    if samples.dtype.kind == "i":
        samples = samples / -float(np.iinfo(samples.dtype).min)
    channels = len(frame.layout.channels)
    if not frame.format.is_planar:
        samples = samples.reshape(-1, channels).T
    return samples.mean(axis=0).astype(np.float32)


def damage(path: Path, start: float, end: float, seed: int = 0) -> Path:
    """Overwrite the bytes between two shares (0..1) of a file with noise, in place."""
    size = path.stat().st_size
    with path.open("r+b") as file:
        file.seek(int(size * start))
        file.write(np.random.default_rng(seed).bytes(int(size * (end - start))))
    return path


def spoil(path: Path, kind: str, which: slice) -> Path:
    """Replace the content of some packets of the first stream of a kind by ones, in place."""
    data = bytearray(path.read_bytes())
    with av.open(path) as container:
        packets = [bytes(p) for p in container.demux(**{kind: 0}) if p.size][which]
    for packet in packets:
        place = data.index(packet)
        data[place : place + len(packet)] = b"\xff" * len(packet)
    path.write_bytes(data)
    return path


def join_bytes(path: Path, parts: Iterable[Path]) -> Path:
    """Put transport streams behind each other: timestamps then leap, as in recordings of broken streams."""
    path.write_bytes(b"".join(p.read_bytes() for p in parts))
    return path
