"""How fast and how robust work is done by `serve`'s own workers.

python -m benchmarks.work                        # SQLite in a temporary folder; 8 minutes
python -m benchmarks.work postgresql://…         # an empty database
python -m benchmarks.work --only beside          # one of its parts; this one takes 6 minutes

throughput  jobs per second
latency     the wait from handing in to running
idling      what doing nothing costs
resuming    the pause after kill -9
beside      the speed of eight jobs beside one that kills, hangs or bloats its process, and alone  >= 90 %
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import statistics
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
from pydantic import SecretStr
from sqlalchemy import func, select

from tests.schema import tables
from tldr_highlight.core.telemetry import set_up_logs
from tldr_highlight.core.work import Job, Kind, Kinds, Work, enqueue, kinds_of, run_one
from tldr_highlight.runtime import Runtime, database_url, opened
from tldr_highlight.settings import Settings
from tldr_highlight.worker.embedded import EmbeddedWorker

KILLS = 10
SLICES = 500
"""Units of 20 ms in a job whose speed is measured."""

PATIENCE = 600.0
"""Seconds; what takes longer will never happen."""


def say(job: Job[Runtime], *words: object) -> None:
    with Path(job.payload["file"]).open("ab", buffering=0) as file:
        file.write((" ".join(map(str, words)) + "\n").encode())


def note(job: Job[Runtime]) -> None:
    say(job, time.time())


def busy(job: Job[Runtime]) -> None:
    """20 ms of work and a checkpoint, again and again."""
    for number in range(job.checkpoint.get("number", 0), job.payload["slices"]):
        job.ask()
        end = time.thread_time() + 0.02
        while time.thread_time() < end:
            pass
        with job.step() as session:
            job.save(session, checkpoint={"number": number + 1})
        say(job, number, time.time())


def kill(job: Job[Runtime]) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def hang(job: Job[Runtime]) -> None:
    threading.Event().wait()


def bloat(job: Job[Runtime]) -> None:
    heap: list[bytes] = []
    while True:
        heap.append(b"x" * 50_000_000)
        time.sleep(0.01)


def chores() -> Kinds:
    return kinds_of(
        Kind("note", note), Kind("busy", busy), Kind("kill", kill), Kind("bloat", bloat),
        Kind("nothing", lambda job: None), Kind("hang", hang, limit_seconds=2),
    )  # fmt: skip


@contextmanager
def workers(runtime: Runtime) -> Generator[EmbeddedWorker]:
    worker = EmbeddedWorker(runtime, kinds="benchmarks.work:chores")
    worker.start()
    try:
        yield worker
    finally:
        worker.stop()


def add(runtime: Runtime, kind: str, count: int = 1, **payload: Any) -> list[str]:
    with runtime.db.begin() as session:
        return [enqueue(session, kind, payload=payload).id for _ in range(count)]


def until(condition: Callable[[], Any], every: float = 0.005) -> Any:
    end = time.monotonic() + PATIENCE
    while not (found := condition()):
        assert time.monotonic() < end, "it takes too long"
        time.sleep(every)
    return found


def wait(runtime: Runtime, ids: list[str]) -> None:
    over = select(func.count()).where(Work.id.in_(ids), Work.ended_at.is_not(None))

    def all_over() -> bool:
        with runtime.db.read() as session:
            return session.scalar(over) == len(ids)

    until(all_over, 0.05)  # more often, and it is felt by those who work


def lines(file: Path) -> list[list[float]]:
    said = file.read_text().splitlines() if file.exists() else []
    return [[float(word) for word in line.split()] for line in said]


def throughput(runtime: Runtime, folder: Path) -> None:
    for threads in (1, 4, 16):
        ids = add(runtime, "nothing", 800)
        runs = Counter[bool]()
        start = time.perf_counter()

        def work_off(owner: str, runs: Counter[bool] = runs) -> None:
            while run_one(runtime, owner=owner):
                runs[True] += 1

        team = [threading.Thread(target=work_off, args=(f"t{n}",)) for n in range(threads)]
        for thread in team:
            thread.start()
        for thread in team:
            thread.join()
        took = time.perf_counter() - start
        print(f"{threads:2} threads, 800 jobs: {len(ids) / took:.0f}/s, {runs[True] - 800} run twice")


def latency(runtime: Runtime, folder: Path) -> None:
    waits: list[float] = []
    with workers(runtime):
        wait(runtime, add(runtime, "nothing"))
        for number in range(100):
            file = folder / f"note{number}"
            start = time.time()
            add(runtime, "note", file=str(file))
            until(lambda file=file: lines(file))
            waits.append(1000 * (lines(file)[0][0] - start))
            time.sleep(0.02)
    waits.sort()
    print(f"from handing in to running: median {waits[50]:.1f} ms, p95 {waits[95]:.1f} ms")


def resuming(runtime: Runtime, folder: Path) -> None:
    pauses: list[float] = []
    file = folder / "resuming"
    with workers(runtime) as worker:
        (id,) = add(runtime, "busy", file=str(file), slices=100_000)
        for _ in range(KILLS):
            seen = len(lines(file))
            until(lambda seen=seen: len(lines(file)) > seen + 20)
            time.sleep(random.uniform(3, 5))  # more often, and starting again is put off
            victims, killed = list(worker.pids().values()), time.time()
            for pid in victims:
                os.kill(pid, signal.SIGKILL)
            until(lambda killed=killed: lines(file)[-1][1] > killed + 0.1)
            pauses.append(min(when for _, when in lines(file) if when > killed + 0.1) - killed)
        with runtime.db.read() as session:
            state = session.get_one(Work, id)
            print(f"after {KILLS} times kill -9: {state.state}, attempts {state.attempts}")
        numbers = [number for number, _ in lines(file)]
        repeated = len(numbers) - len(set(numbers))
    pauses.sort()
    median = statistics.median(pauses)
    print(f"kill -9 to next result: median {median:.2f} s, most {pauses[-1]:.2f} s; {repeated} results twice")


def idling(runtime: Runtime, folder: Path, seconds: float = 30) -> None:
    with workers(runtime) as worker:
        wait(runtime, add(runtime, "nothing"))
        time.sleep(3)
        child, ours = psutil.Process(worker.pids()["worker"]), psutil.Process()
        before = [sum(p.cpu_times()[:2]) for p in (child, ours)]
        time.sleep(seconds)
        after = [sum(p.cpu_times()[:2]) for p in (child, ours)]
        child_cpu, our_cpu = ((b - a) / seconds for a, b in zip(before, after, strict=True))
        memory = child.memory_info().rss / 1e6
        print(f"idle: child {child_cpu:.2%} of a core and {memory:.0f} MB, server {our_cpu:.2%}")


def speed(runtime: Runtime, folder: Path, *poisons: str) -> float:
    """Seconds that eight jobs take, two at a time, while these are about, which end as poison."""
    name = "-".join(poisons) or "nothing"
    with workers(runtime):
        wait(runtime, add(runtime, "nothing"))
        start = time.time()
        guilty = [id for poison in poisons for id in add(runtime, poison)]
        files = [str(folder / f"{name}{n}") for n in range(8)]
        ids = [id for file in files for id in add(runtime, "busy", file=file, slices=SLICES)]
        wait(runtime, ids)
        took = time.time() - start
        wait(runtime, guilty)
        with runtime.db.read() as session:
            codes = Counter(session.scalars(select(Work.error_code).where(Work.id.in_(guilty))))
    assert codes == Counter({"poison": len(guilty)} if guilty else ()), codes
    print(f"eight jobs of {SLICES} slices beside {name}: {took:.1f} s", flush=True)
    return took


def beside(runtime: Runtime, folder: Path) -> None:
    alone = speed(runtime, folder)
    for poison in ("kill", "hang", "bloat"):
        print(f"  {alone / speed(runtime, folder, poison):.0%} of their speed", flush=True)


PARTS = {part.__name__: part for part in (throughput, latency, idling, resuming, beside)}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.work", description=__doc__)
    parser.add_argument("url", nargs="?", help="of an empty PostgreSQL database")
    parser.add_argument("--only", choices=PARTS, action="append", help="parts of it")
    asked = parser.parse_args()
    os.environ["PYTHONPATH"] = os.pathsep.join(sys.path)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        url = SecretStr(asked.url) if asked.url else None
        settings = Settings(data_dir=folder / "data", database_url=url, worker_memory_mb=400)
        settings.data_dir.mkdir()
        set_up_logs(level=60)
        tables(database_url(settings))
        load = os.getloadavg()[0]
        print(f"{'PostgreSQL' if url else 'SQLite'}, {os.cpu_count()} cores, load {load:.1f}", flush=True)
        with opened(settings, chores()) as runtime:
            for part in asked.only or PARTS:
                PARTS[part](runtime, folder)


if __name__ == "__main__":
    main()
