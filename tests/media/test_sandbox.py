"""Children that do their work, and children that go wrong in every way: what stays of them is nothing."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.media.faults import HERE, SAID
from tests.walks.command import until
from tldr_highlight import errors
from tldr_highlight.core.wire import Json
from tldr_highlight.errors import MediaCrashError, MediaMemoryError, MediaTimeoutError
from tldr_highlight.media import sandbox
from tldr_highlight.media.sandbox import ProcessLimits, run

SHORT = ProcessLimits(seconds=0.5)
ROOT = Path(__file__).parents[2]
LONG = os.environ.get("TLDR_LONG_TESTS") == "1"


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Generator[Path]:
    """The folder of temporary files, in which nothing may stay."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    yield folder
    assert list(folder.iterdir()) == []


def alive(pid: int) -> bool:
    """Whether there is such a process, a zombie too."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, 0)
        return True
    return False


def items(target: str, arguments: Json = None, limits: ProcessLimits = SHORT) -> list[Json]:
    return list(run(HERE + target, arguments, limits=limits))


PATIENT = ProcessLimits(seconds=60.0)

# --- what goes well ------------------------------------------------------------------------------------


def test_items_and_notes_come_in_order() -> None:
    told: list[Json] = []
    given: list[Json] = []
    for item in run(HERE + "echo", [1, "two", [3.5, None]], limits=PATIENT, on_note=told.append):
        assert told[-1] == item
        given.append(item)
    assert given == told == [1, "two", [3.5, None]]


def test_a_child_works_only_when_asked() -> None:
    told: list[Json] = []
    answers = run(HERE + "echo", [1, 2, 3], limits=PATIENT, on_note=told.append)
    next(answers)
    answers.close()
    assert told == [1]


def test_large_arguments_arrive() -> None:
    assert items("echo", ["x" * 900_000] * 5, PATIENT) == ["x" * 900_000] * 5


def test_a_child_is_confined(temporary: Path) -> None:
    limits = ProcessLimits(seconds=60, file_bytes=12_345_678, open_files=77)
    (seen,) = items("surroundings", limits=limits)
    assert seen["pid"] == seen["group"] == seen["session"] != os.getsid(0)
    assert seen["folder"] == os.getcwd()
    assert Path(seen["temporary"]).parent == temporary
    assert seen["core"] == [0, 0]
    assert seen["size"] == [12_345_678, 12_345_678]
    assert seen["files"] == [77, 77]
    assert 60 < seen["processor"] < 60 * (os.cpu_count() or 1) + 60
    assert seen["stdin"] == ""
    assert not alive(seen["pid"])
    if sys.platform == "linux":
        assert seen["open"] == [0, 1, 2, 3]


@pytest.mark.parametrize("answers", [False, True])
def test_children_give_way_where_somebody_answers(answers: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sandbox, "_keepers", {})
    monkeypatch.setattr(sandbox, "_nice", 0)
    if answers:
        sandbox.give_way()
    (seen,) = items("surroundings", limits=PATIENT)
    sandbox._keepers[os.getpid()].end()
    nice = sandbox.NICE if answers else 0
    assert (seen["nice"], seen["session_nice"] or str(nice)) == (nice, str(nice))


def test_children_work_side_by_side() -> None:
    with ThreadPoolExecutor(4) as pool:
        outcomes = list(pool.map(lambda n: items("echo", [n, n + 1], PATIENT), range(12)))
    assert outcomes == [[n, n + 1] for n in range(12)]


def test_errors_come_back_as_the_same_class() -> None:
    with pytest.raises(errors.RangeError, match="it was refused") as caught:
        items("refuse", "RangeError", PATIENT)
    assert caught.value.index == 7
    with pytest.raises(errors.DiskFullError, match="it was refused"):
        items("refuse", "DiskFullError", PATIENT)


def test_a_childs_interpreter_is_fresh_where_nothing_is_forked(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on macOS: the keeper executes an interpreter for each child."""
    code = "import sys; from tldr_highlight.media import keeper as k; k.FORKS = False; k._main(sys.argv[1:])"
    monkeypatch.setattr(sandbox, "own_command", lambda: [sys.executable, "-c", code])
    monkeypatch.setattr(sandbox, "_keepers", {})
    (seen,) = items("surroundings", limits=PATIENT)
    assert seen["pid"] == seen["group"] == seen["session"]
    assert seen["open"] in (None, [0, 1, 2, 3])
    with pytest.raises(MediaCrashError, match="SIGSEGV"):
        items("crash", limits=PATIENT)
    sandbox._keepers[os.getpid()].end()


# --- what goes wrong -----------------------------------------------------------------------------------


def hung(arguments: Json = None) -> list[int]:
    """Run a stubborn child into its limit; return the pids of all its processes."""
    told: list[Json] = []
    began = time.monotonic()
    with pytest.raises(MediaTimeoutError, match=r"within 0\.5 s"):
        list(run(HERE + "stubborn", arguments, limits=SHORT, on_note=told.append))
    assert time.monotonic() - began < SHORT.seconds + 5  # the promise R13
    (pids,) = told
    return pids


@pytest.mark.parametrize("kind", [None, pytest.param("strays", marks=pytest.mark.skipif(
    sys.platform != "linux", reason="only Linux gives orphans to an ancestor"))])  # fmt: skip
def test_a_hung_child_dies_with_all_it_started(kind: str | None) -> None:
    for _ in range(100 if LONG else 4):
        pids = hung(kind)
        assert len(pids) == 4
        assert [pid for pid in pids if alive(pid)] == []


def test_what_outlives_its_child_is_killed() -> None:
    (pid,) = items("leaving", limits=PATIENT)
    assert not alive(pid)
    answers = run(HERE + "leaving", 1, limits=PATIENT)
    pid = next(answers)
    with pytest.raises(MediaCrashError):
        next(answers)
    assert not alive(pid)


def test_a_child_that_never_lets_go_of_the_interpreter() -> None:
    answers = run(HERE + "busy", None, limits=SHORT)
    assert next(answers) == "before"
    with pytest.raises(MediaTimeoutError):
        next(answers)


def test_each_item_has_its_own_time() -> None:
    """Time of ours between two items does not count."""
    answers = run(HERE + "echo", [1, 2], limits=SHORT)
    assert next(answers) == 1
    threading.Event().wait(SHORT.seconds + 0.1)
    assert next(answers) == 2
    answers.close()


def test_a_child_that_others_hold_up_is_not_hung(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(MediaTimeoutError):
        items("slow", 1.0, SHORT)
    monkeypatch.setattr(sandbox, "starved", lambda pid: time.monotonic())  # all the time
    assert items("slow", 1.0, SHORT) == ["there"]


@pytest.mark.skipif(not Path("/proc/self/schedstat").exists(), reason="only Linux says")
def test_how_long_a_process_waited_for_a_processor_is_known() -> None:
    turning = [sys.executable, "-c", "while True: pass"]
    processor = {min(os.sched_getaffinity(0))}
    with contextlib.ExitStack() as stack:
        both = [stack.enter_context(subprocess.Popen(turning)) for _ in range(2)]
        for each in both:
            stack.callback(each.kill)
            os.sched_setaffinity(each.pid, processor)
        began = time.monotonic()
        while sandbox.starved(both[0].pid) < 0.05:  # they take turns, of some milliseconds each
            assert time.monotonic() - began < 60


def test_the_system_ends_who_uses_the_processor_too_long() -> None:
    with pytest.raises(MediaTimeoutError, match="processors"):
        items("greedy", limits=PATIENT)


def test_a_crash_has_a_name_and_last_words() -> None:
    with pytest.raises(MediaCrashError, match=r"SIGSEGV") as caught:
        items("crash", limits=PATIENT)
    assert re.search(r"SIGSEGV\): File .* in string_at$", str(caught.value))
    assert "in crash" in "".join(caught.value.__notes__)


@pytest.mark.parametrize(("name", "words"), [("SIGKILL", "memory runs out"), ("SIGABRT", "SIGABRT")])
def test_signals_from_elsewhere(name: str, words: str) -> None:
    with pytest.raises(MediaCrashError, match=words):
        items("raise_itself", name, PATIENT)


@pytest.mark.parametrize("code", [0, 5])
def test_a_child_that_just_leaves(code: int) -> None:
    with pytest.raises(MediaCrashError, match=f"exit code {code}"):
        items("leave", code, PATIENT)


def test_a_mistake_of_ours_is_told_with_its_place() -> None:
    with pytest.raises(MediaCrashError, match=r"1\): IndexError: list index out of range\n") as caught:
        items("mistake", [1], limits=PATIENT)
    assert "faults.py" in caught.value.__notes__[0]


def test_a_child_that_swells() -> None:
    with pytest.raises(MediaMemoryError, match="300 MB"):
        items("swell", limits=ProcessLimits(seconds=60, memory=300_000_000))


def test_a_child_that_chatters() -> None:
    with pytest.raises(MediaTimeoutError):
        items("chatter")


def test_a_child_that_shouts() -> None:
    with pytest.raises(MediaCrashError, match=r"exit code 3\): .*the last words\n") as caught:
        items("shout", limits=PATIENT)
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize("said", SAID)
def test_nothing_but_our_messages_is_taken(said: str) -> None:
    with pytest.raises(MediaCrashError, match="makes no sense"):
        items("say", said, PATIENT)


def test_half_a_message_for_ever() -> None:
    with pytest.raises(MediaTimeoutError):
        items("dribble")


def test_a_child_that_closes_its_socket_and_stays() -> None:
    with pytest.raises(MediaCrashError, match="was killed"):
        items("deaf", limits=PATIENT)


# --- files ---------------------------------------------------------------------------------------------


def test_files_have_a_largest_size(tmp_path: Path) -> None:
    answers = items("write", str(tmp_path / "out.mp4"), ProcessLimits(seconds=60, file_bytes=3_000_000))
    assert [a["code"] for a in answers] == ["disk_full", "disk_full"]
    assert not (tmp_path / "out.mp4").exists()


def test_unfinished_files_of_a_killed_child_go(tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / ".tldr-of-another.mp4").touch()
    told: list[Json] = []
    hanging = run(
        HERE + "drafting", str(out / "a.mp4"), limits=SHORT, on_note=told.append,
        drafts_in=[out, out, tmp_path / "nowhere"],
    )  # fmt: skip
    with pytest.raises(MediaTimeoutError):
        list(hanging)
    assert told[0].startswith(".tldr-")
    assert [p.name for p in out.iterdir()] == [".tldr-of-another.mp4"]


# --- ends that nobody asked for ------------------------------------------------------------------------


def test_an_interrupted_run_leaves_nothing() -> None:
    told: list[Json] = []

    def interrupt(note: Json) -> None:
        told.append(note)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        list(run(HERE + "stubborn", None, limits=PATIENT, on_note=interrupt))
    assert [pid for pid in told[0] if alive(pid)] == []


SCRIPT = """
import json, sys
from tldr_highlight.media.sandbox import run
list(run("tests.media.faults:stubborn", None, on_note=lambda pids: print(json.dumps(pids), flush=True)))
"""


@pytest.mark.parametrize("who", ["parent", "keeper", "both"])
def test_children_die_when_nobody_minds_them(who: str, temporary: Path) -> None:
    """SIGKILL to the parent, to the keeper, or to both at once."""
    parent = subprocess.Popen(
        [sys.executable, "-c", SCRIPT], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'src'}", "TMPDIR": str(temporary)},
    )  # fmt: skip
    with parent:
        assert parent.stdout
        pids = list(map(int, parent.stdout.readline().strip("[]\n").split(",")))
        keeper = parent_of(pids[0])
        victims = {"parent": [parent.pid], "keeper": [keeper], "both": [parent.pid, keeper]}[who]
        for pid in victims:
            os.kill(pid, signal.SIGKILL)
        until(lambda: not alive(pids[0]) and not alive(keeper))
        if who == "parent":
            until(lambda: not any(map(alive, pids)))
            assert list(temporary.iterdir()) == []  # the keeper has removed what nobody else can
        for pid in filter(alive, pids):
            os.kill(pid, signal.SIGKILL)
    for file in temporary.glob("*"):
        subprocess.run(["rm", "-r", file], check=True)


def parent_of(pid: int) -> int:
    told = subprocess.run(["ps", "-o", "ppid=", "-p", str(pid)], capture_output=True, text=True, check=True)
    return int(told.stdout)


def test_a_keeper_that_died_is_replaced() -> None:
    assert items("echo", [1], PATIENT) == [1]
    keeper = sandbox._keepers[os.getpid()].process
    keeper.kill()
    assert items("echo", [1], PATIENT) == [1]
    assert sandbox._keepers[os.getpid()].process is not keeper


def test_nobody_is_left_over() -> None:
    """Neither children of the keeper's nor open ends of ours."""
    assert items("echo", [1], PATIENT) == [1]
    before = os.listdir("/dev/fd")
    for _ in range(3):
        assert items("echo", [1], PATIENT) == [1]
        hung()
    assert len(os.listdir("/dev/fd")) == len(before)
    keeper = sandbox._keepers[os.getpid()].process.pid
    told = subprocess.run(["ps", "-A", "-o", "ppid=,pid="], capture_output=True, text=True, check=True).stdout
    assert [line for line in told.splitlines() if line.split()[0] == str(keeper)] == []
