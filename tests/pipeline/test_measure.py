"""Curves in pieces: each final, from anywhere, out of a process that can be ended."""

from __future__ import annotations

import ipaddress
import itertools
import os
import signal
import time
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.media.dash import recorded
from tests.media.faults import stubborn
from tests.media.server import Server
from tests.media_maker import join_bytes
from tests.walks.films import film
from tldr_highlight.analysis.base import STEP
from tldr_highlight.analysis.dimensions import preset
from tldr_highlight.analysis.settling import Settler
from tldr_highlight.analysis.signals import Signals, strung
from tldr_highlight.core.egress import Policy
from tldr_highlight.core.wire import Json
from tldr_highlight.errors import MediaCrashError, MediaTimeoutError, NotFoundError, SourceError
from tldr_highlight.media.job import Visit
from tldr_highlight.media.probe import probe
from tldr_highlight.media.read import Sampling
from tldr_highlight.media.sandbox import ProcessLimits
from tldr_highlight.media.types import Remote
from tldr_highlight.pipeline import inside
from tldr_highlight.pipeline import measure as measuring
from tldr_highlight.pipeline.find import detect
from tldr_highlight.pipeline.measure import measure
from tldr_highlight.pipeline.pieces import Piece, pieces

HERE = "tests.pipeline.test_measure"
SECONDS = 100.0
LOOPBACK = Policy(allow_networks=(ipaddress.ip_network("127.0.0.1/32"),), pause=0.0)


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two roars; a key picture every two seconds; AAC, whose decoder makes noise of its own."""
    return film(tmp_path_factory.mktemp("measured") / "film.mp4", (30.0, 71.0), seconds=SECONDS)


@pytest.fixture(scope="module")
def whole(path: Path) -> list[Piece]:
    return list(measure(path))


def curves(parts: list[Piece]) -> Signals:
    return strung([p.signals for p in parts])


def assert_same(mine: Signals, other: Signals) -> None:
    assert (mine.first, mine.steps) == (other.first, other.steps)
    for name, curve in other.curves.items():
        np.testing.assert_array_equal(mine.curves[name], curve, name)


# --- pieces --------------------------------------------------------------------------------------------


def test_pieces_follow_each_other_and_are_final(path: Path, whole: list[Piece]) -> None:
    assert [p.start for p in whole[1:]] == [p.end for p in whole[:-1]]
    assert [p.last for p in whole] == [False] * (len(whole) - 1) + [True]
    assert whole[0].start == 0
    assert all(10 <= p.end - p.start <= 30 for p in whole[:-1])
    assert SECONDS <= whole[-1].end <= SECONDS + 0.5
    assert whole[-1].read == pytest.approx(SECONDS, abs=0.1)
    assert whole[-1].info == probe(path)
    assert not whole[-1].jumped
    assert_same(curves(whole), curves(list(pieces(probe(path)))))
    known = [n for n, c in curves(whole).curves.items() if np.isfinite(c).mean() > 0.9]
    assert {"loudness", "mid", "motion", "brightness", "packets"} <= set(known)


@pytest.mark.parametrize("sampling", [Sampling.ALL, Sampling.KEYS])
@pytest.mark.parametrize("first", [1, 37, 60, 117, 199])
def test_a_run_that_begins_anywhere_gives_the_same(path: Path, sampling: Sampling, first: int) -> None:
    info = probe(path)
    undisturbed = curves(list(pieces(info, sampling)))
    assert_same(curves(list(pieces(info, sampling, first_step=first))), undisturbed.part(first, 10_000))


def test_a_run_goes_on_behind_a_piece(path: Path, whole: list[Piece]) -> None:
    behind = whole[2].signals.first
    assert_same(curves(list(measure(path, first_step=behind))), curves(whole).part(behind, 10_000))
    end = whole[-1].signals.first + whole[-1].signals.steps
    (nothing,) = measure(path, first_step=end)
    assert (nothing.last, nothing.signals.steps, nothing.read) == (True, 0, whole[-1].read)


@pytest.fixture(scope="module")
def rare(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A key picture every eight seconds; something happens at the border of two blocks, and near the end."""
    path = tmp_path_factory.mktemp("rare") / "rare.mp4"
    return film(path, (60.0, 190.0, 214.0, 280.0), seconds=300.0, gop=40, fps=Fraction(5))


@pytest.mark.parametrize("first", [100, 399, 400, 560])
def test_the_closer_look_is_the_same_from_anywhere(rare: Path, first: int) -> None:
    info = probe(rare)
    undisturbed = curves(list(pieces(info, Sampling.KEYS)))
    known = np.isfinite(undisturbed.curves["motion"])
    seen = [known[: int(200 / STEP)].sum() * STEP, known[int(200 / STEP) :].sum() * STEP]
    assert 30 <= seen[0] <= 41, "a fifth of the block"
    assert 14 <= seen[1] <= 21
    assert known[int(206 / STEP)], "next to a border"
    assert_same(curves(list(pieces(info, Sampling.KEYS, first_step=first))), undisturbed.part(first, 10_000))


def test_sound_that_ends_early_holds_nothing_back(tmp_path: Path) -> None:
    path = film(tmp_path / "short.mp4", (), seconds=60.0, audio_seconds=12.0)
    first, *_ = pieces(probe(path))
    parts = list(pieces(probe(path)))
    assert first.end <= 30
    assert parts[-1].end == 60
    assert np.isfinite(curves(parts).curves["loudness"]).sum() == 24


def test_where_timestamps_leap_a_run_begins_at_the_start(tmp_path: Path) -> None:
    parts = [
        film(tmp_path / f"{i}.ts", (at,), seconds=50.0).read_bytes() for i, at in enumerate((20.0, 30.0))
    ]
    path = join_bytes(tmp_path / "leaps.ts", parts)
    undisturbed = list(measure(path))
    assert undisturbed[-1].jumped
    assert 99 <= undisturbed[-1].read <= 101
    again = list(measure(path, first_step=150, jumped=True))
    assert_same(curves(again), curves(undisturbed).part(150, 10_000))
    assert_same(curves(list(measure(path, first_step=150))), curves(again))  # it looks for leaps itself


def test_settling_pieces_gives_what_find_gives(path: Path, whole: list[Piece]) -> None:
    settler = Settler(preset("general"))
    found = list(itertools.chain.from_iterable(settler.feed(p.signals) for p in whole))
    found += settler.finish(whole[-1].read)
    assert found == detect(path)
    assert [round(m.peak, -1) for m in found] == [30, 70]


# --- sources -------------------------------------------------------------------------------------------


def test_sources_on_servers_are_measured_as_files(path: Path, whole: list[Piece], tmp_path: Path) -> None:
    files: dict[str, Any] = {f"/hls/{n}": b for n, b in recorded(path, tmp_path).items()}
    with Server({"/a.mp4": path.read_bytes(), **files}) as server:
        addresses = ["/a.mp4", next(n for n in files if n.endswith(".mpd"))]
        for address in addresses:
            parts = list(measure(Remote(server.url(address)), policy=LOOPBACK))
            assert parts[-1].read == pytest.approx(SECONDS, abs=0.1)
            mine, other = curves(parts).curves["mid"], curves(whole).curves["mid"]
            np.testing.assert_allclose(mine[10:190], other[10:190], atol=1.0)


def test_a_pair_is_measured(path: Path, tmp_path: Path) -> None:
    sound = film(tmp_path / "sound.m4a", (30.0,), seconds=SECONDS, codec=None)
    seen = film(tmp_path / "seen.mp4", (), seconds=SECONDS, audio=None)
    parts = list(measure(seen, sound=sound))
    assert np.isfinite(curves(parts).curves["motion"]).mean() > 0.9
    assert np.nanargmax(curves(parts).curves["loudness"]) * STEP == pytest.approx(30, abs=3)


def test_a_source_that_is_lost_gives_what_it_had_and_then_the_reason(
    path: Path, whole: list[Piece], tmp_path: Path
) -> None:
    film(tmp_path / "film.ts", (30.0, 71.0), seconds=SECONDS)
    data = (tmp_path / "film.ts").read_bytes()
    undisturbed = curves(list(measure(tmp_path / "film.ts")))
    with Dying({"/a.ts": data}, at=len(data) * 3 // 4) as server:
        source = Remote(server.url("/a.ts"))
        had: list[Piece] = []
        with pytest.raises(SourceError):
            had.extend(measure(source, policy=LOOPBACK))
        assert had, "nothing"
        server.at = len(data)
        rest = list(
            measure(source, policy=LOOPBACK, first_step=had[-1].signals.first + had[-1].signals.steps)
        )
    assert 40 <= had[-1].end <= 75
    assert not had[-1].last
    assert_same(curves([*had, *rest]), undisturbed)


class Dying(Server):
    """Has no bytes from `at` on."""

    def __init__(self, files: dict[str, Any], at: int) -> None:
        super().__init__(files)
        self.at = at

    def _answer(self, request: Any) -> None:
        asked = request.headers.get("Range", "bytes=0-").removeprefix("bytes=").partition("-")
        if int(asked[0]) >= self.at or int(asked[2] or 0) >= self.at:
            request.send_error(503)
            return
        super()._answer(request)


def test_what_cannot_be_opened_is_refused(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError):
        next(measure(tmp_path / "none.mp4"))


# --- processes -----------------------------------------------------------------------------------------


def test_a_visit_is_left_for_cutting(path: Path, whole: list[Piece]) -> None:
    with Visit(path) as visit:
        assert_same(curves(list(measure(visit))), curves(whole))
        assert visit.info.origin == path


def noting(arguments: Json, tell: Any) -> Iterator[Json]:
    """As `inside.measure`, with a line in a file for each piece that is made."""
    log = Path(os.environ["TLDR_TEST_LOG"])
    made = inside.pieces

    def logged(*args: Any, **options: Any) -> Iterator[Piece]:
        for piece in made(*args, **options):
            with log.open("a") as file:
                file.write(f"{os.getpid()}\n")
            yield piece

    inside.pieces = logged
    yield from inside.measure(arguments, tell)


def lines(path: Path) -> list[str]:
    return path.read_text().split() if path.exists() else []


def until(condition: Callable[[], object], what: str, patience: float = 20.0) -> None:
    end = time.monotonic() + patience
    while not condition():
        assert time.monotonic() < end, what
        time.sleep(0.01)


def test_the_process_waits_for_its_reader_and_ends_with_it(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = tmp_path / "log"
    monkeypatch.setenv("TLDR_TEST_LOG", str(log))
    told: list[tuple[float, float]] = []
    items = measure(path, target=f"{HERE}:noting", on_progress=lambda at, of: told.append((at, of)))
    next(items)
    until(lambda: len(lines(log)) >= 2, "one piece ahead")
    ahead = len(lines(log))
    time.sleep(0.3)  # for what must not happen
    assert len(lines(log)) == ahead <= 3
    assert told
    assert told[-1][1] == SECONDS
    pid = int(lines(log)[0])
    items.close()  # pyright: ignore[reportAttributeAccessIssue]
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_a_process_that_is_killed_is_an_error_and_another_goes_on(
    path: Path, whole: list[Piece], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = tmp_path / "log"
    monkeypatch.setenv("TLDR_TEST_LOG", str(log))
    had: list[Piece] = []
    items = measure(path, target=f"{HERE}:noting")
    had.append(next(items))
    os.kill(int(lines(log)[0]), signal.SIGKILL)
    with pytest.raises(MediaCrashError):
        had.extend(items)
    rest = list(measure(path, first_step=round(had[-1].end / STEP)))
    assert_same(curves([*had, *rest]), curves(whole))


def silent(arguments: Json, tell: Any) -> Iterator[Json]:
    """The source's info, and then nothing, for ever."""
    yield next(inside.measure(arguments, tell))
    yield from stubborn(None, tell)


def test_a_process_that_gives_nothing_is_ended(path: Path) -> None:
    with pytest.raises(MediaTimeoutError):
        list(measure(probe(path), target=f"{HERE}:silent", limits=ProcessLimits(seconds=1.0)))


def test_a_process_that_takes_too_long_in_all_is_ended(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measuring, "PATIENCE", 0.0)
    monkeypatch.setattr(measuring, "PACE", 1e-6)
    had: list[Piece] = []
    with pytest.raises(MediaTimeoutError, match="twice as long"):
        had.extend(measure(path))
    assert len(had) == 1


def lying(arguments: Json, tell: Any) -> Iterator[Json]:
    """The second piece is what `TLDR_TEST_LIE` makes of it; `end` instead of it: none."""
    items = inside.measure(arguments, tell)
    wanted = yield next(items)
    yield items.send(wanted)
    name, _, value = os.environ["TLDR_TEST_LIE"].partition("=")
    if name != "end":
        yield {**next(items), name: eval(value)}


@pytest.mark.parametrize(
    "lie", ["first=0", "steps=61", "steps=3", "curves='????'", "curves=''", "read='x'", "more=1", "end"]
)
def test_what_is_no_piece_is_not_believed(path: Path, lie: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TLDR_TEST_LIE", lie)
    with pytest.raises(MediaCrashError):
        list(measure(path, target=f"{HERE}:lying"))
