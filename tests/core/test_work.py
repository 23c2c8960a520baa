"""Work rows on both databases: claimed once, fenced, retried by fate, told once."""

from __future__ import annotations

import contextlib
import io
import math
import os
import threading
import time
from collections import Counter
from collections.abc import Callable, Generator, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select, update
from sqlalchemy.orm import Session

from tests.schema import tables
from tests.services import Backend
from tldr_highlight.core import sweep, work
from tldr_highlight.core.db import Database, now
from tldr_highlight.core.sweep import WORK, sweep_of
from tldr_highlight.core.telemetry import current_trace, new_trace, trace_id, tracing
from tldr_highlight.core.work import (
    CancelledError,
    Job,
    Kind,
    LaterError,
    LeaseLostError,
    StoppingError,
    Work,
    enqueue,
    kinds_of,
    run_one,
    verdict,
)
from tldr_highlight.errors import (
    ConflictError,
    DatabaseError,
    DiskFullError,
    NotFoundError,
    NotMediaError,
    SourceError,
    StorageFullError,
    TldrError,
)
from tldr_highlight.runtime import Runtime, database_url, opened
from tldr_highlight.settings import Settings

Open = Callable[..., Runtime]


@pytest.fixture
def open_shop(backend: Backend, tmp_path: Path) -> Iterator[Open]:
    """Opens runtimes on one new database: `open_shop(Kind(...), lease=1.0)`."""
    url = backend.database(tables)
    with contextlib.ExitStack() as stack:

        def shop(*kinds: Kind, lease: float = 30.0) -> Runtime:
            settings = Settings(data_dir=tmp_path, database_url=url, worker_lease_seconds=lease)
            return stack.enter_context(opened(settings, kinds_of(*kinds)))

        yield shop


def nothing(job: Job[Runtime]) -> None:
    pass


def raising(*errors: BaseException | None) -> Callable[[Job[Any]], None]:
    """A kind's function that raises these, one after the other."""
    left = list(errors)

    def run(job: Job[Any]) -> None:
        if (error := left.pop(0)) is not None:
            raise error

    return run


class Told:
    """An `on_end` that remembers what it was told, and by which committed transactions."""

    def __init__(self, *raises: Exception | None) -> None:
        self.ends: list[tuple[str, str | None]] = []
        self._raises = list(raises)

    def __call__(self, session: Session, runtime: Runtime, row: Work, error: TldrError | None) -> None:
        self.ends.append((row.state, error.code if error else None))
        if self._raises and (error_ := self._raises.pop(0)) is not None:
            raise error_


def add(shop: Runtime, kind: str = "chore", **how: Any) -> str:
    with shop.db.begin() as session:
        return enqueue(session, kind, **how).id


def row(shop: Runtime, id: str) -> Work:
    with shop.db.read() as session:
        return work.get(session, id)


def change(shop: Runtime, id: str, **values: Any) -> None:
    with shop.db.begin() as session:
        session.execute(update(Work).where(Work.id == id).values(values))


def lapse(shop: Runtime, id: str) -> None:
    """As if the worker had been silent for longer than a lease."""
    change(shop, id, lease_until=now() - timedelta(seconds=1))


def make_due(shop: Runtime, id: str) -> None:
    change(shop, id, run_at=now() - timedelta(seconds=1))


@contextlib.contextmanager
def running(shop: Runtime, owner: str = "a", **how: Any) -> Generator[threading.Thread]:
    """`run_one` in a thread; joined at the end."""
    thread = threading.Thread(target=lambda: run_one(shop, owner=owner, **how))
    thread.start()
    yield thread
    thread.join(20)
    assert not thread.is_alive()


# --- handing in ----------------------------------------------------------------------------------------


def test_rings_after_the_commit_and_only_for_what_is_due(open_shop: Open) -> None:
    shop = open_shop()
    rung: list[tuple[str, str]] = []
    shop.ring = lambda id, priority: rung.append((id, priority))
    with shop.db.begin() as session:
        due = enqueue(session, "chore", priority="high")
        enqueue(session, "chore", run_at=now() + timedelta(hours=1))
        assert rung == []
    assert rung == [(due.id, "high")]


def test_what_is_rolled_back_was_never_handed_in(open_shop: Open) -> None:
    shop = open_shop()
    rung: list[str] = []
    shop.ring = lambda id, priority: rung.append(id)
    with contextlib.suppress(ZeroDivisionError), shop.db.begin() as session:
        enqueue(session, "chore", key="1")
        raise ZeroDivisionError
    with shop.db.read() as session:
        assert session.scalars(select(Work)).all() == []
    assert rung == []


def test_of_one_kind_and_key_there_is_one_row(open_shop: Open) -> None:
    shop = open_shop(Kind("chore", nothing))
    first = add(shop, key="k", payload={"n": 1})
    assert add(shop, key="k", payload={"n": 2}) == first
    assert run_one(shop, owner="a")
    assert add(shop, key="k") == first
    assert row(shop, first).state == "done"
    assert add(shop, key=None) != add(shop, key=None)
    assert add(shop, "other", key="k") != first


def test_the_same_key_from_many_threads_at_once(open_shop: Open) -> None:
    shop = open_shop()
    found: list[str] = []
    threads = [threading.Thread(target=lambda: found.append(add(shop, key="k"))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8
    assert len(set(found)) == 1


# --- claiming ------------------------------------------------------------------------------------------


JOBS = 800 if os.environ.get("TLDR_LONG_TESTS") else 200


def test_16_threads_run_each_job_once(open_shop: Open) -> None:
    runs: Counter[str | None] = Counter()

    def count(job: Job[Runtime]) -> None:
        runs[job.object_id] += 1

    shop = open_shop(Kind("chore", count))
    with shop.db.begin() as session:
        for number in range(JOBS):
            enqueue(session, "chore", object_id=str(number))

    def work_off(owner: str) -> None:
        while run_one(shop, owner=owner):
            pass

    threads = [threading.Thread(target=work_off, args=(f"t{n}",)) for n in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert runs == {str(number): 1 for number in range(JOBS)}
    with shop.db.read() as session:
        assert Counter(session.execute(select(Work.state, Work.fence)).all()) == {("done", 1): JOBS}


def test_priority_is_a_head_start_and_nobody_starves(open_shop: Open) -> None:
    order: list[str | None] = []
    shop = open_shop(Kind("chore", lambda job: order.append(job.object_id)))
    old, new = now() - timedelta(minutes=15), now() - timedelta(seconds=1)
    for name, run_at in (("low", new), ("normal", new), ("high", new), ("low, long ago", old)):
        add(shop, object_id=name, priority=name.split(",")[0], run_at=run_at)
    while run_one(shop, owner="a"):
        pass
    assert order == ["low, long ago", "high", "normal", "low"]


def test_takes_only_what_is_asked_for(open_shop: Open) -> None:
    shop = open_shop(Kind("chore", nothing))
    stranger = add(shop, "of a newer version")
    later = add(shop, run_at=now() + timedelta(hours=1))
    low, high = add(shop, priority="low"), add(shop, priority="high")
    assert not run_one(shop, owner="a", id=later)
    assert not run_one(shop, owner="a", suspects=True)
    assert run_one(shop, owner="a", id=low)
    assert not run_one(shop, owner="a", priorities=["low", "normal"])
    assert [found[0] for found in work.due(shop)] == [high]
    assert run_one(shop, owner="a")
    assert not run_one(shop, owner="a")
    assert {id for id in (stranger, later, low, high) if row(shop, id).state == "done"} == {low, high}


@pytest.mark.parametrize("backend", ["postgres"], indirect=True)
def test_no_job_waits_for_a_row_that_somebody_else_has_locked(open_shop: Open) -> None:
    shop = open_shop(Kind("chore", nothing))
    first, second = add(shop), add(shop)
    with shop.db.begin() as session:
        work.get(session, first, lock=True)
        assert run_one(shop, owner="a")
    assert [row(shop, id).state for id in (first, second)] == ["waiting", "done"]


# --- leases --------------------------------------------------------------------------------------------


def test_a_lease_is_renewed_for_as_long_as_the_job_runs(open_shop: Open) -> None:
    def long(job: Job[Runtime]) -> None:
        time.sleep(4)

    shop = open_shop(Kind("chore", long), lease=2.0)
    id = add(shop)
    with running(shop) as thread:
        while thread.is_alive():
            thread.join(0.1)  # whoever claims without a pause keeps the renewing thread from writing
            assert not run_one(shop, owner="b", suspects=None)
    assert (row(shop, id).state, row(shop, id).fence, row(shop, id).crashes) == ("done", 1, 0)


@pytest.mark.parametrize("backend", ["postgres"], indirect=True)
def test_a_long_step_of_one_job_does_not_cost_another_its_lease(open_shop: Open) -> None:
    def long(job: Job[Runtime]) -> None:
        if job.object_id == "locks":
            with job.step():
                time.sleep(3)
        else:
            time.sleep(3)

    shop = open_shop(Kind("chore", long), lease=1.5)
    add(shop, object_id="locks")
    other = add(shop, object_id="does not")
    with running(shop), running(shop) as thread:
        while thread.is_alive():
            found = row(shop, other)
            assert found.lease_until is None or found.lease_until > now()
            time.sleep(0.1)


class Paused:
    """A job that waits between its steps until told to go on."""

    def __init__(self) -> None:
        self.inside = threading.Event()
        self.go_on = threading.Event()
        self.raised: list[type[BaseException]] = []

    def __call__(self, job: Job[Runtime]) -> None:
        self.inside.set()
        assert self.go_on.wait(20)
        try:
            with job.step() as session:
                job.save(session, progress={"written by": job.fence})
        except LeaseLostError:
            self.raised.append(LeaseLostError)
            raise


def test_who_lost_the_lease_can_write_nothing(open_shop: Open) -> None:
    paused = Paused()
    shop = open_shop(Kind("chore", paused))
    other = open_shop(Kind("chore", nothing))
    id = add(shop)
    with running(shop):
        assert paused.inside.wait(20)
        lapse(shop, id)
        assert not run_one(other, owner="b"), "what may have killed a process runs apart"
        assert run_one(other, owner="b", suspects=True)
        paused.go_on.set()
    assert paused.raised == [LeaseLostError]
    found = row(shop, id)
    assert (found.state, found.progress, found.fence, found.crashes) == ("done", {}, 2, 1)


def test_who_lost_the_lease_does_not_store_an_end_either(open_shop: Open) -> None:
    told = Told()
    paused = threading.Event()

    def fails(job: Job[Runtime]) -> None:
        paused.wait(20)
        raise NotMediaError("no media")

    shop = open_shop(Kind("chore", fails, on_end=told))
    id = add(shop)
    with running(shop):
        while row(shop, id).state != "running":
            pass
        with shop.db.begin() as session:
            assert work.void_leases(session, "a") == 1
        paused.set()
    assert (row(shop, id).state, row(shop, id).crashes, told.ends) == ("waiting", 1, [])


def test_losing_the_lease_is_heard_of(open_shop: Open) -> None:
    heard: list[str] = []

    def asks(job: Job[Runtime]) -> None:
        try:
            while True:
                job.ask()
                time.sleep(0.01)
        except LeaseLostError:
            heard.append(job.id)
            raise

    shop = open_shop(Kind("chore", asks), lease=0.5)
    id = add(shop)
    with running(shop):
        while row(shop, id).state != "running":
            pass
        with shop.db.begin() as session:
            work.void_leases(session, "a")
    assert heard == [id]


def test_leases_of_others_are_not_voided(open_shop: Open) -> None:
    shop = open_shop(Kind("chore", nothing))
    owners = {add(shop): owner for owner in ("a_b/1", "a_b/2", "axb/1", "A_B/1", "a_b2/1")}
    for id, owner in owners.items():
        change(shop, id, state="running", owner=owner, lease_until=now() + timedelta(hours=1))
    with shop.db.begin() as session:
        assert work.void_leases(session, "a_b/") == 2
    assert {owner for id, owner in owners.items() if row(shop, id).state == "waiting"} == {"a_b/1", "a_b/2"}


def test_three_crashes_are_poison(open_shop: Open) -> None:
    told = Told()
    runs: list[int] = []

    def dies(job: Job[Runtime]) -> None:
        runs.append(job.crashes)
        with shop.db.begin() as session:  # as its parent does, once the process is dead
            work.void_leases(session, "a")
        raise LeaseLostError

    shop = open_shop(Kind("chore", dies, on_end=told))
    id = add(shop)
    while run_one(shop, owner="a", suspects=None):
        pass
    assert runs == [0, 1, 2]
    found = row(shop, id)
    assert (found.state, found.error_code, found.crashes) == ("failed", "poison", 3)
    assert told.ends == [("failed", "poison")]


def test_after_an_outage_others_get_time_to_renew(open_shop: Open) -> None:
    shop = open_shop(Kind("chore", nothing), lease=0.5)
    id = add(shop)
    change(shop, id, state="running", owner="b", lease_until=now() - timedelta(seconds=1))
    shop.leases.missed()
    assert not run_one(shop, owner="a", suspects=None)
    time.sleep(0.6)
    assert run_one(shop, owner="a", suspects=None)


# --- ends ----------------------------------------------------------------------------------------------


class UpsetError(Exception):
    """Nobody's error."""


CHORE = Kind("chore", nothing)
DELAYS = [  # what was raised, attempts and waits before -> state, least and most seconds, attempts, waits
    (None, 0, 0, "done", 0, 0, 0, 0),
    (CancelledError(), 0, 0, "cancelled", 0, 0, 0, 0),
    (StoppingError(), 2, 0, "waiting", 0, 0, 0, 0),
    (SourceError("x"), 0, 0, "waiting", 4, 6, 1, 0),
    (SourceError("x"), 1, 0, "waiting", 16, 24, 1, 0),
    (SourceError("x"), 2, 0, "failed", 0, 0, 1, 0),
    (SourceError("x", retry_after=100), 0, 0, "waiting", 100, 120, 1, 0),
    (SourceError("x", retry_after=1e9), 0, 0, "waiting", 86_400, 86_400 * 1.2, 1, 0),
    (NotMediaError("x"), 0, 0, "failed", 0, 0, 1, 0),
    (DiskFullError("x"), 2, 0, "waiting", 24, 36, 0, 1),
    (DiskFullError("x"), 0, 2, "waiting", 96, 144, 0, 1),
    (DiskFullError("x"), 0, 1000, "waiting", 720, 1080, 0, 1),
    (DatabaseError("x", retry_after=2), 2, 0, "waiting", 1.6, 2.4, 0, 0),
    (UpsetError("x"), 0, 0, "waiting", 4, 6, 1, 0),
    (UpsetError("x"), 2, 0, "failed", 0, 0, 1, 0),
]


@pytest.mark.parametrize(("raised", "attempts", "waits", "state", "least", "most", "more", "longer"), DELAYS)
def test_what_is_raised_decides(
    raised: BaseException | None, attempts: int, waits: int, state: str, least: float, most: float, more: int,
    longer: int,
) -> None:  # fmt: skip
    ends = [verdict(CHORE, attempts, waits, raised) for _ in range(200)]
    assert {(e.state, e.attempts, e.waits) for e in ends} == {(state, more, longer)}
    delays = [e.delay for e in ends]
    assert least <= min(delays) <= max(delays) <= most
    assert most == least or max(delays) - min(delays) > 0.5 * (most - least), "no jitter"


def test_transient_failures_use_up_the_tries(open_shop: Open) -> None:
    told = Told()
    shop = open_shop(Kind("chore", raising(*[SourceError("no answer")] * 3), on_end=told))
    id = add(shop)
    for tries in (1, 2):
        assert run_one(shop, owner="a")
        found = row(shop, id)
        assert (found.state, found.attempts, found.error_code) == ("waiting", tries, "source_unavailable")
        assert (found.owner, found.lease_until, found.ended_at, told.ends) == (None, None, None, [])
        assert not run_one(shop, owner="a"), "it waits"
        make_due(shop, id)
    assert run_one(shop, owner="a")
    found = row(shop, id)
    assert (found.state, found.error_code, found.error_message) == (
        "failed",
        "source_unavailable",
        "no answer",
    )
    assert found.ended_at
    assert told.ends == [("failed", "source_unavailable")]
    make_due(shop, id)
    assert not run_one(shop, owner="a", suspects=None)


def test_waiting_for_a_resource_uses_up_nothing(open_shop: Open) -> None:
    shop = open_shop(Kind("chore", raising(*[DiskFullError("full")] * 5, None)))
    id = add(shop)
    for waits in range(1, 6):
        assert run_one(shop, owner="a")
        found = row(shop, id)
        assert (found.state, found.attempts, found.waits, found.error_code) == (
            "waiting",
            0,
            waits,
            "disk_full",
        )
        make_due(shop, id)
    assert run_one(shop, owner="a")
    assert (row(shop, id).state, row(shop, id).error_code) == ("done", None)


def test_what_nobody_foresaw_tells_nothing_to_customers(open_shop: Open, logged: io.StringIO) -> None:
    shop = open_shop(Kind("chore", raising(UpsetError("/secret/path")), tries=1))
    id = add(shop)
    run_one(shop, owner="a")
    found = row(shop, id)
    assert (found.state, found.error_code) == ("failed", "internal")
    assert "secret" not in (found.error_message or "")
    assert "/secret/path" in logged.getvalue(), "the log has no traceback"


def test_the_end_and_what_is_told_commit_together(open_shop: Open) -> None:
    def on_end(session: Session, runtime: Runtime, row: Work, error: TldrError | None) -> None:
        enqueue(session, "news", key=row.id)
        if len(told) < 1:
            told.append(row.state)
            raise UpsetError

    told: list[str] = []
    shop = open_shop(Kind("chore", nothing, on_end=on_end))
    id = add(shop)
    run_one(shop, owner="a")
    with shop.db.read() as session:
        assert session.scalars(select(Work).where(Work.kind == "news")).all() == []
    assert (row(shop, id).state, row(shop, id).error_code) == ("waiting", "internal")
    make_due(shop, id)
    run_one(shop, owner="a")
    with shop.db.read() as session:
        assert [n.key for n in session.scalars(select(Work).where(Work.kind == "news"))] == [id]
    assert row(shop, id).state == "done"


def test_an_end_that_cannot_be_told_is_stored_all_the_same(open_shop: Open) -> None:
    told = Told(UpsetError(), UpsetError(), UpsetError())
    shop = open_shop(Kind("chore", nothing, on_end=told, tries=1))
    id = add(shop)
    run_one(shop, owner="a")
    assert (row(shop, id).state, row(shop, id).error_code) == ("failed", "internal")
    assert told.ends == [("done", None), ("failed", "internal")]


class Absent(Database):
    """A database that is away for so many transactions."""

    away = 0

    @contextlib.contextmanager
    def begin(self) -> Generator[Session]:
        if self.away:
            self.away -= 1
            raise DatabaseError("away")
        with super().begin() as session:
            yield session


def test_an_end_is_stored_once_the_database_is_back(open_shop: Open) -> None:
    shop = open_shop()
    db = Absent(database_url(shop.settings))

    def leaves(job: Job[Runtime]) -> None:
        db.away = 2

    shop.db, shop.kinds = db, kinds_of(Kind("chore", leaves))
    id = add(shop)
    assert run_one(shop, owner="a")
    assert (row(shop, id).state, row(shop, id).attempts) == ("done", 0)
    assert not shop.leases.may_judge
    db.close()


def test_nothing_is_claimed_while_the_database_is_away(open_shop: Open) -> None:
    shop = open_shop(Kind("chore", nothing))
    shop.db = Absent(database_url(shop.settings))
    shop.db.away = 1
    with pytest.raises(DatabaseError):
        run_one(shop, owner="a")
    shop.db.close()


# --- stopping, cancelling, trying again ----------------------------------------------------------------


def test_stopping_keeps_the_checkpoint_and_costs_no_try(open_shop: Open) -> None:
    seen: list[dict[str, Any]] = []

    def steps(job: Job[Runtime]) -> None:
        seen.append(job.checkpoint)
        with job.step() as session:
            job.save(session, checkpoint={"part": len(seen)}, progress={"of": 2})
        assert job.checkpoint == {"part": len(seen)}
        if len(seen) == 1:
            shop.leases.stopping.set()
        job.ask()

    shop = open_shop(Kind("chore", steps))
    id = add(shop)
    run_one(shop, owner="a")
    found = row(shop, id)
    assert (found.state, found.attempts, found.crashes, found.owner) == ("waiting", 0, 0, None)
    assert (found.checkpoint, found.progress, found.error_code) == ({"part": 1}, {"of": 2}, None)
    shop.leases.stopping.clear()
    run_one(shop, owner="a")
    assert (seen, row(shop, id).state, row(shop, id).fence) == ([{}, {"part": 1}], "done", 2)


def test_a_step_that_fails_leaves_no_checkpoint(open_shop: Open) -> None:
    def fails(job: Job[Runtime]) -> None:
        with contextlib.suppress(UpsetError), job.step() as session:
            job.save(session, checkpoint={"part": 1})
            raise UpsetError
        assert job.checkpoint == {}
        with job.step() as session:
            job.save(session, checkpoint={"part": 2})

    shop = open_shop(Kind("chore", fails))
    id = add(shop)
    run_one(shop, owner="a")
    assert (row(shop, id).state, row(shop, id).checkpoint) == ("done", {"part": 2})


def test_getting_further_forgives_what_was_before(open_shop: Open) -> None:
    def advances(job: Job[Runtime]) -> None:
        with job.step() as session:
            job.save(session, checkpoint={"part": job.checkpoint.get("part", 0) + (1 if moves else 0)})
        raise SourceError("blip")

    moves = True
    shop = open_shop(Kind("chore", advances))
    id = add(shop)
    for _ in range(5):
        assert run_one(shop, owner="a")
        make_due(shop, id)
    assert (row(shop, id).state, row(shop, id).attempts, row(shop, id).checkpoint) == (
        "waiting",
        1,
        {"part": 5},
    )
    moves = False
    for _ in range(2):
        assert run_one(shop, owner="a")
        make_due(shop, id)
    assert row(shop, id).state == "failed"


def test_a_suspect_that_gets_further_goes_on_among_the_others(open_shop: Open) -> None:
    where: list[str] = []

    def steps(job: Job[Runtime]) -> None:
        where.append(owner)
        job.ask()
        with job.step() as session:
            job.save(session, checkpoint={"part": len(where)})
        job.ask()

    shop = open_shop(Kind("chore", steps))
    id = add(shop)
    change(shop, id, crashes=2)
    assert not run_one(shop, owner="ordinary")
    owner = "suspects"
    assert run_one(shop, owner=owner, suspects=True)
    assert (row(shop, id).state, row(shop, id).crashes) == ("waiting", 0)
    assert not run_one(shop, owner=owner, suspects=True)
    owner = "ordinary"
    assert run_one(shop, owner=owner)
    assert (row(shop, id).state, where) == ("done", ["suspects", "ordinary"])


def test_cancelling_what_waits_ends_it_at_once(open_shop: Open) -> None:
    told = Told()
    shop = open_shop(Kind("chore", raising(), on_end=told))
    id = add(shop)
    with shop.db.begin() as session:
        assert work.cancel(session, id).state == "cancelled"
    assert told.ends == [("cancelled", None)]
    assert not run_one(shop, owner="a")
    assert row(shop, id).ended_at


def test_cancelling_what_runs_is_heard_of(open_shop: Open) -> None:
    told = Told()
    inside = threading.Event()

    def asks(job: Job[Runtime]) -> None:
        inside.set()
        while True:
            job.ask()
            time.sleep(0.01)

    shop = open_shop(Kind("chore", asks, on_end=told), lease=0.5)
    id = add(shop)
    with running(shop):
        assert inside.wait(20)
        with shop.db.begin() as session:
            assert work.cancel(session, id).state == "running"
    assert (row(shop, id).state, told.ends) == ("cancelled", [("cancelled", None)])


def test_what_runs_is_over_at_once_where_that_is_asked_for(open_shop: Open) -> None:
    told = Told()
    inside, over, raised = threading.Event(), threading.Event(), list[BaseException]()

    def deaf(job: Job[Runtime]) -> None:
        inside.set()
        assert over.wait(20)
        try:
            with job.step():
                pass
        except LeaseLostError as error:
            raised.append(error)
            raise

    shop = open_shop(Kind("chore", deaf, on_end=told))
    id = add(shop)
    with running(shop):
        assert inside.wait(20)
        with shop.db.begin() as session:
            assert work.cancel(session, id, at_once=True).state == "cancelled"
        over.set()
    assert (row(shop, id).state, told.ends, len(raised)) == ("cancelled", [("cancelled", None)], 1)


def test_a_step_hears_of_being_cancelled_before_the_lease_is_renewed(open_shop: Open) -> None:
    def run(job: Job[Runtime]) -> None:
        with shop.db.begin() as session:
            work.cancel(session, job.id)
        job.ask()
        with job.step():
            pass
        job.ask()
        raise AssertionError

    shop = open_shop(Kind("chore", run))
    id = add(shop)
    run_one(shop, owner="a")
    assert row(shop, id).state == "cancelled"


def test_cancelling_what_died_since_ends_it_without_another_run(open_shop: Open) -> None:
    shop = open_shop(Kind("chore", raising()))
    id = add(shop)
    change(shop, id, state="running", owner="dead/1", lease_until=now())
    with shop.db.begin() as session:
        work.cancel(session, id)
    assert run_one(shop, owner="b", suspects=True)
    assert row(shop, id).state == "cancelled"


def test_what_has_ended_is_not_cancelled(open_shop: Open) -> None:
    shop = open_shop(Kind("chore", nothing))
    id = add(shop)
    run_one(shop, owner="a")
    with shop.db.begin() as session:
        assert work.cancel(session, id).state == "done"
        with pytest.raises(NotFoundError):
            work.cancel(session, "job_none")


def test_a_retry_goes_on_from_the_checkpoint_with_all_tries(open_shop: Open) -> None:
    shop = open_shop(Kind("chore", raising(NotMediaError("x"), SourceError("x"), None)))
    rung: list[str] = []
    id = add(shop)
    change(shop, id, checkpoint={"part": 7}, attempts=2, waits=3)
    run_one(shop, owner="a")
    assert row(shop, id).state == "failed"
    shop.ring = lambda id, priority: rung.append(id)
    with shop.db.begin() as session:
        work.retry(session, id)
    found = row(shop, id)
    assert (found.state, found.attempts, found.waits, found.ended_at) == ("waiting", 0, 0, None)
    assert found.checkpoint == {"part": 7}
    run_one(shop, owner="a")
    assert not run_one(shop, owner="a"), "it waits 5 s"
    with shop.db.begin() as session:
        work.retry(session, id)  # need not wait any more
    assert run_one(shop, owner="a")
    assert rung == [id, id]
    with shop.db.begin() as session, pytest.raises(ConflictError):
        work.retry(session, id)


def test_a_retry_can_be_held(open_shop: Open) -> None:
    shop = open_shop(Kind("chore", raising(NotMediaError("x"), None)))
    id = add(shop)
    run_one(shop, owner="a")
    with shop.db.begin() as session:
        assert work.retry(session, id, hold=True).state == "waiting"
    assert not run_one(shop, owner="a")
    with shop.db.begin() as session:
        work.release(session, id)
    assert run_one(shop, owner="a")
    assert row(shop, id).state == "done"


# --- periodic ------------------------------------------------------------------------------------------


def test_periodic_work_is_one_row_for_ever(open_shop: Open) -> None:
    run = raising(None, NotMediaError("x"), None)
    shop = open_shop(Kind("chore", run, every_seconds=1000))
    for _ in range(2):
        work.start_periodic(shop)
    (found,) = work.due(shop)
    for code in (None, "not_media", None):
        assert run_one(shop, owner="a")
        again = row(shop, found[0])
        assert (again.state, again.error_code, again.attempts, again.ended_at) == ("waiting", code, 0, None)
        assert 790 < (again.run_at - now()).total_seconds() < 1210
        make_due(shop, again.id)
    work.start_periodic(shop)
    assert len(work.due(shop)) == 1


# --- held, and later -----------------------------------------------------------------------------------


def test_held_work_waits_until_it_is_released(open_shop: Open) -> None:
    shop = open_shop(Kind("chore", nothing))
    rung: list[str] = []
    shop.ring = lambda id, priority: rung.append(id)
    held = add(shop, run_at=work.NEVER)
    younger = add(shop)
    assert rung == [younger]
    with shop.db.begin() as session:
        work.release(session, held)
        assert rung == [younger], "before the commit"
    assert rung == [younger, held]
    assert run_one(shop, owner="a")
    assert (row(shop, held).state, row(shop, younger).state) == ("done", "waiting"), "its place is by its age"
    with shop.db.begin() as session:
        work.release(session, held)  # too late
    assert row(shop, held).state == "done"


def test_work_looks_again_when_it_said_with_all_its_tries(open_shop: Open) -> None:
    shop = open_shop(Kind("chore", raising(SourceError("no answer"), LaterError(60), LaterError(math.inf))))
    id = add(shop)
    run_one(shop, owner="a")
    make_due(shop, id)
    run_one(shop, owner="a")
    later = row(shop, id)
    assert (later.state, later.attempts, later.error_code) == ("waiting", 0, None)
    assert 59 < (later.run_at - now()).total_seconds() <= 60
    assert later.sort_at == later.run_at - work.BONUS["normal"], "it has no place before those who are due"
    make_due(shop, id)
    run_one(shop, owner="a")
    assert row(shop, id).run_at == work.NEVER


def test_work_that_waits_for_what_others_lack_keeps_its_waits_and_says_why(open_shop: Open) -> None:
    lack = StorageFullError("no room")
    shop = open_shop(Kind("chore", raising(SourceError("no answer"), lack, LaterError(60, lack), lack)))
    id = add(shop)
    for _ in range(3):
        make_due(shop, id)
        run_one(shop, owner="a")
    later = row(shop, id)
    assert (later.state, later.attempts, later.waits, later.error_code) == ("waiting", 1, 1, "storage_full")
    make_due(shop, id)
    run_one(shop, owner="a")
    assert row(shop, id).waits == 2


def test_a_poke_is_never_missed(open_shop: Open) -> None:
    """Neither by work that waits nor by work that is just about to say that there is nothing to do."""
    seen: list[str] = []
    rung: list[str] = []

    def poke(shop: Runtime) -> None:
        with shop.db.begin() as session:
            work.poke(session, "chore", "one")

    def looks(job: Job[Runtime]) -> None:
        seen.append("looked")
        if len(seen) == 1:
            poke(job.runtime)
        raise LaterError(math.inf)

    shop = open_shop(Kind("chore", looks))
    id = add(shop, key="one")
    shop.ring = lambda id, priority: rung.append(id)
    run_one(shop, owner="a")
    assert (row(shop, id).state, rung) == ("waiting", [id]), "poked while it ran: due at once"
    assert run_one(shop, owner="a")
    assert not run_one(shop, owner="a"), "nobody poked it since"
    rung.clear()
    poke(shop)
    assert rung == [id]
    assert run_one(shop, owner="a")
    assert len(seen) == 3
    with shop.db.begin() as session:
        work.poke(session, "chore", "nobody")


def test_rows_that_ended_long_ago_are_swept(open_shop: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweep, "BATCH", batch := 20)
    shop = open_shop(sweep_of(WORK))
    ended = {"done": 7, "failed": 30, "cancelled": 30}
    kept, gone = [], []
    for state, days in ended.items():
        for list_, age in ((kept, days - 0.1), (gone, days + 0.1)):
            id = add(shop)
            change(shop, id, state=state, ended_at=now() - timedelta(days=age))
            list_.append(id)
    kept.append(add(shop))
    change(shop, kept[-1], created_at=now() - timedelta(days=400), run_at=now() - timedelta(days=400))
    with shop.db.begin() as session:
        for _ in range(batch + 1):
            enqueue(session, "many")
        session.execute(
            update(Work).where(Work.kind == "many").values(state="done", ended_at=now() - timedelta(days=8))
        )
    work.start_periodic(shop)
    assert run_one(shop, owner="a")
    with shop.db.read() as session:
        assert set(session.scalars(select(Work.id).where(Work.kind != "sweep"))) == set(kept)


# --- traces --------------------------------------------------------------------------------------------


def test_work_goes_on_with_the_trace_that_wanted_it(open_shop: Open) -> None:
    traces: list[str | None] = []
    shop = open_shop(Kind("chore", lambda job: traces.append(current_trace())))
    trace = new_trace()
    with tracing(trace):
        add(shop)
    add(shop)
    while run_one(shop, owner="a"):
        pass
    first, second = (t or "" for t in traces)
    assert trace_id(first) == trace_id(trace)
    assert first != trace
    assert trace_id(second) != trace_id(trace)
    assert current_trace() is None
