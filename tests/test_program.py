"""Programs that tests start: watched, and gone afterwards."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from tests.program import Process, Program, alive
from tests.walks.command import environment, until


def python(folder: Path, *arguments: str) -> Process:
    command = [sys.executable, "-u", *arguments]
    return Process(command, cwd=folder, log=folder / "output.txt", env=environment())


def test_a_program_says_and_answers(tmp_path: Path) -> None:
    with python(tmp_path, "-m", "http.server", "0", "--bind", "127.0.0.1") as server:
        url = server.says(r"http://[\d.:]+/")[0]
        assert server.answers(url) == 200
        assert server.answers(f"{url}nothing") == 404
        with pytest.raises(AssertionError, match=r"never said so \(0.1 s\); it printed:\nServing HTTP"):
            server.until(lambda: False, "said so", 0.1)
        server.kill9()
        with pytest.raises(AssertionError, match=f"never answered at {url} .ended."):
            server.answers(url)
        assert server.wait() == -signal.SIGKILL


def test_a_program_of_ours_has_a_home_and_no_settings_of_others(
    program: Callable[..., Program], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TLDR_ANALYZER", "nonsense")
    monkeypatch.setenv("XDG_CACHE_HOME", "/nonsense")
    doctor = program("doctor", env={"TLDR_CA_FILE": "/ours"})
    seen = psutil.Process(doctor.pid).environ()
    assert doctor.wait() == 0, doctor.output
    assert seen["TLDR_CA_FILE"] == "/ours"
    assert Path(seen["HOME"]).is_relative_to(doctor.cwd)
    assert not {"TLDR_ANALYZER", "XDG_CACHE_HOME"} & seen.keys()
    assert doctor.output


FAMILY = """
import subprocess, sys, time
apart = [subprocess.Popen(["sleep", "60"], start_new_session=new) for new in (False, True)]
print("children", *(each.pid for each in apart))
time.sleep(60)
"""


def test_a_family_hangs_and_ends_as_one(tmp_path: Path) -> None:
    with python(tmp_path, "-c", FAMILY) as parent:
        children = [psutil.Process(int(pid)) for pid in parent.says(r"children (\d+) (\d+)\n").groups()]
        assert parent.family()[1:] == children
        parent.hang()
        assert {each.status() for each in parent.family()} == {psutil.STATUS_STOPPED}
        parent.resume()
        until(lambda: psutil.STATUS_STOPPED not in {each.status() for each in parent.family()})
    assert not any(alive(each.pid) for each in children)


def test_kill9_is_for_the_parent_and_the_end_for_its_group(tmp_path: Path) -> None:
    with python(tmp_path, "-c", FAMILY.replace(", True)", ",)")) as parent:
        child = int(parent.says(r"children (\d+)\n")[1])
        parent.kill9()
        assert alive(child)
    until(lambda: not alive(child))
