"""A clip that is not what it should be is found out."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import pytest

from tests.media.conftest import Maker
from tests.media_maker import Recipe, damage, make
from tldr_highlight.errors import CutError
from tldr_highlight.media.cut import cut
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
