"""Work for tests of real worker processes. What it does shows in a file, a line each, whoever dies."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from pathlib import Path

from sqlalchemy import func, select

from tldr_highlight.core.work import Job, Kind, Kinds, LeaseLostError, Work, get, kinds_of
from tldr_highlight.runtime import Runtime

CHORES = "tests.worker.chores:chores"

RUNG = "tests.worker.chores:rung"
"""Chores of a worker that does not look for any: it does what it is rung for, and what is there at first."""


def say(job: Job[Runtime], *words: object) -> None:
    """Add a line: job, process, words. Lines of processes that write at once do not mix."""
    line = " ".join(map(str, (job.object_id, os.getpid(), *words)))
    with Path(job.payload["file"]).open("ab", buffering=0) as file:
        file.write(f"{line}\n".encode())


def note(job: Job[Runtime]) -> None:
    say(job, "did", time.time(), job.runtime.url)


def kill(job: Job[Runtime]) -> None:
    """Says how many others its death takes along."""
    time.sleep(0.3)
    with job.runtime.db.read() as session:
        process = (get(session, job.id).owner or "").rpartition("/")[0]
        here = func.substr(Work.owner, 1, len(process)) == process
        others = session.scalar(select(func.count()).where(here, Work.state == "running", Work.id != job.id))
    say(job, "starts", "beside", others)
    os.kill(os.getpid(), signal.SIGKILL)


def hang(job: Job[Runtime]) -> None:
    """Hangs where it hurts most: in a transaction."""
    say(job, "starts")
    with job.step():
        threading.Event().wait()


def bloat(job: Job[Runtime]) -> None:
    say(job, "starts")
    heap: list[bytearray] = []
    while True:
        heap.append(bytearray(b"x" * 20_000_000))
        time.sleep(0.02)


def count(job: Job[Runtime]) -> None:
    """Counts to `payload["to"]`, a step each, and says what it was allowed to write."""
    for number in range(job.checkpoint.get("number", 0), job.payload["to"]):
        if job.payload.get("asks", True):
            job.ask()
        say(job, "counts", number)
        try:
            with job.step() as session:
                job.save(session, checkpoint={"number": number + 1})
        except LeaseLostError:
            say(job, "refused", number)
            raise
        say(job, "wrote", number, time.time())
        time.sleep(job.payload.get("pause", 0.05))
    say(job, "counted")


def stubborn(job: Job[Runtime]) -> None:
    """Takes its time, and never asks."""
    say(job, "starts")
    time.sleep(job.payload.get("seconds", 60))
    say(job, "finished")


def chores() -> Kinds:
    return kinds_of(
        Kind("note", note),
        Kind("kill", kill),
        Kind("hang", hang, limit_seconds=0.5),
        Kind("bloat", bloat),
        Kind("count", count),
        Kind("stubborn", stubborn),
    )


def rung() -> Kinds:
    from tldr_highlight.worker import child, scaled

    for module in (child, scaled, sys.modules["__main__"]):  # where `child` runs as the main one
        vars(module)["LOOK_SECONDS"] = 3600.0
    return chores()
