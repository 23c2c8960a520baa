"""Watermarks: where they were asked to be, in their own colours, and nothing else touched."""

from __future__ import annotations

import contextlib
import io
import os
import struct
import zlib
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from av.video.frame import VideoFrame
from av.video.reformatter import ColorRange, Colorspace
from PIL import Image

from tests.media.conftest import Maker
from tldr_highlight.errors import WatermarkError
from tldr_highlight.media import watermark as module
from tldr_highlight.media.cut import cut
from tldr_highlight.media.types import ClipResult, ClipSpec, CutOptions, Watermark
from tldr_highlight.media.watermark import Overlay

SIZE = (640, 360)


def gray(size: tuple[int, int] = SIZE, colorspace: int = 1) -> VideoFrame:
    """A picture that is everywhere Y 120, Cb 128, Cr 128."""
    planes = np.full((size[1] * 3 // 2, size[0]), 128, np.uint8)
    planes[: size[1]] = 120
    frame = VideoFrame.from_ndarray(planes, "yuv420p")
    frame.colorspace = colorspace
    frame.color_range = ColorRange.MPEG
    return frame


def logo(folder: Path, colour: tuple[int, ...] = (255, 0, 0, 255), size: tuple[int, int] = (80, 40)) -> Path:
    path = folder / "logo.png"
    Image.new("RGBA", size, colour).save(path)
    return path


def changed(frame: VideoFrame) -> tuple[int, int, int, int]:
    """Left, top, right and bottom of what is no longer gray."""
    luma = frame.to_ndarray()[: frame.height]
    ys, xs = np.nonzero(luma != 120)
    return int(xs.min()), int(ys.min()), int(xs.max()) + 1, int(ys.max()) + 1


@pytest.mark.parametrize(
    ("corner", "box"),
    [
        ("top-left", (18, 18, 90, 54)),
        ("top-right", (550, 18, 622, 54)),
        ("bottom-left", (18, 306, 90, 342)),
        ("bottom-right", (550, 306, 622, 342)),
    ],
)
def test_place_and_size(corner: Any, box: tuple[int, ...], tmp_path: Path) -> None:
    frame = gray()
    Overlay(Watermark(logo(tmp_path), None, corner, 0.05, 0.1, 1.0), SIZE, Fraction(1))(frame)
    assert changed(frame) == box


@pytest.mark.parametrize("corner", ["top-left", "bottom-right"])
def test_odd_places_are_kept(corner: Any, tmp_path: Path) -> None:
    """Pairs of lines share their colour, but not their brightness."""
    frame = gray()
    Overlay(Watermark(logo(tmp_path), None, corner, 17 / 360, 31 / 360, 1.0), SIZE, Fraction(1))(frame)
    width = 62
    x, y = (17, 17) if corner == "top-left" else (640 - 17 - width, 360 - 17 - 31)
    assert changed(frame) == (x, y, x + width, y + 31)


@pytest.mark.parametrize("matrix", [Colorspace.ITU709, 5, 9])
@pytest.mark.parametrize("colour", [(255, 0, 0), (0, 255, 0), (10, 40, 250), (255, 255, 255), (0, 0, 0)])
def test_colours_are_those_of_the_clip_s_matrix(matrix: int, colour: Any, tmp_path: Path) -> None:
    frame = gray(colorspace=matrix)
    Overlay(Watermark(logo(tmp_path, (*colour, 255)), None, "top-left", 0.0, 0.5, 1.0), SIZE, Fraction(1))(
        frame
    )
    judge = VideoFrame.from_ndarray(np.full((36, 64, 3), colour, np.uint8), "rgb24").reformat(
        format="yuv444p", dst_colorspace=matrix, dst_color_range=ColorRange.MPEG
    )
    for plane, wanted in zip(frame.planes, judge.to_ndarray()[:, 10, 10], strict=True):
        seen = np.frombuffer(memoryview(plane), np.uint8).reshape(-1, plane.line_size)[20, 20]
        assert abs(int(seen) - int(wanted)) <= 1


def test_opacity_and_alpha(tmp_path: Path) -> None:
    frame = gray()
    mark = Watermark(logo(tmp_path, (255, 255, 255, 128)), None, "top-left", 0.0, 0.5, 0.5)
    Overlay(mark, SIZE, Fraction(1))(frame)
    assert abs(int(frame.to_ndarray()[30, 30]) - (120 + (235 - 120) * 0.25)) <= 1


def test_pixels_that_are_not_square(tmp_path: Path) -> None:
    frame = gray()
    mark = Watermark(logo(tmp_path), None, "top-left", 0.1, 0.1, 1.0)
    Overlay(mark, SIZE, Fraction(2))(frame)
    assert changed(frame) == (18, 36, 18 + 36, 36 + 36)


def test_what_is_too_wide_is_made_smaller(tmp_path: Path) -> None:
    frame = gray()
    mark = Watermark(logo(tmp_path, size=(2000, 40)), None, "bottom-left", 0.1, 0.1, 1.0)
    Overlay(mark, SIZE, Fraction(1))(frame)
    left, top, right, bottom = changed(frame)
    assert (left, right) == (36, 640 - 36)
    assert (bottom, bottom - top) == (360 - 36, round(40 * 568 / 2000))


def test_text_reads_on_any_ground() -> None:
    for ground in (16, 120, 235):
        frame = gray()
        np.frombuffer(memoryview(frame.planes[0]), np.uint8)[:] = ground
        Overlay(Watermark(text="Ag", corner="top-left", height=0.2, opacity=1.0), SIZE, Fraction(1))(frame)
        luma = frame.to_ndarray()[:100, :150]
        assert luma.min() <= 20
        assert luma.max() >= 230
        assert (luma == 16).sum() + (luma == 235).sum() > 300


def test_line_is_as_high_whatever_its_letters() -> None:
    tops: list[int] = []
    for text in ("x", "xÅg", "xg"):
        frame = gray()
        Overlay(Watermark(text=text, corner="top-left", height=0.2, opacity=1.0), SIZE, Fraction(1))(frame)
        tops.append(changed(frame)[3 if text == "x" else 1])
    assert len(set(tops)) > 1  # they differ in what they cover,
    base = [Overlay(Watermark(text=t, height=0.2), SIZE, Fraction(1))._mark.shape[0] for t in ("x", "xg")]  # pyright: ignore
    assert base[0] == base[1]  # and not in their line


def test_letters_no_font_has(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FONTS", ())
    with pytest.raises(WatermarkError, match="'漢'"):
        Overlay(Watermark(text="a 漢 b"), SIZE, Fraction(1))


def test_pixels_elsewhere_are_left_alone(tmp_path: Path) -> None:
    noise = np.random.default_rng(7).integers(16, 236, (SIZE[1] * 3 // 2, SIZE[0]), np.uint8)
    frame = VideoFrame.from_ndarray(noise, "yuv420p")
    Overlay(Watermark(logo(tmp_path), None, "top-left", 0.05, 0.1, 1.0), SIZE, Fraction(1))(frame)
    for index, (plane, scale) in enumerate(zip(frame.planes, (1, 2, 2), strict=True)):
        seen = np.frombuffer(memoryview(plane), np.uint8).reshape(-1, plane.line_size)
        was = np.frombuffer(memoryview(VideoFrame.from_ndarray(noise, "yuv420p").planes[index]), np.uint8)
        same = seen == was.reshape(seen.shape)
        box = slice(18 // scale, 54 // scale), slice(18 // scale, 90 // scale)
        assert not same[box].all()
        same[box] = True
        assert same.all()


def decoded_one_by_one(path: Path) -> Iterator[VideoFrame]:
    """Pictures as they come out, before the next one is predicted from them."""
    with av.open(path) as container:
        container.streams.video[0].thread_count = 1
        yield from container.decode(video=0)


def test_the_decoder_s_own_pictures_are_not_written_to(media: Maker, tmp_path: Path) -> None:
    """Others are predicted from them: a mark in the middle would smear along with what moves."""
    made = media("mp4", seconds=1.0, gop=50, bframes=0)
    overlay = Overlay(Watermark(logo(tmp_path), None, "bottom-right", 0.4, 0.2, 1.0), (320, 192), Fraction(1))
    clean = [f.to_ndarray() for f in decoded_one_by_one(made.path)]
    for frame, wanted in zip(decoded_one_by_one(made.path), clean, strict=True):
        assert (frame.to_ndarray() == wanted).all()
        overlay(frame)
        assert (frame.to_ndarray() != wanted).any()


def test_a_marked_clip_is_exact(media: Maker, tmp_path: Path) -> None:
    made = media("mp4")
    options = CutOptions(watermark=Watermark(logo(tmp_path), height=0.2))
    outcome = next(iter(cut(made.info, [ClipSpec(0.5, 2.0, tmp_path / "clip.mp4")], options=options)))
    made.assert_exact(outcome, 0.5, 2.0)
    assert isinstance(outcome, ClipResult)
    assert (outcome.method, outcome.reason) == ("encode", "a watermark is put on")


# --- what is no watermark ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "wrong",
    [
        Watermark(),
        Watermark(image=Path("a.png"), text="a"),
        Watermark(text=""),
        Watermark(text="  "),
        Watermark(text="a\nb"),
        Watermark(text="a\x00"),
        Watermark(text="a" * 101),
        Watermark(text="a", margin=-0.1),
        Watermark(text="a", height=0.0),
        Watermark(text="a", height=float("nan")),
        Watermark(text="a", opacity=1.5),
        Watermark(image=Path("/nowhere/at/all.png")),
        Watermark(image=Path("/dev/zero")),
    ],
)
def test_refused(wrong: Watermark) -> None:
    with pytest.raises(WatermarkError):
        Overlay(wrong, SIZE, Fraction(1))


def png(width: int, height: int, data: bytes) -> bytes:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


HOSTILE = {
    "text": b"hello",
    "empty": b"",
    "bomb": png(60_000, 60_000, zlib.compress(bytes(1000))),
    "large": png(5000, 5000, zlib.compress(bytes(5000 * 15001))),
    "cut": png(100, 100, zlib.compress(bytes(500))),
    "svg": b'<svg xmlns="http://www.w3.org/2000/svg"><image href="file:///etc/passwd"/></svg>',
    "eps": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n",
    "bytes": png(10, 10, os.urandom(module.MOST_BYTES)),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_files_are_refused(name: str, tmp_path: Path) -> None:
    path = tmp_path / "mark.png"
    path.write_bytes(HOSTILE[name])
    with pytest.raises(WatermarkError, match=r"mark\.png"):
        Overlay(Watermark(path), SIZE, Fraction(1))


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_damaged_files_are_refused_or_shown(kind: str, tmp_path: Path) -> None:
    file = io.BytesIO()
    pixels = np.random.default_rng(1).integers(0, 255, (40, 60, 3), np.uint8)
    Image.fromarray(pixels).save(file, kind)
    path = tmp_path / "mark"
    for seed in range(170):
        random = np.random.default_rng(seed)
        data = bytearray(file.getvalue()[: random.integers(20, file.tell()) if seed % 3 == 0 else None])
        for place in random.integers(0, len(data), 1 + seed % 7):
            data[place] = random.integers(256)
        path.write_bytes(data)
        with contextlib.suppress(WatermarkError):
            Overlay(Watermark(path), SIZE, Fraction(1))(gray())


@pytest.mark.parametrize(
    "image",
    [
        Image.new("1", (20, 10), 1),
        Image.new("L", (20, 10), 255),
        Image.fromarray(np.full((10, 20), 65535, np.uint16)),
        Image.new("P", (20, 10), 0),
        Image.new("LA", (20, 10), (255, 255)),
        Image.new("RGB", (20, 10), (255, 255, 255)),
    ],
)
def test_kinds_of_pixels(image: Image.Image, tmp_path: Path) -> None:
    path = tmp_path / "mark.png"
    image.save(path)
    frame = gray()
    Overlay(Watermark(path, None, "top-left", 0.0, 0.2, 1.0), SIZE, Fraction(1))(frame)
    assert frame.to_ndarray()[20, 20] == (16 if image.mode == "P" else 235)


def test_photos_are_turned_upright(tmp_path: Path) -> None:
    path = tmp_path / "mark.jpg"
    exif = Image.Exif()
    exif[0x0112] = 6  # turn it clockwise
    Image.new("RGB", (80, 40), (255, 255, 255)).save(path, exif=exif)
    frame = gray()
    Overlay(Watermark(path, None, "top-left", 0.0, 0.2, 1.0), SIZE, Fraction(1))(frame)
    left, top, right, bottom = changed(frame)
    assert (right - left, bottom - top) == (36, 72)


def test_a_bad_watermark_is_told_before_anything_is_cut(media: Maker, tmp_path: Path) -> None:
    spec = ClipSpec(0.0, 1.0, tmp_path / "clip.mp4")
    with pytest.raises(WatermarkError):
        next(iter(cut(media("mp4").info, [spec], options=CutOptions(watermark=Watermark()))))
    assert list(tmp_path.iterdir()) == []
