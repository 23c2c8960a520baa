"""Bodies that are hostile, too large, or of the wrong kind; unknown fields; nothing of them comes back."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import ValidationError

from tests.api.world import World
from tests.core.test_strict_json import HOSTILE
from tldr_highlight.api.problems import FORMS
from tldr_highlight.core.shapes import Schema
from tldr_highlight.web import BODY_BYTES

JSON = {"Content-Type": "application/json"}


@pytest.mark.parametrize("name", [name for name in HOSTILE if name != "nothing"])
def test_hostile_json_is_refused(light_world: World, name: str) -> None:
    headers = light_world.caller() | JSON
    answer = light_world.client.post("/api/v1/keys", content=HOSTILE[name], headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (400, "request_invalid")


def test_every_pattern_has_words_for_people(light_world: World) -> None:
    found = set(re.findall(r'"pattern": ("(?:[^"\\]|\\.)*")', json.dumps(light_world.document)))
    patterns = {json.loads(text) for text in found} - {"^[!-~]+$"}  # Idempotency-Key's, which is 400
    assert len(patterns) >= 4
    assert patterns <= FORMS.keys()


SAID: dict[str, tuple[str, dict[str, Any], str]] = {
    "a name": ("/keys", {"name": "a\nSECRETX"}, "body.name: has to be one line, without control characters"),
    "the past": (
        "/keys",
        {"name": "x", "expires_at": "2020-01-01T00:00:00Z"},
        "body.expires_at: is in the past",
    ),
    "a network": (
        "/keys",
        {"name": "x", "networks": ["SECRETX"]},
        "body.networks.0: is no network: write 192.0.2.0/24, 2001:db8::/32, or one address",
    ),
    "an id": (
        "/auth/login",
        {"email": "a@b.example", "password": "x", "organization_id": "SECRETX"},
        "body.organization_id: is no id: take those that our answers have, as they are",
    ),
    "events": (
        "/auth/register",
        {
            "email": "a@b.example", "password": "x", "company_name": "c",
            "webhook": {"url": "https://example.com", "events": ["secretx.y"]},
        },
        "body.webhook.events: one of them is no type of event that there is, nor a pattern of some",
    ),
    "a token": (
        "/auth/verify-email",
        {"token": "SECRETX"},
        "body.token: is no token out of one of our mails: copy it whole",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", SAID)
def test_mistakes_are_told_in_sentences(light_world: World, name: str) -> None:
    path, body, words = SAID[name]
    answer = light_world.client.post(f"/api/v1{path}", json=body, headers=light_world.caller())
    assert (answer.status_code, answer.json()["detail"]) == (422, words)
    assert "secretx" not in answer.text.lower()


@pytest.mark.parametrize(
    ("time", "words"),
    [
        ("9999-12-31T23:59:59-00:01", "is before the year 1 or after 9999 in UTC"),
        ("0001-01-01T00:00:00+00:01", "is before the year 1 or after 9999 in UTC"),
        ("1900000000", "is no time: write 2026-11-25T10:00:00Z"),
        (1_900_000_000, "is no time: write 2026-11-25T10:00:00Z"),
    ],
)
def test_times_that_are_none(light_world: World, time: Any, words: str) -> None:
    who = light_world.caller()
    hook = "/webhooks/whk_0"
    for method, path, field in (
        ("POST", "/keys", "expires_at"),
        ("POST", f"{hook}/enable", "resend_since"),
        ("POST", f"{hook}/redeliver", "since"),
        *(
            ("GET", f"/{of}", f"created_{when}")
            for of in ("streams", "highlights")
            for when in ("after", "before")
        ),
    ):
        values = {field: time, **({"name": "x"} if path == "/keys" else {})}
        sent: Any = {"params": values} if method == "GET" else {"json": values}
        answer = light_world.client.request(method, f"/api/v1{path}", headers=who, **sent)
        assert answer.status_code == 422, (path, answer.text)
        assert answer.json()["detail"].endswith(f"{field}: {words}")


def test_a_cursor_that_is_none(light_world: World) -> None:
    answer = light_world.client.get("/api/v1/keys?cursor=%20", headers=light_world.caller())
    assert answer.json()["detail"].startswith("query.cursor: is no cursor")


MISTAKEN = {
    "nothing": (b"", JSON, 422),
    "nothing of a kind": (b"", {}, 422),
    "a list": (b"[]", JSON, 422),
    "null": (b"null", JSON, 422),
    "a text": (b'"x"', JSON, 422),
    "a text of 20 MB": (b'{"name": "' + b"x" * 20_000_000 + b'"}', JSON, 413),
    "a name of 900 kB": (b'{"name": "' + b"x" * 900_000 + b'"}', JSON, 422),
    "a form": (b"name=x", {"Content-Type": "application/x-www-form-urlencoded"}, 415),
    "a file": (b"--b\r\n", {"Content-Type": "multipart/form-data; boundary=b"}, 415),
    "plain text": (b'{"name": "x"}', {"Content-Type": "text/plain"}, 415),
    "gzip": (b'{"name": "x"}', JSON | {"Content-Encoding": "gzip"}, 415),
    "gzip, or nothing": (b'{"name": "x"}', JSON | {"Content-Encoding": "identity, gzip"}, 415),
    "no kind": (b'{"name": "x"}', {}, 415),
    "another charset": (b'{"name": "x"}', {"Content-Type": "application/json; charset=utf-16"}, 415),
    "a kind that is none": (b'{"name": "x"}', {"Content-Type": ";;\xff"}, 415),
    "several lines in a name": (b'{"name": "a\\nb"}', JSON, 422),
    "spaces as a name": (b'{"name": "   "}', JSON, 422),
}


@pytest.mark.parametrize("name", MISTAKEN)
def test_mistaken_bodies_are_refused(light_world: World, name: str) -> None:
    body, kind, status = MISTAKEN[name]
    headers = {k: v.encode("latin-1") for k, v in (light_world.caller() | kind).items()}
    answer = light_world.client.post("/api/v1/keys", content=body, headers=headers)
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["title"] == TITLES[status]
    assert len(answer.content) < 2000


TITLES = {413: "Content Too Large", 415: "Unsupported Media Type", 422: "Unprocessable Content"}
"""RFC 9110's, on every Python."""


@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize(("size", "status"), [(-1, 201), (0, 201), (1, 413)])
def test_the_largest_body_is_exact(light_world: World, chunked: bool, size: int, status: int) -> None:
    body = b'{"name": "x"}'.ljust(BODY_BYTES + size)
    pieces: Any = (body[at : at + 10_000] for at in range(0, len(body), 10_000)) if chunked else body
    answer = light_world.client.post("/api/v1/keys", content=pieces, headers=light_world.caller() | JSON)
    assert answer.status_code == status, answer.text


@pytest.mark.parametrize(
    "name",
    [
        "\u202eevil",
        "a\u2066b",
        "\u200b",
        "a\u200bb",
        "a\u0085b",
        "\ufeffa",
        "a\u00adb",
        "\U000e0041",
        "\u200d",
        "\u0301",
        "\u3164",
        "\u2800 \u2800",
        "\u3000",
    ],
)
def test_names_can_be_seen_as_they_are(light_world: World, name: str) -> None:
    answer = light_world.client.post("/api/v1/keys", json={"name": name}, headers=light_world.caller())
    assert (answer.status_code, answer.json()["code"]) == (422, "validation_failed")
    assert "Value error" not in answer.text


@pytest.mark.parametrize(
    "name", ["A", "7", "!", "Ж", "名前", "👨\u200d👩\u200d👧", "می\u200cخواهم", "e\u0301", "a b"]
)
def test_names_of_all_scripts_are_taken(light_world: World, name: str) -> None:
    answer = light_world.client.post("/api/v1/keys", json={"name": name}, headers=light_world.caller())
    assert (answer.status_code, answer.json()["name"]) == (201, name)


def test_who_may_not_come_in_is_not_listened_to(light_world: World) -> None:
    def never() -> Iterator[bytes]:
        yield b"{"
        raise AssertionError("the body was read")

    answer = light_world.client.post("/api/v1/keys", content=never(), headers=JSON)
    assert answer.status_code == 401


@pytest.mark.parametrize(
    "path", ["/api/v1/keys/key_%00", "/api/v1/keys?cursor=%00", "/api/v1/keys?cursor=a%00b"]
)
def test_nul_in_an_address_is_refused(world: World, path: str) -> None:
    answer = world.client.request("GET" if "?" in path else "DELETE", path, headers=world.caller())
    assert answer.status_code in {400, 422}


@pytest.mark.parametrize("cursor", ["%ED%A0%80", "%FF", "x" * 201, "a'b", "", "%F0%9F%98%80"])
def test_cursors_that_are_none_are_refused(world: World, cursor: str) -> None:
    answer = world.client.get(f"/api/v1/keys?cursor={cursor}", headers=world.caller())
    assert (answer.status_code, answer.json()["code"]) == (422, "validation_failed")


@pytest.mark.parametrize("limit", [0, -1, 101, 2**63, 10**30, "1e1", "NaN", "1.5", " "])
def test_limits_are_within_bounds(light_world: World, limit: object) -> None:
    answer = light_world.client.get(f"/api/v1/keys?limit={limit}", headers=light_world.caller())
    assert answer.status_code == 422
    assert light_world.client.get("/api/v1/keys?limit=100", headers=light_world.caller()).status_code == 200


def test_mistakes_are_listed_and_what_was_sent_is_not(light_world: World) -> None:
    secret = "a-canary-password"
    body = {"name": [secret], "scopes": [secret], "unknown" * 100: secret}
    answer = light_world.client.post("/api/v1/keys", json=body, headers=light_world.caller())
    assert answer.status_code == 422
    errors = answer.json()["errors"]
    assert ["body", "name"] in [error["loc"] for error in errors]
    assert all(error.keys() == {"loc", "code", "message"} for error in errors)
    assert secret not in answer.text
    assert len(answer.content) < 2000


def test_a_thousand_mistakes_make_no_long_answer(light_world: World) -> None:
    body = {f"field_{n}": n for n in range(10_000)}
    answer = light_world.client.post("/api/v1/keys", json=body, headers=light_world.caller())
    assert answer.status_code == 422
    assert len(answer.content) < 10_000


def test_unknown_fields_are_refused_everywhere(light_world: World) -> None:
    """T6, from the document: every schema of a body, and all it holds, is closed."""
    schemas = light_world.document["components"]["schemas"]
    left = [
        content["schema"]
        for path, item in light_world.document["paths"].items()
        if path.startswith("/api/v1/")  # the compatible calls ignore what they do not know
        for operation in item.values()
        for content in operation.get("requestBody", {}).get("content", {}).values()
    ]
    assert left
    while left:
        schema = left.pop()
        if "$ref" in schema:
            left.append(schemas[schema["$ref"].rpartition("/")[2]])
        elif schema.get("type") == "object":
            if "propertyNames" in schema:  # a map, whose keys are the caller's
                assert schema["maxProperties"], json.dumps(schema)
                left.append(schema["additionalProperties"])
            else:
                assert schema.get("additionalProperties") is False, json.dumps(schema)
            left.extend(schema.get("properties", {}).values())
        else:
            left.extend(schema.get("anyOf", []))
            left.extend([schema["items"]] if "items" in schema else [])


def test_numbers_are_numbers_everywhere(light_world: World) -> None:
    """No body's number is taken from a text or from true, and no truth from 1."""
    schemas = light_world.document["components"]["schemas"]
    bodies = [
        operation.get("requestBody")
        for path, item in light_world.document["paths"].items()
        if path.startswith("/api/v1/")
        for operation in item.values()
    ]
    found: set[str] = set()
    left = [bodies]
    while left:
        names = set(re.findall(r'"#/components/schemas/(\w+)"', json.dumps(left.pop()))) - found
        found |= names
        left.extend(schemas[name] for name in names)
    numbers = 0
    for shape in (kind for kind in shapes_of(Schema) if kind.__name__ in found):
        for name, described in shape.model_json_schema()["properties"].items():
            kinds = {each.get("type") for each in described.get("anyOf", [described])}
            wrong = ["1"] if kinds & {"integer", "number", "boolean"} else []
            wrong += [1] if "boolean" in kinds else [True] if wrong else []
            for value in wrong:
                with pytest.raises(ValidationError) as caught:
                    shape.model_validate({name: value})
                assert (name,) in [error["loc"] for error in caught.value.errors()], (shape, name, value)
            numbers += bool(wrong)
    assert numbers > 30


def shapes_of(base: type[Schema]) -> Iterator[type[Schema]]:
    for kind in base.__subclasses__():
        yield kind
        yield from shapes_of(kind)
