"""Thumbnails: the very picture shown at a time, upright, as JPEG and WebP."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator, Sequence
from fractions import Fraction
from pathlib import Path

from PIL import Image

from tldr_highlight.core.files import output_errors, replacing
from tldr_highlight.errors import CutError
from tldr_highlight.media.frames import Picture, Source, slack
from tldr_highlight.media.probe import probe
from tldr_highlight.media.types import ClipResult, MediaInfo, VideoInfo
from tldr_highlight.media.upright import Upright

LARGEST = (1280, 720)
LARGEST_BYTES = 200_000
WEBP_LARGEST = (320, LARGEST[1])
QUALITIES = (88, 82, 75, 66, 56, 45, 33, 20)
"""JPEG qualities tried until a thumbnail is small enough; after the last one it is made smaller."""


def thumbnail(info: MediaInfo, at: float, jpeg: Path, webp: Path, *, jumped: bool = False) -> float:
    """Write the picture shown at media second `at` as JPEG (at most 1280x720, 200 kB) and WebP (320 wide).

    Where the place is damaged, it is the nearest picture that can be decoded.

    Returns:
        The picture's own time, in media seconds.

    Raises:
        CutError: no picture can be decoded.
        DiskFullError, OutputError: it cannot be written.
    """
    shown = next(thumbnails(info, [(at, jpeg, webp)], jumped=jumped))
    if shown is None:
        raise CutError(f"no picture can be decoded at {at:.3f} s")
    return shown


def thumbnails(
    info: MediaInfo, items: Sequence[tuple[float, Path, Path]], *, jumped: bool = False
) -> Iterator[float | None]:
    """As `thumbnail` for several (time, JPEG, WebP); None where no picture can be decoded."""
    if info.video is None:
        yield from (None for _ in items)
        return
    with Source(info, jumped=jumped) as source:
        for at, jpeg, webp in items:
            picture = _shown_at(source.pictures(at), at)
            if picture:
                _save(_image(picture, info.video), jpeg, webp)
            yield picture.at if picture else None


def add_poster(result: ClipResult) -> None:
    """Write the poster that a finished clip's spec asks for: pictures as `thumbnail`'s, of the clip itself.

    A clip of sound alone gets none.

    Raises:
        CutError: no picture can be decoded there.
        DiskFullError, OutputError: it cannot be written.
    """
    spec = result.spec
    if spec.poster is None or not result.frames:
        return
    info = probe(spec.path)
    assert info.video
    peak = (result.actual_start + result.actual_end) / 2 if spec.peak is None else spec.peak
    at = max(0.0, peak - result.actual_start)
    with Source(info) as source:
        picture = _shown_at(source.pictures(at), at)
    if picture is None:
        raise CutError(f"no picture of the finished clip can be decoded at {at:.3f} s")
    image = _image(picture, info.video)
    _write(spec.poster, _jpeg(image))
    if spec.small:
        _write(spec.small, _webp(image))


def _shown_at(pictures: Iterable[Picture], at: float) -> Picture | None:
    """The last picture that begins at or before `at`, else the first there is."""
    shown: Picture | None = None
    for picture in pictures:
        late = picture.at > at + slack(picture.tick)
        if not late or shown is None:
            shown = picture
        if late:
            break
    return shown


def _image(picture: Picture, video: VideoInfo) -> Image.Image:
    width, height = _fitted(video)
    frame = Upright(video, width, height, "rgb24")(picture.frame)
    return Image.fromarray(frame.to_ndarray())


def _fitted(video: VideoInfo) -> tuple[int, int]:
    """Width and height of the thumbnail: square pixels, upright, not larger than the picture."""
    shape = Fraction(video.width * video.sample_aspect, video.height)
    height = min(video.height, Fraction(video.width) / shape) if shape > 0 else video.height
    width = height * shape
    if video.rotation in {90, 270}:
        width, height = height, width
    scale = min(1, Fraction(LARGEST[0]) / width, Fraction(LARGEST[1]) / height)
    return max(2, round(width * scale)), max(2, round(height * scale))


def _save(image: Image.Image, jpeg: Path, webp: Path) -> None:
    _write(jpeg, _jpeg(image))
    _write(webp, _webp(image))


def _webp(image: Image.Image) -> bytes:
    """A small one for lists: 320 wide, but where that were higher than the JPEG may be."""
    scale = min(WEBP_LARGEST[0] / image.width, WEBP_LARGEST[1] / image.height)
    size = max(1, round(image.width * scale)), max(1, round(image.height * scale))
    small = image.resize(size, Image.Resampling.LANCZOS, reducing_gap=3.0)
    return _encoded(small, "WEBP", quality=78, method=2)


def _jpeg(image: Image.Image) -> bytes:
    """The best JPEG within the limit."""
    for quality in QUALITIES:
        data = _encoded(image, "JPEG", quality=quality, optimize=True)
        if len(data) <= LARGEST_BYTES:
            return data
    return _jpeg(image.resize((image.width * 3 // 4, image.height * 3 // 4)))


def _encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def _write(path: Path, data: bytes) -> None:
    with replacing(path) as draft, output_errors(path):
        draft.write_bytes(data)
