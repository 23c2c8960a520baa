"""Callers: a process that sends one request again and again over many connections and measures each.

`python -m benchmarks.api.load` takes an order as JSON on stdin (keys and tokens are in no argument list) and
prints what it measured. A closed loop: each connection sends its next request when it has the answer to the
one before; with `pace`, at fixed times, and a late answer counts from when its request was due, so that a
stall hits all that would have been asked meanwhile. asyncio's protocols on uvloop, no HTTP library: 30 000
requests per second and core, so that what is measured is the server.
"""

from __future__ import annotations

import asyncio
import gc
import json
import random
import statistics
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import NamedTuple, cast
from urllib.parse import urlsplit

import uvloop


@dataclass(frozen=True)
class Order:
    """What to send, and how."""

    url: str
    connections: int = 1
    seconds: float = 0.0  # of measuring; 0: each connection sends one request
    warm_up: float = 0.0  # seconds before
    pace: float = 0.0  # seconds between the requests of a connection; 0: as fast as answers come
    method: str = "GET"
    headers: dict[str, str] = field(default_factory=dict)  # `{n}` is the connection's number, from 1
    body: dict[str, str] | None = None

    @property
    def address(self) -> tuple[str, int]:
        parts = urlsplit(self.url)
        return parts.hostname or "", parts.port or 80

    def requests(self) -> Iterator[bytes]:
        """Each connection's request."""
        parts = urlsplit(self.url)
        body = json.dumps(self.body).encode() if self.body else b""
        headers = {"Host": parts.netloc, **self.headers}
        if body:
            headers |= {"Content-Type": "application/json", "Content-Length": str(len(body))}
        head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        for n in range(1, self.connections + 1):
            start = f"{self.method} {parts.path} HTTP/1.1\r\n{head}\r\n".replace("{n}", str(n))
            yield start.encode() + body


class Measured(NamedTuple):
    """What came of it; times in milliseconds."""

    per_second: float
    requests: int
    p50: float
    p95: float
    p99: float
    worst: float
    statuses: dict[str, int]  # "lost": connections that ended without an answer


def measured(latencies: Sequence[float], statuses: dict[str, int], seconds: float) -> Measured:
    """Figures from seconds each request took."""
    if len(latencies) < 2:
        raise ValueError(f"{len(latencies)} answers are too few to say anything: {statuses}")
    cuts = statistics.quantiles(latencies, n=100, method="inclusive")
    worst = max(latencies)
    p50, p95, p99, top = (1000 * s for s in (cuts[49], cuts[94], cuts[98], worst))
    return Measured(len(latencies) / seconds, len(latencies), p50, p95, p99, top, statuses)


class Load:
    """All callers together, and what they saw."""

    def __init__(self, order: Order) -> None:
        self.order = order
        self.latencies: list[float] = []
        self.statuses: Counter[str] = Counter()
        self.counting = False
        self.over = asyncio.Event()

    def saw(self, status: str, seconds: float) -> None:
        if self.counting:
            self.latencies.append(seconds)
            self.statuses[status] += 1

    async def run(self) -> Measured:
        loop = asyncio.get_running_loop()
        host, port = self.order.address
        callers = [Caller(self, request) for request in self.order.requests()]
        for caller in callers:
            await loop.create_connection(lambda c=caller: c, host, port)
        self.counting = not self.order.warm_up
        began = time.perf_counter()
        for caller in callers:
            caller.begin()
        if not self.order.seconds:
            await asyncio.gather(*(caller.done for caller in callers))
            return self._result(time.perf_counter() - began)
        await asyncio.sleep(self.order.warm_up)
        self.counting, began = True, time.perf_counter()
        await asyncio.sleep(self.order.seconds)
        self.counting = False
        result = self._result(time.perf_counter() - began)
        self.over.set()
        return result

    def _result(self, seconds: float) -> Measured:
        return measured(self.latencies, dict(self.statuses), seconds)


class Caller(asyncio.Protocol):
    """One connection."""

    def __init__(self, load: Load, request: bytes) -> None:
        self.load, self.request = load, request
        self.loop = asyncio.get_running_loop()
        self.done: asyncio.Future[None] = self.loop.create_future()
        self.transport: asyncio.Transport
        self.received = b""
        self.sent = self.due = 0.0
        self.waiting = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)  # uvloop's derives from nothing

    def begin(self) -> None:
        self.due = time.perf_counter() + self.load.order.pace * random.random()  # not all at once
        self.send_when_due()

    def send_when_due(self) -> None:
        early = self.due - time.perf_counter()
        if early > 0:
            self.loop.call_later(early, self.send)
        else:
            self.send(late=-early if self.load.order.pace else 0.0)

    def send(self, late: float = 0.0) -> None:
        self.sent = time.perf_counter() - late
        self.waiting = True
        self.transport.write(self.request)

    def data_received(self, data: bytes) -> None:
        self.received += data
        head, end, body = self.received.partition(b"\r\n\r\n")
        if not end or len(body) < _length(head):
            return
        self.received = b""
        self.waiting = False
        self.load.saw(head[9:12].decode(), time.perf_counter() - self.sent)
        if not self.load.order.seconds:
            self.done.set_result(None)
        elif self.load.over.is_set():
            self.transport.close()
        else:
            self.due += self.load.order.pace
            self.send_when_due()

    def connection_lost(self, exc: Exception | None) -> None:
        if self.waiting:
            self.load.statuses["lost"] += 1
        if not self.done.done():
            self.done.set_result(None)


def _length(head: bytes) -> int:
    """Bytes of the body; every answer of ours says it."""
    at = head.lower().find(b"\r\ncontent-length:")
    return 0 if at < 0 else int(head[at + 17 :].split(b"\r\n", 1)[0])


async def _run(order: Order) -> Measured:
    return await Load(order).run()


def main() -> None:
    order = Order(**json.loads(sys.stdin.read()))
    gc.disable()  # 30 MB a minute at most
    print(json.dumps(uvloop.run(_run(order))._asdict()))


def as_json(order: Order) -> str:
    return json.dumps(asdict(order))


if __name__ == "__main__":
    main()
