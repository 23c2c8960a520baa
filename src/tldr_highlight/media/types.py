"""Shapes that every part of the media engine shares.

All times are seconds of *media time*: 0 is the earliest presentation time of any picture or sound the
container declares, whatever its raw timestamps start at. This is what a player's clock shows.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from tldr_highlight.core.addresses import without_keys

FloatArray: TypeAlias = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Remote:
    """Media at an HTTP(S) address: a file, or the playlist of an HLS recording."""

    url: str = field(repr=False)  # addresses and headers may carry keys: no log and no traceback shows them
    headers: Mapping[str, str] = field(default_factory=dict[str, str], repr=False, hash=False)


Origin: TypeAlias = Path | Remote
"""Where media comes from."""


def shown(origin: Origin) -> str:
    """The source's name as messages show it: in quotes, line breaks and other controls as escapes.

    Of an address host and path only: the rest may hold keys.
    """
    name = origin.name if isinstance(origin, Path) else without_keys(origin.url).partition("://")[2]
    return f"'{printable(name)}'"


def printable(text: str) -> str:
    """Text that no terminal obeys: line breaks and other controls as escapes."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def range_text(start: float, end: float) -> str:
    """A range as messages show it."""
    return f"range {start:.10g}-{end:.10g} s"


@dataclass(frozen=True, slots=True)
class VideoInfo:
    """The video stream that is used: the first decodable one that is no attached picture."""

    index: int  # stream index in the container
    codec: str  # libav's name, "h264"
    width: int  # coded picture, before rotation
    height: int
    rotation: int  # clockwise degrees to show it upright: 0, 90, 180, 270
    frame_rate: Fraction  # average; nominal 25 when unknown
    variable_rate: bool  # frame durations differ by more than timebase rounding
    pixel_format: str  # "yuv420p"
    gop_seconds: float | None  # median distance of key pictures at the start; None: a single one seen
    sample_aspect: Fraction  # width of one pixel over its height
    flipped: bool = False  # stored upside down: flip top to bottom, then rotate


@dataclass(frozen=True, slots=True)
class AudioInfo:
    """The audio stream that is used: the default one, else the first decodable."""

    index: int
    codec: str
    sample_rate: int  # Hz
    channels: int


@dataclass(frozen=True, slots=True)
class MediaInfo:
    """What `probe` found out about a source."""

    origin: Origin
    container: str  # libav's name of the demuxer, "mov,mp4,m4a,3gp,3g2,mj2"
    duration: float  # seconds
    start_time: float  # raw container seconds that media time 0 stands for
    size: int  # bytes
    video: VideoInfo | None
    audio: AudioInfo | None
    audio_tracks: int
    warnings: tuple[str, ...] = ()
    sound_origin: Origin | None = None  # of `audio`, where it comes from an address of its own
    version: str | None = field(default=None, compare=False)  # changes when the source does; None: unknown


@dataclass(frozen=True, slots=True)
class Pictures:
    """Small gray pictures in order of time."""

    times: NDArray[np.float64]  # (n,) media seconds
    gray: NDArray[np.uint8]  # (n, 90, 160)


@dataclass(frozen=True, slots=True)
class AudioBlock:
    """Consecutive mono samples at the source's own rate."""

    start: float  # media seconds of the first sample
    rate: int  # Hz
    samples: FloatArray  # (n,) -1..1, channels averaged


@dataclass(frozen=True, slots=True)
class Segment:
    """10-30 s of a source, from one key picture to another: the unit of analysis and checkpointing."""

    index: int
    start: float
    end: float
    audio: tuple[AudioBlock, ...]  # gaps in the sound start a new block
    pictures: Pictures
    packet_times: NDArray[np.float64]  # (m,) of video packets
    packet_sizes: NDArray[np.float64]  # (m,) bytes
    key_times: NDArray[np.float64]  # (k,) of key pictures' packets


CutMethod: TypeAlias = Literal["copy", "smart", "encode"]


@dataclass(frozen=True, slots=True)
class ClipSpec:
    """One clip to make: `[start, end)` of the source, in media seconds."""

    start: float
    end: float
    path: Path  # the finished MP4; appears only when it is complete and verified
    poster: Path | None = None  # JPEG of the clip's picture at `peak`, if wanted
    peak: float | None = None  # media seconds; None: the middle
    small: Path | None = None  # WebP of the same picture, 320 wide, if that is wanted beside the poster


@dataclass(frozen=True, slots=True)
class ClipPlan:
    """How one range will be cut, and why so. Times are snapped to the source's pictures."""

    spec: ClipSpec
    method: CutMethod
    reason: str  # one clause for people: "starts at a key picture", "HEVC plays not everywhere"
    start: float  # media seconds of the first picture
    end: float  # media seconds at which the last picture's time ends
    frames: int
    encoded_frames: int  # of them, those that are encoded anew
    expected_bytes: int
    expected_seconds: float  # of work on a common machine


@dataclass(frozen=True, slots=True)
class ClipResult:
    """A finished, verified clip."""

    spec: ClipSpec
    actual_start: float  # snapped to the source's frame times
    actual_end: float
    frames: int
    method: CutMethod
    reason: str  # why by this method, one clause for people
    sync_ms: float  # audio against video, compared with the source's own offset
    bytes: int
    sha256: str
    warnings: tuple[str, ...] = ()  # where it is not quite what was asked for, a clause for people each
    width: int = 0  # of its pictures, before a player turns them; 0: there are none
    height: int = 0


Quality: TypeAlias = Literal["source", "high", "medium", "small"]

CutMode: TypeAlias = Literal["auto", "instant", "encode"]
"""`auto` copies what can be copied; `instant` copies whole GOPs and hides what is too much with an edit
list; `encode` encodes everything anew."""

Corner: TypeAlias = Literal["top-left", "top-right", "bottom-left", "bottom-right"]


@dataclass(frozen=True, slots=True)
class Watermark:
    """A picture or a text put on every picture of a clip; exactly one of the two is given."""

    image: Path | None = None
    text: str | None = None
    corner: Corner = "bottom-right"
    margin: float = 0.03  # of the clip's height, to the two edges
    height: float = 0.08  # of the clip's height
    opacity: float = 0.8  # 0..1


@dataclass(frozen=True, slots=True)
class CutOptions:
    """How clips are cut, and how what is encoded is encoded."""

    mode: CutMode = "auto"
    quality: Quality = "high"
    watermark: Watermark | None = None
    loudness: float | None = None  # LUFS that the sound of a clip is brought to; None: as it is
    clamp: bool = True  # ranges that reach behind the source's end: cut there, or refuse them
    crf: int | None = None  # x264 constant rate factor; None: the quality's
    preset: str = "veryfast"
    max_height: int | None = None  # scale down to this, never up; None: the quality's
    audio_bit_rate: int | None = None  # bit/s; None: the quality's
    extra: dict[str, str] = field(default_factory=dict[str, str])


DEFAULTS = CutOptions()
