"""How long lists take when much is in them: 1 000 streams and 100 000 highlights, on both databases.

    python -m benchmarks.lists
    python -m benchmarks.lists --streams 50 --highlights 1000 --calls 5       # a taste of it

Prints the median and the 95th percentile of each call in milliseconds, as whoever waits for the answer sees
it but for the socket. Ends with 1 where a p95 is over 50 ms.
"""

from __future__ import annotations

import argparse
import logging
import os
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import structlog
from sqlalchemy import insert

from tests.api.world import World, world_on
from tests.services import Backend, Postgres, SQLite
from tldr_highlight.core.db import id_after, new_id, now
from tldr_highlight.core.work import Work
from tldr_highlight.highlights.models import Highlight, highlight_id
from tldr_highlight.streams.models import Stream

BOUND = 50.0
"""Milliseconds that 95 of 100 calls may take."""

SEED = 20261125
STATES = ("completed", "completed", "completed", "failed", "pending", "processing", "cancelled")
PLATFORMS = ("custom", "custom", "youtube", "upload")
TYPES = ("reaction", "funny", "skillful", "clutch", "score", "generic")


@dataclass(frozen=True)
class Figure:
    """One call on one database: milliseconds."""

    database: str
    call: str
    median: float
    p95: float


def main() -> int:
    """Measure, print."""
    asked = _arguments()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    print(
        f"load {os.getloadavg()[0]:.2f}, seed {SEED}, {asked.streams} streams, {asked.highlights} highlights"
    )
    figures = [
        figure
        for database in asked.databases
        for figure in measured(database, asked.streams, asked.highlights, asked.calls)
    ]
    width = max(len(figure.call) for figure in figures)
    for figure in figures:
        print(f"{figure.database:9} {figure.call:{width}} {figure.median:8.1f} {figure.p95:8.1f}")
    slow = [figure for figure in figures if figure.p95 > BOUND]
    print(f"{len(slow)} of {len(figures)} calls are over {BOUND:g} ms")
    return 1 if slow else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--streams", type=int, default=1000)
    parser.add_argument("--highlights", type=int, default=100_000)
    parser.add_argument("--calls", type=int, default=100, help="of each list")
    parser.add_argument(
        "--databases", nargs="+", choices=("sqlite", "postgres"), default=["sqlite", "postgres"]
    )
    return parser.parse_args()


def measured(database: str, streams: int, highlights: int, calls: int) -> Iterator[Figure]:
    """Fill one database and ask for each list so often."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        server = SQLite(folder) if database == "sqlite" else stack.enter_context(Postgres())
        new = stack.enter_context(server.databases(folder))
        world = stack.enter_context(world_on(Backend(database, new), folder))
        home = world.organization()
        fill(world, home, streams, highlights)
        fill(world, world.organization(), streams // 10, highlights // 10)  # somebody else's, in between
        headers = world.key(home)
        for call, path in lists(world, headers):
            yield Figure(database, call, *_times(lambda path=path: _ask(world, headers, path), calls))


def fill(world: World, organization_id: str, streams: int, highlights: int) -> None:
    """Write streams that were submitted over the last 90 days, and what was found in them."""
    chance = random.Random(SEED)
    rows, found, works = [], [], []
    each = max(1, highlights // max(1, streams))
    for number in range(streams):
        state = chance.choice(STATES)
        at = now() - timedelta(days=90 * (1 - number / streams))
        id, job_id = id_after("str", at)[:-10] + new_id("x")[-10:], new_id("job")
        rows.append({
            "id": id, "organization_id": organization_id, "job_id": job_id, "source": "sealed",
            "source_label": "https://media.example.com/final.mp4", "source_kind": "url", "protocol": "http",
            "state": state, "platform": chance.choice(PLATFORMS), "options": {"dimension_set": "sports"},
            "highlight_count": each, "created_at": at,
        })  # fmt: skip
        works.append({"id": job_id, "kind": "x", "key": id, "organization_id": organization_id})
        for ordinal in range(1, each + 1):
            start = 30.0 * ordinal
            found.append({
                "id": highlight_id(id, ordinal), "organization_id": organization_id, "stream_id": id,
                "ordinal": ordinal, "start": start, "end": start + 12, "peak": start + 5,
                "clip_start": start - 5, "clip_end": start + 17, "score": chance.random(), "confidence": 0.8,
                "types": [chance.choice(TYPES)], "tags": ["derby"] if chance.random() < 0.05 else [],
                "title": "The crowd roars", "state": "ready" if chance.random() < 0.95 else "failed",
                "dimensions": {"crowd_reaction": 0.9, "action_intensity": 0.4}, "created_at": at,
            })  # fmt: skip
    with world.runtime.db.begin() as session:
        for model, values in ((Stream, rows), (Work, works), (Highlight, found)):
            for first in range(0, len(values), 2000):
                session.execute(insert(model), values[first : first + 2000])
    _analyse(world)


def _analyse(world: World) -> None:
    """What a database does by itself after a while."""
    with world.runtime.db.begin() as session:
        session.connection().exec_driver_sql("ANALYZE")


def lists(world: World, headers: dict[str, str]) -> Iterator[tuple[str, str]]:
    """What people ask for: a name, and the address."""
    before = "created_before=" + (now() - timedelta(days=60)).isoformat().replace("+00:00", "Z")
    stream = _ask(world, headers, "/streams")["data"][0]["id"]
    wanted = {
        "/streams": ("", "state=failed", "state=processing", "platform=youtube", before, "limit=100"),
        "/highlights": (
            "", "min_score=0.95", "type=clutch", "tag=derby", "state=failed", "order=score", before,
            "limit=100", f"stream_id={stream}", f"stream_id={stream}&order=score",
        ),
        f"/streams/{stream}/highlights": ("",),
    }  # fmt: skip
    for path, filters in wanted.items():
        for each in filters:
            yield f"{path} {each}".replace(stream, "…").partition("=20")[0], f"{path}?{each}"
        if cursor := _late(world, headers, path):
            yield f"{path} far back", f"{path}?limit=100&cursor={cursor}"


def _late(world: World, headers: dict[str, str], path: str) -> str | None:
    """The cursor of one of the last pages, if there are several: of streams there are ten."""
    cursor: str | None = None
    for _ in range(8):
        further = f"&cursor={cursor}" if cursor else ""
        cursor = _ask(world, headers, f"{path}?limit=100{further}")["next_cursor"] or cursor
    return cursor


def _ask(world: World, headers: dict[str, str], path: str) -> Any:
    answer = world.client.get(f"/api/v1{path}", headers=headers)
    assert answer.status_code == 200, answer.text
    return answer.json()


def _times(call: Callable[[], object], calls: int) -> tuple[float, float]:
    """Median and 95th percentile of so many calls, after one that warms up."""
    call()
    times: list[float] = []
    for _ in range(max(2, calls)):
        began = time.perf_counter()
        call()
        times.append(1000 * (time.perf_counter() - began))
    return statistics.median(times), statistics.quantiles(times, n=20)[-1]


if __name__ == "__main__":
    sys.exit(main())
