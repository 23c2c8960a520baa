"""Operations are found by address; those that read one row are answered without a turn in a thread."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.api.world import world_on
from tests.services import Backend
from tldr_highlight import web
from tldr_highlight.tenancy import auth, callers


def turns(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Addresses of requests that take a turn in a thread, from now on."""
    seen: list[str] = []
    original = web.in_thread

    async def in_thread(request: Any, call: Any, *given: Any, **named: Any) -> Any:
        seen.append(request.url.path)
        return await original(request, call, *given, **named)

    monkeypatch.setattr(web, "in_thread", in_thread)
    monkeypatch.setattr(auth, "in_thread", in_thread)
    return seen


def test_who_is_known_and_reads_one_row_takes_no_thread(
    deployment: Backend, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(callers, "REMEMBERED_SECONDS", 3600)
    with world_on(deployment, tmp_path) as world:
        caller = world.key(world.organization())
        stranger = world.key(world.organization())
        [key] = world.client.get("/api/v1/keys", headers=caller).json()["data"]
        assert world.client.get("/api/v1/organization", headers=stranger).status_code == 200
        taken = turns(monkeypatch)
        assert world.client.get("/api/v1/organization", headers=caller).status_code == 200
        assert world.client.get(f"/api/v1/keys/{key['id']}", headers=caller).json() == key
        assert world.client.get("/api/v1/keys/key_nobodys", headers=caller).status_code == 404
        assert world.client.get(f"/api/v1/keys/{key['id']}", headers=stranger).status_code == 404
        assert taken == []
        assert world.client.get("/api/v1/keys", headers=caller).status_code == 200
        assert taken == ["/api/v1/keys"]


def test_addresses_are_found_as_by_the_router(backend: Backend, tmp_path: Path) -> None:
    with world_on(backend, tmp_path) as world:
        caller = world.key(world.organization())
        assert world.client.get("/api/v1/organization", headers=caller).status_code == 200
        assert world.client.head("/api/v1/organization", headers=caller).status_code == 200
        answer = world.client.put("/api/v1/organization", headers=caller)
        assert (answer.status_code, answer.headers["allow"]) == (405, "GET, HEAD, PATCH")
        assert world.client.get("/api/v1/organization/", headers=caller).status_code == 404
