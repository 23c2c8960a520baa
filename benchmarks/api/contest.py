"""Who serves, how a server is measured, and what the figures must be."""

from __future__ import annotations

import json
import os
import socket
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple, Self

import psutil

from benchmarks.analyse.contest import Bound
from benchmarks.api.load import Measured, Order, as_json
from tests.program import Process, Program
from tests.services import Postgres, Redis
from tests.walks.command import environment
from tldr_highlight.client import Client

CONNECTIONS = 32

BARE, THREAD, EMBEDDED, SCALED = "bare FastAPI", "bare FastAPI, plain def", "embedded", "scaled"
SMALL = "/api/v1/organization"
"""The small object that is read: the organization of the key."""

EMAIL, PASSWORD = "ann@bench.example", "a long enough passphrase"

UNLIMITED = 100_000_000
"""Requests per minute: limits are counted and never reached."""

LOGINS = 200
BESIDE, PACE = 8, 0.04
"""Connections that read while people log in, and seconds between their requests: 200 a second."""


@dataclass
class Server:
    """One that answers."""

    name: str
    process: Process
    url: str
    path: str
    headers: dict[str, str] = field(default_factory=dict)
    does: str = ""

    def order(self, seconds: float) -> Order:
        """Read the small object, as fast as it goes."""
        return Order(self.url + self.path, CONNECTIONS, seconds, min(1.0, seconds / 2), headers=self.headers)

    def cpu_seconds(self) -> float:
        """That its processes used, children included."""
        used = 0.0
        for process in self.process.family():
            with suppress(psutil.NoSuchProcess):
                used += sum(process.cpu_times()[:2])
        return used

    def megabytes(self) -> float:
        """That the process which answers holds."""
        return psutil.Process(self.process.pid).memory_info().rss / 1e6


class Figures(NamedTuple):
    """One round of one server."""

    measured: Measured
    cpu_us: float  # of the server's processes, for each answer


# --- servers -------------------------------------------------------------------------------------------


@contextmanager
def bare(folder: Path) -> Iterator[list[Server]]:
    """FastAPI alone, twice."""
    with _module("benchmarks.api.bare", folder / "bare") as process:
        url = process.says(r"http://\S+")[0]
        yield [
            Server(BARE, process, url, "/async", does="a constant, from the event loop"),
            Server(THREAD, process, url, "/thread", does="a constant, from FastAPI's threads"),
        ]


@contextmanager
def ours(name: str, folder: Path) -> Iterator[Server]:
    """`tldr-highlight serve`: embedded, or scaled with a PostgreSQL and a Redis of its own."""
    with ExitStack() as stack:
        env = _settings(name, stack)
        process = stack.enter_context(Program("serve", "--port", "0", folder=folder / name, env=env))
        url = process.says(r"http://[\d.]+:\d+")[0]
        key = _customer(url, process)
        does = {EMBEDDED: "SQLite, limits in memory", SCALED: "PostgreSQL, limits in Redis"}[name]
        yield Server(name, process, url, SMALL, {"X-API-Key": key}, f"key, limit, one row; {does}")


@contextmanager
def rungs(of: Server, folder: Path) -> Iterator[list[Server]]:
    """The ladder on the data of a server that runs."""
    where = folder / f"{of.name}-rungs"
    with _module("benchmarks.api.rungs", where, of.process.env, of.process.cwd) as process:
        url = process.says(r"http://\S+")[0]
        yield [
            Server("HTTP, FastAPI, our edge", process, url, "/health/live"),
            Server("+ a limit, counted", process, url, "/rungs/public"),
            Server("+ key, scopes", process, url, "/rungs/keyed", of.headers),
            Server("+ one row, its shape", process, url, SMALL, of.headers),
            Server("a thread, a session, no row", process, url, "/rungs/thread", of.headers),
        ]


def _module(
    name: str, folder: Path, env: Mapping[str, str] | None = None, cwd: Path | None = None
) -> Process:
    folder.mkdir(parents=True)
    paths = [str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH", "")]
    return Process(
        [sys.executable, "-m", name],
        cwd=cwd or folder,
        log=folder / "output.txt",
        env={**(env or environment()), "PYTHONPATH": os.pathsep.join(filter(None, paths))},
    )


def _settings(name: str, stack: ExitStack) -> dict[str, str]:
    env = {
        "TLDR_TRUSTED_PROXIES": "127.0.0.0/8",  # so that people can come from 200 addresses
        "TLDR_PUBLIC_REQUESTS_PER_MINUTE": str(UNLIMITED),  # for a rung
    }
    if name == SCALED:
        postgres = stack.enter_context(Postgres(durable=True))
        new = stack.enter_context(postgres.databases())
        env |= {"TLDR_DATABASE_URL": new(), "TLDR_BROKER_URL": stack.enter_context(Redis()).url}
    return env


def _customer(url: str, process: Process) -> str:
    """Register, lift the limits, make a key that may read."""
    with Client(url) as nobody:
        organization = nobody.auth.register(EMAIL, PASSWORD, "Bench").organization.id
    lift = ["org", "plan", organization, "ENTERPRISE", "--set", f"requests_per_minute={UNLIMITED}"]
    command = [sys.executable, "-m", "tldr_highlight", *lift]
    subprocess.run(command, cwd=process.cwd, env=process.env, check=True, capture_output=True)
    with Client.login(url, EMAIL, PASSWORD) as ann:
        return ann.keys.create("bench", scopes=["organizations:read"]).key


# --- measuring -----------------------------------------------------------------------------------------


def _callers() -> subprocess.Popen[str]:
    """In a process of their own."""
    pipe = subprocess.PIPE
    return subprocess.Popen(
        [sys.executable, "-m", "benchmarks.api.load"], stdin=pipe, stdout=pipe, stderr=pipe, text=True
    )


def asked(order: Order) -> Measured:
    """Call as ordered.

    Raises:
        RuntimeError: the callers failed, or some answer was not what it should be.
    """
    with _callers() as process:
        found = _result(process, *process.communicate(as_json(order)))
    if found.statuses.keys() != {"200"}:
        raise RuntimeError(f"{order.url} answered with {found.statuses}")
    return found


def _result(process: subprocess.Popen[str], out: str, err: str) -> Measured:
    if process.returncode:
        raise RuntimeError(f"the callers failed: {err[-500:]}")
    return Measured(**json.loads(out))


def round_of(server: Server, seconds: float) -> Figures:
    """One round. CPU is counted over warm-up and measuring alike."""
    before = server.cpu_seconds()
    order = server.order(seconds)
    found = asked(order)
    used = server.cpu_seconds() - before
    answers = found.per_second * (order.seconds + order.warm_up)
    return Figures(found, 1e6 * used / answers)


class Beside(NamedTuple):
    """What readers feel while 200 people log in at once."""

    alone: Measured
    during: Measured
    logins: Measured
    overlap: float  # share of the readers' time in which people were still logging in
    grown: float  # megabytes that the process which answers took, at most

    @property
    def slower(self) -> float:
        return self.during.p95 / self.alone.p95


def logins_beside(server: Server, seconds: float) -> Beside:
    """Read at a steady pace, alone and while everybody logs in."""
    order = Order(server.url + server.path, BESIDE, seconds, 0.5, PACE, headers=server.headers)
    alone = asked(order)
    with Peak(server) as peak, _callers() as people:
        assert people.stdin
        people.stdin.write(as_json(_logins(server)))
        people.stdin.close()
        people.stdin = None  # so that `communicate` does not write
        began = time.monotonic()
        during = asked(order)
        read = time.monotonic() - began
        logins = _result(people, *people.communicate())
    return Beside(alone, during, logins, min(1.0, logins.worst / 1000 / read), peak.grown)


def _logins(server: Server) -> Order:
    """Everybody at once, each from an address of their own."""
    return Order(
        f"{server.url}/api/v1/auth/login",
        LOGINS,
        method="POST",
        headers={"X-Forwarded-For": "198.51.100.{n}"},
        body={"email": EMAIL, "password": PASSWORD},
    )


class Peak:
    """The most memory that a server held while this was open."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self.grown = 0.0

    def __enter__(self) -> Self:
        self._before = self._server.megabytes()
        self._thread.start()
        return self

    def __exit__(self, *raised: object) -> None:
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._over.wait(0.02):
            self.grown = max(self.grown, self._server.megabytes() - self._before)


def first_answer(of: Server) -> float:
    """Seconds from the start of the command to its first answer, where a server ran before."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    began = time.monotonic()
    with Program("serve", "--port", port, folder=of.process.cwd, env=of.process.env) as again:
        again.answers(f"http://127.0.0.1:{port}/health/live")
        return time.monotonic() - began


# --- judging -------------------------------------------------------------------------------------------


def share(rounds: dict[str, list[Figures]], name: str) -> float:
    """Throughput as a share of the bare route's: the median over rounds."""
    pairs = zip(rounds[name], rounds[BARE], strict=True)
    return statistics.median(mine.measured.per_second / theirs.measured.per_second for mine, theirs in pairs)


def bounds(
    rounds: dict[str, list[Figures]], beside: dict[str, Beside], starts: Sequence[float]
) -> list[Bound]:
    """What was promised."""
    least = {EMBEDDED: 1 / 3, SCALED: 1 / 5}
    checks = [
        Bound(f"throughput, {name} / bare", share(rounds, name), least[name], at_least=True)
        for name in least
        if name in rounds
    ]
    for name, felt in beside.items():
        checks += [
            Bound(f"p95 while {LOGINS} people log in, {name}, times as long", felt.slower, 2, at_least=False),
            Bound(f"MB that takes, {name}", felt.grown, 100, at_least=False),
        ]
    if starts:
        checks.append(Bound("s from start to first answer", statistics.median(starts), 3, at_least=False))
    return checks
