"""R21: as many streams as the plan has, however many are submitted at once; quotas; nobody starves."""

from __future__ import annotations

import random
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from sqlalchemy import func, select

from tests.streams import stand_in
from tests.streams.house import URL, House
from tldr_highlight.accounts import plan_change
from tldr_highlight.core.work import Job, enqueue, run_one
from tldr_highlight.errors import QuotaError
from tldr_highlight.runtime import Act, Caller
from tldr_highlight.streams import uploads
from tldr_highlight.streams.models import Stream
from tldr_highlight.tenancy.models import Organization
from tldr_highlight.usage import ledger
from tldr_highlight.usage.quotas import Metric

LIMIT, SUBMITTED, WORKERS = 3, 100, 5


class Watch:
    """How many streams are worked on at once."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.now = self.most = 0
        self.order: list[str] = []

    def run(self, job: Job[Any]) -> None:
        with self.lock:
            self.now += 1
            self.most = max(self.most, self.now)
            self.order.append(job.object_id or "")
        try:
            stand_in.begin(job)
        finally:
            with self.lock:
                self.now -= 1


def admitted(house: House) -> int:
    with house.world.runtime.db.read() as session:
        query = select(func.count()).select_from(Stream.of(house.id).where(Stream.admitted).subquery())
        return session.scalar(query) or 0


def test_never_more_than_the_plan_has_and_all_get_their_turn(house: House) -> None:
    house.limits(concurrent_streams=LIMIT)
    runtime = house.world.runtime
    watch, over = Watch(), threading.Event()
    runtime.kinds = stand_in.kinds(watch.run)
    most: list[int] = []

    def work(name: int) -> None:
        while not over.is_set() or admitted(house):
            if not run_one(runtime, owner=f"w{name}"):
                most.append(admitted(house))
                over.wait(0.02)

    with ThreadPoolExecutor(WORKERS + 10) as threads:
        workers = [threads.submit(work, name) for name in range(WORKERS)]
        streams = list(threads.map(lambda _: house.submit()["id"], range(SUBMITTED)))
        over.set()
        for worker in workers:
            worker.result(60)
    assert max(most) <= LIMIT
    assert 1 < watch.most <= LIMIT
    assert sorted(watch.order) == sorted(streams)
    states = {row["state"] for row in house.call("GET", "/streams?limit=100").json()["data"]}
    assert states == {"completed"}


def test_who_waits_longest_comes_next(house: House) -> None:
    house.limits(concurrent_streams=1)
    streams = [house.submit()["id"] for _ in range(5)]
    watch = Watch()
    house.work(watch.run)
    assert watch.order == streams


def test_cancelling_many_at_once_locks_nobody_out(house: House) -> None:
    """Everybody wants the organization's row, and somebody else's work."""
    house.limits(concurrent_streams=2)
    streams = [house.submit()["id"] for _ in range(30)]
    seed = 20261125
    print(f"seed {seed}")
    random.Random(seed).shuffle(streams)
    runtime = house.world.runtime
    runtime.kinds = stand_in.kinds()

    def disturb(id: str) -> int:
        run_one(runtime, owner=id)
        return house.call("DELETE" if id[-1] in "0123456789" else "POST", f"/streams/{id}" + (
            "" if id[-1] in "0123456789" else "/cancel")).status_code  # fmt: skip

    with ThreadPoolExecutor(10) as threads:
        answers = list(threads.map(disturb, streams))
    assert set(answers) <= {202, 204, 409}, answers
    house.work(stand_in.begin)
    left = house.call("GET", "/streams?limit=100").json()["data"]
    assert {row["state"] for row in left} <= {"cancelled", "completed"}
    assert admitted(house) == 0


def test_a_hundred_wait_and_no_more(light_house: House) -> None:
    house = light_house
    house.limits(concurrent_streams=1)
    assert house.call("POST", "/batches", {"sources": [{"url": URL}] * 100}).json()["count"] == 100
    house.submit()
    answer = house.call("POST", "/streams", {"url": URL})
    assert (answer.status_code, answer.json()["code"]) == (429, "too_many_pending")
    assert int(answer.headers["Retry-After"]) > 0
    house.work(stand_in.begin, most=1)
    assert house.call("POST", "/streams", {"url": URL}).status_code == 202


# --- quotas --------------------------------------------------------------------------------------------

MINUTE, GB = 60_000, 10**9
USED_UP = [
    ("STARTER", Metric.PROCESSING_MS, 1_000 * MINUTE),
    ("STARTER", Metric.STORED_BYTES, 10 * GB),
    ("PROFESSIONAL", Metric.PROCESSING_MS, 20_000 * MINUTE),
    ("ENTERPRISE", Metric.STORED_BYTES, 2_000 * GB),
]
CAPPED = [
    ("STARTER", Metric.STORED_BYTES, 10 * GB, 300),
    ("PROFESSIONAL", Metric.PROCESSING_MS, 10_000 * MINUTE, 100),
    ("PROFESSIONAL", Metric.STORED_BYTES, 150 * GB, 150),
]


@pytest.mark.parametrize(
    ("plan", "metric", "amount", "cap"),
    [*((*each, None) for each in USED_UP), *CAPPED],
    ids=[*(f"{p}-{m}" for p, m, _ in USED_UP), *(f"{p}-{m}-{cap}" for p, m, _, cap in CAPPED)],
)
def test_what_is_used_up_is_refused(
    light_house: House, plan: str, metric: Metric, amount: int, cap: int | None
) -> None:
    if cap is not None:
        light_house.key = light_house.world.person(light_house.id, "admin")
        set_to = light_house.call("POST", "/organization/overage-cap", {"percent": cap})
        assert set_to.json()["overage_cap_percent"] == cap
    with light_house.world.runtime.db.begin() as session:
        session.get_one(Organization, light_house.id).plan = plan
        ledger.record(session, light_house.id, metric, amount - 1, key="before")
    assert light_house.call("POST", "/streams", {"url": URL}).status_code == 202
    with light_house.world.runtime.db.begin() as session:
        ledger.record(session, light_house.id, metric, 1, key="the last")
    answer = light_house.call("POST", "/streams", {"url": URL})
    assert (answer.status_code, answer.json()["code"]) == (402, "quota_exceeded")
    assert answer.json()["used"] == answer.json()["allowed"]


def test_nobody_stores_more_than_the_plan_has_however_many_try_at_once(house: House) -> None:
    """Files that are recorded, and uploads that set room aside."""
    house.limits(storage_gb=1050 / GB)
    runtime = house.world.runtime
    with runtime.db.begin() as session:
        session.get_one(Organization, house.id).plan = "STARTER"
        ledger.record(session, house.id, Metric.STORED_BYTES, 500, key="before")

    def store(number: int) -> bool:
        if number % 2:
            about = {"Upload-Length": "100"}
            return house.call("POST", "/uploads", **about).status_code == 201
        try:
            with runtime.db.begin() as session:
                uploads.require_room(session, house.id, 100)
                ledger.record(session, house.id, Metric.STORED_BYTES, 100, key=f"file/{number}")
        except QuotaError:
            return False
        return True

    with ThreadPoolExecutor(12) as threads:
        assert sum(threads.map(store, range(24))) == 5


def test_a_larger_plan_lets_more_in_at_once(house: House) -> None:
    house.limits(concurrent_streams=1)
    streams = [house.submit()["id"] for _ in range(3)]
    assert admitted(house) == 1
    with house.world.runtime.db.begin() as session:
        act = Act(house.world.runtime, Caller(house.id, name="shell"), session=session)
        plan_change.override(act, {"concurrent_streams": 2})
    assert [house.get(id)["waiting"]["reason"] for id in streams] == [
        "worker",
        "worker",
        "concurrent_streams",
    ]


def test_who_was_passed_over_is_found(house: House) -> None:
    """A stream whose work somebody held when its turn came, without doing anything with it."""
    house.limits(concurrent_streams=1)
    first, second = house.submit(), house.submit()
    house.set(first["id"], admitted=False, state="completed")
    assert house.get(second)["waiting"]["reason"] == "concurrent_streams"
    runtime = house.world.runtime
    with runtime.db.begin() as session:
        looking = enqueue(session, "admission").id
    assert run_one(runtime, owner="test", id=looking)
    assert house.get(second)["waiting"]["reason"] == "worker"
