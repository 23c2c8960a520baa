"""The quality ladder: what each rung asks of the encoder, and whether it leaves anything to copy."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from tldr_highlight.media.types import CutOptions, MediaInfo, Quality, VideoInfo


@dataclass(frozen=True, slots=True)
class Rung:
    """How pictures and sound are encoded where they are."""

    crf: int  # x264 constant rate factor
    max_height: int | None  # lines to scale down to, never up
    audio_bit_rate: int  # bit/s of AAC-LC, both channels


LADDER: dict[Quality, Rung] = {
    "source": Rung(17, None, 192_000),  # nobody sees the edges of a copy
    "high": Rung(20, None, 160_000),
    "medium": Rung(23, 720, 128_000),
    "small": Rung(27, 480, 96_000),
}

SMALLER: tuple[Quality, ...] = ("medium", "small")
"""Qualities that people choose for the size, so that copying a large source is not what they asked for."""


def rung(options: CutOptions) -> Rung:
    """The rung of `options.quality`, with what is asked for explicitly instead of its own."""
    base = LADDER[options.quality]
    return Rung(
        base.crf if options.crf is None else options.crf,
        options.max_height or base.max_height,
        options.audio_bit_rate or base.audio_bit_rate,
    )


EDGE_CRF = 17
"""Of pictures encoded beside copied ones: none must look worse. 43 to 47 dB on film, grain and animation."""


def edge_crf(options: CutOptions) -> int:
    """The rate factor of pictures that are encoded beside copied ones, which are of `options.quality`."""
    return rung(options).crf if options.quality in SMALLER else EDGE_CRF


def clip_size(video: VideoInfo, options: CutOptions) -> tuple[int, int]:
    """Width and height of the upright clip, both even, as 4:2:0 needs them."""
    width, height = upright_size(video)
    limit = rung(options).max_height
    if limit and height > limit:
        width, height = round(width * limit / height), limit
    return max(2, width // 2 * 2), max(2, height // 2 * 2)


def upright_size(video: VideoInfo) -> tuple[int, int]:
    """Width and height of the source's pictures as they are shown."""
    lying = video.rotation in {90, 270}
    return (video.height, video.width) if lying else (video.width, video.height)


def upright_aspect(video: VideoInfo) -> Fraction:
    """Width of one pixel over its height, as they are shown."""
    return 1 / video.sample_aspect if video.rotation in {90, 270} else video.sample_aspect


def forced(options: CutOptions, info: MediaInfo) -> str | None:
    """Why the pictures of a clip must all be encoded, in one clause for people; None: they may be copied."""
    if reason := changed(options, info):
        return reason
    if info.video and options.quality in SMALLER:
        return f"quality {options.quality} asks for a smaller file"
    return None


def changed(options: CutOptions, info: MediaInfo) -> str | None:
    """Why pictures are to look otherwise than they do, in one clause for people; None: they are not."""
    if info.video is None:
        return None
    limit = rung(options).max_height
    if options.watermark:
        return "a watermark is put on"
    if limit and upright_size(info.video)[1] > limit:
        return f"scaled to {limit} lines"
    return None


def sound_forced(options: CutOptions, info: MediaInfo) -> str | None:
    """Why the sound of a clip must be encoded; None: it may be copied where its codec plays everywhere."""
    if info.audio is None:
        return None
    if options.loudness is not None:
        return f"loudness is brought to {options.loudness:g} LUFS"
    if options.quality in SMALLER:
        return f"quality {options.quality} asks for a smaller file"
    return None
