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
from typing import Any

import pytest
from sqlalchemy import update

from tests.pipeline.office import FORKS, ORGANIZATION, Office, _work_apart, work_apart
from tests.schema import tables
from tests.services import Backend
from tests.walks.films import film
from tldr_highlight.core.work import Work, void_leases
from tldr_highlight.pipeline.run import POINTS
from tldr_highlight.runtime import opened
from tldr_highlight.settings import Settings
from tldr_highlight.worker.kinds import product_kinds

UNTOUCHED = "str_untouched"

TOLD = {"stream_id", "highlight_id"}
"""What events of one stream say that those of another do not."""


@dataclass
class Aftermath:
    office: Office
    diaries: Path
    killed: dict[str, str]  # stream -> where

    def seen(self, id: str) -> dict[str, Any]:
        """All that a customer can see of a stream, without ids and times."""
        office = self.office
        stream = office.stream(id)
        store = office.runtime.storage
        return {
            "state": stream.state,
            "totals": (stream.duration, stream.analysed_seconds, stream.highlight_count, stream.warnings),
            "highlights": [
                (h.ordinal, h.state, h.start, h.end, h.peak, h.score, h.types, h.title, h.evidence)
                for h in office.highlights(id)
            ],
            "clips": [store.stat(h.clip_key or "").sha256 for h in office.highlights(id)],
            "recorded": [h.clip["sha256"] for h in office.highlights(id)],
            "pictures": [store.stat(h.thumbnail_key or "").sha256 for h in office.highlights(id)],
            "files": sum(1 for _ in store.list(f"{ORGANIZATION}/{id}")),
            "events": [
                (e.type, {k: v for k, v in e.data.items() if k not in TOLD})
                for e in office.events(id)
                if e.type != "stream.progress"  # told at the end of a piece, which may be another one
            ],
            "gaps": [n for n, e in enumerate(office.events(id), 1) if e.sequence != n],
        }

    def usage(self, id: str) -> Counter[str]:
        """What it is charged for in all: a piece that begins anew ends elsewhere than an undisturbed one."""
        own = id.removeprefix("str_")
        sums = Counter[str]()
        for key, amount in self.office.usage().items():
            if own in key:
                sums[key.split("/")[1]] += amount
        return sums

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
    points = [f"{point}{when}" for point in POINTS for when in ("-uncommitted", "")]
    points = [p for p in points if p not in {"clip-cut-uncommitted", "clip-put-uncommitted"}]
    killed = {f"str_killed{n:02}": point for n, point in enumerate(points)}
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
    untouched = aftermath.seen(UNTOUCHED)
    assert untouched["state"] == "completed"
    assert len(untouched["highlights"]) == 1
    assert untouched["clips"] == untouched["recorded"]
    for id, point in aftermath.killed.items():
        assert aftermath.seen(id) == untouched, f"killed at {point}"


def test_nothing_is_charged_twice(aftermath: Aftermath) -> None:
    untouched = aftermath.usage(UNTOUCHED)
    for id, point in aftermath.killed.items():
        assert aftermath.usage(id) == untouched, f"killed at {point}"


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
        aftermath = Aftermath(office, tmp_path, {})
        untouched, charged = aftermath.seen(UNTOUCHED), aftermath.usage(UNTOUCHED)
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
            assert aftermath.seen(id) == untouched, f"seed {seed}"
            assert aftermath.usage(id) == charged, f"seed {seed}"
