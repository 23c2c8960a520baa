"""Workers of `serve`: processes beside the API, started again when they die.

    with hold_data_dir(settings.data_dir), opened(settings, product_kinds()) as runtime:
        worker = EmbeddedWorker(runtime)
        worker.start()      # returns at once; from now on handing in work rings
        ...
        worker.stop()

Not threads of the API's process: there they cost it three quarters of its throughput. One child does the
ordinary work. What was running when a child died may have killed it: such *suspects* are left to a second
child, one at a time, so that the guilty one harms nobody else again, and the innocent finish.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import secrets
import subprocess
import threading
import time
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any, BinaryIO

from pydantic import SecretStr

from tldr_highlight.core.files import output_errors
from tldr_highlight.core.leases import OVERTIME, OVERWEIGHT
from tldr_highlight.core.telemetry import logger
from tldr_highlight.core.work import HEAVY, LIGHT, due, void_leases
from tldr_highlight.errors import DatabaseError, DataBusyError
from tldr_highlight.runtime import Runtime
from tldr_highlight.settings import Settings
from tldr_highlight.worker.birth import Child, started
from tldr_highlight.worker.child import BROKEN, STOP_SECONDS, Order, give, letter_of

log = logger(__name__)

PRODUCT = "tldr_highlight.worker.kinds:product_kinds"

LIGHT_THREADS = 4
"""For mails, deliveries and the like, which mostly wait for other people's servers."""

LOOK_SECONDS = 1.0
"""Seconds between two looks for suspects; a child's death is noticed at once."""

PAUSES = (0.0, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
"""Seconds before a child is started again, after so many deaths in a row."""

HEALTHY_SECONDS = 3.0
"""A child that lived so long, five times what starting takes, did not die of how it was started."""

PREDECESSOR_SECONDS = 10.0
"""How long children of a killed server are waited for. They leave within 3 s, or hang, and cannot write any
more once their leases are void."""

REASONS = {
    OVERTIME: "work was over its limit",
    OVERWEIGHT: "it needed too much memory",
    BROKEN: "a thread broke",
    -9: "it was killed, perhaps for want of memory",
}


@contextlib.contextmanager
def hold_data_dir(data_dir: Path, address: str = "") -> Generator[None]:
    """Keep other servers off the folder, which is made when missing; a crash lets go of it.

    `address` is where we listen, for the shell's links (`served_at`).

    Raises:
        DataBusyError: another server has it.
    """
    data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    with output_errors(data_dir), (data_dir / "serve.lock").open("a+b") as file:
        if not _locked(file):
            file.seek(0)
            holder = file.readline(100).decode(errors="replace").partition(" ")[0].strip() or "?"
            raise DataBusyError(
                f"another server (process {holder}) works in {data_dir}: end it, or choose another folder "
                "with --data or TLDR_DATA_DIR"
            )
        os.fchmod(file.fileno(), 0o600)
        file.truncate(0)
        file.write(f"{os.getpid()} {address}\n".encode())
        file.flush()
        yield


def served_at(data_dir: Path) -> str | None:
    """Where the folder's server listens, or did last; None where none ever had it."""
    try:
        line = (data_dir / "serve.lock").read_text("utf-8")
    except (OSError, UnicodeDecodeError):
        return None
    return line.partition(" ")[2].strip() or None


def _locked(file: BinaryIO) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


class EmbeddedWorker:
    """The children of one server.

    Args:
        runtime: Of the server; its `ring` becomes ours.
        kinds: "module:function" that gives what the children can do.
        spare: Gives the first child (`birth.spare`).
    """

    def __init__(
        self, runtime: Runtime, *, kinds: str = PRODUCT, spare: Callable[[], Child] | None = None
    ) -> None:
        self._runtime = runtime
        self._kinds = kinds
        self._spare = spare
        self._stopping = threading.Event()
        self._changed = threading.Event()
        self._thread = threading.Thread(target=self._supervise, name="embedded-worker", daemon=True)
        self._posts = (
            _Post(
                "worker",
                [([*HEAVY], runtime.settings.worker_threads), ([*LIGHT], LIGHT_THREADS)],
                suspects=False,
            ),
            _Post("suspects", [([*HEAVY, *LIGHT], 1)], suspects=True),
        )

    def start(self) -> None:
        """Start the children, without waiting for them."""
        self._runtime.ring = self.ring
        self._thread.start()

    def ring(self, id: str, priority: str) -> None:
        """Wake a thread that does ordinary work. A full pipe has woken all of them already."""
        self._posts[0].ring(letter_of(priority))

    def pids(self) -> dict[str, int]:
        """Name -> process id of the children that live."""
        return {post.name: post.child.pid for post in self._posts if post.child is not None}

    def stop(self) -> None:
        """Let the children finish what they can within `STOP_SECONDS`, and end them."""
        self._stopping.set()
        self._changed.set()
        if self._thread.is_alive():
            self._thread.join()

    def _supervise(self) -> None:
        with _lock(self._runtime.data_dir / "worker.lock", self._stopping) as (lock, installation):
            self._void(installation)
            while not self._stopping.is_set():
                for post in self._posts:
                    self._tend(post, lock, installation)
                self._changed.wait(LOOK_SECONDS)
                self._changed.clear()
            for post in self._posts:
                post.end()
            self._void(installation)  # of what had to be killed

    def _tend(self, post: _Post, lock: int | None, installation: str) -> None:
        """Bury a child that died; start one where one is needed."""
        if (code := post.death()) is not None:
            if code:
                log.error("a worker died", worker=post.name, exit_code=code, reason=REASONS.get(code))
            if not self._void(post.owner):
                return  # again on the next look
            post.bury(code)
        if post.child is None and time.monotonic() >= post.not_before and self._needed(post):
            bear, self._spare = self._spare or started, None
            post.start(bear, self._order(post, installation), lock, self._changed)

    def _order(self, post: _Post, installation: str) -> Order:
        return Order(
            settings=revealed(self._runtime.settings),
            kinds=self._kinds,
            owner=f"{installation}/{post.name}-{secrets.token_hex(4)}",
            lanes=post.lanes,
            suspects=post.suspects,
            listens_at=self._runtime.listens_at,
        )

    def _needed(self, post: _Post) -> bool:
        if not post.suspects:
            return True
        with contextlib.suppress(DatabaseError):
            return bool(due(self._runtime, suspects=True, limit=1))
        return False

    def _void(self, owner: str) -> bool:
        """Take back what the dead held, so that nobody waits for their leases to run out; False: not now."""
        try:
            with self._runtime.db.begin() as session:
                void_leases(session, f"{owner}/")
        except DatabaseError as error:
            self._runtime.leases.missed()
            log.warning("leases of dead workers were not voided", reason=str(error))
            return False
        return True


class _Post:
    """A place for one child at a time."""

    def __init__(self, name: str, lanes: list[tuple[list[str], int]], *, suspects: bool) -> None:
        self.name = name
        self.lanes = lanes
        self.suspects = suspects
        self.child: Child | None = None
        self.owner = ""
        self.not_before = 0.0
        self._at_the_line = threading.Lock()
        self._deaths = 0  # in a row
        self._born = 0.0

    def start(
        self, bear: Callable[[], Child], order: Order, lock: int | None, on_death: threading.Event
    ) -> None:
        """Start a child, and watch for its end."""
        child = bear()
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # it is dead already
            give(child.line, order, lock)
        child.line.setblocking(False)
        self.child, self.owner, self._born = child, order.owner, time.monotonic()

        def watch() -> None:
            child.wait()
            on_death.set()

        threading.Thread(target=watch, name=f"{self.name}-watch", daemon=True).start()

    def ring(self, letter: bytes) -> None:
        """A byte on its line; never waits for the child."""
        with self._at_the_line:
            if self.child is not None:
                with contextlib.suppress(BlockingIOError, BrokenPipeError, ConnectionResetError):
                    self.child.line.send(letter)

    def death(self) -> int | None:
        """Exit code of a child that has ended and is not buried."""
        return None if self.child is None else self.child.poll()

    def bury(self, code: int) -> None:
        """Make the place free again, after a pause that grows while children die young."""
        assert self.child is not None
        with self._at_the_line:  # or a ring would go to whatever file has its number next
            self.child.line.close()
            self.child = None
        old = time.monotonic() - self._born > HEALTHY_SECONDS
        self._deaths = 0 if code == 0 else 1 if old else self._deaths + 1
        self.not_before = time.monotonic() + PAUSES[min(max(self._deaths - 1, 0), len(PAUSES) - 1)]

    def end(self) -> None:
        """Ask the child to stop; kill it when it does not."""
        if self.child is None:
            return
        self.child.terminate()
        try:
            self.child.wait(STOP_SECONDS + 5)
        except subprocess.TimeoutExpired:
            self.child.kill()
            self.child.wait()
        self.bury(0)


@contextlib.contextmanager
def _lock(path: Path, stopping: threading.Event) -> Generator[tuple[int | None, str]]:
    """(file that children keep open, name of this installation), once the children of before are gone."""
    with path.open("a+b") as file:
        end = time.monotonic() + PREDECESSOR_SECONDS
        while not (held := _locked(file)) and time.monotonic() < end and not stopping.wait(0.05):
            pass
        if not held:
            log.warning("workers of a server that is gone do not end; they cannot write any more")
        file.seek(0)
        name = file.read(16).decode("ascii", "replace")
        if not name:
            name = secrets.token_hex(8)
            file.write(name.encode())
            file.flush()
        yield file.fileno() if held else None, name


def revealed(settings: Settings) -> dict[str, Any]:
    """The settings as JSON that `Settings` reads again: for a pipe, as argv and environment show secrets."""
    values: dict[str, Any] = {}
    for name in type(settings).model_fields:
        value = getattr(settings, name)
        values[name] = value.get_secret_value() if isinstance(value, SecretStr) else value
    return json.loads(json.dumps(values, default=str))
