"""Recordings that break: what is before and behind a break is cut exactly, and nothing across it."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path

import pytest

from tests.media.conftest import Made, Maker
from tests.media.server import Server
from tests.media.test_remote import RECORDINGS, recorded
from tests.media_maker import lag, read
from tldr_highlight.core.egress import Egress, Policy
from tldr_highlight.errors import CutSourceError, MediaError, RangeError
from tldr_highlight.media.cut import cut
from tldr_highlight.media.plan import plan
from tldr_highlight.media.probe import probe
from tldr_highlight.media.remote import opened
from tldr_highlight.media.types import ClipPlan, ClipResult, ClipSpec, Remote

FIRST = 9.6
"""Seconds before the break."""


@pytest.fixture
def egress() -> Iterator[Egress]:
    networks = (ipaddress.ip_network("127.0.0.1/32"),)
    with Egress(Policy(allow_networks=networks, pause=0.0)) as egress:
        yield egress


@pytest.fixture(scope="module")
def film(media: Maker) -> Made:
    return media("mp4", seconds=FIRST)


@pytest.fixture(scope="module")
def other(media: Maker) -> Made:
    """Pictures of another size and rate, and sound of another rate."""
    return media("mp4", seconds=7.2, size=(192, 128), fps=Fraction(50), gop=24, rate=44_100)


def broken(parts: list[dict[str, bytes]]) -> dict[str, bytes]:
    """Recordings one after another in one playlist, with breaks between them."""
    files: dict[str, bytes] = {}
    lines: list[str] = []
    for index, part in enumerate(parts):
        text = part["/list.m3u8"].decode()
        text = re.sub(r"^(?=[^#\n])", f"p{index}/", text, flags=re.MULTILINE)
        text = re.sub(r'URI="(/.*/)?([^"/]*)"', rf'URI="p{index}/\2"', text)
        head, *segments = re.split(r"(?=#EXT-X-KEY|#EXT-X-MAP|#EXTINF)", text.replace("#EXT-X-ENDLIST", ""))
        lines += [head if index == 0 else "#EXT-X-DISCONTINUITY\n", *segments]
        files |= {f"/p{index}{path}": body for path, body in part.items()}
    return {**files, "/list.m3u8": ("".join(lines) + "#EXT-X-ENDLIST\n").encode()}


def assert_other(result: object, own: int) -> None:
    """A clip of the other film, which begins at `FIRST`."""
    assert isinstance(result, ClipResult), repr(result)
    clip = read(result.spec.path)
    number = clip.numbers[0]
    assert clip.numbers == list(range(number, number + len(clip.numbers)))
    assert abs(number - (result.actual_start - FIRST) * 50) <= 5  # by what the priming is early
    assert clip.sound_start == 0
    assert abs(lag(clip.samples[:16_000], number * 882, 44_100)) <= own


@pytest.mark.parametrize("name", RECORDINGS)
def test_both_sides_of_a_break(name: str, film: Made, other: Made, egress: Egress, tmp_path: Path) -> None:
    sides = [recorded(m.path, tmp_path / str(i), **RECORDINGS[name]) for i, m in enumerate((film, other))]
    with (
        Server(dict(broken(sides))) as server,
        opened(Remote(server.url("/list.m3u8")), egress) as origin,
    ):
        info = probe(origin)
        assert info.duration == pytest.approx(FIRST + 7.2, abs=0.1)
        assert [w for w in info.warnings if "breaks at 9.6" in w]
        specs = [
            ClipSpec(a, b, tmp_path / f"{a}.mp4")
            for a, b in ((8.0, 9.6), (9.0, 10.0), (9.6, 11.0), (13.3, 14.9), (15.5, 30.0), (90.0, 91.0))
        ]
        planned = plan(info, specs)
        before, across, at, behind, last, outside = cut(info, specs)
    assert isinstance(before, ClipResult), repr(before)
    number = int(before.actual_start * 25 + 0.01)
    clip = read(before.spec.path)
    assert clip.numbers == list(range(number, 240))
    own = 48 if "fmp4" in name else 1  # the edit lists it was made with count milliseconds
    assert abs(lag(clip.samples[:16_000], number * 1920, 48_000)) <= own
    assert isinstance(across, RangeError)
    assert "break in the recording, at 9.6" in str(across)
    for result in (at, behind, last):
        assert_other(result, own)
    assert isinstance(last, ClipResult)
    assert read(last.spec.path).numbers[-1] == 359
    assert isinstance(outside, RangeError)
    assert [type(p) for p in planned] == [ClipPlan, RangeError, ClipPlan, ClipPlan, ClipPlan, RangeError]


def master(seen: dict[str, bytes], heard: dict[str, bytes]) -> dict[str, bytes]:
    text = (
        '#EXTM3U\n#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID="g",NAME="a",DEFAULT=YES,URI="a/list.m3u8"\n'
        '#EXT-X-STREAM-INF:BANDWIDTH=1,AUDIO="g"\nv/list.m3u8\n'
    )
    inner = {f"/{k}{path}": body for k, files in (("v", seen), ("a", heard)) for path, body in files.items()}
    return {**inner, "/list.m3u8": text.encode()}


def test_sound_that_comes_apart_breaks_there_too(media: Maker, egress: Egress, tmp_path: Path) -> None:
    made = [
        media("ts", seconds=FIRST, start=10.0),
        media("ts", seconds=7.2, start=20.0, size=(192, 128), fps=Fraction(50), gop=24, rate=44_100),
    ]
    both = [[recorded(m.path, tmp_path / f"{k}{i}", k) for i, m in enumerate(made)] for k in "va"]
    with (
        Server(dict(master(*map(broken, both)))) as server,
        opened(Remote(server.url("/list.m3u8")), egress) as origin,
    ):
        (result,) = cut(probe(origin), [ClipSpec(13.3, 14.9, tmp_path / "clip.mp4")])
    assert_other(result, 1)
    with (
        Server(dict(master(broken(both[0]), both[1][0]))) as server,
        pytest.raises(MediaError, match="breaks at other places"),
        opened(Remote(server.url("/list.m3u8")), egress) as origin,
    ):
        probe(origin)


def test_a_break_before_everything_or_twice_is_none(film: Made, egress: Egress, tmp_path: Path) -> None:
    files = recorded(film.path, tmp_path / "files")
    mark = b"#EXT-X-DISCONTINUITY\n"
    files["/list.m3u8"] = files["/list.m3u8"].replace(b"#EXTINF", mark * 2 + b"#EXTINF", 1)
    with Server(dict(files)) as server, opened(Remote(server.url("/list.m3u8")), egress) as origin:
        info = probe(origin)
        assert not [w for w in info.warnings if "breaks" in w]
        (result,) = cut(info, [ClipSpec(3.3, 6.9, tmp_path / "clip.mp4")])
    assert isinstance(result, ClipResult), repr(result)


def test_a_part_that_is_gone_costs_its_ranges(
    film: Made, other: Made, egress: Egress, tmp_path: Path
) -> None:
    sides = [recorded(m.path, tmp_path / str(i)) for i, m in enumerate((film, other))]
    files: dict[str, bytes | int | Callable[[], bytes]] = {**broken(sides)}
    files |= {path: 404 for path in files if path.startswith("/p1/")}
    with Server(files) as server, opened(Remote(server.url("/list.m3u8")), egress) as origin:
        info = probe(origin)
        lost, there = cut(info, [ClipSpec(a, a + 1, tmp_path / f"{a}.mp4") for a in (13.3, 5.0)])
    assert isinstance(lost, CutSourceError)
    assert isinstance(there, ClipResult), repr(there)
