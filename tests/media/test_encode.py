"""What the writer of MP4 does with what it is given."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

from tests.media.conftest import Maker
from tests.media_maker import read
from tldr_highlight.media.encode import Writer
from tldr_highlight.media.frames import Source
from tldr_highlight.media.types import CutOptions


def test_pictures_at_one_tick_are_one(media: Maker, tmp_path: Path) -> None:
    made = media("mp4", audio=None)
    path = tmp_path / "clip.mp4"
    with Source(made.info) as source, Writer(path, made.info, CutOptions(), Fraction(1, 25)) as writer:
        for picture, at in zip(source.pictures(0.0), (0, 0, 1, 1, 2), strict=False):
            writer.picture(picture.frame, at)
        writer.finish(3)
    assert writer.pts == [0, 1, 2]
    assert read(path).numbers == [0, 2, 4]
