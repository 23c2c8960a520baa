from __future__ import annotations

import io
import json
import re
from pathlib import Path

import pytest
from fastapi import Request

from tests.api.world import World, world_on
from tests.services import Backend, SQLite
from tldr_highlight.api.edge import HEADERS
from tldr_highlight.api.openapi import codes

TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


def lines(logged: io.StringIO) -> list[dict[str, object]]:
    return [json.loads(line) for line in logged.getvalue().splitlines()]


@pytest.mark.parametrize(
    "path", ["/health/live", "/nothing", "/api/v1/keys", "/api/v1/openapi.json", "/docs"]
)
def test_every_answer_keeps_browsers_from_harm(light_world: World, path: str) -> None:
    answer = light_world.client.get(path)
    assert HEADERS.keys() <= answer.headers.keys()
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert "strict-transport-security" not in answer.headers
    assert len(answer.headers.get_list("cache-control")) == 1


def test_https_is_for_ever_where_it_is_used(sqlite: SQLite, tmp_path: Path) -> None:
    with (
        sqlite.databases(tmp_path) as new,
        world_on(Backend("sqlite", new), tmp_path, public_url="https://h.example.com") as world,
    ):
        assert "max-age=" in world.client.get("/nothing").headers["strict-transport-security"]


def test_a_trace_is_continued(light_world: World) -> None:
    answer = light_world.client.get("/nothing", headers={"traceparent": TRACE})
    assert answer.headers["x-trace-id"] == TRACE.split("-")[1] == answer.json()["trace_id"]
    assert answer.headers["traceparent"].split("-")[2] != TRACE.split("-")[2]


@pytest.mark.parametrize("header", ["", "x", "00-" + "0" * 32 + "-00f067aa0ba902b7-01", "\xff" * 300])
def test_a_trace_that_is_none_is_replaced(light_world: World, header: str) -> None:
    headers = {"traceparent": header.encode("latin-1")}
    answer = light_world.client.get("/nothing", headers=headers)
    assert re.fullmatch("[0-9a-f]{32}", answer.json()["trace_id"])
    assert set(answer.json()["trace_id"]) != {"0"}


def test_unknown_addresses_and_methods_are_problems(light_world: World) -> None:
    nothing = light_world.client.get("/api/v1/nothing")
    assert (nothing.status_code, nothing.json()["code"]) == (404, "not_found")
    wrong = light_world.client.put("/api/v1/keys")
    assert (wrong.status_code, wrong.json()["code"]) == (405, "method_not_allowed")
    assert {"GET", "HEAD", "POST"} == set(wrong.headers["allow"].split(", "))
    slash = light_world.client.get("/api/v1/keys/", follow_redirects=False)
    assert slash.status_code == 404
    for answer in (nothing, wrong, slash):
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json()["trace_id"] == answer.headers["x-trace-id"]


def test_head_is_get_without_its_body(light_world: World) -> None:
    caller = light_world.caller()
    for path in ("/health/live", "/api/v1/keys", "/docs", "/nothing"):
        whole = light_world.client.get(path, headers=caller)
        head = light_world.client.head(path, headers=caller)
        assert (head.status_code, head.content) == (whole.status_code, b"")
        assert head.headers["content-length"] == whole.headers["content-length"]


def test_what_nobody_foresaw_is_a_problem_and_in_the_log(light_world: World, logged: io.StringIO) -> None:
    @light_world.app.get("/broken")
    async def broken(request: Request) -> None:
        raise ZeroDivisionError("the secret tldr_live_abcdefghijklmnop")

    answer = light_world.client.get("/broken")
    assert (answer.status_code, answer.json()["code"]) == (500, "internal")
    assert "Zero" not in answer.text
    assert HEADERS.keys() <= answer.headers.keys()
    found = [line for line in lines(logged) if line.get("trace_id") == answer.json()["trace_id"]]
    assert any("ZeroDivisionError" in str(line.get("exception")) for line in found)
    assert "tldr_live_abc" not in logged.getvalue()


def test_a_request_leaves_one_line_without_secrets(light_world: World, logged: io.StringIO) -> None:
    caller = light_world.caller()
    path = "/api/v1/keys?cursor=canary_query&limit=7"
    answer = light_world.client.post(path, json={"name": "canary-body"}, headers=caller)
    assert answer.status_code == 201
    assert light_world.client.get("/api/v1/keys/key_canarypath", headers=caller).status_code in {404, 405}
    told = [line for line in lines(logged) if line["event"] == "answered"]
    assert len(told) == 2
    first = told[0]
    assert (first["method"], first["operation"], first["status"]) == ("POST", "create_key", 201)
    assert first["path"] == "/api/v1/keys"
    assert str(first["caller"]).startswith("key_")
    assert first["trace_id"] == answer.headers["x-trace-id"]
    for canary in ("canary", caller["X-API-Key"], answer.json()["key"]):
        assert canary not in logged.getvalue()


def test_pages_of_other_origins_may_not_call(light_world: World) -> None:
    answer = light_world.client.get("/health/live", headers={"Origin": "https://pages.example.com"})
    assert "access-control-allow-origin" not in answer.headers
    preflight = light_world.client.options(
        "/api/v1/keys", headers={"Origin": "https://x.example.com", "Access-Control-Request-Method": "GET"}
    )
    assert preflight.status_code == 405


def test_pages_of_named_origins_may(sqlite: SQLite, tmp_path: Path) -> None:
    ours, other = "https://pages.example.com", "https://other.example.com"
    with (
        sqlite.databases(tmp_path) as new,
        world_on(Backend("sqlite", new), tmp_path, cors_origins=f"{ours}, http://localhost:3000") as world,
    ):
        for origin, allowed in ((ours, ours), (other, None)):
            answer = world.client.get("/api/v1/keys", headers={"Origin": origin})
            assert answer.headers.get("access-control-allow-origin") == allowed
            assert "access-control-allow-credentials" not in answer.headers
        asked = {"Origin": ours, "Access-Control-Request-Method": "POST"}
        asked["Access-Control-Request-Headers"] = "x-api-key,idempotency-key,content-type"
        preflight = world.client.options("/api/v1/keys", headers=asked)
        assert preflight.status_code == 200
        assert "x-api-key" in preflight.headers["access-control-allow-headers"].lower()
        asked["Access-Control-Request-Headers"] = "last-event-id"  # of who follows events without EventSource
        assert world.client.options("/api/v1/events/stream", headers=asked).status_code == 200
        exposed = world.client.get("/api/v1/me", headers={"Origin": ours, **world.caller()}).headers
        names = {name.strip().lower() for name in exposed["access-control-expose-headers"].split(",")}
        assert {name for name in exposed if "ratelimit" in name} <= names
        for wrong, what in (
            ({"Origin": other}, "origin"),
            ({"Access-Control-Request-Method": "BREW"}, "method"),
        ):
            refused = world.client.options("/api/v1/keys", headers={**asked, **wrong})
            assert (refused.status_code, refused.headers["content-type"]) == (400, "application/problem+json")
            assert refused.json()["detail"].endswith(f"because of its {what}")
            assert refused.json()["trace_id"] == refused.headers["x-trace-id"]
            assert "origin" in refused.headers["vary"].lower()


def test_every_type_of_a_problem_leads_to_its_words(light_world: World) -> None:
    page = light_world.client.get("/docs/errors").text
    for code in codes():
        assert f'<tr id="{code}">' in page
    assert light_world.client.get("/nothing").json()["type"] == "/docs/errors#not_found"


def test_the_documentation_needs_nothing_from_elsewhere(light_world: World) -> None:
    page = light_world.client.get("/docs")
    assert page.headers["content-type"].startswith("text/html")
    assert re.findall(r'(?:src|href)="(?!#|/)[^"]*"', page.text) == []
    assert "<script" not in page.text
    assert "style=" not in page.text
    for path, item in light_world.document["paths"].items():
        for operation in item.values():
            assert f'id="{operation["operationId"]}"' in page.text, path
    assert light_world.client.get("/docs/style.css").headers["content-type"].startswith("text/css")
