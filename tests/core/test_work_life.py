"""A row's life against a simple model: whatever happens in whatever order, both agree."""

from __future__ import annotations

import contextlib
import functools
import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from sqlalchemy import update
from sqlalchemy.orm import Session

from tests.schema import tables
from tldr_highlight.core import work
from tldr_highlight.core.db import now
from tldr_highlight.core.work import POISON, CancelledError, Job, Kind, StoppingError, Work, enqueue, kinds_of
from tldr_highlight.errors import ConflictError, DiskFullError, NotMediaError, SourceError, TldrError
from tldr_highlight.runtime import Runtime, opened
from tldr_highlight.settings import Settings

TRIES = 3
OVER = {"done", "failed", "cancelled"}
MEMORY = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
"""A thousand small transactions take 20 s on a busy disk."""


@functools.cache
def empty() -> bytes:
    """A database with tables."""
    with tempfile.TemporaryDirectory() as folder:
        tables(f"sqlite:///{folder}/test.db")
        return Path(folder, "test.db").read_bytes()


@dataclass
class Model:
    """What a row should be."""

    state: str = "waiting"
    due: bool = True
    attempts: int = 0
    waits: int = 0
    crashes: int = 0
    claims: int = 0
    part: int = 0  # of the checkpoint
    cancel: bool = False
    code: str | None = None
    told: list[tuple[str, str | None]] = field(default_factory=list)

    def end(self, state: str, code: str | None = None) -> None:
        self.state, self.code = state, code
        if state in OVER:
            self.told.append((state, code))

    def wait(self, code: str | None, *, due: bool = False) -> None:
        self.end("waiting", code)
        self.due = due


ENDS: dict[str, BaseException | None] = {
    "done": None,
    "transient": SourceError("x"),
    "permanent": NotMediaError("x"),
    "resource": DiskFullError("x"),
    "stop": StoppingError(),
    "cancel": CancelledError(),
    "mistake": RuntimeError("x"),
}


class Life(RuleBasedStateMachine):
    @initialize()
    def hand_in(self) -> None:
        self.stack = contextlib.ExitStack()
        folder = Path(self.stack.enter_context(tempfile.TemporaryDirectory(dir=MEMORY)))
        url = f"sqlite:///{folder / 'test.db'}"
        (folder / "test.db").write_bytes(empty())
        self.then: Callable[[Job[Runtime]], None] = lambda job: None
        self.told: list[tuple[str, str | None]] = []
        kind = Kind("chore", self.chore, on_end=self.tell, tries=TRIES)
        self.shop = self.stack.enter_context(
            opened(Settings(data_dir=folder, database_url=url), kinds_of(kind))
        )
        with self.shop.db.begin() as session:
            self.id = enqueue(session, "chore").id
        self.model = Model()

    def chore(self, job: Job[Runtime]) -> None:
        self.then(job)

    def tell(self, session: Session, runtime: Runtime, row: Work, error: TldrError | None) -> None:
        self.told.append((row.state, error.code if error else None))

    def teardown(self) -> None:
        self.stack.close()

    def change(self, **values: Any) -> None:
        with self.shop.db.begin() as session:
            session.execute(update(Work).where(Work.id == self.id).values(values))

    @rule(
        end=st.sampled_from(sorted(ENDS)),
        saves=st.integers(0, 2),
        suspects=st.sampled_from([True, False, None]),
    )
    def run(self, end: str, saves: int, suspects: bool | None) -> None:
        """A worker takes it if it may, saves so many checkpoints, and ends so."""
        ran: list[int] = []

        def then(job: Job[Runtime]) -> None:
            ran.append(job.checkpoint.get("part", 0))
            for _ in range(saves):
                with job.step() as session:
                    job.save(session, checkpoint={"part": job.checkpoint.get("part", 0) + 1})
            if (raises := ENDS[end]) is not None:
                raise raises

        self.then = then
        model = self.model
        lapsed = model.state == "running" and suspects is not False
        waiting = model.state == "waiting" and model.due and suspects in {None, model.crashes > 0}
        claimed = work.run_one(self.shop, owner="w/1", suspects=suspects)
        assert claimed == (lapsed or waiting)
        if not claimed:
            return
        model.claims += 1
        model.crashes += lapsed
        if model.crashes >= POISON:
            model.end("failed", "poison")
            model.attempts += 1
        elif model.cancel:
            model.end("cancelled")
        else:
            assert ran == [model.part], "it did not go on where it was"
            self.model_run(end, saves)
            return
        assert ran == []

    def model_run(self, end: str, saves: int) -> None:
        model = self.model
        model.part += saves
        if saves:
            model.attempts = model.waits = model.crashes = 0
        match end:
            case "done":
                model.end("done")
            case "cancel":
                model.end("cancelled")
            case "stop":
                model.wait(None, due=True)
            case "resource":
                model.waits += 1
                model.wait("disk_full")
            case "permanent":
                model.attempts += 1
                model.end("failed", "not_media")
            case _:
                code = "internal" if end == "mistake" else "source_unavailable"
                model.attempts += 1
                if model.attempts < TRIES:
                    model.wait(code)
                else:
                    model.end("failed", code)

    @precondition(lambda self: self.model.state == "waiting" and self.model.due)
    @rule()
    def claim_and_die(self) -> None:
        """A worker claims it and is never heard of again: its lease has lapsed."""
        self.change(
            state="running", owner="dead/1", fence=Work.fence + 1, lease_until=now() - timedelta(seconds=1)
        )
        self.model.state = "running"
        self.model.claims += 1

    @rule()
    def void(self) -> None:
        """Its parent notices."""
        with self.shop.db.begin() as session:
            voided = work.void_leases(session, "dead/")
        assert voided == (self.model.state == "running")
        if voided:
            self.model.state, self.model.due = "waiting", True
            self.model.crashes += 1

    @rule()
    def time_passes(self) -> None:
        self.change(run_at=now() - timedelta(seconds=1))
        self.model.due = True

    @rule()
    def cancel(self) -> None:
        with self.shop.db.begin() as session:
            work.cancel(session, self.id)
        if self.model.state == "waiting":
            self.model.end("cancelled")
        elif self.model.state == "running":
            self.model.cancel = True

    @rule()
    def retry(self) -> None:
        model = self.model
        try:
            with self.shop.db.begin() as session:
                work.retry(session, self.id)
        except ConflictError:
            assert model.state in {"running", "done"}
            return
        assert model.state in {"waiting", "failed", "cancelled"}
        if model.state != "waiting":
            model.attempts = model.waits = model.crashes = 0
            model.state, model.cancel = "waiting", False
        model.due = True

    @invariant()
    def both_agree(self) -> None:
        with self.shop.db.read() as session:
            row = work.get(session, self.id)
        model = self.model
        assert (row.state, row.attempts, row.waits, row.crashes) == (
            model.state, model.attempts, model.waits, model.crashes,
        )  # fmt: skip
        assert row.checkpoint.get("part", 0) == model.part
        assert row.cancel_asked == model.cancel
        assert self.told == model.told
        assert (row.ended_at is not None) == (row.state in OVER)
        assert (row.lease_until is None) == (row.owner is None) == (row.state != "running")
        assert row.fence == model.claims


TestLife = Life.TestCase
TestLife.settings = settings(
    max_examples=1000 if os.environ.get("TLDR_LONG_TESTS") else 25, stateful_step_count=20
)
