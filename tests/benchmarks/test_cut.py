"""The benchmark of cutting judges rightly, counts rightly, and can miss each of its bounds."""

from __future__ import annotations

import http.client
import threading
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import pytest

from benchmarks.analyse.contest import Run
from benchmarks.cut import correct
from benchmarks.cut.contest import (
    APART,
    COPY,
    PART,
    SMARTCUT,
    VERYFAST,
    WARM,
    Cell,
    Clip,
    Contestant,
    Found,
    Line,
    Moved,
    Verdict,
    Worker,
    bounds,
    starts,
)
from benchmarks.cut.server import Link, Server
from tests.media_maker import Recipe, make, shifted
from tldr_highlight.media.cut import cut
from tldr_highlight.media.probe import probe
from tldr_highlight.media.types import ClipResult, ClipSpec, CutOptions

# --- what is cut ---------------------------------------------------------------------------------------


def test_long_sources_are_cut_at_the_pictures_of_short_ones() -> None:
    short, long = starts(10, 60, 5), starts(60, 60, 5)
    assert len(short) == len(long) == 5
    assert [round((b - a) % PART, 6) for a, b in zip(short, long, strict=True)] == [0] * 5
    assert long == sorted(long)
    assert long[-1] > 50 * 60
    assert long[-1] + 60 <= 60 * 60
    assert all(s % 2 > 0.02 and (30 * s) % 1 > 0.05 for s in short)


def test_short_sources_have_fewer_starts() -> None:
    assert starts(2, 10, 5) == [17.37]
    assert starts(10, 10, 3) == [17.37, 123.45, 251.91]


# --- judging clips -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("judged") / "source.mp4"
    return make(path, Recipe(seconds=10.0, fps=Fraction(30), gop=30))


@pytest.fixture(scope="module")
def clip(source: Path) -> Path:
    """Of 1.03 to 8.5 s: 224 pictures from number 31 on."""
    path = source.with_name("clip.mp4")
    (result,) = cut(probe(source), [ClipSpec(1.03, 8.5, path)])
    assert isinstance(result, ClipResult)
    return path


def test_an_exact_clip_is_exact(source: Path, clip: Path) -> None:
    verdict = Verdict(*correct.judge(source, 1.03, 8.5, clip))
    assert verdict.exact
    assert verdict.worst_db >= 40
    assert verdict.mb == clip.stat().st_size / 1e6


def test_pictures_too_many_or_too_few_are_counted(source: Path, clip: Path) -> None:
    assert correct.judge(source, 1.03, 8.4, clip).frames_off == 3
    early = correct.judge(source, 0.9, 8.5, clip)
    assert (early.frames_off, early.first_off, early.lag) == (-4, 4, 0)
    assert correct.judge(source, 1.2, 8.5, clip).first_off == -5


@pytest.mark.parametrize("late", [480, -48])
def test_sound_that_is_off_is_measured(late: int, source: Path, clip: Path, tmp_path: Path) -> None:
    wrong = shifted(tmp_path / "late.mp4", clip, "audio", late)
    verdict = correct.judge(source, 1.03, 8.5, wrong)
    assert (verdict.frames_off, verdict.first_off, verdict.lag) == (0, 0, late)


def test_late_pictures_make_early_sound(source: Path, clip: Path, tmp_path: Path) -> None:
    """What counts is the sound against the pictures, wherever a clip's clock starts."""
    with_gap = shifted(tmp_path / "gap.mp4", clip, "video", 15_360 // 10)
    assert correct.judge(source, 1.03, 8.5, with_gap).lag == -4800


def test_bad_pictures_are_seen(source: Path, tmp_path: Path) -> None:
    spec = ClipSpec(1.03, 8.5, tmp_path / "bad.mp4")
    (result,) = cut(probe(source), [spec], options=CutOptions(mode="encode", crf=40))
    assert isinstance(result, ClipResult)
    assert correct.judge(source, 1.03, 8.5, spec.path).worst_db < 40


def test_something_else_is_no_clip_of_it(source: Path, tmp_path: Path) -> None:
    beginning = make(tmp_path / "other.mp4", Recipe(seconds=2.0, fps=Fraction(30)))
    verdict = correct.judge(source, 6.0, 8.0, beginning)
    assert (verdict.first_off, verdict.lag) == (None, None)


# --- the slow link -------------------------------------------------------------------------------------

CONTENT = bytes(range(256)) * 4000


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Server]:
    (tmp_path / "a file.mp4").write_bytes(CONTENT)
    with Server(tmp_path, Link()) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


def ask(server: Server, method: str, path: str, **headers: str) -> tuple[int, str | None, bytes]:
    connection = http.client.HTTPConnection(*server.server_address[:2])
    connection.request(method, path, headers=headers)
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    return answer.status, answer.getheader("Content-Range"), body


@pytest.mark.parametrize(
    ("asked", "start", "end"),
    [("bytes=0-0", 0, 1), ("bytes=1000-1999", 1000, 2000), ("bytes=5-", 5, None), ("bytes=-7", -7, None)],
)
def test_ranges_are_served(asked: str, start: int, end: int | None, served: Server) -> None:
    status, told, body = ask(served, "GET", "/a%20file.mp4", Range=asked)
    assert status == 206
    assert body == CONTENT[start:end]
    assert told is not None
    assert told.endswith(f"/{len(CONTENT)}")
    assert served.link.counted() == {"bytes": len(body), "requests": 1}


def test_the_server_says_what_it_cannot(served: Server) -> None:
    assert ask(served, "GET", "/missing.mp4")[0] == 404
    assert ask(served, "GET", "/a%20file.mp4", Range=f"bytes={len(CONTENT)}-")[0] == 416
    assert ask(served, "HEAD", "/a%20file.mp4") == (200, None, b"")
    assert ask(served, "GET", "/../a%20file.mp4")[2] == CONTENT
    assert served.link.counted() == {"bytes": len(CONTENT), "requests": 4}
    assert served.link.counted() == {"bytes": 0, "requests": 0}


def test_nothing_outside_the_folder_is_served(served: Server) -> None:
    (served.folder.parent / "secret.mp4").write_bytes(b"secret")
    assert ask(served, "GET", "/../secret.mp4")[0] == 404
    assert ask(served, "GET", "/%2e%2e%2fsecret.mp4")[0] == 404


# --- our contestant ------------------------------------------------------------------------------------


def test_our_worker_cuts_files_and_addresses(source: Path, tmp_path: Path) -> None:
    wanted = Clip(str(source), 1.03, 8.5, tmp_path / "clip.mp4")
    with Worker() as worker, Line(source.parent, slow=False) as line:
        runs = [worker.cut(wanted), worker.cut(wanted, apart=True)]
        verdicts = [correct.judge(source, 1.03, 8.5, wanted.out)]
        wanted.out.unlink()
        moved = line.moved(Contestant(WARM, worker.cut), wanted._replace(source=source.name))
        verdicts.append(correct.judge(source, 1.03, 8.5, wanted.out))
    assert all(Verdict(*v).exact for v in verdicts)
    assert all(0 < r.cpu_seconds < 60 and 20 < r.peak_mb < 500 for r in (runs[0], moved.run))
    assert moved.requests >= 1
    assert 0.9 < moved.share < 2.5


def test_a_clip_that_fails_is_no_figure(tmp_path: Path) -> None:
    with Worker() as worker, pytest.raises(RuntimeError, match="our worker ended"):
        worker.cut(Clip(str(tmp_path / "missing.mp4"), 0.0, 1.0, tmp_path / "clip.mp4"))


# --- bounds --------------------------------------------------------------------------------------------

GOOD = Verdict(0, 0, 0, 47.0, 7.0)

SECONDS = {
    (2, 10): {WARM: 0.7, APART: 0.8, COPY: 0.2, VERYFAST: 5.4, SMARTCUT: 5.3},
    (2, 60): {WARM: 0.8, APART: 0.9, COPY: 0.2, VERYFAST: 30.0, SMARTCUT: 7.0},
    (10, 10): {WARM: 3.7, APART: 3.8, COPY: 0.2, VERYFAST: 5.4, SMARTCUT: 14.9},
    (10, 60): {WARM: 3.6, APART: 3.7, COPY: 0.2, VERYFAST: 30.0},
}


def everything(
    *, slower: tuple[Cell, str, float] | None = None, verdict: Verdict = GOOD, peak: float = 250.0,
    share: float = 1.1, wall: float = 1.1, realtime: float = 70.0,
) -> list[str]:  # fmt: skip
    """What is missed when all is as it should be, but for what is given."""
    runs: dict[Cell, dict[str, list[Run]]] = {}
    for minutes in (10.0, 60.0):
        for (gop, length), by_name in SECONDS.items():
            cell = Cell(gop, minutes, length)
            changed = by_name | ({slower[1]: slower[2]} if slower and slower[0] == cell else {})
            runs[cell] = {name: [Run(s, s, peak)] for name, s in changed.items()}
    verdicts = {cell: {WARM: [verdict], COPY: [Verdict(2, 1, 5, 15.0, 7.0)]} for cell in runs}
    remote = {
        (length, slow): {WARM: [Moved(Run(wall, 1, 1), share, 9)], COPY: [Moved(Run(1, 1, 1), 3.4, 9)]}
        for length in (10, 60)
        for slow in (False, True)
    }
    found = Found(Run(3600 / realtime, 1, 1), realtime, 10, 300.0)
    return [check.what for check in bounds(runs, verdicts, remote, found) if not check.kept]


def test_bounds_hold_where_they_should() -> None:
    assert everything() == []


@pytest.mark.parametrize(
    ("what", "slower"),
    [
        (f"x {VERYFAST}, g2, 10 min, 60 s", (Cell(2, 10, 60), VERYFAST, 23.9)),
        (f"x {VERYFAST}, g2, 10 min, 10 s", (Cell(2, 10, 10), VERYFAST, 4.8)),
        (f"x {SMARTCUT}, g2, 10 min, 10 s", (Cell(2, 10, 10), SMARTCUT, 4.8)),
        (f"x {VERYFAST}, g10, 10 min, 60 s", (Cell(10, 10, 60), VERYFAST, 21.0)),
        (f"x {SMARTCUT}, g10, 10 min, 10 s", (Cell(10, 10, 10), SMARTCUT, 12.9)),
        (f"times the seconds of {COPY}, g2, 10 min, 60 s", (Cell(2, 10, 60), COPY, 0.15)),
        ("times the seconds of 10 min, g2, 60 min, 10 s", (Cell(2, 60, 10), WARM, 0.85)),
    ],
)
def test_each_speed_can_be_missed(what: str, slower: tuple[Cell, str, float]) -> None:
    assert everything(slower=slower) == [what]


@pytest.mark.parametrize(
    "wrong", [{"frames_off": 1}, {"first_off": -1}, {"first_off": None}, {"lag": 1}, {"lag": None}]
)
def test_a_clip_that_is_not_exact_is_missed(wrong: dict[str, int | None]) -> None:
    assert everything(verdict=GOOD._replace(**wrong)) == ["clips that are exact, of all"]


def test_the_other_bounds_can_be_missed() -> None:
    assert everything(verdict=GOOD._replace(worst_db=39.9)) == ["dB of the worst picture"]
    assert everything(peak=301.0) == ["MB at the peak"]
    assert everything(realtime=59.0) == ["x realtime, find with its clips"]
    assert len(everything(share=1.2)) == 2
    assert len(everything(share=1.7)) == 4
    assert len(everything(wall=1.2)) == 2
