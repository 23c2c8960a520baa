"""Streams without an API: an installation with an organization, sources, and a worker that is called."""

from __future__ import annotations

import logging
import multiprocessing
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import update

from tldr_highlight.core.db import now
from tldr_highlight.core.telemetry import set_up_logs
from tldr_highlight.core.work import Work, enqueue, get, retry, run_one
from tldr_highlight.highlights.models import Highlight
from tldr_highlight.pipeline import run
from tldr_highlight.runtime import Runtime, opened
from tldr_highlight.settings import Settings
from tldr_highlight.streams.models import Stream
from tldr_highlight.streams.sources import Source
from tldr_highlight.tenancy.models import Organization
from tldr_highlight.usage.models import UsageRecord
from tldr_highlight.usage.quotas import open_month, usage_of
from tldr_highlight.webhooks.models import Event
from tldr_highlight.worker.kinds import product_kinds

ORGANIZATION = "org_1"

TOLD = {"stream_id", "highlight_id"}
"""What events of one stream say that those of another do not."""

EVERY_POINT = [
    f"{point}{when}"
    for point in run.POINTS
    for when in (("",) if point in {"clip-cut", "clip-put"} else ("-uncommitted", ""))
]
"""At which a worker can be told to die."""


@dataclass
class Office:
    """What tests do with an opened installation."""

    runtime: Runtime

    def found(self, id: str = ORGANIZATION, **more: Any) -> None:
        """Make an organization."""
        with self.runtime.db.begin() as session:
            session.add(Organization(id=id, name="One", **more))
            session.flush()
            open_month(session, id)

    def room(self, more: int | None) -> None:
        """The plan has room for so many bytes beside what is stored; None: for as many as it always has."""
        with self.runtime.db.begin() as session:
            organization = session.get_one(Organization, ORGANIZATION)
            used = usage_of(session, ORGANIZATION)["storage_gb"]
            organization.plan = "STARTER"  # whose amounts are the most
            organization.overrides = {} if more is None else {"storage_gb": used + more / 10**9}

    def submit(
        self, source: Source | Path, id: str = "str_1", *, organization_id: str = ORGANIZATION, **options: Any
    ) -> str:
        """Hand a stream in, as its service does once the plan has room for it."""
        source = Source(path=str(source)) if isinstance(source, Path) else source
        with self.runtime.db.begin() as session:
            work = enqueue(session, "stream", organization_id=organization_id, object_id=id, key=id)
            stream = Stream(
                id=id,
                organization_id=organization_id,
                job_id=work.id,
                source=self.runtime.vault.seal(source.as_json()),
                source_label=source.label,
                source_kind=source.kind,
                platform=source.platform,
                protocol=source.protocol,
                options=options,
                admitted=True,
            )
            session.add(stream)
        return id

    def work(self, owner: str = "here/1") -> None:
        """Do all that can be done now."""
        while run_one(self.runtime, owner=owner, suspects=None):
            pass

    def hurry(self) -> None:
        """What waits for a better time need not wait any more."""
        with self.runtime.db.begin() as session:
            session.execute(update(Work).where(Work.state == "waiting").values(run_at=now()))

    def again(self, id: str = "str_1") -> None:
        """Somebody tries the stream again, as its service does."""
        with self.runtime.db.begin() as session:
            stream = session.get_one(Stream, id)
            stream.state, stream.admitted = "pending", True
            retry(session, stream.job_id)

    def stream(self, id: str = "str_1") -> Stream:
        with self.runtime.db.read() as session:
            return session.get_one(Stream, id)

    def job(self, id: str = "str_1") -> Work:
        with self.runtime.db.read() as session:
            return get(session, self.stream(id).job_id)

    def highlights(self, id: str = "str_1") -> Sequence[Highlight]:
        with self.runtime.db.read() as session:
            mine = Highlight.of(ORGANIZATION).where(Highlight.stream_id == id)
            return session.scalars(mine.order_by(Highlight.ordinal)).all()

    def events(self, id: str = "str_1") -> Sequence[Event]:
        with self.runtime.db.read() as session:
            mine = Event.of(ORGANIZATION).where(Event.stream_id == id)
            return session.scalars(mine.order_by(Event.sequence)).all()

    def usage(self) -> dict[str, int]:
        """Key -> amount of every record."""
        with self.runtime.db.read() as session:
            return {row.key: row.amount for row in session.scalars(UsageRecord.of(ORGANIZATION))}

    def seen(self, id: str) -> dict[str, Any]:
        """All that a customer can see of a stream, without ids and times."""
        stream, highlights, events = self.stream(id), self.highlights(id), self.events(id)
        store = self.runtime.storage
        return {
            "state": stream.state,
            "totals": (stream.duration, stream.analysed_seconds, stream.highlight_count, stream.warnings),
            "highlights": [
                (h.ordinal, h.state, h.start, h.end, h.peak, h.score, h.types, h.title, h.evidence)
                for h in highlights
            ],
            "clips": [store.stat(h.clip_key or "").sha256 for h in highlights],
            "recorded": [h.clip["sha256"] for h in highlights],
            "pictures": [store.stat(h.thumbnail_key or "").sha256 for h in highlights],
            "files": sum(1 for _ in store.list(f"{ORGANIZATION}/{id}")),
            "events": [
                (e.type, {k: v for k, v in e.data.items() if k not in TOLD})
                for e in events
                if e.type != "stream.progress"  # told at the end of a piece, which may be another one
            ],
            "gaps": [n for n, e in enumerate(events, 1) if e.sequence != n],
        }

    def charged(self, id: str) -> Counter[str]:
        """What a stream is charged for in all: a piece that begins anew ends elsewhere."""
        own = id.removeprefix("str_")
        sums = Counter[str]()
        for key, amount in self.usage().items():
            if own in key:
                sums[key.split("/")[1]] += amount
        return sums


# --- workers that die ----------------------------------------------------------------------------------

FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload([__name__])  # a worker starts in no time: all is imported already


def work_apart(settings: dict[str, Any], jobs: Sequence[str], diaries: Path) -> int:
    """Do these jobs in a process of its own: how it ended.

    In a file for each job it writes down what it takes upon itself: a line for each piece that it measures,
    and for each clip that it cuts.
    """
    return _apart(_work_apart, settings, jobs, diaries)


def _apart(target: Callable[..., None], *arguments: Any) -> int:
    process = FORKS.Process(target=target, args=arguments)
    process.start()
    process.join()
    assert process.exitcode is not None
    return process.exitcode


def _work_apart(settings: dict[str, Any], jobs: Sequence[str], diaries: Path) -> None:
    set_up_logs(level=logging.ERROR)
    measure, cut = run.measure, run.cut_apart
    job = ""

    def note(*words: object) -> None:
        with (diaries / job).open("ab", buffering=0) as file:
            file.write((" ".join(map(str, words)) + "\n").encode())

    def measured(visit: Any, **how: Any) -> Iterator[Any]:
        for piece in measure(visit, **how):
            note("measured", piece.signals.first)
            yield piece

    def cutting(visit: Any, specs: Any, **how: Any) -> Iterator[Any]:
        for spec in specs:
            note("cut", spec.path.parent.name)
        yield from cut(visit, specs, **how)

    run.measure, run.cut_apart = measured, cutting
    with opened(Settings(**settings), product_kinds()) as runtime:
        for job in jobs:
            run_one(runtime, owner=f"dying/{job}", id=job, suspects=None)


def swell_apart(settings: dict[str, Any], job: str) -> int:
    """The same, but what reads the source takes more and more memory in the worker's own process."""
    return _apart(_swell_apart, settings, job)


def _swell_apart(settings: dict[str, Any], job: str) -> None:
    def measured(visit: Any, **how: Any) -> Iterator[Any]:
        heap: list[bytes] = []
        while len(heap) < 40:  # 2 GB: whoever has come so far is held by no limit
            heap.append(b"x" * 50_000_000)
            time.sleep(0.1)
        yield from ()

    set_up_logs(level=logging.CRITICAL)
    run.measure = measured
    with opened(Settings(**settings), product_kinds()) as runtime:
        runtime.leases.memory = runtime.settings.worker_memory_mb * 1_000_000
        run_one(runtime, owner=f"dying/{job}", id=job, suspects=None)
