"""Events: in the transaction that makes them true, numbered without gaps, whoever writes at the same time."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from sqlalchemy import select

from tests.schema import tables
from tests.services import Backend
from tldr_highlight.core.telemetry import new_trace, trace_id, tracing
from tldr_highlight.core.work import enqueue
from tldr_highlight.runtime import Runtime, opened
from tldr_highlight.settings import Settings
from tldr_highlight.tenancy.models import Organization
from tldr_highlight.webhooks.catalogue import PlanChanged, StreamCancelled
from tldr_highlight.webhooks.events import DELIVER, emit, wanted
from tldr_highlight.webhooks.models import Delivery, Event, Webhook

CHANGED = PlanChanged(old_plan="STARTER", new_plan="ENTERPRISE", limits={"members": 100})


@pytest.fixture
def runtime(backend: Backend, tmp_path: Path) -> Iterator[Runtime]:
    with opened(Settings(data_dir=tmp_path, database_url=backend.database(tables))) as made:
        with made.db.begin() as session:
            session.add(Organization(id="org_1", name="One"))
        yield made


class Undone(Exception):  # noqa: N818
    pass


def test_sequences_have_no_gaps_though_transactions_fail(runtime: Runtime) -> None:
    """8 writers, 25 events each on 2 streams, a third of them rolled back."""
    seed = random.randrange(1 << 32)
    print("seed", seed)

    def write(number: int) -> None:
        chance = random.Random(seed + number)
        for _ in range(25):
            try:
                with runtime.db.begin() as session:
                    stream = chance.choice(["str_a", "str_b"])
                    emit(session, "org_1", StreamCancelled(stream_id=stream, highlights=0), stream_id=stream)
                    if chance.random() < 0.33:
                        raise Undone
            except Undone:
                pass

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(write, range(8)))
    with runtime.db.read() as session:
        for stream in ("str_a", "str_b"):
            rows = session.scalars(select(Event).where(Event.stream_id == stream)).all()
            assert len(rows) > 20
            assert sorted(r.sequence or 0 for r in rows) == list(range(1, len(rows) + 1))


def test_an_event_of_no_stream_has_no_number(runtime: Runtime) -> None:
    trace = new_trace()
    with tracing(trace), runtime.db.begin() as session:
        event = emit(session, "org_1", CHANGED)
    with runtime.db.read() as session:
        stored = session.get_one(Event, event.id)
    assert (stored.type, stored.sequence, stored.data) == ("plan.changed", None, CHANGED.model_dump())
    assert stored.trace_id == trace_id(trace)


def test_an_event_ends_with_its_transaction(runtime: Runtime) -> None:
    def fail() -> None:
        with runtime.db.begin() as session:
            emit(session, "org_1", CHANGED)
            raise Undone

    with pytest.raises(Undone):
        fail()
    with runtime.db.read() as session:
        assert session.scalars(select(Event)).all() == []


def test_who_tells_of_several_things_waits_for_nobody_who_does_so_too(runtime: Runtime) -> None:
    """Each wants the work of both endpoints: in one order, or two of them would wait for each other."""
    with runtime.db.begin() as session:
        for name, patterns in (("a", ["stream.*"]), ("b", ["plan.*"])):
            about = {"url": "https://example.com", "secret": "x", "status": "active"}
            session.add(Webhook(id=f"whk_{name}", organization_id="org_1", events=patterns, **about))
            enqueue(session, DELIVER, key=f"whk_{name}", priority="soon")
    payloads = [StreamCancelled(stream_id="str_a", highlights=0), CHANGED]
    together = threading.Barrier(8)

    def tell(number: int) -> None:
        together.wait()
        for _ in range(15):
            with runtime.db.begin() as session:
                for payload in payloads if number % 2 else payloads[::-1]:
                    emit(session, "org_1", payload)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(tell, range(8)))
    with runtime.db.read() as session:
        assert len(session.scalars(select(Delivery)).all()) == 2 * 8 * 15


@pytest.mark.parametrize(
    ("patterns", "type", "is_wanted"),
    [
        (["*"], "plan.changed", True),
        (["stream.*"], "stream.failed", True),
        (["stream.*"], "highlight.ready", False),
        (["stream.failed", "plan.changed"], "plan.changed", True),
        (["stream.fail"], "stream.failed", False),
        ([], "plan.changed", False),
    ],
)
def test_patterns_choose_types(patterns: list[str], type: str, is_wanted: bool) -> None:
    assert wanted(patterns, type) is is_wanted
