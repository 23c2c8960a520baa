"""How the processes that work for `serve` come about: started, or forked from a server that did nothing yet.

    import ...                  # what both need
    with spare() as first:      # nothing is open yet, and there is one thread
        ...
        EmbeddedWorker(runtime, spare=first)

A process that has just loaded everything may fork; one with threads and connections must not, as their locks
and sockets would be there twice. So the first worker is forked, and shares with the server what both have
loaded (170 MB for the two, and 210 without); those that come after it, as workers die, are started anew.
"""

from __future__ import annotations

import contextlib
import gc
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable, Generator
from typing import NoReturn, Protocol

from sqlalchemy.orm import configure_mappers

from tldr_highlight.worker.child import let_go_of_stdin, obey

LEAVE_SECONDS = 5.0
"""For a spare that nobody needed; it has nothing to do but end."""


class Child(Protocol):
    """A process that works, as `subprocess.Popen` has it, and the line on which it is told what to do."""

    pid: int
    line: socket.socket

    def poll(self) -> int | None:
        """Its exit code, once it has ended."""
        ...

    def wait(self, timeout: float | None = None) -> int:
        """The same, waiting for it. Raises subprocess.TimeoutExpired."""
        ...

    def terminate(self) -> None:
        """Ask it to end."""
        ...

    def kill(self) -> None:
        """End it."""
        ...


class _Started(subprocess.Popen[bytes]):
    line: socket.socket


def started() -> Child:
    """One that is started anew."""
    ours, theirs = socket.socketpair()
    command = [sys.executable, "-m", "tldr_highlight.worker.child"]
    with theirs:
        # A session of its own: Ctrl-C on the terminal is for the server, which then tells its children.
        child = _Started(command, stdin=theirs.fileno(), start_new_session=True)
    child.line = ours
    return child


@contextlib.contextmanager
def spare() -> Generator[Callable[[], Child] | None]:
    """What gives, once, a child that was forked here; None where nothing may be forked.

    The two share what is loaded by then.
    """
    if sys.platform != "linux" or threading.active_count() > 1:
        yield None
        return
    configure_mappers()
    gc.collect()
    gc.freeze()  # or the first collection in either writes to all of it, and nothing is shared any more
    ours, theirs = socket.socketpair()
    pid = os.fork()
    if not pid:
        ours.close()
        _become_worker(theirs)
    theirs.close()
    child = _Forked(pid, ours)
    try:
        yield lambda: child
    finally:
        ours.close()  # so that it ends, should it wait still
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(LEAVE_SECONDS)
        child.kill()
        child.wait()


def _become_worker(line: socket.socket) -> NoReturn:
    code = 1
    try:
        os.setsid()
        let_go_of_stdin()
        obey(line)
        code = 0
    except BaseException:  # noqa: BLE001 - or there would be two servers
        traceback.print_exc()
    sys.stderr.flush()
    os._exit(code)


class _Forked:
    """A `Child`."""

    def __init__(self, pid: int, line: socket.socket) -> None:
        self.pid = pid
        self.line = line
        self._code: int | None = None
        self._asking = threading.Lock()

    def poll(self) -> int | None:
        with self._asking:
            if self._code is None:
                ended, status = os.waitpid(self.pid, os.WNOHANG)
                self._code = os.waitstatus_to_exitcode(status) if ended else None
            return self._code

    def wait(self, timeout: float | None = None) -> int:
        if timeout is None:
            with contextlib.suppress(ChildProcessError):  # somebody else has asked a moment ago
                os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOWAIT)
        end = time.monotonic() + (timeout or 0.0)
        while (code := self.poll()) is None:
            if timeout is not None and time.monotonic() > end:
                raise subprocess.TimeoutExpired("worker", timeout)
            time.sleep(0.01)
        return code

    def terminate(self) -> None:
        self._send(signal.SIGTERM)

    def kill(self) -> None:
        self._send(signal.SIGKILL)

    def _send(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)
