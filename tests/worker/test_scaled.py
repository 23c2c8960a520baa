"""Workers beside the server: a real Celery, Redis and PostgreSQL; each is killed, hung and emptied."""

from __future__ import annotations

import base64
import json
import os
import random
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path
from typing import Any

import psutil
import pytest
from sqlalchemy import func, select

from tests.program import Process
from tests.services import Postgres, Redis
from tests.walks.command import environment, until
from tests.worker.chores import CHORES, RUNG, chores
from tldr_highlight.core import work
from tldr_highlight.core.db import Database
from tldr_highlight.core.migrate import migrate
from tldr_highlight.core.work import Work, enqueue
from tldr_highlight.errors import MissingExtraError, UsageError
from tldr_highlight.runtime import Runtime, opened
from tldr_highlight.settings import Settings
from tldr_highlight.worker import bell as bells
from tldr_highlight.worker import celery_app, scaled
from tldr_highlight.worker.bell import ENOUGH, bell

ROOT = Path(__file__).parents[2]
LONG = os.environ.get("TLDR_LONG_TESTS") == "1"


def migrated(url: str) -> None:
    db = Database(url)
    migrate(db)
    db.close()


HEAVY = [word for priority in work.HEAVY for word in ("--queues", priority)]
"""Starting a second pool, for light work, computes as long as the first; that has a test of its own."""


class Beside(Process):
    """A worker with chores."""

    def __init__(self, *arguments: object, folder: Path, env: dict[str, str]) -> None:
        arguments = arguments if "--queues" in arguments else (*arguments, *HEAVY)
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

    def worker(self, *arguments: object, kinds: str = CHORES) -> Beside:
        """Start one, with a data folder of its own, as on another host; it is ready when this returns."""
        worker = self.start_worker(*arguments, kinds=kinds)
        worker.says(r'"event": "ready"')
        return worker

    def start_worker(self, *arguments: object, kinds: str = CHORES) -> Beside:
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
        }
        env = {f"TLDR_{name.upper()}": str(value) for name, value in values.items()}
        env["TLDR_TEST_CHORES"] = kinds
        return self._stack.enter_context(Beside(*arguments, folder=folder, env=env))

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
        open_ones = select(func.count()).where(Work.id.in_(ids), Work.state.in_(["waiting", "running"]))

        def ended() -> bool:
            with self.runtime.db.read() as session:
                return session.scalar(open_ones) == 0

        until(ended, seconds)
        return list(map(self.row, ids))


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
                database_url=stack.enter_context(postgres.databases())(migrated),
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


def test_rung_it_is_done(site: Site) -> None:
    """Without a look; what nobody is rung for is found below, where the broker is away."""
    site.worker(kinds=RUNG)
    for number in range(3):  # of which it might find the first when it starts
        site.wait(site.add("note", f"n{number}"))


def test_a_process_that_dies_is_replaced_and_its_job_goes_on(site: Site) -> None:
    """The lease is longer than we wait: nobody waits for it to run out."""
    site.runtime.settings.worker_lease_seconds = 120.0
    worker = site.worker("--concurrency", 2)
    id, other = site.add("count", "c", to=30), site.add("count", "other", to=30)
    until(lambda: site.said("c", "wrote", 5))
    os.kill(int(site.said("c", "wrote", 5)[0][0]), signal.SIGKILL)
    row, untouched = site.wait(id, other)
    wrote = [(int(line[2]), float(line[3])) for line in site.said("c", "wrote")]
    assert (row.state, untouched.state, untouched.fence) == ("done", "done", 1)
    assert row.fence == 2
    assert max(Counter(number for number, _ in wrote).values()) == 1
    assert len(wrote) >= 29
    until(lambda: len(worker.places()) == 2)


@pytest.mark.parametrize("same_host", [True, False] if LONG else [True])
def test_a_worker_that_dies_whole_loses_nothing(site: Site, same_host: bool) -> None:
    """Started again it goes on once it is up; what goes on elsewhere waits for the lease, and 5 s at most."""
    lease = 60.0 if same_host else 3.0
    site.runtime.settings.worker_lease_seconds = lease
    worker = site.worker()
    id = site.add("count", "c", to=25, pause=0.1)
    until(lambda: site.said("c", "wrote", 5))
    if not same_host:
        site.worker()
    worker.kill()
    killed = time.time()
    if same_host:
        worker.start()
    (row,) = site.wait(id)
    wrote = [(int(line[2]), float(line[3])) for line in site.said("c", "wrote")]
    resumed = min(at for _, at in wrote if at > killed) - killed
    assert resumed < (lease / 2 if same_host else lease + 5)
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


@pytest.mark.parametrize("poison", ["kill", "hang", "bloat"] if LONG else ["kill"])
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
    assert worker.terminate() == 0
    for n, id in enumerate(ids):
        row = site.row(id)
        assert (row.state, row.crashes, row.attempts, row.owner) == ("waiting", 0, 0, None)
        assert row.checkpoint["number"] == len(site.said(f"c{n}", "wrote"))


@pytest.mark.skipif(not LONG, reason="takes 20 s: TLDR_LONG_TESTS=1")
def test_what_does_not_stop_is_given_back(site: Site) -> None:
    worker = site.worker()
    id = site.add("stubborn", "s", seconds=300)
    until(lambda: site.said("s", "starts"))
    assert worker.terminate(30) == 0
    assert (site.row(id).state, site.row(id).crashes) == ("waiting", 0)


def test_high_goes_first_and_nothing_starves_but_what_others_are_for(site: Site) -> None:
    site.worker("--concurrency", 1, "--queues", "high", "--queues", "normal")
    busy = site.add("count", "busy", to=20)
    until(lambda: site.said("busy", "wrote", 0))
    low = site.add("note", "low", priority="low")
    old = site.add("note", "old")
    with site.runtime.db.begin() as session:
        work.get(session, old, lock=True).sort_at -= timedelta(minutes=9)
    ids = [site.add("note", f"{p}{n}", priority=p) for n in range(5) for p in ("normal", "high")]
    site.wait(busy, old, *ids)
    order = [line[0] for line in site.lines() if line[2] == "did"]
    assert order == ["old", *(f"{p}{n}" for p in ("high", "normal") for n in range(5))]
    assert site.row(low).state == "waiting"


def test_light_work_does_not_wait_for_heavy_work(site: Site) -> None:
    site.worker("--concurrency", 1, *HEAVY, "--queues", "soon")
    busy = site.add("count", "busy", to=1000)
    until(lambda: site.said("busy", "wrote", 0))
    site.wait(site.add("note", "light", priority="soon"))
    assert site.row(busy).state == "running"


# --- without the broker --------------------------------------------------------------------------------


class Intake:
    """Hands work in, steadily, and notes how long that takes, and who talks to the broker."""

    def __init__(self, site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
        self.site = site
        self.ids: list[str] = []
        self.commits: list[float] = []
        self.talkers: set[int] = set()
        self._send = bells._send
        monkeypatch.setattr(bells, "_send", self._noted)

    def take(self, jobs: int, pause: float = 0.02) -> None:
        for _ in range(jobs):
            start = time.monotonic()
            self.ids.append(self.site.add("note", f"n{len(self.ids)}"))
            self.commits.append(time.monotonic() - start)
            time.sleep(pause)

    def _noted(self, *arguments: Any) -> None:
        self.talkers.add(threading.get_ident())
        self._send(*arguments)

    def was_never_blocked(self) -> None:
        """A commit takes what the database and this machine take; a hung broker took 20 s."""
        assert threading.get_ident() not in self.talkers
        assert max(self.commits) < 2

    def all_done_once(self, seconds: float = 90) -> None:
        rows = self.site.wait(*self.ids, seconds=seconds)
        assert {(row.state, row.fence, row.attempts) for row in rows} == {("done", 1, 0)}
        did = Counter(line[0] for line in self.site.lines() if line[2] == "did")
        assert did == Counter({f"n{n}": 1 for n in range(len(self.ids))})


def test_the_broker_may_die_forget_and_hang(
    open_site: Callable[..., Site], broker: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """R5: killed 3 times over 150 jobs, emptied once, hung; in a long run 10 times over 1 000."""
    kills, jobs = (10, 1000) if LONG else (3, 150)
    chance = random.Random(seed := random.randrange(10**6))
    sys.stdout.write(f"seed {seed}\n")
    site = open_site(broker.url)
    site.worker("--concurrency", 2)
    intake = Intake(site, monkeypatch)
    emptied = chance.randrange(kills)
    for life in range(kills):
        intake.take(jobs // kills // 2)
        if life == emptied:
            broker.flush()
        broker.kill9()
        intake.take(chance.randrange(jobs // kills // 2))
        broker.start()
        intake.take(jobs * (life + 1) // kills - len(intake.ids))
    broker.hang()
    end = time.monotonic() + (10 if LONG else 2)
    while time.monotonic() < end:
        intake.take(5)
    broker.resume()
    intake.all_done_once()
    intake.was_never_blocked()


def test_without_a_broker_work_is_taken_in_and_waits(
    open_site: Callable[..., Site], broker: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    broker.kill9()
    site = open_site(broker.url)
    intake = Intake(site, monkeypatch)
    intake.take(50, 0)
    intake.was_never_blocked()
    worker = site.start_worker()
    worker.says("Cannot connect to redis")
    broker.start()
    intake.all_done_once()


def test_with_nobody_to_listen_few_bells_wait(
    site: Site, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    intake = Intake(site, monkeypatch)
    intake.take(2 * ENOUGH + 50, 0)
    until(lambda: redis.ask("LLEN tldr-normal") == f":{ENOUGH}\r\n")
    time.sleep(0.5)
    assert redis.ask("LLEN tldr-normal") == f":{ENOUGH}\r\n"
    bell = json.loads(redis.ask("LINDEX tldr-normal -1").partition("\r\n")[2])
    assert bell["content-type"] == "application/json"
    arguments, options, _ = json.loads(base64.b64decode(bell["body"]))
    assert (arguments, options) == ([intake.ids[0]], {})
    assert site.runtime.kinds.keys() & bell["headers"].keys() == set()


# --- what it needs -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "lacks"),
    [
        ({}, "TLDR_BROKER_URL is not set.*`tldr-highlight serve` does the work itself"),
        ({"broker_url": "redis://127.0.0.1"}, "TLDR_DATABASE_URL is not set.*PostgreSQL"),
    ],
)
def test_says_what_it_lacks(settings: dict[str, Any], lacks: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=lacks):
        scaled.check(Settings(data_dir=tmp_path, **settings))
    assert not list(tmp_path.iterdir())


def test_the_command_says_what_it_lacks(program: Callable[..., Process]) -> None:
    worker = program("worker")
    assert worker.wait() == 2
    assert worker.output.startswith("tldr-highlight: TLDR_BROKER_URL is not set")


def test_names_the_extra_that_is_missing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(celery_app.importlib.util, "find_spec", lambda name: None)
    with (
        opened(Settings(data_dir=tmp_path, broker_url="redis://127.0.0.1")) as runtime,
        pytest.raises(MissingExtraError, match=r"tldr-highlight\[scale\]"),
        bell(runtime),
    ):
        pytest.fail("let in")
