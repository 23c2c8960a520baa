"""The first worker is forked from the server, those after it are started, and none is left over."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from tests.program import Program, alive
from tests.walks.command import until

ADDRESS = r"address   (http://\S+)"

if sys.platform != "linux":
    pytest.skip("nothing is forked elsewhere", allow_module_level=True)


def children(pid: int) -> list[psutil.Process]:
    return psutil.Process(pid).children()


def works(serve: Program) -> psutil.Process:
    """The worker of a server, once it has the server's order: then the server says that it is ready."""
    url = serve.says(ADDRESS)[1]
    until(lambda: serve.answers(f"{url}/health/ready") == 200)
    [worker] = children(serve.pid)
    return worker


def is_started(worker: psutil.Process) -> bool:
    return "tldr_highlight.worker.child" in _command(worker)


def test_the_first_is_forked_and_the_next_one_started(
    program: Callable[..., Program], tmp_path: Path
) -> None:
    serve = program("serve", "--port", "0", env={"TLDR_DATA_DIR": str(tmp_path / "data")})
    first = works(serve)
    assert first.cmdline() == psutil.Process(serve.pid).cmdline()
    assert os.getsid(first.pid) == first.pid  # Ctrl-C on the terminal is not for it
    first.kill()
    until(lambda: any(map(is_started, children(serve.pid))))
    second = works(serve)
    assert serve.terminate() == 0
    assert not alive(first.pid)
    assert not alive(second.pid)


def test_it_goes_where_its_server_is_killed(program: Callable[..., Program], tmp_path: Path) -> None:
    serve = program("serve", "--port", "0", env={"TLDR_DATA_DIR": str(tmp_path / "data")})
    worker = works(serve)
    os.kill(serve.pid, signal.SIGKILL)
    until(lambda: not alive(worker.pid))


def test_it_goes_where_a_server_cannot_start(program: Callable[..., Program], tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        serve = program("serve", "--port", port, env={"TLDR_DATA_DIR": str(tmp_path / "data")})
        assert serve.wait() == 1
    assert "cannot listen" in serve.output
    assert [p.pid for p in psutil.process_iter() if str(port) in _command(p)] == []


def _command(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []


SCRIPT = """
import subprocess, threading
from tldr_highlight.worker import birth
with birth.spare() as bear:
    child = bear()
    print(child.poll())
    try:
        child.wait(0.05)
    except subprocess.TimeoutExpired:
        print("waits")
    child.terminate()
    print(child.wait(), child.poll(), child.wait(1))
    child.kill()
with birth.spare() as bear:
    print(bear().poll())
print(bear().poll())  # nobody gave it anything to do
threading.Thread(target=threading.Event().wait, daemon=True).start()
with birth.spare() as bear:
    print(bear)  # whoever has threads must not fork
"""


def test_what_is_forked_is_like_what_is_started() -> None:
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True)
    assert done.stdout.split("\n") == ["None", "waits", "-15 -15 -15", "None", "0", "None", ""]
