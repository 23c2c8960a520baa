"""Functions that go wrong in the sandbox, each in its own way; see `keeper.Target`."""

from __future__ import annotations

import ctypes
import os
import pickle
import resource
import signal
import sys
import tempfile
import time
from collections.abc import Generator, Iterator
from pathlib import Path

from tldr_highlight import errors
from tldr_highlight.core.files import replacing
from tldr_highlight.core.wire import LENGTH, Json, Refusal, message, pack, unpack
from tldr_highlight.media import inside
from tldr_highlight.media.job import Look, Task
from tldr_highlight.media.keeper import FD, Tell
from tldr_highlight.media.types import ClipSpec

HERE = "tests.media.faults:"


def echo(arguments: Json, tell: Tell) -> Iterator[Json]:
    """Notes and items that are the arguments'."""
    for item in arguments:
        tell(item)
        yield item


def session_nice() -> str:
    """Of our session, where the kernel shares processors between sessions first: `/autogroup-7 nice 10`."""
    file = Path("/proc/self/autogroup")
    return file.read_text("ascii").strip().rpartition(" ")[2] if file.exists() else ""


def surroundings(arguments: Json, tell: Tell) -> Iterator[Json]:
    """What the child sees of itself."""
    yield {
        "pid": os.getpid(),
        "group": os.getpgid(0),
        "session": os.getsid(0),
        "nice": os.getpriority(os.PRIO_PROCESS, 0),
        "session_nice": session_nice(),
        "folder": os.getcwd(),
        "temporary": tempfile.gettempdir(),
        "open": sorted(map(int, os.listdir("/proc/self/fd")))[:-1] if sys.platform == "linux" else None,
        "core": resource.getrlimit(resource.RLIMIT_CORE),
        "size": resource.getrlimit(resource.RLIMIT_FSIZE),
        "files": resource.getrlimit(resource.RLIMIT_NOFILE),
        "processor": resource.getrlimit(resource.RLIMIT_CPU)[0],
        "stdin": sys.stdin.read(),
    }


def wait(seconds: float = 600) -> None:
    time.sleep(seconds)


def stubborn(arguments: Json, tell: Tell) -> Iterator[Json]:
    """Hang, with children and an orphan that all ignore TERM and drip into a file; tell their pids.

    The orphan leaves the group where `arguments` says so.
    """
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    read, write = os.pipe()
    for orphan in (False, False, True):
        if os.fork() == 0:
            if orphan:
                if arguments == "strays":
                    os.setsid()
                if os.fork():
                    os._exit(0)
            os.write(write, b"%20d" % os.getpid())
            drip()
    pids = [int(os.read(read, 20)) for _ in range(3)]
    Path(tempfile.mkstemp()[1]).write_text("not tidied up")
    tell([os.getpid(), *pids])
    wait()
    yield None


def drip() -> None:
    with tempfile.TemporaryFile() as file:
        while True:
            file.write(b"drip")
            file.flush()
            time.sleep(0.01)


def leaving(arguments: Json, tell: Tell) -> Iterator[Json]:
    """Leave a process running: at a good end, or where `arguments` is a code, at a sudden one."""
    if (pid := os.fork()) == 0:
        drip()
    yield pid
    if arguments is not None:
        os._exit(arguments)


def busy(arguments: Json, tell: Tell) -> Iterator[Json]:
    """Never let go of the interpreter's lock."""
    yield "before"
    while True:
        pass


def slow(arguments: Json, tell: Tell) -> Iterator[Json]:
    """Take so many seconds for an item."""
    assert isinstance(arguments, float)
    time.sleep(arguments)
    yield "there"


def greedy(arguments: Json, tell: Tell) -> Iterator[Json]:
    """Use more of the processor than is allowed, while the wall clock hardly notices."""
    resource.setrlimit(resource.RLIMIT_CPU, (1, resource.RLIM_INFINITY))
    while True:
        pass
    yield None


def crash(arguments: Json, tell: Tell) -> Iterator[Json]:
    yield "before"
    ctypes.string_at(0)


def raise_itself(arguments: Json, tell: Tell) -> Iterator[Json]:
    """End by the signal that `arguments` names."""
    os.kill(os.getpid(), signal.Signals[arguments])
    wait()
    yield None


def leave(arguments: Json, tell: Tell) -> Iterator[Json]:
    os._exit(arguments)
    yield None


def mistake(arguments: Json, tell: Tell) -> Iterator[Json]:
    """Have a bug where there are not three arguments."""
    yield arguments[2]


def refuse(arguments: Json, tell: Tell) -> Iterator[Json]:
    """Raise the error of ours that `arguments` names."""
    error = getattr(errors, arguments)("it was refused")
    if isinstance(error, errors.CutError):
        error.index = 7
    raise error
    yield None


def swell(arguments: Json, tell: Tell) -> Iterator[Json]:
    """Take 20 MB every 10 ms."""
    taken = []
    for _ in range(1000):
        taken.append(b"x" * 20_000_000)
        time.sleep(0.01)
    yield len(taken)


def chatter(arguments: Json, tell: Tell) -> Iterator[Json]:
    """Tell something without end."""
    while True:
        tell("x" * 1000)
    yield None


def shout(arguments: Json, tell: Tell) -> Iterator[Json]:
    """Write 50 MB to stderr, and end badly."""
    for _ in range(5000):
        os.write(2, b"noise " * 1700)
    os.write(2, b"\nthe last words")
    os._exit(3)
    yield None


SAID = {
    "pickle": LENGTH.pack(len(pickle.dumps(os.getcwd))) + pickle.dumps(os.getcwd),
    "endless": LENGTH.pack(2**32 - 1) + b" " * 3_000_000,
    "no message": message(["item", 1]),
    "two at once": message({"item": 1, "end": True}),
    "unknown": message({"do": "something"}),
    "no error": message({"error": {"code": "system", "message": "", "index": None}}),
    "no shape": message({"error": 5}),
    "number": message(5),
}


def say(arguments: Json, tell: Tell) -> Iterator[Json]:
    """Send what is no message of ours, as a subverted process might."""
    data = SAID[arguments]
    while data:
        data = data[os.write(FD, data) :]
    wait()
    yield None


def dribble(arguments: Json, tell: Tell) -> Iterator[Json]:
    """Send a message a byte at a time, never to its end."""
    for byte in message({"item": "x" * 100_000}):
        os.write(FD, bytes([byte]))
        time.sleep(0.01)
    yield None


def deaf(arguments: Json, tell: Tell) -> Iterator[Json]:
    """Close the socket, and stay."""
    os.close(FD)
    wait()
    yield None


def write(arguments: Json, tell: Tell) -> Iterator[Json]:
    """Write into a file that becomes `arguments`, without end; then into a temporary one."""
    for path in (Path(arguments), Path(tempfile.gettempdir()) / "other"):
        try:
            with replacing(path) as draft, draft.open("wb") as file:
                while True:
                    file.write(b"x" * 1_000_000)
        except errors.DiskFullError as error:
            yield pack(Refusal.of(error))


def drafting(arguments: Json, tell: Tell) -> Iterator[Json]:
    """Begin a file that becomes `arguments`, and hang."""
    with replacing(Path(arguments)) as draft:
        draft.write_bytes(b"x" * 1000)
        tell(draft.name)
        wait()
    yield None


# --- as `inside` does it, with a fault -----------------------------------------------------------------


def crash_at_once(arguments: Json, tell: Tell) -> Iterator[Json]:
    ctypes.string_at(0)
    yield None


def look_0(arguments: Json, tell: Tell) -> Iterator[Json]:
    yield from ()


def look_int(arguments: Json, tell: Tell) -> Iterator[Json]:
    yield 5


def look_dict(arguments: Json, tell: Tell) -> Iterator[Json]:
    yield {"path": "/etc/passwd"}


def looked(arguments: Json) -> Generator[Json, Json, Task]:
    """Say what the source is, as who asks knows already; return what is wanted of it."""
    return unpack(Task, (yield pack(unpack(Look, arguments).info)))


def note_and_crash(arguments: Json, tell: Tell) -> Generator[Json, Json]:
    """Add the start of the first clip to a log, and die."""
    task = yield from looked(arguments)
    with task.specs[0].path.with_name("log").open("a") as log:
        log.write(f"{task.specs[0].start:.0f}")
    os._exit(1)


def stubborn_planner(arguments: Json, tell: Tell) -> Generator[Json, Json]:
    """Hang as soon as something is to be planned."""
    yield from looked(arguments)
    yield from stubborn(None, tell)


def clips(arguments: Json, tell: Tell) -> Generator[Json, Json]:
    """Cut clips as `inside` does; those named after a fault have it at their second note or when done."""
    specs: tuple[ClipSpec, ...] = ()

    def meddle(note: Json) -> None:
        index, _ = note
        path = specs[index].path
        if path.stem == "pid":
            path.with_suffix("").write_text(str(os.getpid()))
        tell(note)
        if path.stem in FAULTS and path.stem != "late":
            assert list(path.parent.glob(".tldr-*")), "in the middle of a clip"
            FAULTS[path.stem]()

    visit = inside.visit(arguments, meddle)
    wanted = yield next(visit)
    specs = unpack(Task, wanted).specs
    for spec in specs:
        outcome = visit.send(wanted)
        if spec.path.stem == "late":
            os._exit(1)
        wanted = yield outcome


def swell_now() -> None:
    list(swell(None, lambda _: None))


FAULTS = {
    "hang": wait,
    "pid": wait,
    "crash": lambda: ctypes.string_at(0),
    "killed": lambda: os.kill(os.getpid(), signal.SIGKILL),
    "nonsense": lambda: os.write(FD, SAID["pickle"]),
    "swell": swell_now,
    "late": wait,
}
