"""A file whose clock starts again or leaps is known from a few places in it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.media.conftest import Maker
from tests.media_maker import Recipe, join_bytes, make
from tldr_highlight.media.job import cut_apart, inspect
from tldr_highlight.media.leaps import leaps
from tldr_highlight.media.probe import probe
from tldr_highlight.media.types import ClipResult, ClipSpec

LONG = {"seconds": 30.0, "size": (128, 96), "noise": 64.0}


@pytest.mark.parametrize(("start", "jumps"), [(10.0, True), (40.0, False), (7000.0, True), (45.0, False)])
def test_recordings_one_after_another(start: float, jumps: bool, tmp_path: Path) -> None:
    parts = [make(tmp_path / f"{i}.ts", Recipe(start=s, **LONG)) for i, s in enumerate((10.0, start))]
    both = join_bytes(tmp_path / "both.ts", parts)
    assert leaps(probe(both)) is jumps
    if start == 10.0:  # and cutting finds its way behind the leap
        (clip,) = cut_apart(inspect(both), [ClipSpec(35.0, 40.0, tmp_path / "clip.mp4")])
        assert isinstance(clip, ClipResult)
        assert clip.frames == 125
        assert "jumps" in clip.reason


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "ts", "flv", "mpg"])
def test_common_files_do_not_leap(suffix: str, media: Maker) -> None:
    kind = {"codec": "mpeg2video", "audio": "mp2"} if suffix == "mpg" else {}
    assert not leaps(media(suffix, **LONG, **kind).info)
