"""The OpenAPI document: valid, whole, checked in, bounded, with examples that fit."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from openapi_spec_validator import validate

from tests.api.world import PASSWORD, World
from tldr_highlight.api.docs import encoded
from tldr_highlight.api.examples import UNKNOWN
from tldr_highlight.api.openapi import codes

KEPT = Path(__file__).parents[2] / "docs" / "openapi.json"


@pytest.fixture
def document(light_world: World) -> dict[str, Any]:
    return json.loads(light_world.client.get("/api/v1/openapi.json").content)


def operations(document: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for path, item in document["paths"].items():
        for method, operation in item.items():
            yield f"{method} {path}", operation


def compatible(operation: dict[str, Any]) -> bool:
    """Whether it is as another service has it: with its errors, and keys that are ignored."""
    return operation["tags"] == ["compatible clip calls"]


def test_it_is_valid(document: dict[str, Any]) -> None:
    assert document["openapi"].startswith("3.1")
    validate(document)


def test_it_is_the_one_that_is_checked_in(document: dict[str, Any]) -> None:
    assert KEPT.read_text("utf-8") == encoded(document), "run: tldr-highlight openapi > docs/openapi.json"


def test_what_is_answered_about_other_organizations_is_told(light_world: World) -> None:
    person, elsewhere = light_world.person(light_world.organization()), light_world.organization()
    email = light_world.client.get("/api/v1/me", headers=person).json()["user"]["email"]
    body = {"email": email, "password": PASSWORD, "organization_id": elsewhere}
    for path, headers in (("login", {}), ("session", {"Sec-Fetch-Site": "same-origin", "Host": "localhost"})):
        answer = light_world.client.post(f"/api/v1/auth/{path}", json=body, headers=headers)
        assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
        told(light_world.document, f"/api/v1/auth/{path}", answer)
    cross = light_world.client.post("/api/v1/auth/session", json=body)
    assert (cross.status_code, cross.json()["code"]) == (403, "cross_site")
    told(light_world.document, "/api/v1/auth/session", cross)
    assert "404" in light_world.document["paths"]["/api/v1/organization/leave"]["post"]["responses"]


def told(document: dict[str, Any], path: str, answer: Any) -> None:
    """The document knows this answer."""
    [content] = document["paths"][path]["post"]["responses"][str(answer.status_code)]["content"].values()
    assert answer.json()["code"] in content["examples"]


def test_the_cookie_is_a_way_in_of_its_own(document: dict[str, Any]) -> None:
    scheme = document["components"]["securitySchemes"]["cookie"]
    assert (scheme["type"], scheme["in"], scheme["name"]) == ("apiKey", "cookie", "__Host-tldr_session")
    for name, operation in operations(document):
        used = [next(iter(way)) for way in operation["security"] if way]
        assert ({} in operation["security"]) == compatible(operation), name
        assert used in ([], ["bearer", "cookie"], ["key", "bearer", "cookie"]), name
        if used and not name.startswith("get") and not compatible(operation):
            [content] = operation["responses"]["403"]["content"].values()
            assert "cross_site" in content["examples"], name


def test_every_operation_says_all(document: dict[str, Any]) -> None:
    ids = [operation["operationId"] for _, operation in operations(document)]
    assert len(ids) == len(set(ids))
    for name, operation in operations(document):
        assert operation["summary"], name
        assert not operation["summary"].endswith("."), name
        assert operation["description"], name
        assert operation["tags"], name
        assert "security" in operation, name
        assert {"500", "503"} <= operation["responses"].keys(), name
        if operation["security"]:
            assert {"401", "403", "429"} <= operation["responses"].keys(), name
            closed = {"x-scope", "x-role", "x-operator"} & operation.keys()
            assert closed or {"key": []} not in operation["security"] or "/me" in name, name
        if "{" in name:
            assert "404" in operation["responses"] or "/admin/" in name, name
        if "requestBody" in operation:
            invalid = "400" if compatible(operation) else "422"
            assert {"400", "408", "413", "415", invalid} <= operation["responses"].keys(), name


def test_creating_calls_can_be_sent_twice(document: dict[str, Any]) -> None:
    taking = {
        name for name, operation in operations(document)
        if {"$ref": "#/components/parameters/IdempotencyKey"} in operation.get("parameters", [])
    }  # fmt: skip
    creating = {name for name, operation in operations(document) if "201" in operation["responses"]}
    assert "post /api/v1/keys" in taking
    # The contract leaves registration out: its key is shown once, and addresses are unique.
    without = {name for name in creating - taking if "/auth/" not in name}
    # A file is not kept to be compared: tus sends it again where it broke.
    assert without == {"post /api/v1/uploads"}


def with_examples(document: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any], list[Any]]]:
    """(where, schema, examples) of every body, answer and parameter."""
    for name, operation in operations(document):
        for parameter in operation.get("parameters", []):
            if "schema" in parameter:
                yield f"{name} {parameter['name']}", parameter["schema"], [parameter.get("example")]
        bodies = {"body": operation.get("requestBody", {}), **operation["responses"]}
        for what, body in bodies.items():
            for content in body.get("content", {}).values():
                given = [each["value"] for each in content.get("examples", {}).values()]
                yield f"{name} {what}", content["schema"], given or [content.get("example", UNKNOWN)]


def test_every_example_fits_its_schema(document: dict[str, Any]) -> None:
    found = list(with_examples(document))
    assert len(found) > 30
    for where, schema, examples in found:
        whole = {"components": document["components"], **schema}
        for example in examples:
            assert UNKNOWN not in json.dumps(example, ensure_ascii=False), f"{where}: say Field(examples=[…])"
            jsonschema.Draft202012Validator(whole).validate(example)


def inputs(document: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every schema of what callers send, and what it holds."""
    schemas = document["components"]["schemas"]
    left: list[tuple[str, dict[str, Any]]] = []
    for name, operation in operations(document):
        left += [
            (f"{name} {p['name']}", p["schema"]) for p in operation.get("parameters", []) if "schema" in p
        ]
        for content in operation.get("requestBody", {}).get("content", {}).values():
            if not compatible(operation):  # what is ignored is bounded by the size of the body alone
                left.append((name, content["schema"]))
    while left:
        where, schema = left.pop()
        yield where, schema
        if "$ref" in schema:
            left.append((schema["$ref"], schemas[schema["$ref"].rpartition("/")[2]]))
        left += [(where, each) for each in schema.get("anyOf", [])]
        left += [(f"{where}.{name}", each) for name, each in schema.get("properties", {}).items()]
        more = schema.get("additionalProperties")
        left += [(f"{where}.*", more)] if isinstance(more, dict) else []
        left += [(f"{where}[]", schema["items"])] if isinstance(schema.get("items"), dict) else []


ENDLESS = ("*", "+", ",}")
"""What makes a pattern take texts without end."""


def bounded(schema: dict[str, Any]) -> bool:
    kind, said = schema.get("type"), schema.keys()
    if said & {"$ref", "anyOf", "enum", "const"} or kind in {"boolean", "null"}:
        return True
    if kind == "string":
        ends = "pattern" in said and not any(sign in schema["pattern"] for sign in ENDLESS)
        return ends or bool(said & {"maxLength", "format"})
    if kind in {"integer", "number"}:
        return bool(said & {"maximum", "exclusiveMaximum"}) and bool(said & {"minimum", "exclusiveMinimum"})
    if kind == "object" and isinstance(schema.get("additionalProperties"), dict):  # names that callers choose
        return "maxProperties" in said
    return "maxItems" in said if kind == "array" else schema.get("additionalProperties") is False


def test_everything_that_callers_send_is_bounded(document: dict[str, Any]) -> None:
    unbounded = {where for where, schema in inputs(document) if not bounded(schema)}
    assert unbounded == set()


def test_every_error_that_is_named_exists(document: dict[str, Any]) -> None:
    known = codes()
    for name, operation in operations(document):
        for status, response in operation["responses"].items():
            content = response.get("content", {}).get("application/problem+json", {})
            for code in content.get("examples", {}):
                assert str(known[code].status) == status, name
