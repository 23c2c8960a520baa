"""Thumbnails show the very picture of their time."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from tests.media.conftest import Made, Maker
from tests.media_maker import Recipe, damage, make, number_of
from tldr_highlight.errors import CutError, DiskFullError
from tldr_highlight.media.cut import cut
from tldr_highlight.media.picture import thumbnail, thumbnails
from tldr_highlight.media.probe import probe
from tldr_highlight.media.types import ClipResult, ClipSpec, CutOptions, Watermark


def gray_in(path: Path) -> NDArray[np.uint8]:
    with Image.open(path) as image:
        return np.asarray(image.convert("L"))


def number_in(path: Path) -> int:
    return number_of(gray_in(path))


def size_of(path: Path) -> tuple[int, int]:
    with Image.open(path) as image:
        assert image.format == {".jpg": "JPEG", ".webp": "WEBP"}[path.suffix]
        return image.size


def shown_at(made: Made, at: float) -> int:
    """The number of the last picture that begins at or before `at`."""
    before = [n for n, t in zip(made.content.numbers, made.times, strict=True) if t <= at + 5e-4]
    return before[-1] if before else 0


KINDS = {
    "h264": ("mp4", {}),
    "29.97-mkv": ("mkv", {"fps": Fraction(30000, 1001)}),
    "60-ts": ("ts", {"fps": Fraction(60), "start": 50.0}),
    "hevc": ("mp4", {"codec": "libx265", "bframes": 3}),
    "vp9": ("webm", {"codec": "libvpx-vp9", "audio": "libopus"}),
    "uneven": ("mp4", {"times": tuple(Fraction(i * i, 500) for i in range(45))}),
    "stills": ("mp4", {"times": tuple(map(Fraction, (0, 1, 4, 8, 9))), "audio_seconds": 10.0}),
    "long-gop": ("mp4", {"gop": 250, "bframes": 3}),
    "turned": ("mp4", {"rotation": 90}),
    "flipped": ("mp4", {"rotation": 270, "flipped": True}),
}


@pytest.mark.parametrize("kind", KINDS)
def test_exact(kind: str, media: Maker, tmp_path: Path) -> None:
    suffix, recipe = KINDS[kind]
    made = media(suffix, **recipe)
    wanted = [0.0, 0.039, 0.04, 1.0, 1.998, made.times[-1], made.times[7 % len(made.times)], 50.0, 2.5]
    items = [(at, tmp_path / f"{i}.jpg", tmp_path / f"{i}.webp") for i, at in enumerate(wanted)]
    for (at, jpeg, webp), told in zip(items, thumbnails(made.info, items), strict=True):
        expected = shown_at(made, at)
        assert number_in(jpeg) == expected
        assert number_in(webp) == expected
        assert told == pytest.approx(made.times[made.content.numbers.index(expected)])
        assert size_of(jpeg) == (320, 192)
        assert size_of(webp) == (320, 192)


def test_large_and_noisy_within_limits(tmp_path: Path) -> None:
    path = make(tmp_path / "x.mp4", Recipe(seconds=0.2, size=(1920, 1080), noise=190, audio=None))
    thumbnail(probe(path), 0.1, tmp_path / "t.jpg", tmp_path / "t.webp")
    assert size_of(tmp_path / "t.jpg") == (1280, 720)
    assert 100_000 < (tmp_path / "t.jpg").stat().st_size <= 200_000
    assert size_of(tmp_path / "t.webp") == (320, 180)
    assert number_in(tmp_path / "t.jpg") == 2


@pytest.mark.parametrize(
    ("recipe", "size"),
    [
        ({"aspect": Fraction(2)}, (320, 96)),
        ({"aspect": Fraction(1, 2)}, (160, 192)),
        ({"aspect": Fraction(2), "rotation": 90}, (160, 192)),
        ({"size": (192, 320)}, (192, 320)),
    ],
)
def test_square_pixels(
    recipe: dict[str, object], size: tuple[int, int], media: Maker, tmp_path: Path
) -> None:
    made = media("mp4", **recipe)
    thumbnail(made.info, 1.0, tmp_path / "t.jpg", tmp_path / "t.webp")
    assert size_of(tmp_path / "t.jpg") == size
    assert size_of(tmp_path / "t.webp")[0] == 320
    assert number_in(tmp_path / "t.jpg") == 25


def test_brightness_is_the_source_s(media: Maker, tmp_path: Path) -> None:
    for made in (
        media("mp4"),
        media("mp4", pix_fmt="yuvj420p", full_range=True),
        media("mp4", pix_fmt="yuv420p10le"),
    ):
        thumbnail(made.info, 1.0, tmp_path / "t.jpg", tmp_path / "t.webp")
        gray = gray_in(tmp_path / "t.jpg").astype(int)
        assert abs(gray[5:20, 5:15].mean() - 235) < 6


def test_damaged_place_shows_the_nearest(tmp_path: Path) -> None:
    recipe = Recipe(seconds=8.0, noise=40)
    path = damage(make(tmp_path / "x.ts", recipe), 0.45, 0.50)
    for i, at in enumerate(np.arange(3.0, 5.0, 0.25)):
        told = thumbnail(probe(path), float(at), tmp_path / f"{i}.jpg", tmp_path / f"{i}.webp")
        assert abs(told - at) < 1.0


def test_nothing_but_sound(media: Maker, tmp_path: Path) -> None:
    made = media("m4a", codec=None)
    assert list(thumbnails(made.info, [(1.0, tmp_path / "t.jpg", tmp_path / "t.webp")])) == [None]
    with pytest.raises(CutError, match="no picture"):
        thumbnail(made.info, 1.0, tmp_path / "t.jpg", tmp_path / "t.webp")
    assert list(tmp_path.iterdir()) == []


def test_full_disk_leaves_nothing(media: Maker, tmp_path: Path) -> None:
    made = media("mp4")
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (500, hard))
    try:
        with pytest.raises(DiskFullError):
            thumbnail(made.info, 1.0, tmp_path / "t.jpg", tmp_path / "t.webp")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert list(tmp_path.iterdir()) == []


def test_source_metadata_is_not_in_them(media: Maker, tmp_path: Path) -> None:
    made = media("mkv", metadata=(("title", "<script>"), ("comment", "SECRET"), ("artist", "SECRET")))
    thumbnail(made.info, 1.0, tmp_path / "t.jpg", tmp_path / "t.webp")
    for name in ("t.jpg", "t.webp"):
        assert b"SECRET" not in (tmp_path / name).read_bytes()


SHAPES = {
    "8k": ((7680, 4320), (1280, 720), (320, 180)),
    "a pole": ((16, 4000), (3, 720), (3, 720)),  # 320 wide it would be 76 800 high; no WebP is above 16 383
    "a ribbon": ((4000, 16), (1280, 5), (320, 1)),
}


@pytest.mark.parametrize("shape", SHAPES)
def test_any_shape_fits(shape: str, tmp_path: Path) -> None:
    (width, height), jpeg, webp = SHAPES[shape]
    path = tmp_path / "x.mp4"
    with av.open(path, "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"preset": "ultrafast"})
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for i in range(2):
            frame = av.VideoFrame.from_ndarray(np.full((height * 3 // 2, width), 128, np.uint8), "yuv420p")
            frame.pts = i
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    thumbnail(probe(path), 0.0, tmp_path / "t.jpg", tmp_path / "t.webp")
    assert size_of(tmp_path / "t.jpg") == jpeg
    assert size_of(tmp_path / "t.webp") == webp


@pytest.mark.parametrize(("peak", "number"), [(None, 50), (2.3, 57), (0.0, 25), (9.0, 74)])
def test_poster_of_a_clip(peak: float | None, number: int, media: Maker, tmp_path: Path) -> None:
    small = tmp_path / "small.webp"
    spec = ClipSpec(1.0, 3.0, tmp_path / "clip.mp4", tmp_path / "poster.jpg", peak, small)
    outcome = next(iter(cut(media("mp4").info, [spec])))
    assert isinstance(outcome, ClipResult)
    assert number_in(tmp_path / "poster.jpg") == number
    assert size_of(tmp_path / "poster.jpg") == (320, 192)
    assert number_in(small) == number
    assert size_of(small) == (320, 192)


def test_poster_shows_the_watermark(media: Maker, tmp_path: Path) -> None:
    spec = ClipSpec(1.0, 2.0, tmp_path / "clip.mp4", tmp_path / "poster.jpg")
    options = CutOptions(watermark=Watermark(text="MMMM", height=0.3, opacity=1.0))
    assert isinstance(next(iter(cut(media("mp4").info, [spec], options=options))), ClipResult)
    corner = gray_in(tmp_path / "poster.jpg")[-80:, -120:]
    assert corner.min() < 30
    assert corner.max() > 225


def test_no_poster_of_sound(media: Maker, tmp_path: Path) -> None:
    spec = ClipSpec(1.0, 2.0, tmp_path / "clip.mp4", tmp_path / "poster.jpg")
    assert isinstance(next(iter(cut(media("m4a", codec=None).info, [spec]))), ClipResult)
    assert not (tmp_path / "poster.jpg").exists()
