"""Pictures as a viewer is to see them: turned upright, of another size or pixel format."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
from av.filter.graph import Graph
from av.video.format import VideoFormat
from av.video.frame import VideoFrame
from av.video.reformatter import ColorRange, Colorspace, VideoReformatter

from tldr_highlight.media.types import VideoInfo

UNSPECIFIED = 2  # in libav's tables of primaries, transfer and matrix
HD_HEIGHT = 720
"""Lines from which pictures that do not name their colours are bt709, as every player assumes."""


class Upright:
    """Turns a source's decoded pictures upright and brings them to `width` x `height` of `pixel_format`.

    The size is that of the upright picture. Where the target is YUV, full-range colours become limited
    ones, RGB becomes bt709, and all get `matrix` (libav's number) where it is given.
    """

    def __init__(
        self, video: VideoInfo, width: int, height: int, pixel_format: str, matrix: int | None = None
    ) -> None:
        self._matrix = matrix
        self._format = pixel_format
        self._lying = (height, width) if video.rotation in {90, 270} else (width, height)
        self._reformatter = VideoReformatter()
        self._turn = _turn(video, self._lying, pixel_format)

    def __call__(self, frame: VideoFrame) -> VideoFrame:
        """The picture; it may be the same object, and has no time unless it is."""
        flat = self._flat(frame)
        if self._turn is None:
            return flat
        self._turn.vpush(flat)
        turned = self._turn.vpull()
        _copy_colours(flat, turned)
        return turned

    def _flat(self, frame: VideoFrame) -> VideoFrame:
        """The right size and pixel format, not turned."""
        full, own = is_full_range(frame), matrix_of(frame)
        matrix = (Colorspace.ITU709 if frame.format.is_rgb else own) if self._matrix is None else self._matrix
        alike = frame.format.name == self._format and not full and matrix == own
        if (frame.width, frame.height) == self._lying and alike:
            return frame
        flat = self._reformatter.reformat(
            frame,
            *self._lying,
            self._format,
            src_colorspace=own,
            dst_colorspace=matrix,
            interpolation="BICUBIC",
            src_color_range=ColorRange.JPEG if full else ColorRange.MPEG,
            dst_color_range=ColorRange.MPEG,  # of YUV; RGB is always full
        )
        if not flat.format.is_rgb:
            _copy_colours(frame, flat)
            flat.colorspace, flat.color_range = matrix, ColorRange.MPEG
        return flat


def framed(frame: VideoFrame, width: int, height: int) -> VideoFrame:
    """The picture, 8-bit 4:2:0 of limited range, in the middle of a black one of `width` x `height`."""
    if (frame.width, frame.height) == (width, height):
        return frame
    black = VideoFrame(width, height, "yuv420p")
    for plane, inner, value, step in zip(black.planes, frame.planes, (16, 128, 128), (1, 2, 2), strict=True):
        pixels = np.frombuffer(memoryview(plane), np.uint8).reshape(-1, plane.line_size)
        pixels[:] = value
        x, y = (width - frame.width) // 4 * 2 // step, (height - frame.height) // 4 * 2 // step
        shown = np.frombuffer(memoryview(inner), np.uint8).reshape(-1, inner.line_size)
        pixels[y : y + inner.height, x : x + inner.width] = shown[:, : inner.width]
    _copy_colours(frame, black)
    return black


def is_full_range(frame: VideoFrame) -> bool:
    """Whether black is 0 and white 255."""
    return frame.color_range == ColorRange.JPEG or frame.format.is_rgb or frame.format.name.startswith("yuvj")


def matrix_of(frame: VideoFrame) -> int:
    """libav's number of the matrix that its colours are in, as players take it."""
    if frame.colorspace == UNSPECIFIED and frame.height >= HD_HEIGHT:
        return Colorspace.ITU709
    return frame.colorspace


def _copy_colours(source: VideoFrame, target: VideoFrame) -> None:
    target.color_primaries = source.color_primaries
    target.color_trc = source.color_trc
    # named where it was understood: of fewer lines, the same colours would be taken for bt601
    target.colorspace = Colorspace.ITU709 if source.format.is_rgb else matrix_of(source)
    target.color_range = source.color_range


def _turn(video: VideoInfo, size: tuple[int, int], pixel_format: str) -> Graph | None:
    """A graph that flips and rotates pictures of `size`, if they need it."""
    filters = [("vflip", "")] if video.flipped else []
    filters += {
        90: [("transpose", "clock")],
        180: [("hflip", ""), ("vflip", "")],
        270: [("transpose", "cclock")],
    }.get(video.rotation, [])
    if not filters:
        return None
    graph = Graph()
    nodes = [graph.add_buffer(None, *size, VideoFormat(pixel_format), time_base=Fraction(1, 1000))]
    nodes += [graph.add(name, args or None) for name, args in filters]
    graph.link_nodes(*nodes, graph.add("buffersink")).configure()
    return graph
