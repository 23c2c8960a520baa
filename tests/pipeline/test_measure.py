"""Curves in pieces: each final, from anywhere, out of a process that can be ended."""

from __future__ import annotations

import ipaddress
import itertools
import os
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.media.dash import recorded
from tests.media.faults import stubborn
from tests.media.server import Server
from tests.media_maker import join_bytes
from tests.walks.films import SMALL, film
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
from tldr_highlight.pipeline.common import Piece
from tldr_highlight.pipeline.find import detect
from tldr_highlight.pipeline.measure import Sent, measure
from tldr_highlight.pipeline.pieces import pieces

HERE = "tests.pipeline.test_measure"
SECONDS = 80.0
TINY = replace(SMALL, seconds=SECONDS, fps=Fraction(5), size=(64, 36), gop=10)
LOOPBACK = Policy(allow_networks=(ipaddress.ip_network("127.0.0.1/32"),), pause=0.0)


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two roars; a key picture every two seconds; AAC, whose decoder makes noise of its own."""
    return film(tmp_path_factory.mktemp("measured") / "film.mp4", (30.0, 61.0), TINY)


@pytest.fixture(scope="module")
def whole(path: Path) -> list[Piece]:
    return list(measure(path))


def curves(parts: list[Piece]) -> Signals:
    return strung([p.signals for p in parts])


def take(items: Iterator[Piece], had: list[Piece]) -> None:
    """Take all there are."""
    for piece in items:
        had.append(piece)  # noqa: PERF402 - `extend` forgets all where an error comes


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
@pytest.mark.parametrize("first", [37, 60, 149])
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
    return film(path, (76.0, 190.0, 214.0, 280.0), TINY, seconds=300.0, gop=16, fps=Fraction(2), audio="flac")


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
    path = film(tmp_path / "short.mp4", (), TINY, audio_seconds=12.0)
    first, *_ = pieces(probe(path))
    parts = list(pieces(probe(path)))
    assert first.end <= 30
    assert parts[-1].end == SECONDS
    assert np.isfinite(curves(parts).curves["loudness"]).sum() == 24


def test_where_timestamps_leap_a_run_begins_at_the_start(tmp_path: Path) -> None:
    part = film(tmp_path / "part.ts", (20.0,), TINY, seconds=40.0)
    path = join_bytes(tmp_path / "leaps.ts", [part, part])
    undisturbed = list(measure(path))
    assert undisturbed[-1].jumped
    assert 79 <= undisturbed[-1].read <= 81
    again = list(measure(path, first_step=120, jumped=True))
    assert_same(curves(again), curves(undisturbed).part(120, 10_000))
    assert_same(curves(list(measure(path, first_step=120))), curves(again))  # it looks for leaps itself


def test_settling_pieces_gives_what_find_gives(path: Path, whole: list[Piece]) -> None:
    settler = Settler(preset("general"))
    found = list(itertools.chain.from_iterable(settler.feed(p.signals) for p in whole))
    found += settler.finish(whole[-1].read)
    assert found == detect(path)
    assert [round(m.peak, -1) for m in found] == [30, 60]


# --- sources -------------------------------------------------------------------------------------------


def test_sources_on_servers_are_measured_as_files(path: Path, whole: list[Piece], tmp_path: Path) -> None:
    with Server({"/a.mp4": path.read_bytes(), **recorded(path, tmp_path / "dash")}) as server:
        assert_same(curves(list(measure(Remote(server.url("/a.mp4")), policy=LOOPBACK))), curves(whole))
        parts = list(measure(Remote(server.url("/list.mpd")), policy=LOOPBACK))
    assert parts[-1].read == pytest.approx(SECONDS, abs=0.1)
    mine, other = (curves(p).curves["mid"][10:150] for p in (parts, whole))
    assert np.corrcoef(mine, other)[0, 1] > 0.98, "its sound is an AAC frame later"


def test_a_pair_is_measured(path: Path, tmp_path: Path) -> None:
    sound = film(tmp_path / "sound.mka", (30.0,), TINY, codec=None, audio="flac")
    seen = film(tmp_path / "seen.mp4", (), TINY, audio=None)
    parts = list(measure(seen, sound=sound))
    assert np.isfinite(curves(parts).curves["motion"]).mean() > 0.9
    assert np.nanargmax(curves(parts).curves["loudness"]) * STEP == pytest.approx(30, abs=3)


def test_a_source_that_is_lost_gives_what_it_had_and_then_the_reason(tmp_path: Path) -> None:
    path = film(tmp_path / "film.mkv", (30.0, 61.0), TINY, audio="pcm_s16le")
    undisturbed = curves(list(pieces(probe(path))))
    with Dying({"/a": path.read_bytes()}) as server:
        source = Remote(server.url("/a"))
        server.lost = range(len(path.read_bytes()) * 7 // 10, len(path.read_bytes()) * 8 // 10)
        had: list[Piece] = []
        with pytest.raises(SourceError):
            take(measure(source, policy=LOOPBACK), had)
        server.lost = range(0)
        rest = list(
            measure(source, policy=LOOPBACK, first_step=had[-1].signals.first + had[-1].signals.steps)
        )
    assert 30 <= had[-1].end <= 60
    assert not had[-1].last
    assert_same(curves([*had, *rest]), undisturbed)


class Dying(Server):
    """Has lost some of its bytes."""

    lost = range(0)

    def _answer(self, request: Any) -> None:
        first, _, last = request.headers.get("Range", "bytes=0-").removeprefix("bytes=").partition("-")
        if self.lost and int(first) < self.lost.stop and int(last or 1 << 40) >= self.lost.start:
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
    until(lambda: len(lines(log)) > len(told), "one piece ahead")
    time.sleep(0.3)  # for what must not happen
    assert len(lines(log)) == len(told) + 1
    assert told[-1][1] == pytest.approx(SECONDS)
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
        take(items, had)
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
        take(measure(path), had)
    assert len(had) <= 1


def lying(arguments: Json, tell: Any) -> Iterator[Json]:
    """The second piece is what `TLDR_TEST_LIE` makes of it; `end` instead of it: none."""
    items = inside.measure(arguments, tell)
    wanted = yield next(items)
    yield items.send(wanted)
    name, _, value = os.environ["TLDR_TEST_LIE"].partition("=")
    if name != "end":
        yield {**next(items), name: eval(value)}


@pytest.mark.parametrize("lie", ["first=0", "curves='????'", "end"])
def test_what_is_no_piece_is_not_believed(path: Path, lie: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TLDR_TEST_LIE", lie)
    with pytest.raises(MediaCrashError):
        list(measure(path, target=f"{HERE}:lying"))


@pytest.mark.parametrize(
    "lie", [{"steps": 61}, {"steps": 3}, {"steps": -1}, {"curves": ""}, {"curves": "?"}, {"curves": "AAAA"}]
)
def test_a_form_that_fits_nothing_is_refused(whole: list[Piece], lie: dict[str, Any]) -> None:
    sent = Sent.of(whole[0])
    assert_same(sent.piece(whole[0].info).signals, whole[0].signals)
    with pytest.raises(ValueError, match=r"."):
        replace(sent, **lie).piece(whole[0].info)
