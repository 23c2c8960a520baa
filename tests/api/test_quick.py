"""Operations are found by address; those that read one row of SQLite are answered without a thread."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest

from tests.api.world import world_on
from tests.services import Backend
from tldr_highlight import web
from tldr_highlight.tenancy.models import ApiKey


def test_one_row_of_sqlite_is_read_on_the_event_loop(
    backend: Backend, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []
    original = ApiKey.get_for

    def get_for(*given: object, **named: object) -> object:
        seen.append(threading.current_thread().name)
        return original(*given, **named)

    monkeypatch.setattr(ApiKey, "get_for", get_for)
    with world_on(backend, tmp_path) as world:
        caller = world.key(world.organization())
        [key] = world.client.get("/api/v1/keys", headers=caller).json()["data"]
        assert world.client.get(f"/api/v1/keys/{key['id']}", headers=caller).json() == key
        assert world.client.get("/api/v1/keys/key_nobodys", headers=caller).status_code == 404
    assert len(seen) == 2
    assert {name.startswith("request") for name in seen} == {backend.name == "postgres"}


def test_addresses_are_found_as_by_the_router(backend: Backend, tmp_path: Path) -> None:
    with world_on(backend, tmp_path) as world:
        caller = world.key(world.organization())
        assert world.client.get("/api/v1/organization", headers=caller).status_code == 200
        assert world.client.head("/api/v1/organization", headers=caller).status_code == 200
        answer = world.client.put("/api/v1/organization", headers=caller)
        assert (answer.status_code, answer.headers["allow"]) == (405, "GET, HEAD, PATCH")
        assert world.client.get("/api/v1/organization/", headers=caller).status_code == 404


def test_gate_and_operation_share_a_turn_in_a_thread(
    backend: Backend, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    turns: list[str] = []
    original = web.in_thread

    async def in_thread(request: Any, call: Any, *given: Any, **named: Any) -> Any:
        turns.append(request.url.path)
        return await original(request, call, *given, **named)

    monkeypatch.setattr(web, "in_thread", in_thread)
    with world_on(backend, tmp_path) as world:
        caller = world.key(world.organization())
        assert world.client.get("/api/v1/organization", headers=caller).status_code == 200  # not known yet
        assert world.client.get("/api/v1/organization", headers={"X-API-Key": "no"}).status_code == 401
    assert turns == ["/api/v1/organization"] * 2
