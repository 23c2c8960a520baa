"""Running a function of ours in a process that can be killed whole.

libav hangs, crashes and swells on hostile files, so whoever opens one does it here. What comes back is
JSON, checked and bounded. A child works only while it is asked for an item, and each item has its own limit
on the wall clock, less what the child waited for a processor; memory is watched meanwhile. However a run
ends, nothing of the child stays: no process, no temporary file.
"""

from __future__ import annotations

import atexit
import contextlib
import math
import os
import secrets
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from tldr_highlight.core.files import output_errors
from tldr_highlight.core.wire import Inbox, Json, Refusal, message, pack, unpack
from tldr_highlight.errors import MediaCrashError, MediaMemoryError, MediaTimeoutError, TldrError
from tldr_highlight.media.keeper import ALL_GONE, END_IT, NUMBER, Leftover, Order, clear, own_command

TICK = 0.1 if sys.platform == "linux" else 1.0
"""Seconds between two looks at a child's memory: 20 µs each on Linux, elsewhere a run of `ps`."""

PATIENCE = 4.0
"""Seconds for a killed group to be dead; then its keeper is killed, and Linux kills with it what it bore."""

STARTING = 60.0
"""Seconds for a keeper to start, which takes half a second on an idle machine, and to bear a child."""

LARGEST_MESSAGE = 1_000_000
"""Bytes of one message from a child; the longest of ours, a `MediaInfo` with warnings, has some thousand."""

LAST_WORDS = 4000
"""Bytes of a child's stderr that are kept: the end of it."""


@dataclass(frozen=True, slots=True)
class ProcessLimits:
    """What a child may use."""

    seconds: float = 300.0  # on the wall clock, for one item; a slow machine's delays do not count
    memory: int = 3 << 30  # bytes resident; encoding 8K takes 1.8 GB
    file_bytes: int = 64 << 30  # of one file; ten hours of a broadcaster's 1080p
    open_files: int = 256


DEFAULTS = ProcessLimits()


def run(
    target: str,
    arguments: Json,
    *,
    limits: ProcessLimits = DEFAULTS,
    on_note: Callable[[Json], None] | None = None,
    drafts_in: Iterable[Path] = (),
) -> Generator[Json]:
    """Run `target`, "module:function" of kind `keeper.Target`, in a child; give the items that it gives.

    Nothing runs between two items. `on_note` gets what the child tells meanwhile. Temporary files of the
    child, and its unfinished files in the folders `drafts_in`, are gone when the run is over.

    Raises:
        MediaTimeoutError: an item took longer than `limits.seconds`.
        MediaMemoryError: the child took more than `limits.memory`.
        MediaCrashError: it died or said something that is no message of ours; with its last words.
        TldrError: what the function raised, as the same class.
    """
    with Child(target, arguments, limits=limits) as child:
        child.writes_into(drafts_in)
        while (item := child.ask(on_note=on_note)) is not END:
            yield item


END = object()
"""What there is instead of an item behind the last."""


class Child:
    """A child at work, as a context manager: behind it, its process group is dead and its files are gone."""

    def __init__(self, target: str, arguments: Json, *, limits: ProcessLimits = DEFAULTS) -> None:
        self._limits = limits
        self._tag = f"tldr-{secrets.token_hex(4)}-"  # what the names of its temporary files begin with
        self._leftovers: set[Leftover] = set()
        self._inbox = Inbox(LARGEST_MESSAGE)
        self._words = b""  # the end of its stderr
        self._hears = True  # there may be more on its stderr
        with contextlib.ExitStack() as undo:
            undo.callback(self._clear)
            with output_errors(Path(tempfile.gettempdir())):
                temporary = Path(tempfile.mkdtemp(prefix=self._tag))
            self._leftovers.add((str(temporary.parent), self._tag))
            order = Order(
                target, arguments, os.getcwd(), str(temporary), self._tag, tuple(sys.path), os.environ,
                limits.file_bytes, limits.open_files,
            )  # fmt: skip
            self._unsent = message(pack(order))  # goes out as it is read, which may be never
            self._birth = _born()
            undo.pop_all()
        self._birth.tell(*self._leftovers)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End it, and remove what it left."""
        self._birth.end()
        self._clear()
        self._birth.close()

    def writes_into(self, folders: Iterable[Path]) -> None:
        """Say where it is going to write, so that its unfinished files are removed however it ends."""
        new = {(os.path.abspath(folder), f".{self._tag}") for folder in folders} - self._leftovers
        self._leftovers |= new
        self._birth.tell(*new)

    def _clear(self) -> None:
        for folder, prefix in self._leftovers:
            clear(folder, prefix)

    def ask(
        self,
        wanted: Json = None,
        *,
        seconds: float | None = None,
        on_note: Callable[[Json], None] | None = None,
        meanwhile: Callable[[], None] | None = None,
    ) -> Json:
        """The next item, or `END`, within so many seconds; raises as `run` does.

        The function gets `wanted` as what its `yield` returns. `meanwhile` is called ten times a second, and
        may raise.
        """
        seconds = self._limits.seconds if seconds is None else seconds
        self._unsent += message({"wanted": wanted, "seconds": seconds})
        began = time.monotonic()
        end, delays = began + seconds, self._delays()
        look = 0.0
        while True:
            for kind, value in self._messages():
                if kind == "note":
                    if on_note:
                        on_note(value)
                else:
                    return value if kind == "item" else END
            now = time.monotonic()
            if now >= end:  # by the clock; what others had the processors for is not the child's fault
                end = began + seconds + min(max(0.0, self._delays() - delays), now - began)
            if now >= end:
                raise MediaTimeoutError(f"no result within {seconds:g} s: its process was ended")
            if now >= look:
                self._look_at_memory()
                if meanwhile:
                    meanwhile()
                look = now + TICK
            self._exchange(max(0.0, min(end, look) - now))

    def _messages(self) -> Iterator[tuple[str, Json]]:
        """Kind and value of what has come in; an error of ours is raised."""
        try:
            while (said := self._inbox.next()) is not None:
                ((kind, value),) = said.items()
                if kind == "error":
                    raise unpack(Refusal, value).error()
                if kind not in {"note", "item", "end"}:
                    raise ValueError("a message of no kind")
                yield kind, value
        except (ValueError, AttributeError) as error:
            raise MediaCrashError(f"its process said what makes no sense: {error}") from error

    def _exchange(self, seconds: float) -> None:
        """Send what is unsent and take what comes, waiting `seconds` at most."""
        control, errors, line = self._birth.control, self._birth.errors, self._birth.line
        poll = select.poll()
        poll.register(control, select.POLLIN | (select.POLLOUT if self._unsent else 0))
        poll.register(line, select.POLLIN)
        if self._hears:
            poll.register(errors, select.POLLIN)
        events = dict(poll.poll(math.ceil(1000 * seconds)))
        if errors in events:
            self._hears = self._hear()
        with contextlib.suppress(BlockingIOError, BrokenPipeError, ConnectionResetError):
            if self._unsent:
                self._unsent = self._unsent[control.send(self._unsent) :]
        with contextlib.suppress(BlockingIOError, ConnectionResetError):
            if data := control.recv(65536):
                self._inbox.add(data)
            else:
                raise self._death()
            return
        if line.fileno() in events:
            raise self._death()

    def _hear(self) -> bool:
        """Take some of the child's stderr, and say whether there may be more."""
        with contextlib.suppress(BlockingIOError):
            data = os.read(self._birth.errors, 65536)
            self._words = (self._words + data)[-LAST_WORDS:]
            return bool(data)
        return True

    def _delays(self) -> float:
        return starved(self._birth.pid) if self._birth.pid else 0.0

    def _look_at_memory(self) -> None:
        if self._birth.pid and resident(self._birth.pid) > self._limits.memory:
            raise MediaMemoryError(
                f"more than {self._limits.memory / 1e6:.0f} MB of memory were needed: its process was ended"
            )

    def _death(self) -> TldrError:
        """What to say of a child that has closed its socket."""
        status = self._birth.end()
        while self._hears and _readable(self._birth.errors, 0):
            self._hears = self._hear()
        if status == -signal.SIGXCPU:
            return MediaTimeoutError("its process used the processors longer than it may, and was ended")
        words = self._words.decode("utf-8", "replace").strip()
        error = MediaCrashError(f"its process {_ending(status)}{_gist(words)}")
        error.add_note(words)
        return error


def _gist(words: str) -> str:
    """The one line that tells most: of a crash the place, else the last."""
    place = words.partition("(most recent call first):\n")[2]  # as `faulthandler` writes it
    lines = [line.strip() for line in (place or words).splitlines()]
    return f": {lines[0 if place else -1][:300]}" if lines else ""


def _readable(fd: int, seconds: float) -> bool:
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    return bool(poll.poll(math.ceil(1000 * seconds)))


def _ending(status: int | None) -> str:
    if status is None:
        return "vanished"
    if status == -signal.SIGKILL:
        return "was killed, as the system does where memory runs out"
    return f"crashed ({signal.Signals(-status).name})" if status < 0 else f"gave up (exit code {status})"


def resident(pid: int) -> int:
    """Bytes of memory that a process holds; 0 of one that is gone."""
    if sys.platform == "linux":
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            pages = Path(f"/proc/{pid}/statm").read_text("ascii").split()[1]
            return int(pages) * os.sysconf("SC_PAGE_SIZE")
        return 0
    command = ["ps", "-o", "rss=", "-p", str(pid)]
    told = subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()  # noqa: S603 - a number
    return 1024 * int(told or 0)


def starved(pid: int) -> float:
    """Seconds that threads of a process waited for a processor, added up; 0 where the system does not say."""
    waited = 0
    for thread in Path(f"/proc/{pid}/task").glob("*/schedstat"):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            waited += int(thread.read_text("ascii").split()[1])  # time running, time waiting, how often; ns
    return waited / 1e9


# --- keepers -------------------------------------------------------------------------------------------


class _Keeper:
    """Our end of a keeper."""

    def __init__(self) -> None:
        self.requests, theirs = socket.socketpair()
        with theirs:
            self.process = subprocess.Popen(  # noqa: S603 - ourselves
                [*own_command(), str(theirs.fileno()), str(_nice)],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                start_new_session=True,  # Ctrl-C is for us alone
                env=os.environ | _KEEPERS_OWN | {"PYTHONPATH": os.pathsep.join(sys.path)},
            )

    def end(self) -> None:
        """Let it kill all its children and go."""
        self.requests.close()
        try:
            self.process.wait(2 * PATIENCE)
        except subprocess.TimeoutExpired:
            self.kill()

    def kill(self) -> None:
        """Kill it; on Linux its children die with it."""
        self.process.kill()
        self.process.wait()


_KEEPERS_OWN = {"OPENBLAS_NUM_THREADS": "1", "MALLOC_TRIM_THRESHOLD_": "1000000"}
"""Environment: numpy's threads do not survive a fork, and nothing here multiplies matrices; glibc gives free
memory back, which keeps 60 MB of pictures of 1080p from staying between clips and costs no time."""

NICE = 10
"""Of children that give way; a process that answers has ten times their share of a processor."""

_nice = 0
_keepers: dict[int, _Keeper] = {}  # by our own pid: a process that was forked from us needs its own
_lock = threading.Lock()
os.register_at_fork(before=_lock.acquire, after_in_parent=_lock.release, after_in_child=_lock.release)


def give_way() -> None:
    """Let the system prefer everybody else to children of this process from now on: somebody answers here.

    Beside two that encode on two cores the p99 of an answer is 37 ms, and 87 without.
    """
    global _nice  # noqa: PLW0603 - of the process, as what it sets is
    _nice = NICE


def warm_up() -> None:
    """Start what starts children, if it does not run yet, so that the first run need not wait for it."""
    with _lock:
        _keeper()


def _keeper() -> _Keeper:
    keeper = _keepers.get(os.getpid())
    if keeper is None or keeper.process.poll() is not None:
        if keeper is None:
            atexit.register(_end_keeper, os.getpid())
        else:
            keeper.requests.close()
        keeper = _keepers[os.getpid()] = _Keeper()
    return keeper


def _end_keeper(pid: int) -> None:
    if pid == os.getpid():
        _keepers[pid].end()


class _Birth:
    """A child's birth, and its death: our ends of its socket, its stderr and its line to the keeper."""

    def __init__(self) -> None:
        self.control, control = socket.socketpair()
        self.errors, errors = os.pipe()
        self.line, line = socket.socketpair()
        self._over = False
        self._status: int | None = None
        try:
            with _lock, control, line:
                self.keeper = _keeper()
                with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                    socket.send_fds(self.keeper.requests, [b"!"], [control.fileno(), errors, line.fileno()])
            os.close(errors)
            self.pid = _number(self.line, STARTING)  # None: there is no child
        except BaseException:
            self.close()
            raise
        self.control.setblocking(False)
        os.set_blocking(self.errors, False)

    def end(self) -> int | None:
        """Kill the child's group; return its exit code, or minus a signal's number, once all of it is dead.

        None: the keeper did not say. It is dead then, and with it, on Linux, the child.
        """
        if not self._over:
            self._over = True
            self._say(END_IT)
            self._status = _number(self.line, PATIENCE)
            if self._status is None:
                self.keeper.kill()
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    assert self.pid
                    os.killpg(self.pid, signal.SIGKILL)
        return self._status

    def tell(self, *leftovers: Leftover) -> None:
        """What the keeper is to remove should we be gone before we have done so."""
        for leftover in leftovers:
            self._say(leftover)

    def _say(self, said: Json) -> None:
        with contextlib.suppress(OSError):  # the keeper may be dead
            self.line.sendall(message(said))

    def close(self) -> None:
        """Let go of our ends; nothing is left over."""
        self._say(ALL_GONE)
        self.control.close()
        self.line.close()
        os.close(self.errors)


def _born() -> _Birth:
    for _ in range(3):
        birth = _Birth()
        if birth.pid:
            return birth
        birth.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            birth.keeper.process.wait(0.1)  # it died, or there are too many processes
    raise MediaCrashError("no process can be started for it")


def _number(line: socket.socket, patience: float) -> int | None:
    """What a keeper says on a line; None when it says nothing, or for longer than `patience` seconds."""
    line.settimeout(patience)
    with contextlib.suppress(TimeoutError, ConnectionResetError):
        said = line.recv(NUMBER.size)
        return NUMBER.unpack(said)[0] if len(said) == NUMBER.size else None
    return None
