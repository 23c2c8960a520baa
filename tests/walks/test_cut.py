"""`tldr-highlight cut`, run as a person runs it: clips hold what was asked for, nothing else is left."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import pty
import re
import resource
import signal
import subprocess
import threading
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import pytest
from PIL import Image

from tests.media import dash
from tests.media.conftest import Made
from tests.media.server import Server
from tests.media_maker import Content, Recipe, make, read
from tests.walks.command import COMMAND, Run, ended, environment, here, left_over, run, start, tree, until
from tests.walks.test_bad_input import NAMES, mounted

CLIP = {
    "start", "end", "actual_start", "actual_end", "frames", "method", "reason", "sync_ms", "bytes",
    "sha256", "file",
}  # fmt: skip
PLANNED = {
    "start", "end", "actual_start", "actual_end", "frames", "encoded_frames", "method", "reason",
    "expected_bytes", "expected_seconds", "file",
}  # fmt: skip


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """Eight seconds of numbered pictures, a key picture every second."""
    recipe = Recipe(seconds=8.0, size=(192, 112), gop=25)
    return Made(make(tmp_path_factory.mktemp("source") / "match.mp4", recipe), recipe)


def cut(*arguments: object, cwd: Path) -> Run:
    """In this process; some tests `run` one of its own."""
    return here("cut", *arguments, cwd=cwd)


def exact(made: Made, clip: dict[str, Any], folder: Path) -> Content:
    """A clip of the document holds the source's pictures and sound of its range, and is what it says."""
    path = folder / clip["file"]
    content = read(path)
    numbers = made.numbers(clip["start"], clip["end"])
    times = dict(zip(made.content.numbers, made.content.times, strict=True))
    assert content.numbers == numbers
    assert content.times == [times[n] - times[numbers[0]] for n in numbers]
    assert abs(made.added_lag(content.samples, clip["actual_start"])) <= 1
    assert clip["frames"] == len(numbers)
    assert clip["actual_start"] == pytest.approx(float(times[numbers[0]]), abs=1e-5)
    assert clip["actual_end"] == pytest.approx(float(times[numbers[-1]]) + 0.04, abs=0.03)
    data = path.read_bytes()
    assert (clip["bytes"], clip["sha256"]) == (len(data), hashlib.sha256(data).hexdigest())
    return content


# --- clips ---------------------------------------------------------------------------------------------


def test_ranges_become_exact_clips(tmp_path: Path, made: Made) -> None:
    done = run("cut", made.path, "0:01.5-0:03", "2-4.02", "0:05+1.5", "2-4.02", "--json", cwd=tmp_path)
    assert (done.code, done.err) == (0, "")
    document = done.document
    assert document.keys() == {"source", "clips", "errors"}
    assert (document["source"], document["errors"]) == (str(made.path), [])
    assert [(c["start"], c["end"]) for c in document["clips"]] == [(1.5, 3), (2, 4.02), (5, 6.5), (2, 4.02)]
    for clip in document["clips"]:
        assert clip.keys() == CLIP
        assert clip["method"] in {"copy", "smart", "encode"}
        exact(made, clip, tmp_path)
    assert tree(tmp_path) == {"clips", *(c["file"] for c in document["clips"])}
    assert [Path(c["file"]).name for c in document["clips"]] == [
        "match-00-00-01.500-00-00-03.000.mp4",
        "match-00-00-02.000-00-00-04.020.mp4",
        "match-00-00-05.000-00-00-06.500.mp4",
        "match-00-00-02.000-00-00-04.020-2.mp4",
    ]


def test_a_list_on_stdin_with_titles_names_and_posters(tmp_path: Path, made: Made) -> None:
    ranges = [
        {"start": 1, "end": 2, "title": '../a "goal"\n1/2'},
        {"start": "0:02", "end": 3, "name": "second.mp4", "peak": 2.9},
        [3, 3.5],
    ]
    listed = tmp_path / "list"
    listed.write_text(json.dumps(ranges))
    with listed.open() as stdin:
        arguments = ("--ranges", "-", "--name", "{index:02} {title}", "--poster", "--out", "new/out")
        done = run("cut", made.path, *arguments, "--json", cwd=tmp_path, stdin=stdin)
    assert done.code == 0, done
    files = [c["file"] for c in done.document["clips"]]
    assert files == ["new/out/01 a -goal- 1-2.mp4", "new/out/second.mp4", "new/out/03.mp4"]
    for clip in done.document["clips"]:
        exact(made, clip, tmp_path)
        assert clip["poster"] == f"{clip['file'].removesuffix('.mp4')}.jpg"
        with Image.open(tmp_path / clip["poster"]) as poster:
            assert (poster.format, poster.size) == ("JPEG", (192, 112))


def test_a_document_of_find_is_a_list(tmp_path: Path, made: Made) -> None:
    highlights = [{"start": 2, "end": 3, "clip_start": 1.5, "clip_end": 3.5, "peak": 2.5, "title": "Roar"}]
    (tmp_path / "highlights.json").write_text(json.dumps({"source": "x", "highlights": highlights}))
    done = cut(made.path, "--ranges", "highlights.json", "--name", "{title}", "--json", cwd=tmp_path)
    (clip,) = done.document["clips"]
    assert (clip["start"], clip["end"], clip["file"]) == (1.5, 3.5, "clips/Roar.mp4")
    exact(made, clip, tmp_path)


def test_the_sound_of_another_file(tmp_path: Path, made: Made) -> None:
    recipe = Recipe(seconds=8.0, codec=None)
    sound = make(tmp_path / "sound.m4a", recipe)
    silent = make(tmp_path / "silent.mp4", Recipe(seconds=8.0, size=(192, 112), gop=25, audio=None))
    done = cut(silent, "1.5-3", "--audio", sound, "--json", cwd=tmp_path)
    (clip,) = done.document["clips"]
    exact(made, clip, tmp_path)


def test_a_source_on_a_server(tmp_path: Path, made: Made) -> None:
    with Server({"/a/v.mp4?key=secret": made.path.read_bytes()}) as server:
        arguments = (server.url("/a/v.mp4?key=secret"), "1.5-3", "--header", "Cookie: secret", "--json")
        closed = cut(*arguments, cwd=tmp_path)
        assert (closed.code, closed.error) == (2, "source_url_not_allowed")
        assert server.connections == 0
        (tmp_path / ".env").write_text("TLDR_ALLOW_NETWORKS=127.0.0.0/8\n")
        done = cut(*arguments, cwd=tmp_path)
        missing = cut(server.url("/b.mp4?key=secret"), "1.5-3", cwd=tmp_path)
    assert done.code == 0, done
    assert done.document["source"] == server.url("/a/v.mp4?...")
    (clip,) = done.document["clips"]
    assert clip["file"] == "clips/v-00-00-01.500-00-00-03.000.mp4"
    exact(made, clip, tmp_path)
    assert {told["cookie"] for told in server.told[:-1]} == {"secret"}
    assert (missing.code, missing.out) == (5, "")
    assert not any("secret" in shown.out + shown.err for shown in (closed, done, missing))


@pytest.mark.parametrize("arguments", [(), ("--instant",), ("--dry-run",)])
@pytest.mark.parametrize("ranges", [True, False])
def test_what_a_server_sends_is_asked_for_once(
    tmp_path: Path, made: Made, ranges: bool, arguments: tuple[str, ...]
) -> None:
    """A server that sends no parts of files sends the whole one, once for looking, planning and cutting."""
    (tmp_path / ".env").write_text("TLDR_ALLOW_NETWORKS=127.0.0.0/8\n")
    body = made.path.read_bytes()
    with Server({"/v.mp4": body}, ranges) as server:
        done = cut(server.url("/v.mp4"), "1.5-3", "4-5", *arguments, "--json", cwd=tmp_path)
    assert done.code == 0, done
    if ranges:
        asked = [told["range"] for told in server.told]
        assert len(asked) == len(set(asked))
        assert server.sent <= len(body)
    else:
        assert (server.asked, server.sent) == (["/v.mp4"], len(body))


def test_a_dash_recording(tmp_path: Path, made: Made) -> None:
    (tmp_path / ".env").write_text("TLDR_ALLOW_NETWORKS=127.0.0.0/8\n")
    files = dash.recorded(made.path, tmp_path / "files")
    with Server({f"{path}?key=secret": body for path, body in files.items()} | dict(files)) as server:
        arguments = (server.url("/list.mpd?key=secret"), "1.5-3", "--reel", "reel.mp4", "--json")
        done = cut(*arguments, cwd=tmp_path)
    assert done.code == 0, done
    (clip,) = done.document["clips"]
    assert clip["method"] == "smart"
    numbers = read(tmp_path / clip["file"]).numbers
    assert numbers == list(range(numbers[0], numbers[0] + clip["frames"]))
    assert abs(numbers[0] / 25 - 1.5) < 0.05
    assert "secret" not in done.out + done.err


def test_instant_copies_are_replaced_by_exact_clips(tmp_path: Path, made: Made) -> None:
    done = cut(made.path, "1.5-3", "3.3-4", "6-5", "--instant", "--json", cwd=tmp_path)
    assert done.code == 1
    assert done.err == "tldr-highlight: 2 of 3 instant clips are in clips; exact ones are replacing them\n"
    for clip in done.document["clips"]:
        exact(made, clip, tmp_path)
    assert len(done.document["clips"]) == len(list((tmp_path / "clips").iterdir())) == 2


def test_a_reel_of_the_clips(tmp_path: Path, made: Made) -> None:
    done = cut(made.path, "5-6", "4-3", "1.5-3", "--reel", "reel.mp4", "--json", cwd=tmp_path)
    assert (done.code, done.document["reel"]) == (1, "reel.mp4")  # one range is none
    assert read(tmp_path / "reel.mp4").numbers == made.numbers(5, 6) + made.numbers(1.5, 3)
    faded = cut(made.path, "5-6", "1-2", "--reel", "r.mp4", "--crossfade", "0.4", "--json", cwd=tmp_path)
    assert faded.code == 0
    with av.open(str(tmp_path / "r.mp4")) as reel:
        assert reel.streams.video[0].frames == 40
    onto = cut(made.path, "5-6", "--reel", made.path, "--json", cwd=tmp_path)
    assert (onto.code, onto.error) == (2, "usage")
    away = cut(made.path, "1-2", "--reel", "reel.mp4/r.mp4", "--json", cwd=tmp_path)
    assert (away.code, away.document["reel"], len(away.document["clips"])) == (1, None, 1)
    assert away.err.startswith("tldr-highlight: no reel: cannot write reel.mp4/r.mp4")


def test_a_clip_that_takes_too_long_costs_itself_alone(tmp_path: Path) -> None:
    """A server that never sends what lies between two thirds and nine tenths of a file."""
    (tmp_path / ".env").write_text("TLDR_ALLOW_NETWORKS=127.0.0.0/8\n")
    source = make(tmp_path / "source" / "v.mp4", Recipe(seconds=20.0, gop=25, noise=64.0))
    data, over = source.read_bytes(), threading.Event()

    def body() -> bytes:
        first = int(server.told[-1]["range"].removeprefix("bytes=").partition("-")[0])
        if 2 / 3 < first / len(data) < 0.9:
            over.wait(60)
        return data

    with Server({"/v.mp4": body}) as server:
        done = cut(server.url("/v.mp4"), "15.2-16", "1-2", "--timeout", "4", "--json", cwd=tmp_path)
        over.set()
    assert done.code == 1, done
    assert [(e["index"], e["code"]) for e in done.document["errors"]] == [(0, "cut_timeout")]
    assert [clip["start"] for clip in done.document["clips"]] == [1.0]
    assert left_over(tmp_path) == [".env"]


def test_a_plan_writes_nothing(tmp_path: Path, made: Made) -> None:
    done = cut(made.path, "1.5-3.01", "4-3", "9-12", "--dry-run", "--json", cwd=tmp_path)
    assert done.code == 1
    assert done.document.keys() == {"source", "plan", "errors"}
    (planned,) = done.document["plan"]
    assert planned.keys() == PLANNED
    assert planned["method"] in {"copy", "smart", "encode"}
    assert (planned["frames"], planned["actual_start"]) == (38, pytest.approx(1.52, abs=0.02))
    assert 0 <= planned["encoded_frames"] <= 38
    assert planned["expected_bytes"] > 0
    assert [e["index"] for e in done.document["errors"]] == [1, 2]
    assert tree(tmp_path) == set()


# --- what goes wrong -----------------------------------------------------------------------------------


def test_one_bad_range_does_not_spoil_the_others(tmp_path: Path, made: Made) -> None:
    (tmp_path / "list.json").write_text(
        "[[4, 3], [-2, 1], [5, 5], [1e15, 2e15], [7.5, 99], [0, 0.04], [7.96, 8]]"
    )
    done = cut(made.path, "1-2", "--ranges", "list.json", "--json", cwd=tmp_path)
    assert done.code == 1
    document = done.document
    assert [(c["start"], c["end"]) for c in document["clips"]] == [(1, 2), (7.5, 99), (0, 0.04), (7.96, 8)]
    for clip in document["clips"]:
        exact(made, clip, tmp_path)
    assert [(e["index"], e["range"]) for e in document["errors"]] == [
        (1, [4, 3]), (2, [-2, 1]), (3, [5, 5]), (4, [1e15, 2e15]),
    ]  # fmt: skip
    for error in document["errors"]:
        assert error.keys() == {"index", "code", "message", "range"}
        assert error["code"] == "range_invalid"
    assert len(list((tmp_path / "clips").iterdir())) == 4


def test_a_range_past_the_end_can_be_refused(tmp_path: Path, made: Made) -> None:
    done = cut(made.path, "7.5-99", "1-2", "--strict", "--json", cwd=tmp_path)
    assert done.code == 1
    assert [(e["index"], e["code"]) for e in done.document["errors"]] == [(0, "range_invalid")]
    assert [c["start"] for c in done.document["clips"]] == [1]


REFUSED: dict[str, tuple[list[str], int, str, str]] = {
    "no source": (["none.mp4", "1-2"], 5, "not_found", "'none.mp4' does not exist"),
    "no media": (["text.mp4", "1-2"], 4, "not_media", "is text"),
    "no range": (["film.mp4"], 2, "usage", "there is no range to cut"),
    "empty list": (["film.mp4", "--ranges", "empty.json"], 2, "usage", "there is no range to cut"),
    "no times": (["film.mp4", "--ranges", "nan.json"], 2, "range_invalid", "entry 2: NaN is no time"),
    "no list": (["film.mp4", "--ranges", "text.mp4"], 2, "usage", "there is no range to cut"),
    "too many": (["film.mp4", "--ranges", "many.csv"], 2, "usage", "10001 ranges are too many at once"),
    "a range": (["film.mp4", "1-2", "soon"], 2, "range_invalid", "range 2: 'soon' is no range"),
    "a name": (["film.mp4", "1-2", "--name", "{0.x}"], 2, "usage", "there is no {0.x}"),
    "quality": (["film.mp4", "1-2", "--quality", "x"], 2, "usage", "--quality"),
    "a folder": ([".", "1-2"], 2, "usage", "folder"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_done_at_all(tmp_path: Path, made: Made, case: str) -> None:
    arguments, code, error, words = REFUSED[case]
    (tmp_path / "film.mp4").hardlink_to(made.path)
    (tmp_path / "text.mp4").write_text("Dear diary,\n" * 500)
    (tmp_path / "empty.json").write_text("[]")
    (tmp_path / "nan.json").write_text("[[1, 2], [NaN, 3]]")
    (tmp_path / "many.csv").write_text("1,2\n" * 10_001)
    before = tree(tmp_path)
    done = cut(*arguments, "--json", cwd=tmp_path)
    assert (done.code, done.error) == (code, error), done
    assert words in done.err
    assert tree(tmp_path) == before
    if case != "quality":
        plain = run("cut", *arguments, cwd=tmp_path) if case == "no media" else cut(*arguments, cwd=tmp_path)
        assert (plain.code, plain.out, plain.err) == (code, "", done.err)


def test_what_is_there_is_replaced_but_never_the_source(tmp_path: Path, made: Made) -> None:
    source = tmp_path / "match.mp4"
    source.write_bytes(made.path.read_bytes())
    (tmp_path / "list.mp4").write_text("1-2")  # a list with the name of a clip
    first = cut(source, "1-2", "3-4", "--out", ".", "--name", "{source}", "--json", cwd=tmp_path).document
    assert [c["file"] for c in first["clips"]] == ["match-2.mp4", "match-3.mp4"]
    second = cut("match.mp4", "5-6", "--out", ".", "--name", "match-2", "--json", cwd=tmp_path).document
    assert [c["file"] for c in second["clips"]] == ["match-2.mp4"]
    exact(made, second["clips"][0], tmp_path)
    third = cut("match.mp4", "--ranges", "list.mp4", "--out", ".", "--name", "list", "--json", cwd=tmp_path)
    assert [c["file"] for c in third.document["clips"]] == ["list-2.mp4"]
    assert source.read_bytes() == made.path.read_bytes()
    assert tree(tmp_path) == {"match.mp4", "match-2.mp4", "match-3.mp4", "list.mp4", "list-2.mp4"}


def test_two_runs_into_one_folder_at_once(tmp_path: Path, made: Made) -> None:
    """Each clip is whole, and one of the two runs' own."""
    arguments = ("cut", made.path, "1-2", "3-4.5", "--json")
    processes = [start(*arguments, cwd=tmp_path) for _ in range(2)]
    runs = [ended(process) for process in processes]
    assert [done.code for done in runs] == [0, 0]
    for clips in zip(*(done.document["clips"] for done in runs), strict=True):
        data = (tmp_path / clips[0]["file"]).read_bytes()
        exact(made, next(c for c in clips if c["sha256"] == hashlib.sha256(data).hexdigest()), tmp_path)
    assert len(tree(tmp_path)) == 3


def test_a_folder_that_cannot_be_written(tmp_path: Path, made: Made) -> None:
    (tmp_path / "file").write_text("")
    for out in ("file", "file/clips"):
        done = cut(made.path, "1-2", "--out", out, "--json", cwd=tmp_path)
        assert (done.code, done.error) == (1, "output_unwritable")
        assert f"cannot write {out}" in done.err
    assert tree(tmp_path) == {"file"}
    folder = tmp_path / "locked"
    folder.mkdir()
    with mounted(folder, "-o", "ro") if os.geteuid() == 0 else contextlib.nullcontext(folder.chmod(0o500)):
        done = cut(made.path, "1-2", "--out", "locked", "--json", cwd=tmp_path)
        assert (done.code, done.error) == (1, "output_unwritable")


def test_a_disk_that_fills_up(tmp_path: Path, made: Made) -> None:
    """Files may be of a size that one clip has and the other has not."""
    sizes = [c["bytes"] for c in cut(made.path, "1-2", "0-8", "--json", cwd=tmp_path).document["clips"]]
    most = sum(sizes) // 2

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))

    arguments = ("1-2", "0-8", "3-4", "--out", "o", "--json")
    done = run("cut", made.path, *arguments, cwd=tmp_path, preexec_fn=limit)
    assert done.code == 1
    assert [c["start"] for c in done.document["clips"]][:1] == [1]
    assert done.document["errors"][0]["code"] == "disk_full"
    assert left_over(tmp_path) == []


@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES)
def test_names_of_sources(tmp_path: Path, made: Made, name: str) -> None:
    (tmp_path / name).hardlink_to(made.path)
    done = cut(name, "1-2", "--json", cwd=tmp_path)
    assert done.code == 0, done
    (clip,) = done.document["clips"]
    exact(made, clip, tmp_path)
    assert re.fullmatch(
        r"[^-. /\\:*?\"<>|\n][^/\\:*?\"<>|\n]*-00-00-01\.000-00-00-02\.000\.mp4", clip["file"][6:]
    )


def test_a_source_that_starts_with_a_dash(tmp_path: Path, made: Made) -> None:
    (tmp_path / "-match.mp4").hardlink_to(made.path)
    done = cut("--json", "--", "-match.mp4", "1-2", cwd=tmp_path)
    assert [c["file"] for c in done.document["clips"]] == ["clips/match-00-00-01.000-00-00-02.000.mp4"]


def test_a_thousand_ranges_planned_and_a_quarter_of_them_cut(tmp_path: Path, made: Made) -> None:
    recipe = Recipe(seconds=4.0, size=(64, 48), gop=25, rate=8000, layout="mono")
    small = Made(make(tmp_path / "small.mp4", recipe), recipe)
    (tmp_path / "many.csv").write_text("".join(f"{i % 90 / 25},{i % 90 / 25 + 0.04}\n" for i in range(1000)))
    arguments = (small.path, "--ranges", "many.csv", "--name", "{index:04}", "--json")
    planned = cut(*arguments, "--dry-run", cwd=tmp_path).document
    assert (len(planned["plan"]), planned["errors"]) == (1000, [])
    lines = (tmp_path / "many.csv").read_text().splitlines()[:250]
    (tmp_path / "many.csv").write_text("\n".join(lines))
    done = cut(*arguments, cwd=tmp_path)
    assert done.code == 0
    assert [c["file"] for c in done.document["clips"]] == [f"clips/{i:04}.mp4" for i in range(1, 251)]
    for clip in done.document["clips"][::47]:
        assert read(tmp_path / clip["file"]).numbers == small.numbers(clip["start"], clip["end"])


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted(tmp_path: Path, made: Made, number: signal.Signals) -> None:
    process = start("cut", made.path, *["0-8"] * 60, "--encode", "--json", cwd=tmp_path)
    clips = tmp_path / "clips"
    until(lambda: clips.is_dir() and len(list(clips.glob("[!.]*"))) > 1)
    process.send_signal(number)
    done = ended(process)
    assert (done.code, done.out) == (130, "")
    assert "interrupted; what is done is kept" in done.err
    assert left_over(tmp_path) == []
    finished = list(clips.iterdir())
    assert 1 < len(finished) < 60
    assert all(len(read(clip).numbers) == 200 for clip in finished)


def test_killed(tmp_path: Path, made: Made) -> None:
    """SIGKILL leaves no half clip and no temporary file: what keeps our processes removes both."""
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    env = {**environment(), "TMPDIR": str(temporary)}
    process = subprocess.Popen(
        [*COMMAND, "cut", str(made.path), *["0-8"] * 20, "--encode"], cwd=tmp_path, env=env,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    clips = tmp_path / "clips"
    until(lambda: clips.is_dir() and list(clips.glob("[!.]*")) and list(clips.glob(".tldr-*")))
    assert list(temporary.iterdir())
    process.kill()
    process.wait()
    until(lambda: not left_over(tmp_path) or left_over(tmp_path) == ["temporary"])
    assert list(temporary.iterdir()) == []
    assert all(len(read(clip).numbers) == 200 for clip in clips.iterdir())


# --- for people ----------------------------------------------------------------------------------------


def at_a_terminal(*arguments: object, cwd: Path, columns: int = 80) -> tuple[int, str]:
    """Exit code, and everything that a terminal of so many columns was sent."""
    leader, follower = pty.openpty()
    process = subprocess.Popen(
        [*COMMAND, *map(str, arguments)], cwd=cwd,
        env={**environment(), "COLUMNS": str(columns), "TERM": "xterm"},
        stdin=follower, stdout=follower, stderr=follower,
    )  # fmt: skip
    os.close(follower)
    sent = b""
    with contextlib.suppress(OSError):  # what a terminal says when nobody writes any more
        while data := os.read(leader, 65536):
            sent += data
    os.close(leader)
    return process.wait(60), sent.decode()


def test_what_a_terminal_shows(tmp_path: Path, made: Made) -> None:
    code, sent = at_a_terminal("cut", made.path, "1.5-3", "4-3", "5-6", cwd=tmp_path)
    assert code == 1
    assert "Cutting clips" in sent
    assert "Clip 3 of 3" in sent
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", sent).replace("\r\n", "\n")
    lines = plain[plain.index("range ") :].splitlines()
    assert max(map(len, lines)) <= 80
    assert lines[0].split() == ["range", "method", "frames", "size", "file,", "and", "why", "so"]
    rows = [line for line in lines if re.match(r"0:0\d", line)]
    assert [row.split()[0] for row in rows] == ["0:01.5-0:03", "0:04-0:03", "0:05-0:06"]
    assert [row.split()[2] for row in rows] == ["37", "range", "25"]
    assert "match-00-00-01.500-00-00-03.000.mp4" in rows[0]
    assert re.search(r"^2 clips, 1 failed, \d+ kB, in clips$", plain, re.MULTILINE)


def test_a_pipe_gets_no_bars(tmp_path: Path, made: Made) -> None:
    done = run("cut", made.path, "1.5-3", cwd=tmp_path)
    assert (done.code, done.err) == (0, "")
    assert "match-00-00-01.500-00-00-03.000.mp4" in done.out


def test_a_clip_of_another_rate_is_listed_in_its_own_timecode(tmp_path: Path) -> None:
    """An EDL counts in the source's frames."""
    recipe = Recipe(seconds=4.0, size=(192, 112), fps=Fraction(30_000, 1001), gop=30)
    made = Made(make(tmp_path / "ntsc.mp4", recipe), recipe)
    (tmp_path / "list.edl").write_text(
        "TITLE: x\nFCM: NON-DROP FRAME\n001  AX V C 00:00:01:10 00:00:02:05 00:00:00:00 00:00:00:25\n"
    )
    done = cut(made.path, "--ranges", "list.edl", "--json", cwd=tmp_path)
    (clip,) = done.document["clips"]
    assert read(tmp_path / clip["file"]).numbers == list(range(40, 65))
