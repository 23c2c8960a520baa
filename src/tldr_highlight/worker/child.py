"""The process that works for `serve`: threads around `run_one` in lanes, rung by bytes on a pipe.

    python -m tldr_highlight.worker.child      # with a socket as its standard input: its line

The first that comes on it is its order. Each byte after that rings one of its lanes; its end means that
whoever started us is gone, and then we go, too. Bells may be lost: each second the main thread looks for what
is due.
"""

from __future__ import annotations

import contextlib
import dataclasses
import importlib
import json
import os
import select
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

from tldr_highlight.core.telemetry import logger, set_up_logs
from tldr_highlight.core.work import LIGHT, Kinds, due, run_one, start_periodic
from tldr_highlight.errors import DatabaseError
from tldr_highlight.media.sandbox import give_way
from tldr_highlight.runtime import Runtime, opened
from tldr_highlight.settings import Settings

log = logger(__name__)

LOOK_SECONDS = 1.0
"""Seconds between two looks for work nobody rang for."""

STOP_SECONDS = 20.0
"""Seconds for jobs to reach a point where they ask, once we are to stop; R12 allows 30 for everything."""

ORPHAN_SECONDS = 2.0
"""The same once whoever started us is gone: another may be waiting for us to leave."""

LINGER_SECONDS = 5.0
"""Seconds that a process for suspects waits for another one: starting costs 0.7."""

BROKEN = 83
"""Exit code of a process one of whose threads broke; `core/leases.py` has 81 and 82."""


@dataclasses.dataclass(frozen=True)
class Order:
    """What a child is told."""

    settings: dict[str, Any]
    kinds: str  # module:function
    owner: str  # what its leases' owners begin with
    lanes: list[tuple[list[str], int]]  # priorities, and how many threads take work of those
    suspects: bool  # it takes only what may have killed a process, and ends when there is no more
    listens_at: str  # of the server's API, for links


def give(line: socket.socket, order: Order, lock: int | None) -> None:
    """Tell a child what to do; `lock` is a file that it keeps open while it lives."""
    told = json.dumps(dataclasses.asdict(order)).encode() + b"\n"
    socket.send_fds(line, [told], [] if lock is None else [lock])


class Bell:
    """Wakes as many threads as it is rung times."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._rung = 0
        self._changed = threading.Condition()

    def ring(self, times: int = 1) -> None:
        """Wake so many; those who do not wait will find no need to."""
        with self._changed:
            self._rung = min(self._most, self._rung + times)
            self._changed.notify(times)

    def wait(self) -> None:
        """Until it rings."""
        with self._changed:
            while not self._rung:
                self._changed.wait()
            self._rung -= 1


@dataclasses.dataclass(frozen=True)
class Lane:
    """Threads that take work of some priorities, so that it need not wait for other work."""

    priorities: list[str]
    threads: int
    bell: Bell

    @property
    def letter(self) -> bytes:
        """What rings it on the pipe."""
        return letter_of(self.priorities[0])


def letter_of(priority: str) -> bytes:
    """The byte that rings for work of a priority."""
    return b"s" if priority in LIGHT else b"!"


def obey(line: socket.socket) -> None:
    """Take an order and work. None comes where whoever would give it is gone."""
    told = b""
    while not told.endswith(b"\n"):
        letter, locks, *_ = socket.recv_fds(line, 1, 1)  # one by one: what follows are rings
        if not letter:
            return
        told += letter
        for lock in locks:
            os.set_inheritable(lock, False)  # ours to keep open, and not of programs that we start
    set_up_logs()
    threading.excepthook = break_down
    work(Order(**json.loads(told)), line.fileno())


def let_go_of_stdin() -> None:
    """Nothing is to be read there any more."""
    with open(os.devnull, "rb") as nothing:
        os.dup2(nothing.fileno(), 0)


def work(order: Order, pipe: int) -> None:
    """Work until told to stop; what does not stop in time is given back, and ends with the process."""
    give_way()
    with opened(Settings(**order.settings), kinds_named(order.kinds)) as runtime:
        runtime.listens_at = order.listens_at
        runtime.leases.memory = runtime.settings.worker_memory_mb * 1_000_000
        lanes = [Lane(priorities, count, Bell(count)) for priorities, count in order.lanes]

        def ring(id: str, priority: str) -> None:
            for lane in lanes:
                if priority in lane.priorities:
                    lane.bell.ring()

        runtime.ring = ring
        signal.signal(signal.SIGTERM, lambda number, frame: runtime.leases.stopping.set())
        woken = _woken_by_signals()
        threads = [
            threading.Thread(
                target=_take_turns,
                args=(runtime, order, f"{order.owner}/{lane.priorities[0]}{n}", lane),
                daemon=True,
            )
            for lane in lanes
            for n in range(lane.threads)
        ]
        for thread in threads:
            thread.start()
        patience = _listen(runtime, order, pipe, woken, lanes)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # its handler must not come between the next line's
        runtime.leases.stopping.set()
        for lane in lanes:
            lane.bell.ring(lane.threads)
        end = time.monotonic() + patience
        for thread in threads:
            thread.join(max(0.0, end - time.monotonic()))
        if any(thread.is_alive() for thread in threads):
            log.warning("work did not stop in time: it is given back")
            runtime.leases.give_back()
            os._exit(0)


def _take_turns(runtime: Runtime, order: Order, owner: str, lane: Lane) -> None:
    stopping = runtime.leases.stopping
    while not stopping.is_set():
        try:
            if not run_one(runtime, owner=owner, suspects=order.suspects, priorities=lane.priorities):
                lane.bell.wait()
        except DatabaseError as error:
            log.warning("nothing can be claimed", reason=str(error))
            stopping.wait(LOOK_SECONDS)


def _woken_by_signals() -> int:
    """A pipe that can be read once a signal has come: Python goes on waiting in `poll` after one."""
    woken, wakes = os.pipe()
    os.set_blocking(wakes, False)
    signal.set_wakeup_fd(wakes)
    return woken


def _listen(runtime: Runtime, order: Order, pipe: int, woken: int, lanes: Sequence[Lane]) -> float:
    """Ring when rung, and for what is due, until it is time to stop; say how many seconds that may take."""
    poll = select.poll()
    poll.register(pipe, select.POLLIN)
    poll.register(woken, select.POLLIN)
    periodic = False
    looked = busy = -LINGER_SECONDS
    while not runtime.leases.stopping.is_set():
        now = time.monotonic()
        if now >= looked + LOOK_SECONDS:
            looked = now
            with contextlib.suppress(DatabaseError):  # those who claim say so
                if not periodic and not order.suspects:
                    start_periodic(runtime)
                    periodic = True
                for lane in lanes:
                    found = due(
                        runtime, suspects=order.suspects, limit=lane.threads, priorities=lane.priorities
                    )
                    lane.bell.ring(len(found))
                    busy = now if found or runtime.leases.busy else busy
        if order.suspects and now > max(busy, 0.0) + LINGER_SECONDS:
            return STOP_SECONDS
        rest = max(0.0, looked + LOOK_SECONDS - time.monotonic())
        if pipe in dict(poll.poll(1000 * rest)):
            rings = os.read(pipe, 4096)
            if not rings:
                return ORPHAN_SECONDS
            for lane in lanes:
                lane.bell.ring(rings.count(lane.letter))
    return STOP_SECONDS


def kinds_named(name: str) -> Kinds:
    """What the function `module:function` gives."""
    module, _, function = name.partition(":")
    make: Callable[[], Kinds] = getattr(importlib.import_module(module), function)
    return make()


def break_down(broken: threading.ExceptHookArgs) -> None:
    """A thread that ends by a mistake is a worker less, for ever: start anew instead."""
    log.error("a thread broke: the process ends", exc_info=broken.exc_value)
    os._exit(BROKEN)


def main() -> None:
    """Be the process that `python -m` has started."""
    line = socket.socket(fileno=os.dup(0))  # not inherited, so that programs we start cannot keep it open
    let_go_of_stdin()
    obey(line)


if __name__ == "__main__":
    main()
    sys.exit(0)
