"""Damaged files and bombs, looked at and cut in the sandbox: clips or documented errors, and nobody dies.

`TLDR_LONG_TESTS=1` looks at 500 damaged files instead of 60. What a seed stands for is fixed.
"""

from __future__ import annotations

import functools
import os
import struct
from collections import Counter
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import pytest
from av.packet import Packet
from av.video.frame import VideoFrame

from tests.media_maker import Recipe, make
from tests.test_house import error_classes
from tests.walks import films
from tldr_highlight.errors import MediaError, TldrError
from tldr_highlight.media.job import cut_apart, inspect
from tldr_highlight.media.sandbox import ProcessLimits
from tldr_highlight.media.types import ClipResult, ClipSpec, CutOptions

CAPS = ProcessLimits(seconds=30, memory=1 << 30)
DOCUMENTED = {c.code for c in error_classes()}

# --- damaged (M1) --------------------------------------------------------------------------------------

DAMAGED = 500 if os.environ.get("TLDR_LONG_TESTS") == "1" else 60

SMALL = Recipe(seconds=6.0, fps=Fraction(10), size=(128, 96), gop=20, rate=16_000, layout="mono")
KINDS = ("mp4", "mkv", "ts", "flv", "avi")


@functools.cache
def undamaged(kind: str, folder: Path) -> bytes:
    audio = "libmp3lame" if kind in {"flv", "avi"} else "aac"
    changes = {"rate": 44_100} if kind == "flv" else {}
    bframes = 0 if kind == "avi" else 2
    recipe = Recipe(**{**vars(SMALL), "audio": audio, "bframes": bframes, **changes})
    return make(folder / f"whole.{kind}", recipe).read_bytes()


def pictures_in(clip: ClipResult) -> int:
    """Pictures that can be decoded; of copied ones, which are damaged where the source is, that are there."""
    with av.open(str(clip.spec.path)) as container:
        if not container.streams.video:
            return 0
        if clip.method == "encode":
            return len(list(container.decode(video=0)))
        return len([packet for packet in container.demux(video=0) if packet.size])


def outcomes(path: Path, out: Path) -> list[TldrError | ClipResult]:
    """What looking at a file gives, or what each of three clips gives; none of them stays."""
    try:
        info = inspect(path, limits=CAPS)
    except TldrError as error:
        return [error]
    specs = [ClipSpec(start, end, out / f"{start}.mp4") for start, end in ((0, 2), (1.3, 3.7), (4, 6))]
    ended = list(cut_apart(info, specs, limits=CAPS))
    for outcome in ended:
        if isinstance(outcome, ClipResult):
            assert pictures_in(outcome) == outcome.frames
            outcome.spec.path.unlink()
    assert not out.exists() or list(out.iterdir()) == []
    return [*ended]


def test_damaged_files_end_well(tmp_path: Path) -> None:
    """M1: no hang, no swelling, and no bug of ours, which would be an exception in the child."""
    codes: Counter[str] = Counter()
    for seed in range(DAMAGED):
        kind = KINDS[seed // 3 % len(KINDS)]
        path = tmp_path / f"damaged.{kind}"
        path.write_bytes(films.damaged(undamaged(kind, tmp_path), seed))
        ended = outcomes(path, tmp_path / "out")
        assert len(ended) == 3 or isinstance(ended[0], MediaError)
        assert [o for o in ended if "gave up" in str(o)] == [], seed
        codes.update("clip" if isinstance(o, ClipResult) else o.code for o in ended)
    assert codes.keys() <= DOCUMENTED | {"clip"}
    assert codes.keys() >= {"clip", "range_invalid", "media_unreadable"}
    assert codes["clip"] > DAMAGED
    assert not codes.keys() & {"media_timeout", "cut_timeout", "media_over_memory", "cut_over_memory"}, codes


# --- bombs (M3) ----------------------------------------------------------------------------------------


def _png(path: Path) -> None:
    """256 MB in a picture of 0.3 MB, three times over."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("png", rate=1)
        stream.width, stream.height, stream.pix_fmt = 8000, 8000, "rgba"
        stream.options = {"compression_level": "1", "pred": "none"}
        frame = VideoFrame(8000, 8000, "rgba")
        frame.pts, frame.time_base = 0, Fraction(1)
        (picture,) = [*stream.encode(frame), *stream.encode(None)]
        for second in range(3):
            packet: Packet[Any] = Packet(bytes(picture))
            packet.stream, packet.time_base = stream, Fraction(1)
            packet.pts = packet.dts = second
            packet.is_keyframe = True
            container.mux(packet)


def _wav(path: Path, rate: int, channels: int) -> None:
    """A header that claims this, and a second of zeros."""
    form = struct.pack("<HHIIHH", 1, channels, rate, (rate * channels * 2) % 2**32, channels * 2 % 65536, 16)
    data = bytes(100_000)
    body = b"WAVEfmt " + struct.pack("<I", len(form)) + form + b"data" + struct.pack("<I", len(data)) + data
    path.write_bytes(b"RIFF" + struct.pack("<I", len(body)) + body)


def _endless(path: Path) -> None:
    """An MP4 whose index claims the longest duration there is."""
    make(path, SMALL)
    data = bytearray(path.read_bytes())
    for box, place in ((b"mvhd", 20), (b"tkhd", 24), (b"mdhd", 20)):
        at = data.find(box)
        while at >= 0:
            data[at + place : at + place + 4] = b"\x7f\xff\xff\xff"
            at = data.find(box, at + 4)
    path.write_bytes(data)


REFUSED: dict[str, Callable[[Path], object]] = {
    "huge.avi": lambda p: films.plain(p, (8200, 8200), [0, 1], "mjpeg"),
    "streams.mkv": lambda p: films.many_streams(p, 900),
    "weeks.mkv": lambda p: films.plain(p, (64, 36), [3599 * i for i in range(200)]),
    "rate.wav": lambda p: _wav(p, 4_000_000_000, 2),
    "channels.wav": lambda p: _wav(p, 8000, 65535),
}


@pytest.mark.parametrize("name", REFUSED)
def test_bombs_are_refused_when_looked_at(tmp_path: Path, name: str) -> None:
    REFUSED[name](tmp_path / name)
    with pytest.raises(MediaError) as caught:
        inspect(tmp_path / name, limits=CAPS)
    assert caught.value.code in {"media_over_limit", "media_unreadable", "not_media", "no_usable_streams"}


STOPPED: dict[str, tuple[Callable[[Path], object], list[str]]] = {
    # name: how it is made; what the first second, the third and the last give
    "gap.mkv": (lambda p: films.plain(p, (64, 36), [0, 360_000]), ["clip", "clip", "clip"]),
    "endless.mp4": (_endless, ["clip", "clip", "clip"]),
    "png.avi": (_png, ["cut_over_memory"] * 3),
}


@pytest.mark.parametrize("name", STOPPED)
def test_bombs_are_stopped_at_a_cap(tmp_path: Path, name: str) -> None:
    STOPPED[name][0](tmp_path / name)
    caps = ProcessLimits(seconds=20, memory=700_000_000)
    info = inspect(tmp_path / name, limits=caps)
    ranges = ((0, 1), (2, 3), (info.duration - 1, info.duration))
    specs = [ClipSpec(*r, tmp_path / "out" / f"{i}.mp4") for i, r in enumerate(ranges)]
    ended = list(cut_apart(info, specs, options=CutOptions(mode="encode"), limits=caps))
    assert [o if isinstance(o, ClipResult) else o.code for o in ended] == [
        o if wanted == "clip" else wanted for o, wanted in zip(ended, STOPPED[name][1], strict=True)
    ]
    good = [o.spec.path for o in ended if isinstance(o, ClipResult)]
    assert all(0 < path.stat().st_size < 100_000 for path in good)
    assert not (tmp_path / "out").exists() or sorted((tmp_path / "out").iterdir()) == good
