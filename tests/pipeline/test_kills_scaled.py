"""R1 where workers are Celery's, on PostgreSQL, Redis and a bucket: the long form, 10 minutes.

Workers are whole programs here, killed as they stand; `test_kills.py` has the quick form.
"""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import time
from collections.abc import Callable, Iterable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import psutil
import pytest
from pydantic import SecretStr
from sqlalchemy import func, select, update

from tests.pipeline.office import EVERY_POINT, Office
from tests.program import Program
from tests.s3_server import bucket
from tests.schema import migrated
from tests.services import Postgres
from tests.walks.command import until
from tests.walks.films import film
from tldr_highlight.core.work import HEAVY, Work
from tldr_highlight.runtime import opened
from tldr_highlight.settings import Settings
from tldr_highlight.storage.s3 import S3Store
from tldr_highlight.streams import scratch
from tldr_highlight.streams.models import Stream
from tldr_highlight.worker.bell import bell
from tldr_highlight.worker.kinds import product_kinds

pytestmark = pytest.mark.skipif(
    "TLDR_LONG_TESTS" not in os.environ, reason="takes minutes: TLDR_LONG_TESTS=1"
)

KILLS, STREAMS = 30, 8
PATIENCE = 300.0
SMALL: Any = {"size": (64, 36), "fps": Fraction(5), "rate": 8000}

Start = Callable[..., Program]


class Site(Office):
    """An installation with workers on hosts of their own, each a data folder."""

    def worker(self, start: Start, env: dict[str, str], host: Path, **more: str) -> Program:
        data = host / "data"
        data.mkdir(parents=True)
        shutil.copy2(self.runtime.data_dir / "secrets.json", data)
        queues = [word for priority in HEAVY for word in ("--queues", priority)]
        return start("worker", *queues, env=env | more | {"TLDR_DATA_DIR": str(data)})

    def ended(self, ids: Iterable[str]) -> bool:
        """Whether all of these streams have; not to be asked all the time, as that is work, too."""
        time.sleep(0.1)
        going_on = select(func.count()).where(Stream.id.in_(ids), Stream.ended_at.is_(None))
        with self.runtime.db.read() as session:
            return session.scalar(going_on) == 0

    def forgive(self) -> None:
        """Who is killed by chance is no poison."""
        with self.runtime.db.begin() as session:
            session.execute(update(Work).values(crashes=0))


@pytest.fixture
def env(
    postgres: Postgres, redis_url: str, s3_server: str, monkeypatch: pytest.MonkeyPatch
) -> Iterator[dict[str, str]]:
    """Settings that all hosts share; credentials are ours, too."""
    kept = bucket(s3_server)
    for name, value in kept.items():
        if name.startswith("AWS_"):
            monkeypatch.setenv(name, value)
    with postgres.databases() as new:
        yield kept | {
            "TLDR_DATABASE_URL": new(migrated),
            "TLDR_BROKER_URL": redis_url,
            "TLDR_WORKER_LEASE_SECONDS": "3",
            "TLDR_WORKER_THREADS": "2",
            "TLDR_ALLOW_LOCAL_PATHS": "/",
        }


@pytest.fixture
def site(env: dict[str, str], tmp_path: Path) -> Iterator[Site]:
    settings = Settings(
        data_dir=tmp_path / "data",
        database_url=SecretStr(env["TLDR_DATABASE_URL"]),
        broker_url=SecretStr(env["TLDR_BROKER_URL"]),
        storage_url=env["TLDR_STORAGE_URL"],
    )
    with opened(settings, product_kinds()) as runtime, bell(runtime):
        site = Site(runtime)
        site.found()
        yield site


def kept(worker: Program) -> list[psutil.Process]:
    """Its processes that work, none while it starts; started again where it has ended.

    Celery gives up where a process of its pool dies before it has begun, and so does the worker; a service
    manager starts it again.
    """
    if not worker.running():
        worker.start()
    with contextlib.suppress(psutil.NoSuchProcess):
        return [place for pool in psutil.Process(worker.pid).children() for place in pool.children()]
    return []


def one_of(worker: Program, chance: random.Random) -> psutil.Process:
    """One of its processes, once there are any."""
    found: list[psutil.Process] = []
    until(lambda: found.extend(kept(worker)) or found, PATIENCE)
    return chance.choice(found)


def nothing_is_left(site: Site, hosts: Iterable[Path]) -> None:
    for host in hosts:
        settings = site.runtime.settings.model_copy(update={"data_dir": host / "data"})
        with opened(settings, product_kinds()) as there:
            scratch.tidy(there)  # as the next job on that host would
        assert list(scratch.home(there).iterdir()) == []
    store = site.runtime.storage
    assert isinstance(store, S3Store)
    assert "Uploads" not in store.call("here", "list_multipart_uploads")


def test_killed_at_every_point(site: Site, env: dict[str, str], program: Start, tmp_path: Path) -> None:
    """A worker for each point, one of whose processes dies there; its pool goes on."""
    source = film(tmp_path / "match.mp4", (8,), seconds=16.0, **SMALL)
    points = ["nowhere", *EVERY_POINT]
    hosts = [tmp_path / point for point in points]
    streams = [f"str_killed{n:02}" for n in range(len(points))]
    for point, host, id in zip(points, hosts, streams, strict=True):
        worker = site.worker(program, env, host, TLDR_FAULT=point)
        site.submit(source, id)
        until(lambda id=id: site.ended([id]), PATIENCE)
        assert worker.terminate() == 0
        assert (host / "data" / "faults" / point).exists() is (point != "nowhere"), worker.output
    seen, charged = site.seen(streams[0]), site.charged(streams[0])
    assert (seen["state"], len(seen["highlights"])) == ("completed", 1)
    assert seen["clips"] == seen["recorded"]
    for point, id in zip(points, streams, strict=True):
        assert site.seen(id) == seen, f"killed at {point}"
        assert site.charged(id) == charged, f"killed at {point}"
    nothing_is_left(site, hosts)


def test_thirty_kills_at_random_moments(
    site: Site, env: dict[str, str], program: Start, tmp_path: Path
) -> None:
    """Eight streams, two workers of two processes: these are killed one by one, or with all of their host."""
    seed = random.SystemRandom().randrange(1 << 32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    source = film(tmp_path / "long.mp4", (15, 35, 55, 72), seconds=80.0, **SMALL)
    hosts = [tmp_path / "one", tmp_path / "two"]
    workers = [site.worker(program, env, host) for host in hosts]
    untouched = site.submit(source, "str_untouched")
    until(lambda: site.ended([untouched]), PATIENCE)
    streams: list[str] = []
    kills = whole = 0
    while kills < KILLS:
        if site.ended(streams):  # a machine that is quicker than we kill
            streams += [site.submit(source, f"str_random{len(streams) + n:02}") for n in range(STREAMS)]
        time.sleep(chance.uniform(0.2, 2.0))
        site.forgive()
        worker = chance.choice(workers)
        if chance.random() < 0.2:
            worker.kill()
            worker.start()
            whole += 1
        else:
            one_of(worker, chance).kill()
        kills += 1

    def over() -> bool:
        site.forgive()
        return all(len(kept(worker)) == 2 for worker in workers) and site.ended(streams)

    until(over, PATIENCE)
    print(f"{kills} kills, {whole} of whole workers, {len(streams)} streams")
    for worker in workers:
        assert worker.terminate() == 0, worker.output[-4000:]
    seen, charged = site.seen(untouched), site.charged(untouched)
    assert (seen["state"], len(seen["highlights"])) == ("completed", 4)
    for id in streams:
        assert site.seen(id) == seen, f"seed {seed}"
        assert site.charged(id) == charged, f"seed {seed}"
    nothing_is_left(site, hosts)
