"""The quality ladder: what each rung gives, and when it leaves nothing to copy."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest

from tests.media.conftest import Maker
from tests.media_maker import gray_of
from tldr_highlight.media.cut import cut
from tldr_highlight.media.quality import clip_size, forced, rung, sound_forced
from tldr_highlight.media.types import ClipResult, ClipSpec, CutOptions, MediaInfo, Watermark


def clip_of(info: MediaInfo, path: Path, options: CutOptions) -> ClipResult:
    outcome = next(iter(cut(info, [ClipSpec(0.0, 1.0, path)], options=options)))
    assert isinstance(outcome, ClipResult), outcome
    return outcome


def psnr(a: Path, b: Path, count: int) -> float:
    """dB between the brightness of the first `count` pictures of two files of one size."""
    errors: list[float] = []
    with av.open(a) as left, av.open(b) as right:
        for one, other, _ in zip(left.decode(video=0), right.decode(video=0), range(count), strict=False):
            errors.append(float(np.mean((gray_of(one).astype(float) - gray_of(other)) ** 2)))
    assert len(errors) == count
    return 10 * np.log10(255**2 / float(np.mean(errors)))


def test_each_rung_is_smaller_and_further_from_the_source(media: Maker, tmp_path: Path) -> None:
    made = media("mp4", seconds=2.0, noise=20)
    results = [
        clip_of(made.info, tmp_path / f"{q}.mp4", CutOptions(mode="encode", quality=q))
        for q in ("source", "high", "medium", "small")
    ]
    nearness = [psnr(made.path, r.spec.path, 25) for r in results]
    assert nearness == sorted(nearness, reverse=True)
    assert nearness[0] > 40
    assert nearness[-1] > 25
    sizes = [r.bytes for r in results]
    assert sizes == sorted(sizes, reverse=True)


@pytest.mark.parametrize(
    ("quality", "size"), [("source", (1920, 1080)), ("medium", (1280, 720)), ("small", (852, 480))]
)
def test_lines(quality: str, size: tuple[int, int], media: Maker, tmp_path: Path) -> None:
    made = media("mp4", seconds=0.2, size=(1920, 1080))
    options = replace(CutOptions(mode="encode"), quality=quality)
    with av.open(clip_of(made.info, tmp_path / "clip.mp4", options).spec.path) as container:
        assert (container.streams.video[0].width, container.streams.video[0].height) == size
        told = container.streams.audio[0].codec_context.bit_rate
        assert told == pytest.approx(rung(options).audio_bit_rate, rel=0.08)


def test_what_is_asked_for_wins(media: Maker) -> None:
    info = media("mp4").info
    assert info.video
    options = CutOptions(quality="small", crf=10, max_height=96, audio_bit_rate=64_000)
    asked = rung(options)
    assert (asked.crf, asked.max_height, asked.audio_bit_rate) == (10, 96, 64_000)
    assert clip_size(info.video, options) == (160, 96)
    assert clip_size(info.video, CutOptions(max_height=2000)) == (320, 192)


@pytest.mark.parametrize(
    ("options", "picture", "sound"),
    [
        (CutOptions(), None, None),
        (CutOptions(quality="source", max_height=192), None, None),
        (CutOptions(max_height=191), "scaled to 191 lines", None),
        (CutOptions(quality="medium"), "quality medium", "quality medium"),
        (CutOptions(quality="small"), "quality small", "quality small"),
        (CutOptions(watermark=Watermark(text="x")), "watermark", None),
        (CutOptions(loudness=-16.0), None, "-16 LUFS"),
    ],
)
def test_what_leaves_nothing_to_copy(
    options: CutOptions, picture: str | None, sound: str | None, media: Maker
) -> None:
    info = media("mp4").info
    for reason, part in ((forced(options, info), picture), (sound_forced(options, info), sound)):
        assert (reason is None) == (part is None)
        assert part is None or part in str(reason)
    assert forced(options, replace(info, video=None)) is None
    assert sound_forced(options, replace(info, audio=None)) is None


def test_turned_pictures_are_measured_upright(media: Maker) -> None:
    info = media("mp4", rotation=90).info  # 320x192 upright, stored as 192x320
    assert forced(CutOptions(max_height=192), info) is None
    assert forced(CutOptions(max_height=190), info)


def test_scaled_below_hd_the_colours_stay_those_of_hd(media: Maker, tmp_path: Path) -> None:
    """Pictures of 720 lines that name no matrix are BT.709; at 480 lines players would take BT.601."""
    made = media("mp4", seconds=0.2, size=(1280, 720))
    with av.open(clip_of(made.info, tmp_path / "a.mp4", CutOptions(quality="small")).spec.path) as container:
        assert container.streams.video[0].codec_context.colorspace == 1
