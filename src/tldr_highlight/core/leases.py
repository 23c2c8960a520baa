"""What this process holds of work: leases that are renewed, and two limits that end the process.

Two threads, both idle while nothing is held. One renews: it may wait for the database. One watches the clock
and the memory, and must never wait: a job that hangs inside a transaction holds up the first. A thread cannot
be killed, so what is over a limit ends its process; the row says who was to blame, and whoever started the
process starts another.
"""

from __future__ import annotations

import contextlib
import os
import resource
import sys
import threading
import time
from collections.abc import Callable, Generator, Iterable
from dataclasses import dataclass, field

from tldr_highlight.core.telemetry import logger
from tldr_highlight.errors import DatabaseError

log = logger(__name__)

LEASE_SECONDS = 30.0
"""How long work stays ours without a sign of life."""

BEATS = 10
"""Renewals in one lease: nine may fail, and a wish to cancel is heard within 3 s."""

TICK = 1.0
"""Seconds between two looks at clock and memory, 20 µs each."""

LAST_WORDS = 1.0
"""Seconds that giving work back may take before the process ends anyway: a job that hangs in a transaction
keeps everybody else on SQLite from writing, us too."""

OVERTIME, OVERWEIGHT = 81, 82
"""Exit codes of a process that ended itself."""


@dataclass(eq=False)
class Lease:
    """One unit of work that this process has, and what is known about it since it was claimed."""

    work_id: str
    owner: str
    fence: int
    ends: float | None  # on the monotonic clock: when it is over its limit
    suspect: bool = False  # it runs apart from others, because it may be what killed a process
    lost: bool = False
    cancel_asked: bool = False
    cleared: bool = False  # no suspect any more: it goes on among the others


@dataclass(frozen=True)
class Ledger:
    """The database's side of leases; every call may raise `DatabaseError`."""

    renew: Callable[[Iterable[Lease], float], None]
    """Extend leases by seconds, and note in each what is known now."""

    give_back: Callable[[Iterable[Lease], Iterable[Lease]], None]
    """Let go of leases: of these, and of those that are to blame."""


@dataclass
class Leases:
    """The leases of one process.

    Args:
        ledger: Where they are written.
        seconds: How long one lasts.
        memory: Bytes resident that end the process; None, but in processes that are there to work: no limit.
    """

    ledger: Ledger
    seconds: float = LEASE_SECONDS
    memory: int | None = None
    stopping: threading.Event = field(default_factory=threading.Event)
    """Set when the process is to end: jobs are asked to stop, nothing is claimed."""

    def __post_init__(self) -> None:
        self._held: set[Lease] = set()
        self._changed = threading.Condition()
        self._threads: list[threading.Thread] = []
        self._closed = threading.Event()
        self._missed_at: float | None = None  # on the monotonic clock: when the database last did not answer

    @contextlib.contextmanager
    def held(self, lease: Lease) -> Generator[None]:
        """Keep the lease alive while the block runs."""
        with self._changed:
            self._held.add(lease)
            self._start()
            self._changed.notify_all()
        try:
            yield
        finally:
            with self._changed:
                self._held.discard(lease)

    @property
    def busy(self) -> bool:
        """Whether anything is held."""
        return bool(self._held)

    @property
    def may_judge(self) -> bool:
        """Whether lapsed leases of others may be taken: not soon after the database was away.

        They could not renew either, and are given one lease's time to do so; otherwise each outage would
        count as a crash of everything that ran.
        """
        return self._missed_at is None or time.monotonic() - self._missed_at > self.seconds

    def missed(self) -> None:
        """Note that the database did not answer."""
        self._missed_at = time.monotonic()

    def give_back(self, to_blame: Callable[[Lease], bool] = lambda _: False) -> None:
        """Let go of everything held, within `LAST_WORDS`: the process is about to end amid it."""
        held = self._now_held()
        guilty = {lease for lease in held if to_blame(lease)}

        def write() -> None:
            with contextlib.suppress(DatabaseError):
                self.ledger.give_back([lease for lease in held if lease not in guilty], guilty)

        thread = threading.Thread(target=write, name="give-back", daemon=True)
        thread.start()
        thread.join(LAST_WORDS)

    def _start(self) -> None:
        if not self._threads:
            for target in (self._renew_forever, self._watch_forever):
                thread = threading.Thread(target=target, name=target.__name__.strip("_"), daemon=True)
                self._threads.append(thread)
                thread.start()

    def _now_held(self) -> list[Lease]:
        with self._changed:
            return list(self._held)

    def close(self) -> None:
        """End the threads; nothing is held any more, and the database will be closed."""
        self._closed.set()
        with self._changed:
            self._changed.notify_all()
        for thread in self._threads:
            thread.join(LAST_WORDS)

    def _await_work(self) -> bool:
        """Wait until something is held; False: never again."""
        with self._changed:
            while not self._held and not self._closed.is_set():
                self._changed.wait()
            return not self._closed.is_set()

    def _renew_forever(self) -> None:
        beat = self.seconds / BEATS
        while self._await_work():
            self._closed.wait(beat)  # first: most work is done before its lease needs to be renewed
            if not (held := self._now_held()):
                continue
            try:
                self.ledger.renew(held, self.seconds)
            except DatabaseError as error:
                self.missed()
                log.warning("leases were not renewed", reason=str(error))

    def _watch_forever(self) -> None:
        tick = min(TICK, self.seconds / BEATS)
        while self._await_work():
            self._closed.wait(tick)
            self._watch()

    def _watch(self) -> None:
        now = time.monotonic()
        late = {lease for lease in self._now_held() if lease.ends is not None and now > lease.ends}
        if late:
            log.error("work is over its limit: the process ends", jobs=[lease.work_id for lease in late])
            self.give_back(late.__contains__)
            os._exit(OVERTIME)
        if self.memory is not None and (used := resident()) > self.memory:
            log.error("the process needs too much memory and ends", megabytes=used // 1_000_000)
            self.give_back(lambda _: True)
            os._exit(OVERWEIGHT)


def resident() -> int:
    """Bytes of memory that this process has now; where the system does not tell, the most it ever had."""
    if sys.platform == "linux":
        with open("/proc/self/statm", "rb") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGESIZE")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
