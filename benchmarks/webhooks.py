"""How fast events reach a receiver over HTTPS, on this machine.

    python -m benchmarks.webhooks                     # embedded (SQLite), then scaled (PostgreSQL, Redis)
    python -m benchmarks.webhooks --only embedded --backlog 2000 --seconds 5 --drain 3000     # a taste

Prints for each: deliveries per second out of a backlog, to one endpoint; the wait from an event's commit to
its receiver, p50 and p99, at 100 events a second; the memory of what sends while a large backlog is drained.
Goals: 300 per second, p99 of 1 s, no growth. The receiver is a process of its own, which answers at once.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import multiprocessing
import os
import ssl
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Generator
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import psutil
from pydantic import SecretStr
from sqlalchemy import func, select

from tests.core.servers import AUTHORITY, TLS
from tests.schema import migrated
from tests.services import Postgres, Redis
from tldr_highlight.core.telemetry import set_up_logs
from tldr_highlight.runtime import Act, Caller, Runtime, database_url, opened
from tldr_highlight.settings import Settings
from tldr_highlight.tenancy.models import Organization
from tldr_highlight.tenancy.roles import ALL
from tldr_highlight.webhooks import service
from tldr_highlight.webhooks.catalogue import StreamCancelled
from tldr_highlight.webhooks.events import emit
from tldr_highlight.webhooks.models import Delivery, Webhook
from tldr_highlight.worker.bell import bell
from tldr_highlight.worker.embedded import EmbeddedWorker, hold_data_dir
from tldr_highlight.worker.kinds import product_kinds

ORG = "org_benchmark"
STREAMS = 40


# --- the receiver --------------------------------------------------------------------------------------


def receive(pipe: Connection) -> None:
    """Answer at once, and tell when what came; in a process of its own."""
    asyncio.run(_receive(pipe))


async def _receive(pipe: Connection) -> None:
    came: dict[str, float] = {}

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
                headers = dict(line.split(": ", 1) for line in head.split("\r\n")[1:] if line)
                body = json.loads(await reader.readexactly(int(headers["content-length"])))
                came.setdefault(body["id"], time.time())
                answer = body["data"].get("challenge", "ok").encode()
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(answer), answer))

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(TLS / "server.pem")
    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    pipe.send(server.sockets[0].getsockname()[1])
    loop = asyncio.get_running_loop()
    while await loop.run_in_executor(None, pipe.recv):
        pipe.send(dict(came))


@contextlib.contextmanager
def receiver() -> Generator[tuple[str, Callable[[], dict[str, float]]]]:
    """(address, what came when by event id)."""
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(target=receive, args=(theirs,), daemon=True)
    process.start()
    port = ours.recv()

    def came() -> dict[str, float]:
        ours.send(True)
        return ours.recv()

    try:
        yield f"https://127.0.0.1:{port}/hooks", came
    finally:
        ours.send(False)
        process.join(5)


# --- who sends -----------------------------------------------------------------------------------------


@dataclass
class Site:
    """An installation whose workers can be started."""

    runtime: Runtime
    working: Callable[[], contextlib.AbstractContextManager[Callable[[], list[int]]]]  # gives their ids


@contextlib.contextmanager
def embedded(folder: Path) -> Generator[Site]:
    settings = _settings(folder)
    migrated(database_url(settings))

    @contextlib.contextmanager
    def working() -> Generator[Callable[[], list[int]]]:
        worker = EmbeddedWorker(runtime)
        worker.start()
        try:
            yield lambda: list(worker.pids().values())
        finally:
            worker.stop()

    with hold_data_dir(settings.data_dir), opened(settings, product_kinds()) as runtime:
        yield Site(runtime, working)


@contextlib.contextmanager
def scaled(folder: Path) -> Generator[Site]:
    with Postgres(durable=True) as postgres, Redis() as redis, postgres.databases() as new:
        settings = _settings(folder, database_url=SecretStr(new(migrated)), broker_url=SecretStr(redis.url))

        @contextlib.contextmanager
        def working() -> Generator[Callable[[], list[int]]]:
            command = [sys.executable, "-m", "tldr_highlight", "worker", "--queues", "soon"]
            worker = subprocess.Popen(
                command, env=os.environ | _environment(settings), stderr=subprocess.DEVNULL
            )
            try:
                yield lambda: [p.pid for p in psutil.Process(worker.pid).children(recursive=True)]
            finally:
                worker.terminate()
                worker.wait(60)

        with opened(settings, product_kinds()) as runtime, bell(runtime):
            yield Site(runtime, working)


def _settings(folder: Path, **more: Any) -> Settings:
    values = {"data_dir": folder / "data", "allow_networks": "127.0.0.0/8", "ca_file": AUTHORITY, **more}
    (folder / "data").mkdir(parents=True)
    return Settings(**values)


def _environment(settings: Settings) -> dict[str, str]:
    given = {name: getattr(settings, name) for name in settings.model_fields_set}
    plain = {n: v.get_secret_value() if isinstance(v, SecretStr) else str(v) for n, v in given.items()}
    return {f"TLDR_{name.upper()}": value for name, value in plain.items()}


# --- what is measured ----------------------------------------------------------------------------------


def endpoint(runtime: Runtime, url: str) -> str:
    with runtime.db.begin() as session:
        if session.get(Organization, ORG) is None:
            session.add(Organization(id=ORG, name="Benchmark"))
            session.flush()
        webhook, _ = service.add_webhook(
            Act(runtime, Caller(ORG, ALL, name="shell"), session=session), url, ["*"]
        )
        return webhook.id


def tell(runtime: Runtime, count: int, *, at_once: int = 1) -> dict[str, float]:
    """Events of several streams: id -> when its transaction was committed."""
    told: dict[str, float] = {}
    for first in range(0, count, at_once):
        with runtime.db.begin() as session:
            ids = [
                emit(session, ORG, StreamCancelled(stream_id=stream, highlights=n), stream_id=stream).id
                for n in range(first, min(count, first + at_once))
                for stream in [f"str_{n % STREAMS}"]
            ]
        told |= dict.fromkeys(ids, time.time())
    return told


def until(condition: Callable[[], Any], seconds: float = 3600) -> None:
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise SystemExit("gave up waiting")
        time.sleep(0.05)


def is_active(runtime: Runtime, webhook_id: str) -> bool:
    with runtime.db.read() as session:
        return session.get_one(Webhook, webhook_id).status == "active"


def left(runtime: Runtime) -> int:
    with runtime.db.read() as session:
        open_ones = Delivery.of(ORG).where(Delivery.state.in_(("waiting", "sending"))).subquery()
        return session.scalar(select(func.count()).select_from(open_ones)) or 0


def throughput(site: Site, events: int, came: Callable[[], dict[str, float]]) -> None:
    told = tell(site.runtime, events, at_once=100)
    with site.working():
        until(lambda: not left(site.runtime))
    times = sorted(when for id, when in came().items() if id in told)
    print(f"backlog of {events}: {(len(times) - 1) / (times[-1] - times[0]):.0f} deliveries per second")


def latency(site: Site, seconds: float, came: Callable[[], dict[str, float]]) -> None:
    told: dict[str, float] = {}
    with site.working():
        told |= tell(site.runtime, 10)
        until(lambda: not left(site.runtime))
        told.clear()
        began = time.monotonic()
        for number in range(int(seconds * 100)):
            time.sleep(max(0.0, began + number / 100 - time.monotonic()))
            told |= tell(site.runtime, 1)
        took = time.monotonic() - began
        until(lambda: not left(site.runtime))
    arrived = came()
    waits = [1000 * (arrived[id] - when) for id, when in told.items()]
    cuts = statistics.quantiles(waits, n=100)
    print(
        f"{len(waits) / took:.0f} events per second, commit to receiver: p50 {cuts[49]:.0f} ms, "
        f"p99 {cuts[98]:.0f} ms, most {max(waits):.0f} ms"
    )


def memory(site: Site, events: int) -> None:
    tell(site.runtime, events, at_once=500)
    with site.working() as pids:
        rest, seen = threading.Event(), list[tuple[int, float]]()

        def look() -> None:
            while not rest.wait(0.5):
                with contextlib.suppress(psutil.NoSuchProcess):
                    used = max((psutil.Process(p).memory_info().rss for p in pids()), default=0)
                    seen.append((left(site.runtime), used / 1e6))

        watcher = threading.Thread(target=look)
        watcher.start()
        until(lambda: not left(site.runtime))
        rest.set()
        watcher.join()
    early = max(used for rest_, used in seen if rest_ > events * 0.7)
    print(f"backlog of {events} drained: {early:.0f} MB in its first third, {seen[-1][1]:.0f} MB at its end")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--only", choices=["embedded", "scaled"])
    parser.add_argument("--backlog", type=int, default=10_000)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--drain", type=int, default=50_000)
    chosen = parser.parse_args()
    os.environ["PYTHONPATH"] = os.pathsep.join(sys.path)
    set_up_logs(level=60)
    for make in (embedded, scaled):
        if chosen.only not in {None, make.__name__}:
            continue
        print(f"{make.__name__}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
        with tempfile.TemporaryDirectory() as name, make(Path(name)) as site, receiver() as (url, came):
            webhook_id = endpoint(site.runtime, url)
            with site.working():
                until(lambda id=webhook_id, site=site: is_active(site.runtime, id), 60)
            throughput(site, chosen.backlog, came)
            latency(site, chosen.seconds, came)
            memory(site, chosen.drain)


if __name__ == "__main__":
    main()
