"""A clip that is not what it should be is found out."""

from __future__ import annotations

import itertools
import zlib
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from tests.media.conftest import Maker
from tests.media_maker import Recipe, damage, make, sound
from tldr_highlight.errors import CutError
from tldr_highlight.media.cut import cut
from tldr_highlight.media.frames import Source
from tldr_highlight.media.samples import Block
from tldr_highlight.media.types import ClipSpec
from tldr_highlight.media.verify import Expected, verify

TICK = Fraction(1, 12_800)
RIGHT = Expected(TICK, [i * 512 for i in range(50)], 50 * 512, 48_000, 96_000)


@pytest.fixture(scope="module")
def clip(media: Maker, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("clip") / "clip.mp4"
    next(iter(cut(media("mp4").info, [ClipSpec(1.0, 3.0, path)])))
    return path


def test_right(clip: Path) -> None:
    assert verify(clip, RIGHT) == 0.0


@pytest.mark.parametrize(
    ("wrong", "complaint"),
    [
        (replace(RIGHT, pts=RIGHT.pts[:-1]), "50 pictures instead of 49"),
        (replace(RIGHT, pts=[*RIGHT.pts[:-1], 49 * 512 + 1]), "picture 49 is not at its time"),
        (replace(RIGHT, pts=[p + 512 for p in RIGHT.pts]), "picture 0 is not at its time"),
        (replace(RIGHT, samples=98_000), "its sound ends"),
        (replace(RIGHT, end=60 * 512), "it says to last"),
        (replace(RIGHT, rate=0), "audio track"),
        (replace(RIGHT, pts=[]), "video track"),
    ],
)
def test_wrong(clip: Path, wrong: Expected, complaint: str) -> None:
    with pytest.raises(CutError, match=complaint):
        verify(clip, wrong)


@pytest.fixture
def told(clip: Path) -> dict[int, int]:
    """CRC-32 of every packet of pictures, by its time."""
    with av.open(clip) as container:
        base = container.streams.video[0].time_base
        return {int(p.pts * base / TICK): zlib.crc32(p) for p in container.demux(video=0) if p.size}


def test_copied_pictures_are_the_sources_bytes(clip: Path, told: dict[int, int]) -> None:
    verify(clip, replace(RIGHT, copied=told))
    with pytest.raises(CutError, match=r"picture at 0\.400 s changed"):
        verify(clip, replace(RIGHT, copied={**told, 10 * 512: 1}))


def test_encoded_pictures_are_the_encoders_bytes(clip: Path, told: dict[int, int]) -> None:
    edge = 3 * 512
    copied = {pts: total for pts, total in told.items() if pts != edge}
    verify(clip, replace(RIGHT, copied=copied, encoded={edge: told[edge]}))
    with pytest.raises(CutError, match=r"picture at 0\.120 s changed"):
        verify(clip, replace(RIGHT, copied=copied, encoded={edge: 1}))


def test_copied_sound_is_the_sources_bytes(clip: Path) -> None:
    with av.open(clip) as container:
        sums = [zlib.crc32(p) for p in container.demux(audio=0) if p.size]
    verify(clip, replace(RIGHT, copied_sound=sums))
    with pytest.raises(CutError, match="its sound changed"):
        verify(clip, replace(RIGHT, copied_sound=[*sums[:-1], 1]))


def test_pictures_beside_joints_are_the_sources(clip: Path, media: Maker) -> None:
    with Source(media("mp4").info) as source:
        right, wrong = itertools.islice((p.frame for p in source.pictures(1.0) if p.at >= 1.0), 2)
    verify(clip, replace(RIGHT, shown={0: right}))
    with pytest.raises(CutError, match=r"picture at 0\.000 s is not the source's"):
        verify(clip, replace(RIGHT, shown={0: wrong}))


@pytest.mark.parametrize("late", [2, -700])
@pytest.mark.parametrize("at", [0, 84_000])
def test_sound_that_is_late(clip: Path, at: int, late: int) -> None:
    verify(clip, replace(RIGHT, heard={at: heard(48_000 + at)}))
    with pytest.raises(CutError, match=f"its sound is {late} samples late"):
        verify(clip, replace(RIGHT, heard={at: heard(48_000 + at + late)}))


def heard(start: int) -> Block:
    return np.atleast_2d(sound(start, 12_000, 48_000))


def test_turned(clip: Path) -> None:
    with pytest.raises(CutError, match="not shown upright"):
        verify(clip, replace(RIGHT, turned=(90, False)))


def test_late_sound(tmp_path: Path) -> None:
    path = make(tmp_path / "late.mp4", Recipe(seconds=2.0, audio_start=0.1, audio_seconds=2.0))
    with pytest.raises(CutError, match=r"sound starts 0\.\d+ s late"):
        verify(path, RIGHT)


def test_no_clip_at_all(tmp_path: Path) -> None:
    (tmp_path / "x.mp4").write_bytes(b"nothing")
    with pytest.raises(CutError, match="cannot be read again"):
        verify(tmp_path / "x.mp4", RIGHT)


@pytest.mark.parametrize("share", [0.3, 0.6, 0.9])
def test_truncated(clip: Path, tmp_path: Path, share: float) -> None:
    data = clip.read_bytes()
    (tmp_path / "x.mp4").write_bytes(data[: int(len(data) * share)])
    with pytest.raises(CutError):
        verify(tmp_path / "x.mp4", RIGHT)


@pytest.mark.parametrize("place", ["first", "last"])
def test_pictures_overwritten(clip: Path, tmp_path: Path, place: str) -> None:
    with av.open(clip) as container:
        packets = [(p.pos, p.size) for p in container.demux(video=0) if p.size]
    at, size = packets[0] if place == "first" else packets[-1]
    assert at is not None
    path = tmp_path / "x.mp4"
    path.write_bytes(clip.read_bytes())
    total = path.stat().st_size
    damage(path, (at + 6) / total, (at + size) / total)
    with pytest.raises(CutError):
        verify(path, RIGHT)
