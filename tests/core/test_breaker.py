"""Breakers against a model of them, written anew from the promise: half of at least 10 calls in 60 s."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from tests.schema import tables
from tests.services import Backend
from tldr_highlight.api.metrics import Metrics
from tldr_highlight.core.breaker import Breaker, Breakers, Rules
from tldr_highlight.core.db import Database
from tldr_highlight.errors import BreakerError, SourceError, SourceNotFoundError

BEGIN = datetime(2026, 3, 1, tzinfo=UTC)
RULES = Rules(slow=5.0, pause=30.0, probe=20.0)
OUTCOMES = ("good", "answer", "failed", "slow", "interrupted")
COUNTS = {"good": True, "answer": True, "failed": False, "slow": False, "interrupted": None}


@dataclass
class Time:
    """Both clocks; moved by hand."""

    seconds: float = 0.0

    def clock(self) -> datetime:
        return BEGIN + timedelta(seconds=self.seconds)

    def timer(self) -> float:
        return self.seconds


@pytest.fixture
def db(backend: Backend) -> Iterator[Database]:
    made = Database(backend.database(tables))
    yield made
    made.close()


def make(db: Database, time: Time) -> Breakers:
    return Breakers(db, clock=time.clock, timer=time.timer)


class InterruptedCallError(BaseException):
    pass


@dataclass
class Call:
    """A call that is under way, which the test ends when it likes."""

    breakers: Breakers
    name: str
    probe: int | None = None
    uneasy: bool = False
    started: float = 0.0

    def begin(self) -> None:
        self._block = self.breakers.call(self.name, RULES)
        self._block.__enter__()

    def end(self, outcome: str, time: Time) -> None:
        errors: dict[str, BaseException] = {
            "failed": SourceError("away"),
            "answer": SourceNotFoundError("none"),
            "interrupted": InterruptedCallError(),
        }
        if outcome == "slow":
            time.seconds += RULES.slow + 1
        error = errors.get(outcome)
        swallowed = self._block.__exit__(type(error) if error else None, error, None)
        assert not swallowed


def once(breakers: Breakers, time: Time, outcome: str) -> bool:
    """One whole call: whether it was let through."""
    call = Call(breakers, "it")
    try:
        call.begin()
    except BreakerError:
        return False
    call.end(outcome, time)
    return True


# --- the promise, for one process ----------------------------------------------------------------------


@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    calls=st.lists(
        st.tuples(st.integers(0, 7), st.sampled_from(["good", "good", "failed", "slow"])),
        min_size=10,
        max_size=60,
    )
)
def test_it_opens_exactly_when_half_of_ten_calls_failed_in_a_minute(
    db: Database, calls: list[tuple[int, str]]
) -> None:
    with db.begin() as session:
        session.query(Breaker).delete()
    time = Time()
    breakers = make(db, time)
    seen: list[tuple[float, bool]] = []
    for pause, outcome in calls:
        time.seconds += pause
        assert once(breakers, time, outcome)
        seen.append((time.seconds, outcome != "good"))
        recent = [bad for at, bad in seen if time.seconds - at < 60]
        opens = len(recent) >= 10 and 2 * sum(recent) >= len(recent)
        assert once(breakers, time, "interrupted") is not opens
        if opens:
            return


# --- several processes, and calls that overlap ---------------------------------------------------------


@dataclass
class Model:
    """What a breaker should do; lists of moments instead of counts by second."""

    state: str = "closed"
    told: list[tuple[float, bool]] = field(default_factory=list)
    kept: dict[int, list[float]] = field(default_factory=lambda: {0: [], 1: [], 2: []})
    until: float = 0.0
    probes: int = 0

    def begin(self, at: float) -> tuple[bool, int | None, bool]:
        """Let through?, as which probe, with failures in sight?"""
        uneasy = any(bad for moment, bad in self.told if at - moment < 60)
        if self.state == "closed":
            return True, None, uneasy
        if at < self.until:
            return False, None, uneasy
        self.state, self.until, self.probes = "half_open", at + RULES.probe, self.probes + 1
        return True, self.probes, uneasy

    def end(self, process: int, probe: int | None, uneasy: bool, good: bool | None, at: float) -> None:
        if probe is not None:
            self.end_probe(probe, good, at)
        elif good and not uneasy:
            self.kept[process].append(at)
        elif good is not None:
            kept, self.kept[process] = self.kept[process], []
            if self.state == "closed":
                self.told += [(moment, False) for moment in kept] + [(at, not good)]
                recent = [bad for moment, bad in self.told if at - moment < 60]
                if len(recent) >= 10 and 2 * sum(recent) >= len(recent):
                    self.state, self.until = "open", at + RULES.pause

    def end_probe(self, probe: int, good: bool | None, at: float) -> None:
        if self.state != "half_open" or probe != self.probes:
            return
        if good:
            self.state, self.told = "closed", []
        else:
            self.state, self.until = "open", at + (0 if good is None else RULES.pause)


def machine(db: Database) -> type[RuleBasedStateMachine]:
    numbers = iter(range(1_000_000))

    class Machine(RuleBasedStateMachine):
        @initialize()
        def start(self) -> None:
            self.name = f"service {next(numbers)}"
            self.time = Time()
            self.model = Model()
            self.processes = [make(db, self.time) for _ in range(3)]
            self.running: list[tuple[int, Call]] = []

        @rule(process=st.integers(0, 2))
        def begin(self, process: int) -> None:
            call = Call(self.processes[process], self.name)
            through, call.probe, call.uneasy = self.model.begin(self.time.seconds)
            if not through:
                with pytest.raises(BreakerError) as refused:
                    call.begin()
                assert refused.value.retry_after == pytest.approx(self.model.until - self.time.seconds)
                return
            call.begin()
            call.started = self.time.seconds
            self.running.append((process, call))

        @rule(which=st.integers(0, 1_000), outcome=st.sampled_from(OUTCOMES))
        def end(self, which: int, outcome: str) -> None:
            if not self.running:
                return
            process, call = self.running.pop(which % len(self.running))
            call.end(outcome, self.time)
            good = COUNTS[outcome]
            if good and self.time.seconds - call.started > RULES.slow:
                good = False
            self.model.end(process, call.probe, call.uneasy, good, self.time.seconds)

        @rule(process=st.integers(0, 2), outcome=st.sampled_from(OUTCOMES), times=st.integers(1, 6))
        def some(self, process: int, outcome: str, times: int) -> None:
            for _ in range(times):
                before = len(self.running)
                self.begin(process)
                if len(self.running) > before:
                    self.end(len(self.running) - 1, outcome)

        @rule(seconds=st.sampled_from([1, 1, 3, 10, 19, 30, 61]))
        def wait(self, seconds: int) -> None:
            self.time.seconds += seconds

        def teardown(self) -> None:
            for _, call in getattr(self, "running", ()):
                call.end("interrupted", self.time)

        @invariant()
        def same_state(self) -> None:
            if hasattr(self, "name"):
                with db.read() as session:
                    row = session.get(Breaker, self.name)
                    assert (row.state if row else "closed") == self.model.state

    return Machine


def test_three_processes_do_as_the_model_does(db: Database) -> None:
    few = settings(max_examples=15, stateful_step_count=40)
    run_state_machine_as_test(machine(db), settings=few)


# --- one by one ----------------------------------------------------------------------------------------


def test_nothing_is_written_while_all_goes_well(db: Database) -> None:
    time = Time()
    breakers = make(db, time)
    for _ in range(50):
        assert once(breakers, time, "good")
    with db.read() as session:
        assert session.get(Breaker, "it") is None


def test_what_was_good_before_counts_once_something_fails(db: Database) -> None:
    time = Time()
    breakers = make(db, time)
    for outcome in ["good"] * 12 + ["failed"] * 11:
        assert once(breakers, time, outcome)
    assert once(breakers, time, "failed")  # 12 of 24: this one opens it
    assert not once(breakers, time, "good")


def test_another_process_sees_it_open_and_one_probe_closes_it(db: Database) -> None:
    time = Time()
    here, there = make(db, time), make(db, time)
    for _ in range(10):
        assert once(here, time, "failed")
    assert not once(there, time, "good")
    time.seconds += RULES.pause
    probe = Call(there, "it")
    probe.begin()
    assert not once(here, time, "good")
    probe.end("good", time)
    assert once(here, time, "good")
    with db.read() as session:
        row = session.get_one(Breaker, "it")
        assert (row.openings, row.error_code) == (1, "source_unavailable")


def test_a_probe_that_took_too_long_decides_nothing_any_more(db: Database) -> None:
    time = Time()
    breakers = make(db, time)
    for _ in range(10):
        assert once(breakers, time, "failed")
    time.seconds += RULES.pause
    late, next_one = Call(breakers, "it"), Call(breakers, "it")
    late.begin()
    time.seconds += RULES.probe
    next_one.begin()
    late.end("failed", time)
    next_one.end("good", time)
    assert once(breakers, time, "good")


def test_metrics_tell_its_state_and_how_often_it_opened(db: Database) -> None:
    time = Time()
    breakers = make(db, time)
    for _ in range(10):
        assert once(breakers, time, "failed")
    text = Metrics(db).text().decode()
    assert 'tldr_breaker_state{service="it",state="open"} 1.0' in text
    assert 'tldr_breaker_state{service="it",state="closed"} 0.0' in text
    assert 'tldr_breaker_openings_total{service="it"} 1.0' in text


def test_no_failure_is_lost_where_many_fail_at_once(db: Database) -> None:
    breakers = Breakers(db)

    def fail(_: int) -> None:
        with pytest.raises(SourceError), breakers.call("it"):
            raise SourceError("away")

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(fail, range(9)))
    with db.read() as session:
        row = session.get_one(Breaker, "it")
        assert row.state == "closed"
        assert sum(failures for _, failures in row.window.values()) == 9
