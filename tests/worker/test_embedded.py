"""Real worker processes on both databases: killed, hung, stopped, bloated; nothing is lost."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.schema import tables
from tests.services import Backend, stopped_between_transactions
from tests.worker.chores import CHORES, RUNG, chores
from tldr_highlight.core import work
from tldr_highlight.core.work import Work, enqueue
from tldr_highlight.errors import DataBusyError
from tldr_highlight.runtime import Runtime, database_url, opened
from tldr_highlight.settings import Settings
from tldr_highlight.worker import embedded
from tldr_highlight.worker.embedded import PAUSES, EmbeddedWorker, hold_data_dir

PATIENCE = 30.0
"""Seconds until a test gives up; not what anything should take."""


def until(condition: Callable[[], Any], what: str = "it happens") -> Any:
    end = time.monotonic() + PATIENCE
    while not (found := condition()):
        assert time.monotonic() < end, f"waited in vain until {what}"
        time.sleep(0.02)
    return found


class Shop:
    """A runtime with its workers, and what the work in it said."""

    def __init__(self, runtime: Runtime, file: Path) -> None:
        self.runtime = runtime
        self.file = file
        self.worker = EmbeddedWorker(runtime, kinds=CHORES)

    def add(self, kind: str, name: str, *, priority: str = "normal", **payload: Any) -> str:
        payload = {"file": str(self.file), **payload}
        with self.runtime.db.begin() as session:
            return enqueue(session, kind, object_id=name, payload=payload, priority=priority).id

    def row(self, id: str) -> Work:
        with self.runtime.db.read() as session:
            return work.get(session, id)

    def lines(self, name: str) -> list[list[str]]:
        """What a job said, in words, without its name: the process first."""
        said = self.file.read_text().splitlines() if self.file.exists() else []
        return [words[1:] for words in map(str.split, said) if words[0] == name]

    def said(self, name: str, *words: object) -> list[list[str]]:
        """Lines of a job that go on like this after the process."""
        return [line for line in self.lines(name) if line[1 : 1 + len(words)] == [str(w) for w in words]]

    def ended(self, *ids: str) -> list[Work]:
        def all_ended() -> bool:
            return all(self.row(id).state in {"done", "failed", "cancelled"} for id in ids)

        until(all_ended, f"{[(self.row(id).kind, self.row(id).state) for id in ids]} ended")
        return [self.row(id) for id in ids]

    def child(self, name: str = "worker") -> int:
        return until(lambda: self.worker.pids().get(name), f"there is a child for {name}")


@pytest.fixture
def settings(backend: Backend, tmp_path: Path) -> Settings:
    return Settings(
        data_dir=tmp_path / "data", database_url=backend.database(tables), worker_lease_seconds=1.0,
        worker_threads=2, worker_memory_mb=300,
    )  # fmt: skip


@pytest.fixture
def shop(settings: Settings, tmp_path: Path) -> Iterator[Shop]:
    """Workers are started by the test, and gone when it is over."""
    with opened(settings, chores()) as runtime:
        shop = Shop(runtime, tmp_path / "said")
        try:
            yield shop
        finally:
            shop.worker.stop()
    assert psutil.Process().children(recursive=True) == [] or not _workers()


def _workers() -> list[psutil.Process]:
    return [p for p in psutil.Process().children() if "tldr_highlight.worker.child" in " ".join(p.cmdline())]


sqlite_only = pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
"""For what is about processes, not about rows."""

postgres_only = pytest.mark.parametrize("backend", ["postgres"], indirect=True)


def test_handing_in_rings(shop: Shop) -> None:
    shop.worker = EmbeddedWorker(shop.runtime, kinds=RUNG)
    shop.worker.start()
    for number in range(3):  # of which it might find the first when it starts
        shop.ended(shop.add("note", f"n{number}"))


@sqlite_only
def test_light_work_does_not_wait_for_heavy_work(shop: Shop) -> None:
    shop.runtime.listens_at = "http://127.0.0.1:4711"
    shop.worker.start()
    heavy = [shop.add("count", f"h{n}", to=1000) for n in range(3)]  # more than there are threads for it
    until(lambda: shop.said("h0", "counts") and shop.said("h1", "counts"), "both threads are busy")
    shop.ended(shop.add("note", "light", priority="soon"))
    assert {shop.row(id).state for id in heavy} == {"running", "waiting"}
    assert shop.said("light", "did")[0][3] == "http://127.0.0.1:4711"  # where its links lead


@sqlite_only
def test_what_nobody_rang_for_is_found(shop: Shop) -> None:
    shop.worker.start()
    shop.ended(shop.add("note", "first"))
    shop.runtime.ring = lambda id, priority: None
    shop.ended(shop.add("note", "second"))


@sqlite_only
def test_killed_in_the_middle_it_goes_on_where_it_was(shop: Shop) -> None:
    shop.runtime.settings.worker_lease_seconds = 30.0  # it is voided, not waited for
    shop.worker.start()
    id = shop.add("count", "c", to=20)
    until(lambda: shop.said("c", "wrote", 8))
    killed = time.time()
    os.kill(shop.child(), signal.SIGKILL)
    (row,) = shop.ended(id)
    assert (row.state, row.attempts, row.crashes) == ("done", 0, 0)
    wrote = [int(line[2]) for line in shop.said("c", "wrote")]
    lost = set(range(20)) - set(wrote)
    assert len(lost) <= 1, "at most the step that was killed after its commit did not say so"
    assert [n for n in wrote if wrote.count(n) > 1] == []
    resumed = min(t for line in shop.said("c", "wrote") if (t := float(line[3])) > killed + 0.1)
    assert resumed - killed < 5, "promised are 10"


def test_killed_between_claim_and_first_write(shop: Shop) -> None:
    """As a process that died right after its claim left it: running, of an owner that is gone."""
    id = shop.add("note", "n")
    installation = "0123456789abcdef"
    (shop.runtime.data_dir / "worker.lock").write_text(installation)
    with shop.runtime.db.begin() as session:
        row = work.get(session, id, lock=True)
        row.state, row.owner, row.fence = "running", f"{installation}/worker-0/0", 1
        row.lease_until = work.clock(session) + work.timedelta(hours=1)
    shop.worker.start()
    assert shop.ended(id)[0].fence == 2


POISONS = [("kill", "postgres"), ("hang", "sqlite"), ("bloat", "sqlite")]


@pytest.mark.parametrize(("poison", "backend"), POISONS, indirect=["backend"])
def test_poison_is_tried_three_times_and_harms_nobody_twice(shop: Shop, poison: str) -> None:
    guilty = shop.add(poison, "p")
    others = [shop.add("count", f"c{n}", to=40) for n in range(3)]
    shop.worker.start()
    (row,) = shop.ended(guilty)
    assert (row.state, row.error_code, row.crashes) == ("failed", "poison", 3)
    assert len(shop.lines("p")) == 3
    assert {r.state for r in shop.ended(*others)} == {"done"}
    if poison == "kill":
        assert [line[3] for line in shop.lines("p")][1:] == ["0", "0"], "a suspect ran beside others"
    for n in range(3):
        assert len({line[0] for line in shop.lines(f"c{n}")}) <= 3, "its process died more than once"


@sqlite_only
def test_told_to_stop_it_writes_a_checkpoint_and_gives_back(shop: Shop) -> None:
    shop.worker.start()
    id = shop.add("count", "c", to=400)
    until(lambda: shop.said("c", "wrote", 3))
    child = psutil.Process(shop.child())
    child.terminate()
    assert child.wait(PATIENCE) in {0, None}
    until(lambda: len({line[0] for line in shop.lines("c")}) == 2, "another goes on")
    row = shop.row(id)
    assert (row.crashes, row.attempts) == (0, 0)
    assert shop.said("c", "refused") == []
    numbers = [int(line[2]) for line in shop.said("c", "counts")]
    assert numbers == list(range(len(numbers))), "none twice, none left out"
    with shop.runtime.db.begin() as session:
        work.cancel(session, id)
    assert shop.ended(id)[0].state == "cancelled"


@sqlite_only
def test_what_never_asks_is_given_back_when_its_process_must_end(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, settings: Settings
) -> None:
    """The server is gone, so its workers have 2 s to leave."""
    id = shop.add("stubborn", "s")
    with server(settings) as process:
        until(lambda: shop.said("s", "starts"))
        process.kill()
        process.wait()
        until(lambda: shop.row(id).state == "waiting", "it is given back")
        assert (shop.row(id).crashes, shop.row(id).owner) == (0, None)
    assert shop.said("s", "finished") == []


@pytest.mark.parametrize(
    "backend", ["postgres"], indirect=True
)  # on SQLite it might be stopped as the writer
def test_a_worker_that_was_stopped_and_wakes_can_write_nothing(shop: Shop) -> None:
    shop.worker.start()
    id = shop.add("count", "c", to=200, pause=1.5, asks=False)
    stopped = shop.child()
    until(lambda: shop.said("c", "wrote", 1))
    own, url = [psutil.Process(stopped)], database_url(shop.runtime.settings)
    until(lambda: stopped_between_transactions(own, url), "it holds no lock")
    try:
        until(
            lambda: [line for line in shop.said("c", "wrote") if line[0] != str(stopped)], "another goes on"
        )
    finally:
        woken = time.time()
        os.kill(stopped, signal.SIGCONT)
    until(lambda: [line for line in shop.said("c", "refused") if line[0] == str(stopped)], "it is refused")
    late = [line for line in shop.said("c", "wrote") if line[0] == str(stopped) and float(line[3]) > woken]
    assert late == []
    assert shop.row(id).state == "running"
    with shop.runtime.db.begin() as session:
        work.void_leases(session, "")  # what counts without asking ends by its next write
        work.cancel(session, id)


@contextlib.contextmanager
def server(settings: Settings) -> Iterator[subprocess.Popen[str]]:
    values = settings.model_dump(mode="json") | {
        "database_url": database_url(settings)
    }  # fmt: skip
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.worker.server", json.dumps(values)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        assert process.stdout
        assert process.stdout.readline() == "serving\n"
        yield process
    finally:
        process.terminate()
        process.communicate(timeout=30)


@sqlite_only
def test_the_second_server_on_a_folder_refuses_and_says_why(shop: Shop, settings: Settings) -> None:
    with server(settings) as first:
        why = rf"process {first.pid}\) works in .*data: end it"
        with pytest.raises(DataBusyError, match=why), hold_data_dir(settings.data_dir):
            pytest.fail("let in")
        id, slow = shop.add("count", "c", to=30), shop.add("stubborn", "s")
        until(lambda: shop.said("c", "wrote", 3) and shop.said("s", "starts"))
        first.kill()
        first.wait()
        with server(settings) as second:  # at once, though workers of the first may still be there
            assert shop.ended(id)[0].state == "done"
            until(lambda: len(shop.said("s", "starts")) == 2, "it is begun again")
            assert shop.row(slow).crashes == 0, "it was taken from workers that were still there"
            second.kill()  # stopped, it would give the other 20 s
    assert shop.said("c", "refused") == [], "both worked"
    numbers = [int(line[2]) for line in shop.said("c", "counts")]
    assert numbers == list(range(30))


@sqlite_only
def test_workers_wait_for_those_of_a_server_that_was_killed(shop: Shop) -> None:
    with (shop.runtime.data_dir / "worker.lock").open("a+b") as predecessor:
        fcntl.flock(predecessor, fcntl.LOCK_EX)
        shop.worker.start()
        id = shop.add("note", "n")
        time.sleep(0.3)  # a child would be there after a hundredth of it
        assert shop.worker.pids() == {}
    assert shop.ended(id)[0].state == "done"


@sqlite_only
def test_workers_do_not_outlive_their_server(shop: Shop, settings: Settings) -> None:
    with server(settings) as process:
        shop.ended(shop.add("note", "n"))
        (child,) = psutil.Process(process.pid).children()
        process.kill()
        process.wait()
        until(lambda: not child.is_running() or child.status() == psutil.STATUS_ZOMBIE, "it is gone")


@sqlite_only
def test_a_child_that_dies_at_once_is_not_started_again_and_again(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        embedded, "HEALTHY_SECONDS", PATIENCE
    )  # "at once" may take 5 s where much is going on
    worker = EmbeddedWorker(shop.runtime, kinds="tests.worker.chores:no_such_function")
    first: dict[int, float] = {}  # process -> when it was seen
    last: dict[int, float] = {}

    def third_was_born() -> bool:
        asked, pids = time.monotonic(), worker.pids().values()
        for pid in pids:
            first.setdefault(pid, time.monotonic())
            last[pid] = asked
        return len(first) >= 3

    worker.start()
    until(third_was_born)
    worker.stop()
    _, second, third = first
    assert first[third] - last[second] >= PAUSES[1]
