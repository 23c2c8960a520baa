"""Circuit breakers: a service that fails is left alone for a while, by all workers at once.

    breakers = Breakers(db)                        # one for a process: `runtime.breakers`
    with breakers.call("vidfly", SLOW):            # BreakerError while it is open; not inside a transaction
        ...

A breaker opens when, of at least 10 calls in 60 s, half failed or were slow. After a pause one call is let
through as a probe, the breaker being half open: it closes when that goes well, else the pause begins again.

The state is a row, so that workers on all hosts share it. A call reads it, in 25 µs on SQLite, and nothing is
written while all goes well: a process remembers its good calls, and tells of them once there is a failure in
the window. What processes remember that make no call after a failure is not heard of: with many of them
idle a breaker opens a little early.

A call failed when it raised an error whose fate is transient, or took longer than its rules say. Every other
error of ours is an answer, and so a good call. What says nothing of the service (an interruption, a mistake
of ours) does not count.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

from sqlalchemy import select
from sqlalchemy.orm import Mapped, Session, mapped_column

from tldr_highlight.core.db import Base, Database, insert, now
from tldr_highlight.core.telemetry import logger
from tldr_highlight.errors import BreakerError, Fate, TldrError

log = logger(__name__)

State = Literal["closed", "open", "half_open"]


@dataclass(frozen=True, slots=True)
class Rules:
    """When a breaker opens, and for how long."""

    share: float = 0.5  # of the calls, that fail
    calls: int = 10  # at least
    window: int = 60  # seconds that are looked at
    slow: float = 30.0  # seconds; a call that takes longer counts as failed
    pause: float = 30.0  # seconds before a probe
    probe: float = 60.0  # seconds that a probe may take before another is let through


DEFAULTS = Rules()


class Breaker(Base):
    """What is known of a service. The host's clock is good enough: pauses are longer than clocks differ."""

    __tablename__ = "breakers"

    id: Mapped[str] = mapped_column(primary_key=True)  # the service's name
    state: Mapped[str] = mapped_column(default="closed")
    window: Mapped[dict[str, Any]] = mapped_column(default=dict)  # second -> calls in it, failed ones
    until: Mapped[datetime | None]  # open: to the next probe; half open: to the end of the probe's time
    probes: Mapped[int] = mapped_column(default=0)  # the number of the latest
    openings: Mapped[int] = mapped_column(default=0)
    error_code: Mapped[str | None]  # of the latest failure that was told
    changed_at: Mapped[datetime] = mapped_column(default=now)


@dataclass(frozen=True, slots=True)
class _Pass:
    """What a call was let through as."""

    probe: int | None = None  # its number
    uneasy: bool = False  # there were failures in the window


class Breakers:
    """All breakers, as one process sees them. For any number of threads."""

    def __init__(
        self,
        db: Database,
        *,
        clock: Callable[[], datetime] = now,
        timer: Callable[[], float] = time.monotonic,
    ) -> None:
        self._db = db
        self._clock = clock
        self._timer = timer
        self._lock = threading.Lock()
        self._good: dict[str, dict[int, int]] = {}  # name -> second -> good calls that nobody was told of

    @contextlib.contextmanager
    def call(self, name: str, rules: Rules = DEFAULTS) -> Generator[None]:
        """Run the block as a call of the service `name`.

        Raises:
            BreakerError: the service is being left alone; says for how long.
            DatabaseError: the database does not answer.
        """
        passed = self._admitted(name, rules)
        began = self._timer()
        try:
            yield
        except BaseException as error:
            self._ended(name, rules, passed, _is_answer(error), began, error)
            raise
        self._ended(name, rules, passed, True, began, None)

    def _admitted(self, name: str, rules: Rules) -> _Pass:
        known = select(Breaker.state, Breaker.until, Breaker.window).where(Breaker.id == name)
        with self._db.read() as session:
            row = session.execute(known).one_or_none()
        at = self._clock()
        if row is None:
            return _Pass()
        state, until, window = row
        if state == "closed":
            return _Pass(uneasy=_counted(window, at, rules)[1] > 0)
        _refuse_before(name, until, at)
        return self._as_probe(name, rules)

    def _as_probe(self, name: str, rules: Rules) -> _Pass:
        with self._db.begin() as session:
            row = _locked(session, name)
            at = self._clock()
            if row.state == "closed":
                return _Pass(uneasy=True)
            _refuse_before(name, row.until, at)
            self._change(row, "half_open", at + timedelta(seconds=rules.probe))
            row.probes += 1
            return _Pass(probe=row.probes)

    def _ended(
        self,
        name: str,
        rules: Rules,
        passed: _Pass,
        good: bool | None,
        began: float,
        error: BaseException | None,
    ) -> None:
        """Take note of how a call went: `good`, not, or None: it says nothing of the service."""
        if good and self._timer() - began > rules.slow:
            good = False
        code = error.code if isinstance(error, TldrError) else None if error is None else "internal"
        if passed.probe is not None:
            self._probed(name, rules, passed.probe, good, code)
        elif good and not passed.uneasy:
            self._remember(name, rules)
        elif good is not None:
            self._tell(name, rules, good, code)

    def _probed(self, name: str, rules: Rules, number: int, good: bool | None, code: str | None) -> None:
        with self._db.begin() as session:
            row = _locked(session, name)
            if (row.state, row.probes) != ("half_open", number):
                return  # it took so long that another was let through
            at = self._clock()
            if good:
                row.window = {}
                self._change(row, "closed", None)
            elif good is None:
                self._change(row, "open", at)  # the next call is a probe
            else:
                row.error_code = code or "slow"
                self._change(row, "open", at + timedelta(seconds=rules.pause))

    def _remember(self, name: str, rules: Rules) -> None:
        second = _second(self._clock())
        with self._lock:
            good = self._good.setdefault(name, {})
            good[second] = good.get(second, 0) + 1
            for old in [s for s in good if s <= second - rules.window]:
                del good[old]

    def _tell(self, name: str, rules: Rules, good: bool, code: str | None) -> None:
        """Add a call to the window, and what is remembered; open the breaker where that is enough."""
        with self._lock:
            remembered = self._good.pop(name, {})
        with self._db.begin() as session:
            row = _locked(session, name)
            if row.state != "closed":
                return  # these calls began before it opened
            at = self._clock()
            window = {second: (calls, 0) for second, calls in remembered.items()}
            window = _added(_added(row.window, window), {_second(at): (1, 0 if good else 1)})
            first = _second(at) - rules.window
            row.window = {str(second): counts for second, counts in window.items() if second > first}
            if not good:
                row.error_code = code or "slow"
            calls, failures = _counted(row.window, at, rules)
            if calls >= rules.calls and failures >= rules.share * calls:
                row.openings += 1
                self._change(row, "open", at + timedelta(seconds=rules.pause))
                log.warning(
                    "a breaker opened", breaker=name, calls=calls, failures=failures, reason=row.error_code
                )

    def _change(self, row: Breaker, state: State, until: datetime | None) -> None:
        row.state, row.until, row.changed_at = state, until, self._clock()


def _is_answer(error: BaseException) -> bool | None:
    """Whether a service that made us raise this is well; None: that says nothing of it."""
    return error.fate is not Fate.TRANSIENT if isinstance(error, TldrError) else None


def _refuse_before(name: str, until: datetime | None, at: datetime) -> None:
    if until is not None and at < until:
        seconds = (until - at).total_seconds()
        raise BreakerError(f"{name} failed too often and is left alone for a while", retry_after=seconds)


def _locked(session: Session, name: str) -> Breaker:
    """The row, which is made when missing; nobody else changes it until the transaction ends."""
    session.execute(insert(session, Breaker).values(id=name).on_conflict_do_nothing())
    return session.scalars(select(Breaker).where(Breaker.id == name).with_for_update()).one()


def _second(at: datetime) -> int:
    return int(at.timestamp())


def _counted(window: Mapping[str, Any], at: datetime, rules: Rules) -> tuple[int, int]:
    """Calls and failures in the window that ends now."""
    first = _second(at) - rules.window
    counts = [counts for second, counts in window.items() if int(second) > first]
    return sum(calls for calls, _ in counts), sum(failures for _, failures in counts)


def _added(window: Mapping[Any, Any], more: Mapping[int, tuple[int, int]]) -> dict[int, tuple[int, int]]:
    total = {int(second): (calls, failures) for second, (calls, failures) in window.items()}
    for second, (calls, failures) in more.items():
        before = total.get(second, (0, 0))
        total[second] = (before[0] + calls, before[1] + failures)
    return total
