"""R1, R3: the process is killed at every named point, and nothing visible is lost or repeated."""

from __future__ import annotations

import os
import random
import signal
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import pytest
from sqlalchemy import update

from tests.pipeline.office import EVERY_POINT, FORKS, Office, _work_apart, swell_apart, work_apart
from tests.schema import tables
from tests.services import Backend, SQLite
from tests.walks.films import film
from tldr_highlight.core.leases import OVERWEIGHT
from tldr_highlight.core.work import Work, void_leases
from tldr_highlight.runtime import opened
from tldr_highlight.settings import Settings
from tldr_highlight.worker.kinds import product_kinds

UNTOUCHED = "str_untouched"


@dataclass
class Aftermath:
    office: Office
    diaries: Path
    killed: dict[str, str]  # stream -> where

    def effort(self, id: str) -> Counter[str]:
        """How often something was measured or cut, in all its runs."""
        lines = (self.diaries / self.office.stream(id).job_id).read_text("utf-8").splitlines()
        return Counter(line.split()[0] for line in lines)


@pytest.fixture(scope="module")
def aftermath(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Aftermath]:
    """A stream for each point, killed there, and one that nothing happens to; then a worker finishes them."""
    folder = tmp_path_factory.mktemp("kills")
    source = film(folder / "match.mp4", (8,), seconds=16.0, size=(64, 36), fps=Fraction(5), rate=8000)
    settings = {
        "data_dir": str(folder / "data"),
        "database_url": f"sqlite:///{folder / 'test.sqlite'}",
        "allow_local_paths": "/",
    }
    tables(settings["database_url"])
    killed = {f"str_killed{n:02}": point for n, point in enumerate(EVERY_POINT)}
    with opened(Settings(**settings), product_kinds()) as runtime:
        office = Office(runtime)
        office.found()
        for id in (*killed, UNTOUCHED):
            office.submit(source, id)
        jobs = {id: office.stream(id).job_id for id in (*killed, UNTOUCHED)}

        def kill(id: str) -> int:
            return work_apart({**settings, "fault": killed[id]}, [jobs[id]], folder)

        with ThreadPoolExecutor(2) as two:
            for id, code in zip(killed, two.map(kill, killed), strict=True):
                assert code == -signal.SIGKILL, f"{killed[id]}: not killed, but {code}"
        with runtime.db.begin() as session:
            assert void_leases(session, "dying/") == len(killed) - 1  # one died behind its end
        assert work_apart(settings, list(jobs.values()), folder) == 0
        yield Aftermath(office, folder, killed)


def test_nothing_visible_is_lost_or_repeated(aftermath: Aftermath) -> None:
    untouched = aftermath.office.seen(UNTOUCHED)
    assert untouched["state"] == "completed"
    assert len(untouched["highlights"]) == 1
    assert untouched["clips"] == untouched["recorded"]
    for id, point in aftermath.killed.items():
        assert aftermath.office.seen(id) == untouched, f"killed at {point}"


def test_nothing_is_charged_twice(aftermath: Aftermath) -> None:
    untouched = aftermath.office.charged(UNTOUCHED)
    for id, point in aftermath.killed.items():
        assert aftermath.office.charged(id) == untouched, f"killed at {point}"


def test_a_kill_costs_one_piece_and_one_clip_at_most(aftermath: Aftermath) -> None:
    untouched = aftermath.effort(UNTOUCHED)
    for id, point in aftermath.killed.items():
        more = aftermath.effort(id) - untouched
        assert all(times <= 1 for times in more.values()), f"killed at {point}: {more} more"


def test_nothing_is_left_behind(aftermath: Aftermath) -> None:
    data = aftermath.office.runtime.data_dir
    assert list((data / "scratch").iterdir()) == []
    drafts = {path.name for path in data.rglob(".*") if path.is_file()} - {".lock"}
    assert drafts == set()


def test_a_stream_that_swells_is_poison_and_others_are_done(sqlite: SQLite, tmp_path: Path) -> None:
    """R11: the limit on memory ends the process, three times; then the stream has failed, and says so."""
    source = film(tmp_path / "match.mp4", (8,), seconds=16.0, size=(64, 36), fps=Fraction(5), rate=8000)
    with sqlite.databases(tmp_path) as new:
        settings = {
            "data_dir": str(tmp_path / "data"),
            "database_url": new(tables),
            "allow_local_paths": "/",
            "worker_memory_mb": 500,
            "worker_lease_seconds": 1.0,  # a tenth of it is how often memory is looked at
        }
        with opened(Settings(**settings), product_kinds()) as runtime:
            office = Office(runtime)
            office.found()
            office.submit(source, "str_swells")
            office.submit(source, "str_other")
            for crashes in range(1, 4):
                assert swell_apart(settings, office.job("str_swells").id) == OVERWEIGHT
                job = office.job("str_swells")
                assert (job.state, job.crashes, job.attempts) == ("waiting", crashes, 0)
            office.work()
            swelled, other = office.stream("str_swells"), office.stream("str_other")
            assert (swelled.state, swelled.error_code, swelled.admitted) == ("failed", "poison", False)
            assert [e.type for e in office.events("str_swells")] == ["stream.started", "stream.failed"]
            assert office.events("str_swells")[-1].data["error_code"] == "poison"
            assert (other.state, other.highlight_count) == ("completed", 1)
            assert not [key for key in office.usage() if "swells" in key]


# --- the long form -------------------------------------------------------------------------------------


@pytest.mark.skipif("TLDR_LONG_TESTS" not in os.environ, reason="takes minutes")
@pytest.mark.parametrize("kills", [30])
def test_thirty_kills_at_random_moments(backend: Backend, kills: int, tmp_path: Path) -> None:
    """Eight streams, two at a time, whose workers are killed and replaced again and again."""
    seed = random.SystemRandom().randrange(1 << 32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    source = film(tmp_path / "long.mp4", (15, 35, 55, 72), seconds=80.0, size=(320, 180))
    settings = {
        "data_dir": str(tmp_path / "data"),
        "database_url": backend.database(tables),
        "allow_local_paths": "/",
    }
    streams = [f"str_random{n}" for n in range(8)]
    with opened(Settings(**settings), product_kinds()) as runtime:
        office = Office(runtime)
        office.found()
        for id in (UNTOUCHED, *streams):
            office.submit(source, id)
        jobs = {id: office.stream(id).job_id for id in (UNTOUCHED, *streams)}
        assert work_apart(settings, [jobs[UNTOUCHED]], tmp_path) == 0
        untouched, charged = office.seen(UNTOUCHED), office.charged(UNTOUCHED)
        for _ in range(kills):
            pair = chance.sample(streams, 2)
            two = [FORKS.Process(target=_work_apart, args=(settings, [jobs[id]], tmp_path)) for id in pair]
            for process in two:
                process.start()
            two[0].join(chance.uniform(0.3, 4.0))
            for process in two:
                process.kill()
                process.join()
            with runtime.db.begin() as session:
                void_leases(session, "dying/")
                session.execute(update(Work).values(crashes=0))  # who is killed by chance is no poison
        assert work_apart(settings, [jobs[id] for id in streams], tmp_path) == 0
        for id in streams:
            assert office.seen(id) == untouched, f"seed {seed}"
            assert office.charged(id) == charged, f"seed {seed}"
