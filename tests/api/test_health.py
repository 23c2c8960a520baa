from __future__ import annotations

import time
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import text

from tests.api.world import World, world_on
from tests.schema import migrated
from tests.services import Backend, Postgres, Redis, SQLite
from tldr_highlight.api import health
from tldr_highlight.core.pulse import HELLO_SECONDS, PATIENCE_SECONDS
from tldr_highlight.core.work import enqueue
from tldr_highlight.web import ANSWER_SECONDS

METRICS = "/metrics"


def test_all_is_well(world: World) -> None:
    assert world.client.get("/health/live").json() == {"status": "ok"}
    answer = world.client.get("/health/ready")
    assert (answer.status_code, answer.json()["status"]) == (200, "ok")
    assert set(answer.json()["checks"].values()) == {"ok"}


def test_a_database_of_another_release_is_not_ready(world: World) -> None:
    with world.runtime.db.begin() as session:
        session.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    answer = world.client.get("/health/ready")
    assert (answer.status_code, answer.json()["status"]) == (503, "down")
    assert "9999" in answer.json()["checks"]["database"]
    assert world.client.get("/health/live").status_code == 200


def test_a_worker_that_died_and_a_full_disk_are_named(
    light_world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    light_world.app.state.worker_runs = lambda: False
    monkeypatch.setattr(health, "RESERVE_BYTES", 1 << 60)
    checks = light_world.client.get("/health/ready").json()["checks"]
    assert checks["worker"] == "not running"
    assert "MB free" in checks["disk"]
    assert checks["database"] == "ok"


def test_a_dead_database_is_503_within_two_seconds_and_comes_back(tmp_path: Path) -> None:
    """R6, on a server of its own that is killed: readiness, reads, writes; then it is started again."""
    with (
        Postgres(durable=True) as server,
        server.databases() as new,
        world_on(Backend("postgres", new), tmp_path) as world,
    ):
        caller = world.caller()
        assert world.client.get("/api/v1/keys", headers=caller).status_code == 200
        server.kill9()
        for method, path in (("GET", "/api/v1/keys"), ("POST", "/api/v1/keys"), ("GET", "/health/ready")):
            began = time.monotonic()
            answer = world.client.request(method, path, headers=caller, json={"name": "x"})
            assert answer.status_code == 503, answer.text
            assert time.monotonic() - began < 2
        assert answer.json()["checks"]["database"] == "does not answer"
        assert world.client.get("/health/live").status_code == 200
        assert world.client.get(METRICS).status_code in {403, 503}
        server.start()
        answers = [world.client.get("/api/v1/keys", headers=caller).status_code for _ in range(5)]
        assert answers[-1] == 200, answers
        assert world.client.post("/api/v1/keys", json={"name": "x"}, headers=caller).status_code == 201


def test_a_database_that_hangs_is_503_and_goes_on(tmp_path: Path) -> None:
    """R6, stopped and not killed: connections stay, and nothing answers. Who is slow is waited for."""
    with (
        Postgres() as server,
        server.databases() as new,
        world_on(Backend("postgres", new), tmp_path) as world,
    ):
        caller = world.caller()
        calls = [
            ("GET", "/api/v1/organization"), ("GET", "/api/v1/keys"), ("POST", "/api/v1/keys"),
            ("GET", "/api/v1/keys"), ("GET", "/health/ready"),
        ]  # fmt: skip
        for method, path in calls:
            assert world.client.request(method, path, headers=caller, json={"name": "x"}).status_code < 300
        with world.runtime.db.read() as session:
            session.execute(text("SELECT pg_sleep(2 * :patience)"), {"patience": PATIENCE_SECONDS})
        server.hang()
        for method, path in calls:
            began = time.monotonic()
            answer = world.client.request(method, path, headers=caller, json={"name": "x"})
            assert answer.status_code == 503, answer.text
            assert "too_slow" not in answer.text
            assert time.monotonic() - began < ANSWER_SECONDS / 2  # 2 s, where nothing else runs
        assert world.client.get("/health/live").status_code == 200
        server.resume()
        time.sleep(HELLO_SECONDS)  # for which what was heard last is believed
        for method, path in calls:
            assert world.client.request(method, path, headers=caller, json={"name": "x"}).status_code < 300


@pytest.mark.parametrize("how", ["hang", "kill9"])
def test_requests_are_served_without_redis_and_that_is_told(tmp_path: Path, sqlite: SQLite, how: str) -> None:
    with (
        Redis() as server,
        sqlite.databases(tmp_path) as new,
        world_on(Backend("sqlite", new), tmp_path, broker_url=server.url) as world,
    ):
        assert world.client.get("/health/ready").json()["checks"]["redis"] == "ok"
        near = nearby(world)
        caller = world.caller()
        before = fallbacks(near)
        getattr(server, how)()
        began = time.monotonic()
        answer = world.client.get("/health/ready")
        assert time.monotonic() - began < 2
        assert (answer.status_code, answer.json()["status"]) == (200, "degraded")
        assert answer.json()["checks"]["redis"].startswith("degraded: does not answer")
        assert [world.client.get("/api/v1/keys", headers=caller).status_code for _ in range(3)] == [200] * 3
        assert fallbacks(near) == before + 3
        world.app.state.worker_runs = lambda: False  # and what requests need is down still
        assert world.client.get("/health/ready").json()["status"] == "down"


def nearby(world: World, address: str = "127.0.0.1") -> TestClient:
    """A caller from there, who calls us by this machine's address."""
    return TestClient(world.app, base_url="http://127.0.0.1:8000", client=(address, 5000))


def fallbacks(near: TestClient) -> float:
    [line] = [s for s in near.get(METRICS).text.splitlines() if s.startswith("tldr_limiter_fallbacks_total")]
    return float(line.split()[1])


def test_metrics_are_for_callers_nearby(sqlite: SQLite, tmp_path: Path) -> None:
    with (
        sqlite.databases(tmp_path) as new,
        world_on(Backend("sqlite", new), tmp_path, metrics_networks="10.1.0.0/16") as world,
    ):
        for address, status in (("127.0.0.1", 200), ("::1", 200), ("10.1.2.3", 200), ("10.2.0.1", 403)):
            assert nearby(world, address).get(METRICS).status_code == status, address
        near = nearby(world)
        for header in ("X-Forwarded-For", "Forwarded", "X-Real-IP", "Via"):
            assert near.get(METRICS, headers={header: "127.0.0.1"}).status_code == 403
        # a proxy here that says nothing of itself: callers use another name than those of this machine
        assert near.get(METRICS, headers={"Host": "highlights.example.com"}).status_code == 403
        assert near.get(METRICS, headers={"Host": "localhost:8000"}).status_code == 200
        named = nearby(world, "10.1.2.3").get(METRICS, headers={"Host": "highlights.example.com"})
        assert named.status_code == 200


def test_metrics_count_requests_and_work(world: World) -> None:
    world.client.get("/api/v1/keys", headers=world.caller())
    world.client.get("/api/v1/keys")
    with world.runtime.db.begin() as session:
        enqueue(session, "mail", key="1")
    near = nearby(world)
    told = near.get(METRICS).text
    assert 'tldr_requests_total{operation="list_keys",status="200"} 1.0' in told
    assert 'tldr_requests_total{operation="list_keys",status="401"} 1.0' in told
    assert 'tldr_work_rows{kind="mail",state="waiting"} 1.0' in told
    assert "tldr_work_oldest_due_seconds" in told
    assert 'tldr_request_seconds_count{operation="list_keys"} 2.0' in told


def test_migrated_is_what_worlds_are_on(backend: Backend) -> None:
    from tldr_highlight.core.db import Database
    from tldr_highlight.core.migrate import HEAD, revision

    db = Database(backend.database(migrated))
    assert revision(db) == HEAD
    db.close()
