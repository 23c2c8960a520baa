"""One source's clips in a process of their own: what goes wrong with one of them costs it alone."""

from __future__ import annotations

import math
import os
import signal
import sys
import tempfile
from collections.abc import Generator
from dataclasses import replace
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest

from tests.media.conftest import Made, Maker
from tests.media.faults import HERE
from tests.media.server import Server
from tests.media.test_sandbox import alive
from tests.media_maker import read
from tldr_highlight import errors
from tldr_highlight.core.egress import Policy
from tldr_highlight.errors import (
    CutCrashError,
    CutError,
    CutMemoryError,
    CutTimeoutError,
    DiskFullError,
    RangeError,
)
from tldr_highlight.media.cut import cut
from tldr_highlight.media.job import cut_apart, inspect, plan_apart
from tldr_highlight.media.plan import plan
from tldr_highlight.media.probe import probe
from tldr_highlight.media.sandbox import ProcessLimits
from tldr_highlight.media.types import ClipResult, ClipSpec, CutOptions, Remote

PATIENT = ProcessLimits(seconds=120)


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Generator[Path]:
    """The folder of temporary files, in which nothing may stay."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    yield folder
    assert list(folder.iterdir()) == []


@pytest.fixture
def source(media: Maker) -> Made:
    return media("mp4", seconds=12.0, audio="aac")


def spec(out: Path, start: float, end: float, name: str = "") -> ClipSpec:
    return ClipSpec(start, end, out / f"{name or start}.mp4")


# --- looking -------------------------------------------------------------------------------------------


def test_a_source_is_what_it_is_here(source: Made) -> None:
    assert inspect(source.path) == source.info


def test_names_that_are_no_text(source: Made, tmp_path: Path) -> None:
    path = tmp_path / os.fsdecode(b"caf\xe9\n.mp4")
    path.hardlink_to(source.path)
    info = inspect(path)
    assert info.origin == path
    (clip,) = cut_apart(info, [ClipSpec(1, 2, tmp_path / os.fsdecode(b"\xe9.mp4"))])
    assert isinstance(clip, ClipResult)
    assert clip.spec.path.exists()


def test_refusals_are_the_same(tmp_path: Path) -> None:
    (tmp_path / "empty.mp4").touch()
    for name, kind in (("empty.mp4", errors.NotMediaError), ("none.mp4", errors.NotFoundError)):
        with pytest.raises(kind) as here:
            probe(tmp_path / name)
        with pytest.raises(kind) as apart:
            inspect(tmp_path / name)
        assert str(apart.value) == str(here.value)


def test_a_source_that_kills_whoever_looks(source: Made) -> None:
    with pytest.raises(errors.MediaCrashError, match="SIGSEGV"):
        inspect(source.path, target=HERE + "crash_at_once")


@pytest.mark.parametrize("answer", [[], [5], [{"path": "/etc/passwd"}]])
def test_a_look_that_makes_no_sense(source: Made, answer: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(errors.MediaCrashError, match="not asked for"):
        inspect(source.path, target=HERE + f"look_{len(answer) and type(answer[0]).__name__}")


# --- planning ------------------------------------------------------------------------------------------


def test_plans_are_the_same_as_here(source: Made, tmp_path: Path) -> None:
    specs = [spec(tmp_path, *r) for r in [(1.0, 3.0), (5.0, 4.0), (2.2, 9.0)]]
    here, apart = plan(source.info, specs), plan_apart(source.path, specs)
    assert apart[0] == here[0]
    assert apart[2] == here[2]
    assert isinstance(apart[1], RangeError)
    assert (str(apart[1]), apart[1].index) == (str(here[1]), 1)


def test_planning_has_its_limit(source: Made, tmp_path: Path) -> None:
    with pytest.raises(errors.MediaTimeoutError):
        plan_apart(
            source.info,
            [spec(tmp_path, 1, 2)],
            limits=ProcessLimits(seconds=0.3),
            target=HERE + "stubborn_planner",
        )


# --- cutting -------------------------------------------------------------------------------------------


def test_clips_are_the_same_as_here(source: Made, tmp_path: Path) -> None:
    ranges = [(1.0, 3.0), (5.0, 5.5), (2.0, 9.0), (4.0, 3.0)]
    here = list(cut(source.info, [spec(tmp_path / "here", *r) for r in ranges]))
    apart = list(cut_apart(source.path, [spec(tmp_path / "apart", *r) for r in ranges]))
    for one, other in zip(here[:3], apart[:3], strict=True):
        assert isinstance(one, ClipResult)
        assert isinstance(other, ClipResult)
        assert (one.frames, one.method, one.reason) == (other.frames, other.method, other.reason)
        assert (one.actual_start, one.actual_end, one.sync_ms) == (
            other.actual_start, other.actual_end, other.sync_ms,
        )  # fmt: skip
        source.assert_exact(other, other.spec.start, other.spec.end)
    assert isinstance(apart[3], RangeError)
    assert (str(apart[3]), apart[3].index) == (str(here[3]), 3)


def test_options_and_progress_cross_over(source: Made, tmp_path: Path) -> None:
    told: list[tuple[int, float]] = []
    specs = [spec(tmp_path, 1, 3), spec(tmp_path, 3, 6)]
    options = CutOptions(mode="encode", max_height=96)
    clips = list(cut_apart(source.info, specs, options=options, on_progress=lambda *at: told.append(at)))
    assert [c.method for c in clips if isinstance(c, ClipResult)] == ["encode", "encode"]
    assert {i for i, _ in told} == {0, 1}
    for index in (0, 1):
        shares = [share for i, share in told if i == index]
        assert shares == sorted(shares)
        assert shares[-1] == 1.0


def test_outcomes_come_one_by_one(source: Made, tmp_path: Path) -> None:
    """Nothing is cut that nobody has asked for yet."""
    specs = [spec(tmp_path, 1, 2), spec(tmp_path, 3, 4)]
    clips = cut_apart(source.info, specs)
    first = next(clips)
    assert isinstance(first, ClipResult)
    assert first.spec == specs[0]
    assert not specs[1].path.exists()
    clips.close()
    assert not specs[1].path.exists()


def test_a_full_disk_ends_it_all(source: Made, tmp_path: Path) -> None:
    specs = [spec(tmp_path / "out", 1, 11), spec(tmp_path / "out", 3, 4)]
    with pytest.raises(DiskFullError):
        list(cut_apart(source.info, specs, limits=ProcessLimits(file_bytes=50_000)))
    assert list((tmp_path / "out").iterdir()) == []


# --- twenty clips, seven of them bad -------------------------------------------------------------------


def twenty(out: Path) -> tuple[list[ClipSpec], dict[int, type[CutError]]]:
    """Specs, and what is wrong with seven; names tell `faults.clips` what to do in the middle of a clip."""
    specs = [spec(out, i / 2, i / 2 + 0.8) for i in range(20)]
    bad: dict[int, tuple[ClipSpec, type[CutError]]] = {
        1: (spec(out, 3, 3), RangeError),
        4: (spec(out, -1, 2), RangeError),
        7: (spec(out, math.nan, 2), RangeError),
        8: (spec(out, 500, 510), RangeError),
        11: (spec(out / "file", 5, 6), CutError),
        12: (spec(out, 6, 7, "hang"), CutTimeoutError),
        13: (spec(out, 7, 8, "crash"), CutCrashError),
    }
    for index, (wrong, _) in bad.items():
        specs[index] = wrong
    return specs, {index: kind for index, (_, kind) in bad.items()}


def test_20_clips_7_of_them_bad(source: Made, tmp_path: Path) -> None:
    """R20: 13 clips, 7 different errors, in order."""
    out = tmp_path / "out"
    out.mkdir()
    (out / "file").touch()  # where a clip wants a folder
    specs, bad = twenty(out)
    outcomes = list(cut_apart(source.info, specs, limits=ProcessLimits(seconds=3), target=HERE + "clips"))
    assert len(outcomes) == 20
    for index, (asked, outcome) in enumerate(zip(specs, outcomes, strict=True)):
        if index in bad:
            assert type(outcome) is bad[index], outcome
            assert outcome.index == index
        else:
            assert isinstance(outcome, ClipResult), outcome
            assert outcome.spec is asked
            source.assert_exact(outcome, asked.start, asked.end)
    assert len({str(outcomes[i]) for i in bad}) == 7
    assert {p.name for p in out.iterdir()} == {s.path.name for i, s in enumerate(specs) if i not in bad} | {
        "file"
    }


@pytest.mark.parametrize(
    ("name", "kind"), [("swell", CutMemoryError), ("killed", CutCrashError), ("nonsense", CutCrashError)]
)
def test_a_clip_that_takes_its_process_along(source: Made, tmp_path: Path, name: str, kind: Any) -> None:
    specs = [spec(tmp_path / "out", 1, 2), spec(tmp_path / "out", 2, 3, name), spec(tmp_path / "out", 3, 4)]
    limits = ProcessLimits(seconds=120, memory=600_000_000)
    first, second, third = cut_apart(source.info, specs, limits=limits, target=HERE + "clips")
    assert isinstance(first, ClipResult)
    assert type(second) is kind
    assert "range 2-3 s" in str(second)
    assert isinstance(third, ClipResult)
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["1.mp4", "3.mp4"]


def test_a_clip_that_is_finished_when_its_process_dies_is_no_clip(source: Made, tmp_path: Path) -> None:
    """Nobody was told of it; another file that has its name stays where nothing was finished."""
    for name, stays in (("late", False), ("crash", True)):
        path = tmp_path / f"{name}.mp4"
        path.write_text("of yesterday")
        (outcome,) = cut_apart(source.info, [ClipSpec(1, 2, path)], target=HERE + "clips")
        assert isinstance(outcome, CutCrashError)
        assert path.exists() is stays


def test_a_source_that_kills_everybody_is_given_up(source: Made, tmp_path: Path) -> None:
    """The fourth clip is not tried any more."""
    specs = [spec(tmp_path, i, i + 1) for i in range(6)]
    outcomes = list(cut_apart(source.info, specs, target=HERE + "note_and_crash"))
    assert [type(o) for o in outcomes] == [CutCrashError] * 6
    assert [o.index for o in outcomes if isinstance(o, CutError)] == [0, 1, 2, 3, 4, 5]
    assert (tmp_path / "log").read_text() == "012"


def test_the_child_killed_in_the_middle_of_a_clip(source: Made, tmp_path: Path) -> None:
    """By somebody else, with SIGKILL."""
    specs = [spec(tmp_path / "out", 1, 2, "pid"), spec(tmp_path / "out", 3, 4)]
    shares: list[float] = []

    def kill(index: int, share: float) -> None:
        if index == 0 and not shares:
            os.kill(int((tmp_path / "out" / "pid").read_text()), signal.SIGKILL)
        shares.append(share)

    first, second = cut_apart(source.info, specs, on_progress=kill, target=HERE + "clips")
    assert isinstance(first, CutCrashError)
    assert isinstance(second, ClipResult)
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["3.mp4", "pid"]


def test_ctrl_c_ends_the_child_and_leaves_nothing(source: Made, tmp_path: Path) -> None:
    specs = [spec(tmp_path / "out", 1, 2, "pid"), spec(tmp_path / "out", 3, 4)]

    def interrupt(index: int, share: float) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        list(cut_apart(source.info, specs, on_progress=interrupt, target=HERE + "clips"))
    pid = int((tmp_path / "out" / "pid").read_text())
    assert not alive(pid)
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["pid"]


def test_whoever_asks_loads_no_decoder() -> None:
    import subprocess

    code = "import sys; import tldr_highlight.media.job; assert 'av' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


# --- sources on servers --------------------------------------------------------------------------------

LOOPBACK = Policy(allow_networks=(ip_network("127.0.0.1/32"),), pause=0.0)


def test_a_source_on_a_server(source: Made, tmp_path: Path) -> None:
    with Server({"/film": source.path.read_bytes()}) as server:
        origin = Remote(server.url("/film?key=secret"), {"X-Key": "one"})
        server.files["/film?key=secret"] = server.files["/film"]
        info = inspect(origin, policy=LOOPBACK)
        clip, bad = cut_apart(info, [spec(tmp_path, 1, 3), spec(tmp_path, 5, 4)], policy=LOOPBACK)
    assert (info.origin, info.duration) == (origin, source.info.duration)
    source.assert_exact(clip, 1, 3)
    assert isinstance(bad, RangeError)
    assert {told["x-key"] for told in server.told} == {"one"}
    assert "secret" not in repr((info, clip))


def test_pictures_and_sound_from_two_places(media: Maker, source: Made, tmp_path: Path) -> None:
    seen, heard = media("mp4", seconds=6.0, audio=None), media("m4a", seconds=6.0, codec=None)
    with Server({"/sound": heard.path.read_bytes()}) as server:
        sound = Remote(server.url("/sound"))
        info = inspect(seen.path, sound=sound, policy=LOOPBACK)
        (clip,) = cut_apart(info, [spec(tmp_path, 1, 3)], policy=LOOPBACK)
    assert isinstance(clip, ClipResult)
    whole = read(clip.spec.path)
    assert whole.numbers == seen.numbers(1, 3)
    assert len(whole.samples) >= 2 * 48_000 - 1024


def test_nothing_private_is_connected_to_unless_allowed(source: Made, tmp_path: Path) -> None:
    with Server({"/film": source.path.read_bytes()}) as server:
        origin = Remote(server.url("/film"))
        with pytest.raises(errors.AddressError):
            inspect(origin)
        with pytest.raises(errors.AddressError):
            list(cut_apart(replace(source.info, origin=origin), [spec(tmp_path, 1, 3)]))
        with pytest.raises(errors.AddressError):
            plan_apart(replace(source.info, origin=origin), [spec(tmp_path, 1, 3)])
        assert server.connections == 0


def test_a_server_that_fails(source: Made) -> None:
    with Server() as server, pytest.raises(errors.SourceNotFoundError):
        inspect(Remote(server.url("/film")), policy=LOOPBACK)
