"""Whatever the command is given: the contract's exit code, a message that helps, nothing half-written."""

from __future__ import annotations

import contextlib
import json
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
from collections.abc import Generator, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from PIL import Image

from tests.media_maker import join_bytes
from tests.walks import films
from tests.walks.command import (
    PATIENCE,
    Clip,
    Run,
    ended,
    environment,
    find,
    left_over,
    look,
    run,
    start,
    stored,
    tree,
    until,
)
from tests.walks.films import ROAR
from tldr_highlight.media.probe import probe
from tldr_highlight.media.read import Reader, Sampling

ROOT = Path(__file__).parents[2]
WORK = ".tldr-highlight"

# --- what cannot be used is refused --------------------------------------------------------------------


def _picture(path: Path) -> None:
    Image.new("RGB", (64, 64)).save(path, "PNG")


def _cut_short(path: Path) -> None:
    films.film(path, seconds=3.0)
    path.write_bytes(path.read_bytes()[:-3000])  # the index is at the end


REFUSED: dict[str, tuple[Any, int, str, str]] = {
    # name: how it is made, exit code, error code, words of the message
    "nothing.mp4": (None, 5, "not_found", "does not exist"),
    "empty.mp4": (lambda p: p.touch(), 4, "not_media", "is empty"),
    "text.mp4": (lambda p: p.write_text("Dear diary,\n" * 500), 4, "not_media", "is text"),
    "picture.mp4": (_picture, 4, "not_media", "is a PNG picture"),
    "playlist.mp4": (lambda p: p.write_text("#EXTM3U\n/etc/passwd\n"), 4, "not_media", "playlist"),
    "zeros.mp4": (lambda p: p.write_bytes(bytes(50_000)), 4, "not_media", "zeros"),
    "unfinished.mp4": (_cut_short, 4, "media_unreadable", "moov"),
    "neither.mp4": (films.no_tracks, 4, "no_usable_streams", "neither picture nor sound"),
    "bomb.avi": (lambda p: films.plain(p, (8200, 8200), [0, 1], "mjpeg"), 4, "", ""),
    "streams.mkv": (lambda p: films.many_streams(p, 900), 4, "media_over_limit", "200 streams or more"),
    "weeks.mkv": (
        lambda p: films.plain(p, (64, 36), [3599 * i for i in range(200)]),
        4, "media_over_limit", "hours",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_used_is_refused(tmp_path: Path, name: str) -> None:
    maker, code, error, words = REFUSED[name]
    if maker:
        maker(tmp_path / name)
    before = tree(tmp_path)
    done = find(name, "--json", cwd=tmp_path)
    assert done.code == code, done
    assert done.error == error or not error
    assert done.document["source"] == name
    assert f"'{name}'" in done.err
    assert words in done.err
    assert tree(tmp_path) == before


def test_a_refusal_for_people_is_the_same_on_stderr_alone(tmp_path: Path) -> None:
    (tmp_path / "empty.mp4").touch()
    done = run("find", "empty.mp4", cwd=tmp_path)
    assert (done.code, done.out) == (4, "")
    assert done.err == "tldr-highlight: 'empty.mp4' is empty: download or record it again\n"


USAGE: dict[str, tuple[list[str], int, str]] = {
    "export": (["film.mp4", "--export", "csv,avi"], 2, "cannot export 'avi': choose from json"),
    "max": (["film.mp4", "--max", "0"], 2, "--max"),
    "threshold": (["film.mp4", "--threshold", "2"], 2, "--threshold"),
    "preset": (["film.mp4", "--preset", "cooking"], 2, "cooking"),
    "reel": (["film.mp4", "--reel", "0"], 2, "--reel"),
    "a preset beside a set": (
        ["film.mp4", "--preset", "sports", "--dimensions", "my.toml"],
        2,
        "leave out --preset or",
    ),
    "a reel of nothing": (["film.mp4", "--reel", "60", "--no-clips"], 2, "leave out --no-clips or --reel"),
    "no source": ([], 2, "SOURCE"),
    "a dash": (["-film.mp4"], 2, "-f"),
    "dimensions": (["film.mp4", "--dimensions", "mine.toml"], 2, "mine.toml:5: "),
    "no dimensions": (["film.mp4", "--dimensions", "other.toml"], 5, "other.toml"),
    "empty folder": (["empty"], 5, "no media in the folder empty"),
    "glob": (["*.xyz"], 5, "nothing matches *.xyz"),
    "an address": (["http://host/film.mp4"], 2, "find reads files, and http://host/film.mp4 is an address"),
    "stdin": (["-"], 2, "not standard input"),
    "an empty name": (["film.mp4", ""], 2, "one SOURCE is empty"),
    "an empty folder's name": (["film.mp4", "--out", ""], 2, "name a folder, . for this one"),
}


@pytest.mark.parametrize("case", USAGE)
def test_a_wrong_request(tmp_path: Path, film: Path, case: str) -> None:
    arguments, code, words = USAGE[case]
    (tmp_path / "film.mp4").hardlink_to(film)
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "notes.txt").write_text("no media")
    (tmp_path / "mine.toml").write_text(
        'name = "mine"\nthreshold = 0.5\n\n[dimensions.roar]\nweight = "heavy"\n'
    )
    before = tree(tmp_path)
    done = find(*arguments, cwd=tmp_path)
    assert (done.code, done.out) == (code, ""), done
    assert words in done.err
    assert tree(tmp_path) == before


@pytest.mark.parametrize("case", [c for c in USAGE if c != "no dimensions"])
def test_a_wrong_request_in_json(tmp_path: Path, film: Path, case: str) -> None:
    arguments, code, _ = USAGE[case]
    (tmp_path / "film.mp4").hardlink_to(film)
    (tmp_path / "empty").mkdir()
    (tmp_path / "mine.toml").write_text(
        'name = "mine"\nthreshold = 0.5\n\n[dimensions.roar]\nweight = "heavy"\n'
    )
    done = find(*arguments, "--json", cwd=tmp_path)
    assert done.code == code
    assert done.error in {"usage", "dimension_set_invalid", "not_found"}


DAMAGED = 300 if os.environ.get("TLDR_LONG_TESTS") == "1" else 100
"""Files; a third of a second of computing each."""


# --- damaged -------------------------------------------------------------------------------------------


def test_damaged_files_end_well(tmp_path: Path, tiny: Path) -> None:
    """Seeds of `films.damaged` from 0 on; two processes, which have a minute for a hundred files."""
    processes: list[subprocess.Popen[str]] = []
    for half in range(2):
        folder = tmp_path / str(half)
        folder.mkdir()
        seeds = (str(half), str(DAMAGED), "2")
        processes.append(
            subprocess.Popen(
                [sys.executable, "-m", "tests.walks.damage", tiny, folder, *seeds],
                cwd=ROOT, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            )
        )  # fmt: skip
    lines: list[dict[str, Any]] = []
    for process in processes:
        try:
            out, err = process.communicate(timeout=0.6 * DAMAGED)
        except subprocess.TimeoutExpired:
            process.kill()
            out, err = process.communicate()
            pytest.fail(f"it hangs after {out.splitlines()[-1:]}")
        assert process.returncode == 0, f"it died after {out.splitlines()[-1:]}: {err[-2000:]}"
        lines += map(json.loads, out.splitlines())
    assert sorted(line["seed"] for line in lines) == list(range(DAMAGED))
    ends = {line["outcome"] for line in lines}
    assert ends <= {"completed", "media_unreadable", "not_media", "no_usable_streams", "media_over_limit"}
    assert {"completed", "media_unreadable"} <= ends
    assert max(line["seconds"] for line in lines) < 10


# --- strange but usable: all of them in one run --------------------------------------------------------


def _varying() -> tuple[Fraction, ...]:
    return tuple(Fraction(i, 10) for i in range(240) if i % 7 not in {3, 4} and not 30 < i < 45)


def _leap(path: Path, second: float) -> None:
    parts = [
        films.film(path.with_name("one.ts"), start=100.0),
        films.film(path.with_name("two.ts"), [10.0], start=second),
    ]
    join_bytes(path, parts)
    for part in parts:
        part.unlink()


NAMES = {
    "spaces": "my  first match .mp4",
    "quotes": 'it\'s "the" match.mp4',
    "newline": "two\nlines.mp4",
    "emoji": "gøål 🎉⚽.mp4",
    "percent": "100%d {0} [1] $HOME `x` \\ ;#&|.mp4",
    "protocol": "concat:a|b.mp4",
    "bytes": os.fsdecode(b"caf\xe9.mp4"),
}

STRANGE: dict[str, Any] = {
    "podcast.m4a": lambda p: films.film(p, codec=None),
    "silent.mp4": films.silent,
    "short.mp4": lambda p: films.film(p, [1.0], seconds=3.0),
    "varying.mp4": lambda p: films.film(p, times=_varying()),
    "turned.mp4": lambda p: films.film(p, rotation=90),
    "sixty.mp4": lambda p: films.film(p, fps=Fraction(60)),
    "hevc.mp4": lambda p: films.film(p, codec="libx265"),
    "vp9.webm": lambda p: films.film(p, codec="libvpx-vp9", audio="libopus", rate=48_000),
    "av1.mp4": lambda p: films.film(p, codec="libsvtav1"),
    "surround.mp4": lambda p: films.film(p, layout="5.1", rate=48_000),
    "tracks.mkv": lambda p: films.film(p, tracks=3),
    "late.mkv": lambda p: films.film(p, start=1000.0),
    "forward.ts": lambda p: _leap(p, 9000.0),
    "back.ts": lambda p: _leap(p, 20.0),
    "gap.mkv": lambda p: films.plain(p, (64, 36), [0, 360_000]),
    "huge.mp4": lambda p: films.plain(p, (7680, 4320), [0, 1, 2]),
    **{name: lambda p: films.film(p, recipe=films.SMALL) for name in NAMES.values()},
}  # fmt: skip

FOUND = [n for n in STRANGE if n not in {"silent.mp4", "short.mp4", "gap.mkv", "huge.mp4"}]


def text(name: str) -> str:
    """How documents show a name that holds bytes which are no text."""
    return name.encode("utf-8", "replace").decode()


@pytest.fixture(scope="module")
def strange(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Run, dict[str, Any]]:
    """Folder, run, and results by name of the file."""
    folder = tmp_path_factory.mktemp("strange")
    copied: Path | None = None
    for name, make in STRANGE.items():
        if copied and name in NAMES.values():
            shutil.copy(copied, folder / name)
            continue
        make(folder / name)
        copied = folder / name if name in NAMES.values() else None
    done = run("find", ".", "--threshold", "0.3", "--json", "--out", "results", cwd=folder)
    return folder, done, {Path(r["source"]).name: r for r in done.document["results"]}


def test_all_of_them_are_used(strange: tuple[Path, Run, dict[str, Any]]) -> None:
    folder, done, results = strange
    assert (done.code, done.err) == (0, "")
    assert set(results) == {text(name) for name in STRANGE}
    assert all("error" not in r for r in results.values())
    assert left_over(folder / "results") == []
    assert max(r["elapsed"] for r in results.values()) < 15


def _clips(folder: Path, result: dict[str, Any]) -> Iterator[tuple[dict[str, Any], Clip]]:
    for highlight in result["highlights"]:
        clip = look(folder / highlight["clip"])
        assert abs(clip.seconds - (highlight["clip_end"] - highlight["clip_start"])) < 0.7
        yield highlight, clip


@pytest.mark.parametrize("name", FOUND)
def test_the_roar_is_found_and_cut(strange: tuple[Path, Run, dict[str, Any]], name: str) -> None:
    folder, _, results = strange
    result = results[text(name)]
    assert any(abs(h["peak"] - ROAR) < 3 for h in result["highlights"])
    for highlight, clip in _clips(folder, result):
        assert clip.codecs == (("aac",) if name == "podcast.m4a" else ("h264", "aac"))
        assert (highlight["thumbnail"] is None) == (name == "podcast.m4a")
        # what was copied lies as it did in its source, and players turn it
        assert clip.size == {"podcast.m4a": None, "turned.mp4": (72, 128)}.get(name, (128, 72))


def test_what_is_strange_is_said(strange: tuple[Path, Run, dict[str, Any]]) -> None:
    results = strange[2]
    said = {
        "podcast.m4a": "no picture: judged by sound alone",
        "silent.mp4": "no sound: judged by the picture alone",
        "varying.mp4": "the frame rate varies",
        "tracks.mkv": "3 audio tracks: track 1",
        "late.mkv": "timestamps start at 1000.0",
        "forward.ts": "timestamps jump inside the file",
        "back.ts": "timestamps jump inside the file",
        "gap.mkv": "timestamps jump inside the file",
    }
    for name, words in said.items():
        assert any(words in w for w in results[name]["warnings"]), name
    assert results["silent.mp4"]["degraded"]
    assert not results["podcast.m4a"]["degraded"]


def test_a_silent_film_is_judged_by_what_moves(strange: tuple[Path, Run, dict[str, Any]]) -> None:
    folder, _, results = strange
    [(highlight, clip)] = _clips(folder, results["silent.mp4"])
    assert abs(highlight["peak"] - ROAR) < 3
    assert (clip.codecs, clip.channels) == (("h264",), None)


def test_films_with_nothing_to_find_are_empty_results(strange: tuple[Path, Run, dict[str, Any]]) -> None:
    folder, _, results = strange
    for name, seconds in {"short.mp4": 3.0, "huge.mp4": 3.0, "gap.mkv": 2.0}.items():
        assert results[name]["highlights"] == [], name
        # what it was judged by is not said where it was not
        assert all("too short to judge" in w or "judged" not in w for w in results[name]["warnings"]), name
        assert results[name]["duration"] == pytest.approx(seconds, abs=0.1)
        assert tree(folder / "results" / Path(name).stem) == {"highlights.json", "report.html"}


@pytest.mark.parametrize("name", ["forward.ts", "back.ts"])
def test_what_leaps_is_one_film(strange: tuple[Path, Run, dict[str, Any]], name: str) -> None:
    folder, _, results = strange
    assert results[name]["duration"] == pytest.approx(48, abs=0.2)
    assert [round(h["peak"] / 24, 0) for h in results[name]["highlights"]] in ([0, 1], [0, 2], [1, 1])
    for sampling in (Sampling.ALL, Sampling.KEYS):
        times = [s.pictures.times for s in Reader(probe(folder / name), sampling)]
        joined = np.concatenate(times)
        assert (np.diff(joined) > 0).all()
        assert joined[0] >= 0
        assert joined[-1] < 48.2
        if sampling is Sampling.ALL:
            assert np.diff(joined).max() < 2.5


def test_a_name_that_starts_with_a_dash(tmp_path: Path, tiny: Path) -> None:
    shutil.copy(tiny, tmp_path / "-film.mp4")
    done = find("--json", "--", "-film.mp4", cwd=tmp_path)
    assert (done.code, done.err) == (0, "")
    assert look(tmp_path / done.document["highlights"][0]["clip"]).seconds > 5
    assert tree(tmp_path) >= {"highlights/-film/report.html"}


MEASURED = """
import atexit, re, sys
from pathlib import Path
from tldr_highlight.cli.main import run
peak = lambda: re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]
atexit.register(lambda: sys.stderr.write(peak()))
run()
"""


def test_twelve_hours(folder: Path, tmp_path: Path) -> None:
    long = films.hours(folder / "long.mkv", 72, heard=60)
    done = subprocess.run(
        [sys.executable, "-c", MEASURED, "find", long, "--json", "--out", "out"],
        cwd=tmp_path, env=environment(), capture_output=True, text=True, timeout=PATIENCE, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert document["duration"] == pytest.approx(12 * 3600, abs=11)
    assert document["highlights"]
    megabytes = int(done.stderr) / 1024
    assert megabytes < 350
    long.unlink()


# --- where results go ----------------------------------------------------------------------------------


def test_a_folder_that_is_missing_is_made(tmp_path: Path, tiny: Path) -> None:
    assert find(tiny, "--out", "a/b/c", cwd=tmp_path).code == 0
    assert (tmp_path / "a" / "b" / "c" / "report.html").exists()


def test_a_file_in_the_way(tmp_path: Path, tiny: Path) -> None:
    (tmp_path / "file").write_text("mine")
    for out in ("file", "file/sub"):
        done = find(tiny, "--out", out, "--json", cwd=tmp_path)
        assert (done.code, done.error) == (1, "output_unwritable")
        assert f"cannot write {out}" in done.err
    assert tree(tmp_path) == {"file"}


def test_a_read_only_folder(tmp_path: Path, tiny: Path) -> None:
    """As root, to whom permissions mean nothing, by a read-only mount."""
    out = tmp_path / "out"
    out.mkdir()
    with mounted(out, "-o", "ro") if os.geteuid() == 0 else _locked(out):
        done = find(tiny, "--out", "out", "--json", cwd=tmp_path)
        assert (done.code, done.error) == (1, "output_unwritable")
        assert "cannot write out" in done.err
    assert tree(out) == set()


@contextlib.contextmanager
def _locked(folder: Path) -> Generator[None]:
    folder.chmod(0o500)
    yield
    folder.chmod(0o700)


@contextlib.contextmanager
def mounted(folder: Path, *options: str) -> Generator[None]:
    """A small file system in memory on `folder`; left out, loudly, where it cannot be had."""
    done = subprocess.run(
        ["mount", "-t", "tmpfs", *options, "tmpfs", folder], capture_output=True, text=True, check=False
    )
    if done.returncode:
        pytest.skip(f"LEFT OUT: mounting a file system needs rights ({done.stderr.strip()})")
    try:
        yield
    finally:
        subprocess.run(["umount", folder], check=True)


@pytest.mark.parametrize("most", [0, 1000, 30_000])
def test_no_room_for_a_file(tmp_path: Path, tiny: Path, most: int) -> None:
    """No file may be larger than so many bytes, as on a disk that is full."""

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))

    done = run("find", tiny, "--out", "out", "--json", cwd=tmp_path, preexec_fn=limit)
    assert (done.code, done.error) == (1, "disk_full"), done
    assert "no space left to write out" in done.err
    assert [p for p in left_over(tmp_path) if not p.startswith(f"out/{WORK}")] == []
    assert not (tmp_path / "out" / "highlights.json").exists()
    again = find(tiny, "--out", "out", "--json", cwd=tmp_path)
    assert again.code == 0
    assert left_over(tmp_path) == []


def test_a_full_disk(tmp_path: Path, tiny: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    with mounted(out, "-o", "size=64k"):
        done = find(tiny, "--out", "out", "--json", cwd=tmp_path)
        assert (done.code, done.error) == (1, "disk_full"), done
        assert [p for p in left_over(out) if not p.startswith(WORK)] == []


# --- interrupted ---------------------------------------------------------------------------------------


def _computed(process: subprocess.Popen[str]) -> float:
    """Seconds that a run and its own processes have computed so far."""
    own, total = psutil.Process(process.pid), 0.0
    for each in (own, *own.children(recursive=True)):
        with contextlib.suppress(psutil.NoSuchProcess):
            total += sum(each.cpu_times()[:4])
    return total


def _computed_by_ended() -> float:
    return sum(resource.getrusage(resource.RUSAGE_CHILDREN)[:2])


def _interrupt(process: subprocess.Popen[str], number: signal.Signals) -> Run:
    before = _computed(process) + _computed_by_ended()
    process.send_signal(number)
    done = ended(process)
    assert (done.code, done.out) == (130, ""), done
    assert "interrupted; what is done is kept: run the same command again" in done.err
    assert _computed_by_ended() - before < 2
    return done


@pytest.fixture(scope="module")
def undisturbed(half_hour: Path, match: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("undisturbed")
    assert find(half_hour, match, "--out", "out", cwd=folder).code == 0
    return folder / "out"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_while_reading(
    tmp_path: Path, half_hour: Path, undisturbed: Path, number: signal.Signals
) -> None:
    out = tmp_path / "out"
    process = start("find", half_hour, "--out", "out", cwd=tmp_path)
    until((out / WORK / "curves.npz").exists)
    _interrupt(process, number)
    assert tree(out) == {WORK, f"{WORK}/curves.npz", f"{WORK}/lock"}
    again = find(half_hour, "--out", "out", cwd=tmp_path)
    assert again.code == 0
    assert re.search(r"took over from an interrupted run: the analysis of the first [\d:]+\n", again.err)
    assert stored(out) == stored(undisturbed / "half_hour")
    assert left_over(out) == []


def test_interrupted_while_cutting(tmp_path: Path, match: Path, undisturbed: Path) -> None:
    out = tmp_path / "out"
    process = start("find", match, "--out", "out", cwd=tmp_path)
    until((out / "clips" / "highlight-02.mp4").exists)
    _interrupt(process, signal.SIGINT)
    done = sorted((out / "clips").iterdir())
    assert 1 < len(done) < 7
    assert all(look(clip).seconds > 5 for clip in done)
    assert [p for p in left_over(out) if not p.startswith(WORK)] == []
    again = find(match, "--out", "out", cwd=tmp_path)
    assert again.code == 0
    assert re.search(r"took over from an interrupted run: .*[12345] of 7 clips\n", again.err), again.err
    assert stored(out) == stored(undisturbed / "match")
    for clip in sorted((undisturbed / "match" / "clips").iterdir()):
        assert look(out / "clips" / clip.name) == look(clip)
    assert left_over(out) == []


def test_two_runs_on_one_folder(tmp_path: Path, half_hour: Path, tiny: Path, undisturbed: Path) -> None:
    out = tmp_path / "out"
    first = start("find", half_hour, "--out", "out", cwd=tmp_path)
    until((out / WORK / "lock").exists)
    for source in (half_hour, tiny):
        second = find(source, "--out", "out", "--json", cwd=tmp_path)
        assert (second.code, second.error) == (1, "output_busy")
        assert "another run is writing into out: wait for it" in second.err
    assert ended(first).code == 0
    assert stored(out) == stored(undisturbed / "half_hour")
    assert left_over(out) == []
    before = tree(out)
    other = find(tiny, "--out", "out", "--json", cwd=tmp_path)
    assert (other.code, other.error) == (2, "usage")
    assert "holds the highlights of" in other.err
    assert tree(out) == before
