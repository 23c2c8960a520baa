"""The benchmark of the API measures what it says, counts what went wrong, and can miss each of its bounds."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.api.contest import (
    BARE,
    EMBEDDED,
    SCALED,
    Beside,
    Figures,
    asked,
    bare,
    bounds,
    first_answer,
    ours,
    round_of,
    rungs,
    share,
)
from benchmarks.api.load import Measured, Order, as_json, measured

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"
BUSY = b"HTTP/1.1 503 Busy\r\ncontent-length: 0\r\n\r\n"


def told(order: Order, answers: list[bytes], stall: float = 0.0) -> Measured:
    """What callers measure of a server that gives each connection these answers, then OK; "" hangs up.

    All wait once for `stall` seconds, 0.2 s after the first is there.
    """

    began = False

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal began
        if stall and not began:
            asyncio.get_running_loop().call_later(0.2, time.sleep, stall)
        began = True
        left = list(answers)
        try:
            while await reader.readuntil(b"\r\n\r\n"):
                answer = left.pop(0) if left else OK
                if not answer:
                    break
                writer.write(answer)
        except (asyncio.IncompleteReadError, ConnectionResetError):  # the caller has enough
            pass
        finally:
            writer.close()

    async def run() -> Measured:
        async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            text = as_json(replace(order, url=f"http://127.0.0.1:{port}/x"))
            command = [sys.executable, "-m", "benchmarks.api.load"]
            done = await asyncio.to_thread(
                subprocess.run, command, input=text, capture_output=True, text=True, check=False
            )
            assert not done.returncode, done.stderr
            return Measured(**json.loads(done.stdout))

    return asyncio.run(run())


def test_figures_of_latencies() -> None:
    found = measured([n / 1000 for n in range(1, 102)], {"200": 101}, 2.0)
    assert found[:6] == pytest.approx((50.5, 101, 51.0, 96.0, 100.0, 101.0))
    assert found.statuses == {"200": 101}
    with pytest.raises(ValueError, match="too few"):
        measured([0.1], {"200": 1}, 1.0)


def test_each_connection_has_its_request() -> None:
    order = Order(
        "http://h:1/p", 2, method="POST", headers={"X-Forwarded-For": "10.0.0.{n}"}, body={"a": "b"}
    )
    first, second = order.requests()
    assert first.startswith(b"POST /p HTTP/1.1\r\nHost: h:1\r\nX-Forwarded-For: 10.0.0.1\r\n")
    assert first.endswith(b'Content-Length: 10\r\n\r\n{"a": "b"}')
    assert second == first.replace(b"10.0.0.1", b"10.0.0.2")


def test_every_status_is_counted_and_so_are_lost_connections() -> None:
    assert told(Order("", 3), [BUSY]).statuses == {"503": 3}
    assert told(Order("", 2, seconds=0.3), [OK, BUSY, OK, b""]).statuses == {"200": 4, "503": 2, "lost": 2}


def test_a_stall_hits_all_that_would_have_been_asked_meanwhile() -> None:
    found = told(Order("", 1, seconds=1.0, pace=0.02), [], stall=0.4)
    assert 35 <= found.requests <= 52
    assert found.worst >= 300
    assert found.p50 < 100
    late = told(Order("", 1, seconds=1.0, pace=0.02), [], stall=0.65)
    assert late.p50 > 100  # more than half were due while nobody answered


def figures(per_second: float) -> Figures:
    return Figures(Measured(per_second, 100, 1.0, 2.0, 3.0, 4.0, {"200": 100}), 100.0)


def beside(p95: float, grown: float) -> Beside:
    alone = Measured(200, 100, 1.0, 2.0, 3.0, 4.0, {"200": 100})
    return Beside(alone, alone._replace(p95=p95), alone, 1.0, grown)


def test_a_share_is_the_median_of_pairs() -> None:
    rounds = {
        BARE: [figures(100), figures(1000), figures(100)],
        EMBEDDED: [figures(50), figures(300), figures(40)],
    }
    assert share(rounds, EMBEDDED) == pytest.approx(0.4)


@pytest.mark.parametrize(
    ("missed", "rates", "p95", "grown", "start"),
    [
        (set[int](), (34, 21), 4.0, 100, 3.0),
        ({0}, (33, 21), 4.0, 100, 3.0),
        ({1}, (34, 19), 4.0, 100, 3.0),
        ({2}, (34, 21), 4.1, 100, 3.0),
        ({3}, (34, 21), 4.0, 101, 3.0),
        ({4}, (34, 21), 4.0, 100, 3.1),
    ],
)
def test_each_promise_can_be_broken(
    missed: set[int], rates: tuple[float, float], p95: float, grown: float, start: float
) -> None:
    rounds = {BARE: [figures(100)], EMBEDDED: [figures(rates[0])], SCALED: [figures(rates[1])]}
    checks = bounds(rounds, {EMBEDDED: beside(p95, grown)}, [start])
    assert {n for n, check in enumerate(checks) if not check.kept} == missed
    assert len(checks) == 5


def test_it_runs(tmp_path: Path) -> None:
    with bare(tmp_path) as [in_the_loop, in_a_thread], ours(EMBEDDED, tmp_path) as server:
        for each in (in_the_loop, in_a_thread, server):
            found = round_of(each, 0.3)
            assert found.measured.requests > 10
            assert 10 < found.cpu_us < 100_000
        with rungs(server, tmp_path) as steps:
            assert [asked(step.order(0.2)).statuses.keys() for step in steps] == [{"200"}] * 5
        server.headers["X-API-Key"] = "tldr_live_nobodys"
        with pytest.raises(RuntimeError, match="401"):
            asked(server.order(0.2))
    assert 0 < first_answer(server) < 60
