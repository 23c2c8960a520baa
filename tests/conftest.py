"""Servers and programs for tests, and what the end of a run says was left out (see `peers.py`)."""

from __future__ import annotations

import gc
import io
import logging
import os
import sys
from collections import Counter
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog
from argon2 import PasswordHasher
from hypothesis import settings

from tests.peers import need
from tests.program import Process, Program, programs
from tests.services import Backend, Postgres, Redis, SQLite
from tldr_highlight.core import db, passwords
from tldr_highlight.core.telemetry import set_up_logs

# no deadline: a machine that is busy for a moment is no finding. The same examples each time, or a change
# would be told of what it has nothing to do with; long runs look for new ones.
LONG = os.environ.get("TLDR_LONG_TESTS") == "1"
settings.register_profile("house", settings.default, deadline=None, print_blob=True, derandomize=not LONG)
settings.load_profile("house")

MARK = "LEFT OUT: "


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> Generator[None]:
    yield
    reasons = Counter(
        report.longrepr[2].partition(MARK)[2]
        for report in terminalreporter.getreports("skipped")
        if isinstance(report.longrepr, tuple) and MARK in report.longrepr[2]
    )
    if reasons:
        terminalreporter.section("LEFT OUT", sep="!", red=True, bold=True)
        for reason, count in sorted(reasons.items()):
            terminalreporter.line(f"{count} test{'s' if count > 1 else ''} not run: {reason}", red=True)


LONG_FIRST = ("walks", "worker", "webhooks", "pipeline", "clips", "media", "cli", "benchmarks")
"""Rooms whose files take longest. They begin first: a minute's file that begins last is waited for alone."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files that take long come first."""
    tests = Path(__file__).parent

    def place(item: pytest.Item) -> int:
        room = item.path.relative_to(tests).parts[0] if item.path.is_relative_to(tests) else ""
        return LONG_FIRST.index(room) if room in LONG_FIRST else len(LONG_FIRST)

    items.sort(key=place)


@pytest.fixture(scope="module", autouse=True)
def small_heap() -> None:
    """Keep what files before this one left, and all that was loaded, out of collections of garbage.

    A clip asks for two, which took 0.2 s each of such a heap: most of what tests of clips took.
    """
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session", autouse=True)
def quick_passwords() -> Iterator[None]:
    """Passwords are hashed as the product does it, but in no time: 50 ms for each installation and login.

    How hard it is made is tested in `core/test_passwords.py`.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(passwords, "PasswordHasher", lambda **_: PasswordHasher(1, 8, 1))
        yield


@pytest.fixture
def slow_passwords(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is opened after this hashes as hard as the product does."""
    monkeypatch.setattr(passwords, "PasswordHasher", PasswordHasher)


set_up_sqlite = db._set_up_sqlite


@pytest.fixture(scope="session", autouse=True)
def quick_commits() -> Iterator[None]:
    """SQLite does not wait for the disk, nor does the run's PostgreSQL: that takes 6 ms for each commit.

    No power fails in tests, and what was committed outlives a process that is killed. Our own command waits.
    """

    def set_up(connection: Any, record: object) -> None:
        set_up_sqlite(connection, record)
        connection.execute("PRAGMA synchronous=OFF")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(db, "_set_up_sqlite", set_up)
        yield


@pytest.fixture
def safe_commits(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is opened after this commits as the product does."""
    monkeypatch.setattr(db, "_set_up_sqlite", set_up_sqlite)


@pytest.fixture
def logged(monkeypatch: pytest.MonkeyPatch) -> Iterator[io.StringIO]:
    """What is logged, as JSON lines on stderr; afterwards lines go where they went before."""
    root, stream = logging.getLogger(), io.StringIO()
    handlers, level, before = root.handlers[:], root.level, structlog.get_config()
    monkeypatch.setattr(sys, "stderr", stream)
    set_up_logs(terminal=False)
    yield stream
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.configure(**before)


# --- servers (see `services.py`) -----------------------------------------------------------------------


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """The run's PostgreSQL; a test that harms one starts its own."""
    with Postgres() as server:
        yield server


@pytest.fixture(scope="session")
def redis() -> Iterator[Redis]:
    """The run's Redis; a test that harms one starts its own."""
    with Redis() as server:
        yield server


@pytest.fixture(scope="session")
def sqlite(tmp_path_factory: pytest.TempPathFactory) -> SQLite:
    """Templates of the run."""
    return SQLite(tmp_path_factory.mktemp("sqlite"))


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of the run's S3 server."""
    need("moto")
    folder = tmp_path_factory.mktemp("s3")
    env = {"PATH": os.defpath, "PYTHONPATH": os.pathsep.join(sys.path)}
    script = Path(__file__).parent / "s3_server.py"
    with Process([sys.executable, script], cwd=folder, log=folder / "output.txt", env=env) as server:
        yield server.says(r"^http://\S+", seconds=60)[0]


@pytest.fixture
def postgres_url(postgres: Postgres) -> Iterator[str]:
    """Address of a new, empty PostgreSQL database."""
    with postgres.databases() as new:
        yield new()


@pytest.fixture
def redis_url(redis: Redis) -> str:
    """Address of an empty Redis."""
    redis.flush()
    return redis.url


@pytest.fixture(params=["sqlite", "postgres"])
def backend(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Backend]:
    """Each database in turn."""
    kept = request.getfixturevalue(request.param)
    with kept.databases(tmp_path) as new:
        yield Backend(request.param, new)


@pytest.fixture(params=["embedded", "scaled"])
def deployment(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Backend]:
    """Each way to run the product in turn: SQLite alone, PostgreSQL and Redis."""
    scaled = request.param == "scaled"
    kept = request.getfixturevalue("postgres" if scaled else "sqlite")
    with kept.databases(tmp_path) as new:
        yield Backend(request.param, new, request.getfixturevalue("redis_url") if scaled else None)


@pytest.fixture
def program(tmp_path: Path) -> Iterator[Callable[..., Program]]:
    """Starts our command: `program("serve", "--port", "0", env={...})`. Nothing of it outlives the test."""
    with programs(tmp_path) as start:
        yield start
