"""The process that bears, kills and buries the sandbox's children.

Between us and the children stands a keeper: a process with one thread, which opens no media itself and so
never hangs. On Linux it has loaded the engine once and forks a child in 10 ms; elsewhere, where libraries
of the system do not survive a fork, each child is an interpreter of its own (0.4 s).

Each child leads a session, and so a process group, of its own. It is killed with its whole group as soon as
we say so on its `line`, or the other end of it closes: because we let go of it, because we died. Then the
keeper also removes the files that the child left and we can no longer remove ourselves. When the child
ends by itself, what it left running is killed too. Linux hands orphans to the keeper, those that changed
their group too, so that nobody escapes and no zombie stays; and kills the children should the keeper die.

    python -m tldr_highlight.media.keeper FD NICE       # or FD child
"""

from __future__ import annotations

import contextlib
import ctypes
import faulthandler
import fcntl
import gc
import glob
import importlib
import os
import resource
import selectors
import shutil
import signal
import socket
import struct
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn, TypeAlias

from tldr_highlight.core.wire import Inbox, Json, Refusal, message, pack, received, unpack
from tldr_highlight.errors import TldrError

PRELOADED = ("tldr_highlight.media.inside", "av.subtitles.stream", "numpy.fft")
"""What children need, in the keeper's memory already where they are forked; the last two are loaded late."""

FORKS = sys.platform == "linux"

ROUND = 1.0
"""Seconds after which the keeper looks around though nothing happened."""

LARGEST_ORDER = 256_000_000
"""Bytes; orders come from us, and hold some hundred for each clip."""

PATIENCE = 5.0
"""Seconds that the keeper, once we are gone, waits for its children to die."""

NUMBER = struct.Struct(">q")
"""What the keeper says on a line: the child's pid, and later its exit code, or minus the signal's number."""

FD = 3
"""Where a child finds its socket."""

_SET_PDEATHSIG, _SET_CHILD_SUBREAPER = 1, 36  # of prctl(2)

Tell: TypeAlias = Callable[[Json], None]

Target: TypeAlias = Callable[[Json, Tell], Generator[Json, Json]]
"""What a child runs: gets its arguments and what sends a note, gives one item for each step.

What its `yield` returns is what the next item is asked for with; most ask with nothing.
"""

Leftover: TypeAlias = tuple[str, str]
"""A folder, and what the names of files in it begin with that a child may leave."""

END_IT, ALL_GONE = "end", "gone"
"""What we say on a child's line besides `Leftover`s: kill it; nothing is left over any more."""


@dataclass(frozen=True, slots=True)
class Order:
    """What a child is to do, and within which limits."""

    target: str  # "module:function", a `Target`
    arguments: Json
    folder: str  # to work in
    temporary: str  # folder for temporary files
    tag: str  # what the names of temporary files begin with, wherever they are
    path: tuple[str, ...]  # where Python looks for modules
    environment: Mapping[str, str]
    file_bytes: int  # of one file
    open_files: int


# --- keeping -------------------------------------------------------------------------------------------


LARGEST_WISH = 100_000
"""Bytes of what is said on a line: a path has 4 096 at most."""


@dataclass(slots=True, eq=False)
class _Job:
    """A child, from its birth until we have let go of its line."""

    pid: int
    line: socket.socket
    inbox: Inbox = field(default_factory=lambda: Inbox(LARGEST_WISH))
    leftovers: list[Leftover] = field(default_factory=list[Leftover])
    status: int | None = None  # of the child itself, once it has ended
    buried: bool = False
    let_go: bool = False  # the other end of its line is closed


def keep(requests: socket.socket) -> None:
    """Bear a child for each request; end those whose line closes, and all when `requests` does."""
    parent = os.getppid()
    jobs: list[_Job] = []
    with selectors.DefaultSelector() as selector:
        selector.register(requests, selectors.EVENT_READ)
        ear = _listen_for_deaths()
        selector.register(ear, selectors.EVENT_READ)
        wanted = True
        while wanted and os.getppid() == parent:
            for key, _ in selector.select(ROUND):
                if key.fileobj is requests:
                    wanted = _bear(requests, jobs, selector)
                elif key.fileobj is ear:
                    ear.recv(4096)
                else:
                    _listen(key.data, selector)
            _bury(jobs)
        for job in jobs:
            while _listen(job, selector):
                pass
            job.let_go = True
            _kill(job)
        end = time.monotonic() + PATIENCE
        while jobs and time.monotonic() < end:
            _bury(jobs)
            time.sleep(0.01)


def _listen_for_deaths() -> socket.socket:
    """A socket that can be read when a child has ended."""
    ear, mouth = socket.socketpair()
    mouth.setblocking(False)
    signal.signal(signal.SIGCHLD, _wake)
    signal.set_wakeup_fd(mouth.detach(), warn_on_full_buffer=False)
    return ear


def _wake(number: int, frame: object) -> None:
    """Nothing: that a signal came is what counts."""


def _bear(requests: socket.socket, jobs: list[_Job], selector: selectors.BaseSelector) -> bool:
    """Start the child of one request: its socket, its stderr and its line. False: there will be no more."""
    data, fds, *_ = socket.recv_fds(requests, 1, 3)
    if not data:
        return False
    control, errors, line = fds
    keeper = os.getpid()
    try:
        pid = os.fork()
    except OSError:  # too many processes
        for fd in fds:
            os.close(fd)
        return True  # who asked sees it by the closed ends
    if pid == 0:
        _become_child(control, errors, keeper)
    os.close(control)
    os.close(errors)
    job = _Job(pid, socket.socket(fileno=line))
    job.line.setblocking(False)
    jobs.append(job)
    _say(job.line, pid)
    selector.register(job.line, selectors.EVENT_READ, job)
    return True


def _say(line: socket.socket, number: int) -> None:
    with contextlib.suppress(OSError):  # nobody may be listening any more
        line.send(NUMBER.pack(number))


def _listen(job: _Job, selector: selectors.BaseSelector) -> bool:
    """Take what was said on a line; False: there is no more."""
    if job.let_go:
        return False
    try:
        data = job.line.recv(65536)
    except BlockingIOError:
        return False
    except ConnectionResetError:
        data = b""
    if not data:
        selector.unregister(job.line)  # or it would be told again and again
        job.let_go = True
        _kill(job)
        return False
    job.inbox.add(data)
    while (said := job.inbox.next()) is not None:
        if said == END_IT:
            _kill(job)
        elif said == ALL_GONE:
            job.leftovers.clear()
        else:
            job.leftovers.append((said[0], said[1]))
    return True


def _kill(job: _Job) -> None:
    """Kill a child that is not buried yet, with its group; it may not lead one so far."""
    if not job.buried:
        for kill in (os.killpg, os.kill):
            with contextlib.suppress(ProcessLookupError, PermissionError):
                kill(job.pid, signal.SIGKILL)


def _bury(jobs: list[_Job]) -> None:
    """Take leave of children that have ended, once nothing of them runs any more.

    What one left is ours to remove where whoever asked for it has let go without saying that it is gone.
    """
    for job in [job for job in jobs if not job.buried and _gone(job)]:
        job.buried = True
        _kill_strays({job.pid for job in jobs if not job.buried})
        _say(job.line, job.status or 0)
    for job in [job for job in jobs if job.buried and job.let_go]:
        jobs.remove(job)
        job.line.close()
        for folder, prefix in job.leftovers:
            clear(folder, prefix)


def clear(folder: str, prefix: str) -> None:
    """Remove what begins with `prefix` from a folder, as far as that can be done."""
    for path in Path(folder).glob(f"{glob.escape(prefix)}*"):
        with contextlib.suppress(OSError):
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink()


def _gone(job: _Job) -> bool:
    """Whether a child and its whole group are dead; what outlived the child is killed."""
    if job.status is None:
        ended, status = os.waitpid(job.pid, os.WNOHANG)
        if not ended:
            return False
        job.status = os.waitstatus_to_exitcode(status)
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(job.pid, signal.SIGKILL)
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-job.pid, os.WNOHANG)[0]:
            pass
        return False  # killed, and not dead yet
    return True


def _kill_strays(pids: set[int]) -> None:
    """Kill orphans that left the group of the child they came from."""
    if not FORKS:
        return  # only Linux hands them to us, and tells
    with contextlib.suppress(FileNotFoundError):  # of a kernel without this list
        children = Path(f"/proc/self/task/{os.getpid()}/children").read_text("ascii")
        for pid in map(int, children.split()):
            with contextlib.suppress(ProcessLookupError, ChildProcessError):
                if pid not in pids and os.getpgid(pid) not in pids:
                    os.kill(pid, signal.SIGKILL)
                    os.waitpid(pid, 0)


# --- being a child -------------------------------------------------------------------------------------


def _become_child(control: int, errors: int, keeper: int) -> NoReturn:
    """Leave everything of the keeper's behind, in a process that was forked a moment ago."""
    try:
        os.setsid()
        _give_way()
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        nothing = os.open(os.devnull, os.O_RDWR)
        control = fcntl.fcntl(control, fcntl.F_DUPFD, FD + 1)  # out of the way of the others
        for fd, place in ((nothing, 0), (nothing, 1), (errors, 2), (control, FD)):
            os.dup2(fd, place)
        os.closerange(FD + 1, min(os.sysconf("SC_OPEN_MAX"), 65536))
        if FORKS:
            _system_control(_SET_PDEATHSIG, signal.SIGKILL)
            if os.getppid() != keeper:
                os._exit(1)  # it died before we asked to be told
            be_child()
        os.execv(sys.executable, [*own_command(), str(FD), "child"])  # noqa: S606 - ourselves
    except BaseException:  # noqa: BLE001 - or two keepers would run
        traceback.print_exc()
    os._exit(1)


def _give_way() -> None:
    """Be as nice as the keeper also where Linux shares processors between sessions first (autogroup)."""
    nice = os.getpriority(os.PRIO_PROCESS, 0)
    if nice > 0:
        with contextlib.suppress(OSError):  # this kernel does not
            Path("/proc/self/autogroup").write_text(str(nice), "ascii")


def be_child() -> NoReturn:
    """Carry out the order that comes on `FD`, an item for each message that asks for one, until it closes."""
    code = 1
    try:
        faulthandler.enable()  # so that the last words of a crash name the place
        control = socket.socket(fileno=FD)  # closes when we end, and not before the last words are out
        _serve(control)
        code = 0
    except BaseException:  # noqa: BLE001 - last words; nobody is above us to catch anything
        traceback.print_exc()
    os._exit(code)


def _serve(control: socket.socket) -> None:
    messages = received(control.recv, LARGEST_ORDER)
    order = unpack(Order, next(messages))
    _confine(order)

    def tell(note: Json) -> None:
        control.sendall(message({"note": note}))

    items = _target(order.target)(order.arguments, tell)
    for asked in messages:
        _allow_processor(asked["seconds"])
        control.sendall(message(_answer(items, asked["wanted"])))


def _target(name: str) -> Target:
    module, _, function = name.partition(":")
    return getattr(importlib.import_module(module), function)


def _answer(items: Generator[Json, Json], wanted: Json) -> Json:
    try:
        return {"item": items.send(wanted)}
    except StopIteration:
        return {"end": True}
    except TldrError as error:
        return {"error": pack(Refusal.of(error))}


def _confine(order: Order) -> None:
    sys.path[:] = order.path
    os.environ.clear()
    os.environ.update(order.environment)
    with contextlib.suppress(OSError):  # it may be gone; paths that matter are absolute
        os.chdir(order.folder)
    tempfile.tempdir, tempfile.template = order.temporary, order.tag
    _limit(resource.RLIMIT_CORE, 0)
    _limit(resource.RLIMIT_FSIZE, order.file_bytes)
    _limit(resource.RLIMIT_NOFILE, order.open_files)


def _limit(what: int, most: int) -> None:
    """Lower a limit for good; one that is lower already stays."""
    hard = resource.getrlimit(what)[1]
    most = most if hard == resource.RLIM_INFINITY else min(most, hard)
    resource.setrlimit(what, (most, most))


def _allow_processor(seconds: float) -> None:
    """Let all processors be used for `seconds` from now on; then the system kills, should we all be gone."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    most = used.ru_utime + used.ru_stime + seconds * (os.cpu_count() or 1)
    resource.setrlimit(resource.RLIMIT_CPU, (int(most) + 1, resource.getrlimit(resource.RLIMIT_CPU)[1]))


def _system_control(what: int, value: int) -> None:
    """prctl(2), which Linux alone has."""
    if ctypes.CDLL(None, use_errno=True).prctl(what, value, 0, 0, 0):
        raise OSError(ctypes.get_errno(), f"prctl({what}) refused")


# --- the command ---------------------------------------------------------------------------------------


def own_command() -> list[str]:
    """How this module is run; `-P`: not from what lies in the working directory."""
    return [sys.executable, "-P", "-m", "tldr_highlight.media.keeper"]


def _main(arguments: list[str]) -> None:
    if arguments[1:] == ["child"]:
        be_child()
    os.nice(int(arguments[1]))
    if FORKS:
        _system_control(_SET_CHILD_SUBREAPER, 1)
        for module in PRELOADED:
            importlib.import_module(module)
        gc.freeze()  # or the first collection of each child copies all of it
    with socket.socket(fileno=int(arguments[0])) as requests:
        keep(requests)


if __name__ == "__main__":
    _main(sys.argv[1:])
