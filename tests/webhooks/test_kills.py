"""W1: receivers that fail, workers that are killed, and every event arrives, under its id, signed.

500 events and a kill every 2 s; with TLDR_LONG_TESTS=1 10 000 and one every 20 s.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil

from tests.core.servers import AUTHORITY, Peer, Request
from tests.program import Program
from tests.schema import migrated
from tests.services import Backend
from tests.webhooks.shop import Receiver, Shop, receiver, shop_on, verified
from tldr_highlight.core.work import LIGHT
from tldr_highlight.worker.embedded import EmbeddedWorker, hold_data_dir

SRC = Path(__file__).parents[2] / "src"

LONG = os.environ.get("TLDR_LONG_TESTS") == "1"
EVENTS, EVERY_SECONDS = (10_000, 20.0) if LONG else (500, 2.0)
STREAMS = 25
PATIENCE = 600.0 if LONG else 90.0

Kill = Callable[[], object]


@contextlib.contextmanager
def embedded(shop: Shop, start: Callable[..., Program]) -> Iterator[Kill]:
    with hold_data_dir(shop.runtime.data_dir):
        worker = EmbeddedWorker(shop.runtime)
        worker.start()
        try:
            yield lambda: [kill(pid) for pid in worker.pids().values()]
        finally:
            worker.stop()


@contextlib.contextmanager
def scaled(shop: Shop, start: Callable[..., Program]) -> Iterator[Kill]:
    settings = shop.runtime.settings
    assert settings.database_url
    assert settings.broker_url
    values = {
        "DATA_DIR": settings.data_dir,  # with the key that opens secrets
        "DATABASE_URL": settings.database_url.get_secret_value(),
        "BROKER_URL": settings.broker_url.get_secret_value(),
        "ALLOW_NETWORKS": settings.allow_networks,
        "CA_FILE": AUTHORITY,
        "WEBHOOK_TIMEOUT_SECONDS": settings.webhook_timeout_seconds,
        "WORKER_LEASE_SECONDS": settings.worker_lease_seconds,
        "WORKER_THREADS": 1,
    }
    env = {f"TLDR_{name}": str(value) for name, value in values.items()} | {"PYTHONPATH": str(SRC)}
    worker = start("worker", *(part for name in LIGHT for part in ("--queues", name)), env=env)
    worker.says(r"ready")

    def one() -> None:
        places = [p for pool in psutil.Process(worker.pid).children() for p in pool.children()]
        kill(random.choice(places).pid)

    yield one
    worker.end()


def kill(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def failing(chance: random.Random) -> Callable[[Receiver, Request, Peer], object]:
    """Fails three times of ten, in three ways."""

    def answer(receiver: Receiver, request: Request, peer: Peer) -> object:
        lot = chance.random()
        if lot < 0.1:
            return peer.reply("500 Oops")
        if lot < 0.2:
            return peer.reply("503 Busy", b"later", "Retry-After: 1")
        if lot < 0.3:
            return False
        return peer.reply("200 OK")

    return answer


def test_every_event_arrives_whoever_is_killed(
    deployment: Backend, tmp_path: Path, program: Callable[..., Program]
) -> None:
    seed = random.randrange(1 << 32)
    print("seed", seed)
    quick = {"webhook_timeout_seconds": 3.0, "worker_lease_seconds": 3.0}
    run = embedded if deployment.name == "embedded" else scaled
    with (
        shop_on(deployment, tmp_path, fill=migrated, broker_url=deployment.redis_url, **quick) as shop,
        receiver(failing(random.Random(seed))) as bad,
        receiver() as good,
        run(shop, program) as kill_some,
    ):
        ids = {r.url: shop.endpoint(r, "stream.*", schedule=",".join(["1"] * 20)) for r in (bad, good)}
        wait(lambda: all(shop.webhook(id).status == "active" for id in ids.values()), "they are verified")
        over = threading.Event()
        kills = Counter[str]()

        def go_on_killing() -> None:
            while not over.wait(EVERY_SECONDS):
                kill_some()
                kills["kills"] += 1

        killer = threading.Thread(target=go_on_killing)
        killer.start()
        chance = random.Random(seed + 1)
        try:
            events = [e for _ in range(EVENTS) for e in shop.tell(f"str_{chance.randrange(STREAMS)}")]
            wait(lambda: kills["kills"] >= 3, "three were killed")
        finally:
            over.set()
            killer.join()
        for id in ids.values():
            wait(lambda id=id: shop.settled(id), "all have arrived")
        for there in (bad, good):
            id = ids[there.url]
            assert {d.state for d in shop.deliveries(id)} == {"delivered"}
            arrived = Counter(verified(request, there.secret)["id"] for request in there.got)
            assert arrived.keys() == set(events)
            compare_with_log(shop, id, arrived)


def compare_with_log(shop: Shop, webhook_id: str, arrived: Counter[str]) -> None:
    """Attempts = receiver's log, but for those without an answer: nobody knows whether they came."""
    event_of = {d.id: d.event_id for d in shop.deliveries(webhook_id)}
    attempts = shop.attempts(webhook_id)
    answered = Counter(event_of[a.delivery_id] for a in attempts if a.status is not None)
    all_ = Counter(event_of[a.delivery_id] for a in attempts)
    wrong = {e: (answered[e], arrived[e], all_[e]) for e in all_ if not answered[e] <= arrived[e] <= all_[e]}
    assert wrong == {}
    numbers = {d.id: d.attempts for d in shop.deliveries(webhook_id)}
    assert Counter(a.delivery_id for a in attempts) == numbers


def wait(condition: Callable[[], object], what: str) -> None:
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, f"waited in vain until {what}"
        time.sleep(0.1)
