"""Workers beside the server: a real Celery, Redis and PostgreSQL; each is killed, hung and emptied."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.program import Process, Program
from tests.schema import tables
from tests.services import Postgres, Redis
from tests.walks.command import environment, until
from tests.worker.chores import chores
from tldr_highlight.core import work
from tldr_highlight.core.work import Work, enqueue
from tldr_highlight.runtime import Runtime, opened
from tldr_highlight.settings import Settings
from tldr_highlight.worker.bell import bell

ROOT = Path(__file__).parents[2]
LONG = os.environ.get("TLDR_LONG_TESTS") == "1"


class Beside(Process):
    """A worker with chores."""

    def __init__(self, *arguments: object, folder: Path, env: dict[str, str]) -> None:
        paths = os.pathsep.join([str(ROOT), str(ROOT / "src")])
        super().__init__(
            [sys.executable, "-m", "tests.worker.beside", "worker", *map(str, arguments)],
            cwd=folder,
            log=folder / "output.txt",
            env={**environment(), "PYTHONPATH": paths, **env},
        )

    def places(self) -> list[psutil.Process]:
        """The processes that do the work: children of the pool's parent."""
        (pool,) = psutil.Process(self.pid).children()
        return pool.children()


class Site:
    """One installation: an API that hands work in, and whatever workers a test starts."""

    def __init__(self, runtime: Runtime, folder: Path, stack: ExitStack) -> None:
        self.runtime = runtime
        self.folder = folder
        self.said_file = folder / "said"
        self._stack = stack
        self._workers = 0

    def worker(self, *arguments: object, **settings: object) -> Beside:
        """Start one; it is ready when this returns. It is a host of its own, unless `data_dir` is given."""
        assert self.runtime.settings.database_url
        assert self.runtime.settings.broker_url
        self._workers += 1
        folder = self.folder / f"worker_{self._workers}"
        folder.mkdir()
        values = {
            "data_dir": folder / "data",
            "database_url": self.runtime.settings.database_url.get_secret_value(),
            "broker_url": self.runtime.settings.broker_url.get_secret_value(),
            "worker_lease_seconds": self.runtime.settings.worker_lease_seconds,
            "worker_memory_mb": 300,
        } | settings
        env = {f"TLDR_{name.upper()}": str(value) for name, value in values.items()}
        worker = self._stack.enter_context(Beside(*arguments, folder=folder, env=env))
        worker.says(r'"event": "ready"')
        return worker

    def add(self, kind: str, name: str, *, priority: str = "normal", **payload: Any) -> str:
        with self.runtime.db.begin() as session:
            payload = {"file": str(self.said_file), **payload}
            return enqueue(session, kind, object_id=name, priority=priority, payload=payload).id

    def row(self, id: str) -> Work:
        with self.runtime.db.read() as session:
            return work.get(session, id)

    def lines(self) -> list[list[str]]:
        """What jobs said: name, process, words."""
        return (
            list(map(str.split, self.said_file.read_text().splitlines())) if self.said_file.exists() else []
        )

    def said(self, name: str, *words: object) -> list[list[str]]:
        """What a job said that begins so: process, words."""
        start = [str(word) for word in words]
        return [line[1:] for line in self.lines() if line[0] == name and line[2 : 2 + len(start)] == start]

    def wait(self, *ids: str, seconds: float = 40) -> list[Work]:
        """Until they have ended."""
        rows: list[Work] = []

        def ended() -> bool:
            rows[:] = map(self.row, ids)
            return all(row.state in {"done", "failed", "cancelled"} for row in rows)

        until(ended, seconds)
        return rows


@pytest.fixture
def broker() -> Iterator[Redis]:
    """A Redis to be harmed."""
    with Redis() as server:
        yield server


@pytest.fixture
def open_site(postgres: Postgres, tmp_path: Path) -> Iterator[Callable[..., Site]]:
    with ExitStack() as stack:

        def site(broker_url: str, lease: float = 3.0) -> Site:
            settings = Settings(
                data_dir=tmp_path / "data",
                database_url=stack.enter_context(postgres.databases())(tables),
                broker_url=broker_url,
                worker_lease_seconds=lease,
            )
            runtime = stack.enter_context(opened(settings, chores()))
            stack.enter_context(bell(runtime))
            return Site(runtime, tmp_path, stack)

        yield site


@pytest.fixture
def site(open_site: Callable[..., Site], redis_url: str) -> Site:
    return open_site(redis_url)


def test_rung_it_is_done_at_once(site: Site) -> None:
    site.worker("--no-beat")
    waits: list[float] = []
    for number in range(10):
        start = time.time()
        site.wait(site.add("note", f"n{number}"))
        waits.append(float(site.said(f"n{number}", "did")[0][2]) - start)
    print(waits)
    assert sorted(waits)[5] < 0.2


def test_what_nobody_rang_for_is_found(site: Site) -> None:
    site.worker()
    site.runtime.ring = lambda id, priority: None
    start = time.time()
    site.wait(site.add("note", "n"))
    assert float(site.said("n", "did")[0][2]) - start < 3


def test_a_process_that_dies_is_replaced_and_its_job_goes_on(site: Site) -> None:
    """With a lease of 30 s, as in life: nobody waits for it to run out."""
    site.runtime.settings.worker_lease_seconds = 30.0
    worker = site.worker("--concurrency", 2)
    id, other = site.add("count", "c", to=30), site.add("count", "other", to=30)
    until(lambda: site.said("c", "wrote", 5))
    killed = time.time()
    os.kill(int(site.said("c", "wrote", 5)[0][0]), signal.SIGKILL)
    row, untouched = site.wait(id, other)
    wrote = [(int(line[2]), float(line[3])) for line in site.said("c", "wrote")]
    print("resumed after", min(at for _, at in wrote if at > killed + 0.1) - killed)
    assert (row.state, untouched.state, untouched.fence) == ("done", "done", 1)
    assert row.fence == 2
    assert max(Counter(number for number, _ in wrote).values()) == 1
    assert len(wrote) >= 29
    assert len(worker.places()) == 2


@pytest.mark.parametrize("same_host", [True, False])
def test_a_worker_that_dies_whole_loses_nothing(site: Site, same_host: bool) -> None:
    """Where it is started again, it goes on at once; elsewhere after the lease and 5 s at most."""
    lease = 60.0 if same_host else 3.0
    site.runtime.settings.worker_lease_seconds = lease
    worker = site.worker()
    id = site.add("count", "c", to=30)
    until(lambda: site.said("c", "wrote", 5))
    worker.kill()
    killed = time.time()
    if same_host:
        worker.start()
    else:
        site.worker()
    (row,) = site.wait(id)
    wrote = [(int(line[2]), float(line[3])) for line in site.said("c", "wrote")]
    resumed = min(at for _, at in wrote if at > killed) - killed
    print("resumed after", resumed)
    assert resumed < (10 if same_host else lease + 5)
    assert (row.state, row.fence) == ("done", 2)
    assert max(Counter(number for number, _ in wrote).values()) == 1


def test_without_whoever_started_it_the_pool_ends(site: Site) -> None:
    worker = site.worker()
    id = site.add("count", "c", to=600)
    until(lambda: site.said("c", "wrote", 3))
    family = worker.family()[1:]
    worker.kill9()
    _, left = psutil.wait_procs(family, 10)
    assert [p for p in left if p.status() != psutil.STATUS_ZOMBIE] == []
    row = site.row(id)
    assert (row.state, row.crashes, row.owner) == ("waiting", 0, None), "it was not given back"


def test_a_worker_whose_pool_dies_ends(site: Site) -> None:
    worker = site.worker()
    pool = psutil.Process(worker.pid).children()[0]
    pool.kill()
    assert worker.wait(10) == 1
    assert "the pool of processes died (exit code -9)" in worker.output


@pytest.mark.parametrize("poison", ["kill", "hang", "bloat"])
def test_poison_is_tried_three_times_and_harms_nobody(site: Site, poison: str) -> None:
    worker = site.worker("--concurrency", 2)
    others = [site.add("count", f"c{n}", to=20) for n in range(3)]
    guilty = site.add(poison, "p")
    (row,) = site.wait(guilty)
    assert (row.state, row.error_code, row.crashes) == ("failed", "poison", 3)
    assert len(site.said("p", "starts")) == 3
    assert {(r.state, r.fence) for r in site.wait(*others)} == {("done", 1)}, "an innocent one was hit, too"
    site.wait(site.add("note", "n"))
    until(lambda: len(worker.places()) == 2)


def test_told_to_stop_it_keeps_checkpoints_and_ends_well(site: Site) -> None:
    worker = site.worker("--concurrency", 2)
    ids = [site.add("count", f"c{n}", to=1000) for n in range(2)]
    until(lambda: all(site.said(f"c{n}", "wrote", 3) for n in range(2)))
    start = time.monotonic()
    assert worker.terminate() == 0
    print("stopped after", time.monotonic() - start)
    for n, id in enumerate(ids):
        row = site.row(id)
        assert (row.state, row.crashes, row.attempts, row.owner) == ("waiting", 0, 0, None)
        assert row.checkpoint["number"] == len(site.said(f"c{n}", "wrote"))
    site.wait(site.add("note", "late"), seconds=0) if site.row(ids[0]).state == "done" else None


@pytest.mark.skipif(not LONG, reason="takes 20 s: TLDR_LONG_TESTS=1")
def test_what_does_not_stop_is_given_back(site: Site) -> None:
    worker = site.worker()
    id = site.add("stubborn", "s", seconds=300)
    until(lambda: site.said("s", "starts"))
    start = time.monotonic()
    assert worker.terminate(30) == 0
    print("stopped after", time.monotonic() - start)
    assert (site.row(id).state, site.row(id).crashes) == ("waiting", 0)


def test_high_goes_first_and_low_does_not_starve(site: Site) -> None:
    site.worker("--concurrency", 1)
    busy = site.add("count", "busy", to=20, pause=0.05)
    until(lambda: site.said("busy", "wrote", 0))
    old = site.add("note", "old", priority="low")
    with site.runtime.db.begin() as session:
        work.get(session, old, lock=True).sort_at -= timedelta(minutes=11)
    ids = [site.add("note", f"{p}{n}", priority=p) for n in range(5) for p in ("low", "normal", "high")]
    site.wait(busy, old, *ids)
    order = [line[0] for line in site.lines() if line[2] == "did"]
    assert order == ["old", *(f"{p}{n}" for p in ("high", "normal", "low") for n in range(5))]


def test_a_worker_may_keep_to_some_priorities(site: Site) -> None:
    site.worker("--queues", "high", "--queues", "normal")
    low = site.add("note", "low", priority="low")
    site.wait(site.add("note", "high", priority="high"), site.add("note", "normal"))
    assert site.row(low).state == "waiting"
    site.worker("--queues", "low")
    site.wait(low)
