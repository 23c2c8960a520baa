"""A file whose clock starts again or leaps is known from a few places in it."""

from __future__ import annotations

from fractions import Fraction
from ipaddress import ip_network
from pathlib import Path

import pytest

from tests.media.conftest import Maker
from tests.media.server import Server
from tests.media_maker import Recipe, join_bytes, make, read
from tldr_highlight.core.egress import Policy
from tldr_highlight.media.job import cut_apart, inspect
from tldr_highlight.media.leaps import leaps
from tldr_highlight.media.probe import probe
from tldr_highlight.media.types import ClipResult, ClipSpec, Remote

LOOPBACK = Policy(allow_networks=(ip_network("127.0.0.1/32"),), pause=0.0)

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


@pytest.mark.parametrize("start", [10.0, 7000.0])
def test_clips_of_a_file_on_a_server_are_those_of_the_file_where_its_clock_leaps(
    start: float, tmp_path: Path
) -> None:
    """The second part shows twice as many pictures a second, so that their numbers say which part it is."""
    small = {"size": (128, 72), "gop": 10, "rate": 16_000, "layout": "mono"}
    first = make(tmp_path / "1.ts", Recipe(start=10.0, seconds=16.0, fps=Fraction(10), **small))
    second = make(tmp_path / "2.ts", Recipe(start=start, seconds=16.0, fps=Fraction(20), **small))
    both = join_bytes(tmp_path / "both.ts", [first, second])
    specs = [ClipSpec(at, at + 2, tmp_path / f"{at:.0f}.mp4") for at in (13.0, 21.0)]
    with Server({"/both": both.read_bytes()}) as server:
        results = list(cut_apart(Remote(server.url("/both")), specs, policy=LOOPBACK))
    assert all(isinstance(r, ClipResult) for r in results), results
    before, behind = (list(read(spec.path).numbers) for spec in specs)
    assert before == list(range(130, 150))
    assert behind == list(range(behind[0], behind[0] + 40))
    assert abs(behind[0] - 100) < 5


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "ts", "flv", "mpg"])
def test_common_files_do_not_leap(suffix: str, media: Maker) -> None:
    kind = {"codec": "mpeg2video", "audio": "mp2"} if suffix == "mpg" else {}
    assert not leaps(media(suffix, **LONG, **kind).info)
