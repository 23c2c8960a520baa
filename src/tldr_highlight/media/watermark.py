"""Watermarks: a picture or a text in a corner of every picture of a clip.

Only the pixels under the mark are touched. It is blended here and not by libav's `overlay` filter, which
rounds places to pairs of pixels, takes the mark's colours for BT.601 whatever the clip's are, and keeps
pictures until their neighbours come.
"""

from __future__ import annotations

import io
import math
import struct
import unicodedata
import warnings
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np
from av.video.frame import VideoFrame
from av.video.plane import VideoPlane
from av.video.reformatter import Colorspace
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont, ImageOps

from tldr_highlight.errors import WatermarkError
from tldr_highlight.media.probe import shown
from tldr_highlight.media.types import Watermark
from tldr_highlight.media.upright import matrix_of

FORMATS = ("PNG", "JPEG", "WEBP")

MOST_BYTES = 8 * 1024 * 1024

MOST_PIXELS = 4096 * 4096
"""As RGBA they take 64 MiB for the moment of loading."""

LONGEST_TEXT = 100
"""Letters; more is no mark."""

TEXT_SIZE = 160
"""Pixels that text is drawn at before it is brought to the clip's size: enough for 8 % of 2160 lines."""

OUTLINE = 12
"""Pixels of black around letters of that size, so that they read on white."""

FONTS = ("DejaVuSans.ttf", "NotoSans-Regular.ttf", "LiberationSans-Regular.ttf", "NotoSansCJK-Regular.ttc",
         "Arial Unicode.ttf", "Arial.ttf")  # fmt: skip
"""Looked for on this machine, in this order, where Pillow's own font (ASCII) lacks a letter."""

MISSING = "\U0010ffff"
"""A letter no font has: what is drawn for it is drawn for every missing one."""

LUMA = {
    Colorspace.ITU709: (0.2126, 0.0722),
    9: (0.2627, 0.0593),  # BT.2020
    10: (0.2627, 0.0593),
    7: (0.212, 0.087),  # SMPTE 240M
}
"""Weights of red and blue in brightness, by libav's number of the matrix; all others are BT.601's."""

Plane = NDArray[np.uint16]


@dataclass(frozen=True, slots=True)
class _Layer:
    """One plane of the mark: `picture * keep / 255 + add / 255` is the marked picture."""

    x: int  # of its left upper corner, in the plane's own pixels
    y: int
    keep: Plane
    add: Plane

    def blend(self, plane: VideoPlane) -> None:
        height, width = self.keep.shape
        pixels = np.frombuffer(memoryview(plane), np.uint8).reshape(-1, plane.line_size)
        under = pixels[self.y : self.y + height, self.x : self.x + width]
        under[:] = _over_255(under * self.keep + self.add)


class Overlay:
    """Puts a watermark on pictures of one size, upright and 8-bit 4:2:0 of limited range."""

    def __init__(self, watermark: Watermark, size: tuple[int, int], aspect: Fraction) -> None:
        """For pictures of `size`, both even, whose pixels are `aspect` times as wide as high.

        Raises:
            WatermarkError: there is nothing to put on them.
        """
        _check(watermark)
        mark = _text(watermark.text) if watermark.text is not None else _loaded(watermark.image)
        margin = watermark.margin * size[1], watermark.margin * size[1] / float(aspect or 1)
        room = size[0] - 2 * margin[1], size[1] - 2 * margin[0]
        height = watermark.height * size[1]
        width = height * mark.width / mark.height / float(aspect or 1)
        scale = min(1.0, room[0] / width, room[1] / height)
        mark = mark.resize(
            (max(1, round(width * scale)), max(1, round(height * scale))), Image.Resampling.LANCZOS
        )
        up, left = watermark.corner.startswith("top"), watermark.corner.endswith("left")
        x = round(margin[1] if left else size[0] - margin[1] - mark.width)
        y = round(margin[0] if up else size[1] - margin[0] - mark.height)
        self._mark = _aligned(mark, max(0, x) % 2, max(0, y) % 2, watermark.opacity)
        self._place = max(0, x) // 2 * 2, max(0, y) // 2 * 2
        self._layers: list[_Layer] = []
        self._matrix: int | None = None

    def __call__(self, frame: VideoFrame) -> None:
        """Mark `frame` in place."""
        matrix = matrix_of(frame)
        if matrix != self._matrix:
            self._layers, self._matrix = _layers(self._mark, self._place, matrix), matrix
        frame.make_writable()
        for layer, plane in zip(self._layers, frame.planes, strict=True):
            layer.blend(plane)


def _check(watermark: Watermark) -> None:
    if (watermark.image is None) == (watermark.text is None):
        raise WatermarkError("a watermark is either a picture or a text")
    for name, value, most in (
        ("margin", watermark.margin, 0.45),
        ("height", watermark.height, 1.0),
        ("opacity", watermark.opacity, 1.0),
    ):
        least = 0.005 if name == "height" else 0.0
        if not least <= value <= most:  # NaN, too
            raise WatermarkError(f"watermark {name} {value:g} is not between {least:g} and {most:g}")


# --- where it comes from -------------------------------------------------------------------------------


def _loaded(path: Path | None) -> Image.Image:
    """The picture in a file that may be anything, as RGBA, upright."""
    assert path
    try:
        if not path.is_file():  # a pipe would wait for ever
            raise WatermarkError(f"no picture for the watermark at {shown(path)}")
        with path.open("rb") as file:
            data = file.read(MOST_BYTES + 1)
        if len(data) > MOST_BYTES:
            raise WatermarkError(f"watermark {shown(path)} is larger than {MOST_BYTES >> 20} MiB")
        # Pillow warns of damaged EXIF, of which one number is used here, and of bombs.
        quiet = warnings.catch_warnings(action="ignore")
        with quiet, Image.open(io.BytesIO(data), formats=FORMATS) as image:
            if image.width * image.height > MOST_PIXELS:
                most = f"{MOST_PIXELS / 1e6:.0f} million"
                raise WatermarkError(f"watermark {shown(path)} has more than {most} pixels")
            return _rgba(ImageOps.exif_transpose(image))
    except DAMAGED as error:
        raise WatermarkError(f"watermark {shown(path)} is no PNG, JPEG or WebP that can be read") from error


DAMAGED = (
    OSError, ValueError, SyntaxError, EOFError, IndexError, KeyError, TypeError, struct.error,
    Image.DecompressionBombError,
)  # fmt: skip
"""What Pillow throws at damaged pictures."""


def _rgba(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I"):  # 16 bits of gray, which Pillow would cut off at 255
        high = np.asarray(image).astype(np.uint32) >> 8
        image = Image.fromarray(high.clip(0, 255).astype(np.uint8))
    return image.convert("RGBA")


def _text(text: str) -> Image.Image:
    """A line of text, white with a black outline, on nothing.

    As high as the font's tallest letters and lowest tails, whichever letters it holds.
    """
    text = unicodedata.normalize("NFC", text.strip())
    if not text or len(text) > LONGEST_TEXT:
        raise WatermarkError(f"watermark text must have 1 to {LONGEST_TEXT} letters, not {len(text)}")
    if any(unicodedata.category(c) in {"Cc", "Cs", "Co", "Zl", "Zp"} for c in text):
        raise WatermarkError("watermark text must be one line without control characters")
    font = _font_for(text)
    ascent, descent = font.getmetrics()
    left, _, right, _ = font.getbbox(text, stroke_width=OUTLINE)
    size = math.ceil(right - left), ascent + descent + 2 * OUTLINE
    image = Image.new("RGBA", size, (0, 0, 0, 0))
    ImageDraw.Draw(image).text(
        (-left, OUTLINE), text, "white", font, stroke_width=OUTLINE, stroke_fill="black"
    )
    return image


def _font_for(text: str) -> ImageFont.FreeTypeFont:
    lacking = ""
    for name in ("", *FONTS):
        try:
            font = ImageFont.truetype(name, TEXT_SIZE) if name else ImageFont.load_default(TEXT_SIZE)
        except OSError:
            continue  # not on this machine
        assert isinstance(font, ImageFont.FreeTypeFont)
        nothing = _glyph(font, MISSING)
        missing = {c for c in text if not c.isspace() and _glyph(font, c) == nothing}
        if not missing:
            return font
        lacking = lacking or "".join(sorted(missing))
    raise WatermarkError(f"no font here can draw {lacking!r}: give the watermark as a picture")


def _glyph(font: ImageFont.FreeTypeFont, letter: str) -> bytes:
    image = Image.new("L", (2 * TEXT_SIZE, 2 * TEXT_SIZE))
    ImageDraw.Draw(image).text((TEXT_SIZE // 2, 0), letter, 255, font)
    return image.tobytes()


# --- planes --------------------------------------------------------------------------------------------


def _aligned(mark: Image.Image, right: int, down: int, opacity: float) -> NDArray[np.float64]:
    """The mark (height, width, RGBA 0..1), moved by `right` and `down` and of even size, as 4:2:0 needs."""
    pixels = np.asarray(mark, np.float64) / 255
    pixels[..., 3] *= opacity
    height, width = pixels.shape[:2]
    return np.pad(pixels, ((down, (down + height) % 2), (right, (right + width) % 2), (0, 0)))


def _layers(mark: NDArray[np.float64], place: tuple[int, int], matrix: int) -> list[_Layer]:
    """The mark in limited-range YCbCr of `matrix` (ITU-R BT.601, 709, 2020: 16..235, 16..240)."""
    red, green, blue, alpha = np.moveaxis(mark, 2, 0)
    wr, wb = LUMA.get(matrix, (0.299, 0.114))
    luma = wr * red + (1 - wr - wb) * green + wb * blue
    x, y = place
    chroma = [128 + 112 * (c - luma) / (1 - w) for c, w in ((blue, wb), (red, wr))]
    return [
        _layer(x, y, 16 + 219 * luma, alpha),
        *(_layer(x // 2, y // 2, _halved(c * alpha), _halved(alpha), weighed=True) for c in chroma),
    ]


def _layer(
    x: int, y: int, value: NDArray[np.float64], alpha: NDArray[np.float64], *, weighed: bool = False
) -> _Layer:
    """`value` is 0..255, already multiplied by `alpha` (0..1) when `weighed`."""
    share = np.rint(255 * alpha).astype(np.uint16)
    add = np.rint(255 * (value if weighed else value * alpha)).astype(np.uint16)
    return _Layer(x, y, 255 - share, add)


def _halved(plane: NDArray[np.float64]) -> NDArray[np.float64]:
    """Means of squares of four."""
    height, width = plane.shape
    return plane.reshape(height // 2, 2, width // 2, 2).mean(axis=(1, 3))


def _over_255(product: Plane) -> Plane:
    """`product / 255` rounded, exactly, without a division: a third of its time."""
    product += np.uint16(128)
    return (product + (product >> np.uint16(8))) >> np.uint16(8)
