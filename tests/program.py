"""Real processes that a test starts, stops, kills and hangs; nothing of them is left when it is over.

    def test_something(program):
        serve = program("serve", "--port", "0", env={"TLDR_DATABASE_URL": url})
        address = serve.says(r"http://\\S+")[0]
        serve.kill9()

`Process` is any program, `Program` is ours: without the settings of whoever runs the tests, with a home of
its own. All that one process prints goes into one file, `Process.log`.
"""

from __future__ import annotations

import http.client
import itertools
import os
import pwd
import re
import signal
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

import psutil

from tests.walks.command import COMMAND, environment, until

WATCHDOG = """
read -r over && exit
kill -s CONT "$2"
kill -s "$1" "$2"
for tenth in 1 2 3 4 5; do
    kill -s 0 "$2" || break
    sleep 0.1
done
kill -s KILL -- "-$2"
[ -z "$3" ] || rm -rf -- "$3"
"""
"""Waits for a word on a pipe that only we hold. Its end without a word means that we were killed: then what
we started gets a signal ($1), half a second, and SIGKILL to its group ($2); its folder ($3) is removed."""


class Process:
    """A program in a session and process group of its own. Use it as a context manager, or `end` it."""

    farewell: signal.Signals = signal.SIGTERM
    """What asks it to stop."""
    last_words: signal.Signals = signal.SIGKILL
    """What it gets first when the tests themselves were killed."""

    def __init__(
        self,
        command: Sequence[str | Path],
        *,
        cwd: Path,
        log: Path,
        env: Mapping[str, str],
        user: pwd.struct_passwd | None = None,
        remove: Path | None = None,
    ) -> None:
        self.command = command
        self.cwd, self.log, self.env = cwd, log, dict(env)
        self.user = user  # who it runs as, if not as we do
        self.remove = remove  # a folder that nobody needs once it and we are gone
        self._process: subprocess.Popen[bytes] | None = None
        self._watchdog: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end()

    @property
    def pid(self) -> int:
        assert self._process, "it was never started"
        return self._process.pid

    @property
    def output(self) -> str:
        """All that it printed so far, in all its lives."""
        return self.log.read_text("utf-8", errors="replace")

    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Begin its first life, or the next one."""
        assert not self.running(), "it runs already"
        self._dismiss()
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                self.command,
                cwd=self.cwd,
                env=self.env,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                **as_user(self.user),
            )
        self._watchdog = subprocess.Popen(
            [
                "sh",
                "-c",
                WATCHDOG,
                "watchdog",
                self.last_words.name[3:],
                str(self.pid),
                str(self.remove or ""),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def says(self, pattern: str, seconds: float = 30) -> re.Match[str]:
        """Wait until it has printed something; `^` and `$` match at lines."""
        self.until(lambda: re.search(pattern, self.output, re.MULTILINE), f"printed {pattern!r}", seconds)
        found = re.search(pattern, self.output, re.MULTILINE)
        assert found
        return found

    def answers(self, url: str, seconds: float = 30) -> int:
        """Wait until something answers at an address: its status."""
        status = 0

        def asked() -> int:
            nonlocal status
            status = _status(url)
            return status

        self.until(asked, f"answered at {url}", seconds)
        return status

    def until(self, happened: Callable[[], object], what: str, seconds: float = 30) -> None:
        """Wait for something that it does; its end or its silence fails the test with what it printed."""

        def now() -> object:
            alive = self.running()
            return happened() or (None if alive else self._never(what, "ended"))

        try:
            until(now, seconds)
        except TimeoutError:
            self._never(what, f"{seconds:g} s")

    def _never(self, what: str, why: str) -> None:
        raise AssertionError(f"{self.command[0]} never {what} ({why}); it printed:\n{self.output[-4000:]}")

    def wait(self, seconds: float = 30) -> int:
        """Wait until it has ended by itself: its exit code, or minus a signal."""
        assert self._process
        try:
            return self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"it did not end in {seconds:g} s:\n{self.output[-4000:]}") from None

    def terminate(self, seconds: float = 30) -> int:
        """Ask it to stop, as whoever runs it would, and wait until it has: its exit code."""
        assert self._process
        self._process.send_signal(self.farewell)
        return self.wait(seconds)

    def kill9(self) -> None:
        """Kill this process alone: what becomes of its children is what a test may want to see."""
        assert self._process
        self._process.kill()
        self._process.wait()

    def family(self) -> list[psutil.Process]:
        """It and its descendants, parents first."""
        if not self.running():
            return []
        own = psutil.Process(self.pid)
        return [own, *own.children(recursive=True)]

    def hang(self) -> None:
        """Stop it and its descendants where they are: connections stay, nothing answers."""
        family = self._each("suspend")
        until(lambda: {each.status() for each in family} <= {psutil.STATUS_STOPPED, psutil.STATUS_ZOMBIE}, 10)

    def resume(self) -> None:
        self._each("resume")

    def kill(self) -> None:
        """Kill it, its descendants and whoever is in its group, as when the power fails."""
        family = self._each("kill")
        if self._process:
            with suppress(ProcessLookupError):
                os.killpg(self.pid, signal.SIGKILL)
            self._process.wait()
        until(lambda: all(map(_over, family)), 10)

    def end(self) -> None:
        """The test is over: kill what is left of it."""
        self.kill()
        self._dismiss()

    def _each(self, what: str) -> list[psutil.Process]:
        family = self.family()
        for process in family:
            with suppress(psutil.NoSuchProcess):
                getattr(process, what)()
        return family

    def _dismiss(self) -> None:
        if self._watchdog:
            self._watchdog.communicate(b"over\n")
            self._watchdog = None


class Program(Process):
    """The product's own command."""

    def __init__(self, *arguments: object, folder: Path, env: Mapping[str, str] | None = None) -> None:
        home = folder / "home"
        home.mkdir(parents=True, exist_ok=True)
        own = {name: value for name, value in environment().items() if not name.startswith("XDG_")}
        super().__init__(
            [*COMMAND, *map(str, arguments)],
            cwd=folder,
            log=folder / "output.txt",
            env={**own, "HOME": str(home), **(env or {})},
        )


@contextmanager
def programs(home: Path) -> Iterator[Callable[..., Program]]:
    """Starts the command, each time in a folder of its own in `home`. Nothing of it outlives the context."""
    with ExitStack() as stack:
        count = itertools.count()

        def start(*arguments: object, folder: Path | None = None, **how: Any) -> Program:
            folder = folder or home / f"program_{next(count)}"
            return stack.enter_context(Program(*arguments, folder=folder, **how))

        yield start


def as_user(user: pwd.struct_passwd | None) -> dict[str, object]:
    """What `subprocess` needs to start something as somebody."""
    return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []} if user else {}


def alive(pid: int) -> bool:
    """Whether there is such a process; a zombie is none."""
    try:
        return not _over(psutil.Process(pid))
    except psutil.NoSuchProcess:
        return False


def _over(process: psutil.Process) -> bool:
    # a zombie is over, too: an orphan's waits for process 1, which some containers have no reaper in
    try:
        return process.status() == psutil.STATUS_ZOMBIE or not process.is_running()
    except psutil.NoSuchProcess:
        return True


def _status(url: str) -> int:
    parts = urlsplit(url)
    assert parts.scheme == "http"
    connection = http.client.HTTPConnection(parts.netloc, timeout=5)
    try:
        connection.request("GET", f"{parts.path or '/'}?{parts.query}")
        return connection.getresponse().status
    except (OSError, http.client.HTTPException):
        return 0
    finally:
        connection.close()
