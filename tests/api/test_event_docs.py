"""Events in the documentation: in the OpenAPI document, on its page, and in docs/events.md, all of them."""

from __future__ import annotations

import inspect
import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from tests.api.world import World
from tldr_highlight.api.examples import UNKNOWN
from tldr_highlight.webhooks.catalogue import PAYLOADS, EventType

PAGE = (Path(__file__).parents[2] / "docs" / "events.md").read_text("utf-8")


@pytest.fixture
def document(light_world: World) -> dict[str, Any]:
    return json.loads(light_world.client.get("/api/v1/openapi.json").content)


def test_every_type_is_there_with_an_example_that_is_one(document: dict[str, Any]) -> None:
    assert document["webhooks"].keys() == {type.value for type in EventType}
    for type, payload in PAYLOADS.items():
        body = document["webhooks"][type.value]["post"]["requestBody"]["content"]["application/json"]
        example = body["example"]
        assert UNKNOWN not in json.dumps(example, ensure_ascii=False), type
        whole = {"components": document["components"], **body["schema"]}
        jsonschema.Draft202012Validator(whole).validate(example)
        assert payload.model_validate(example["data"]).type == type


def test_the_page_shows_them(light_world: World, document: dict[str, Any]) -> None:
    page = light_world.client.get("/docs").text
    for type, item in document["webhooks"].items():
        assert f'<section class="operation" id="{item["post"]["operationId"]}">\n<h3>{type}</h3>' in page
    assert "processing_minutes" in page


def row(type: EventType) -> str:
    payload = PAYLOADS[type]
    text = inspect.cleandoc(payload.__doc__ or "").replace("\n", " ")
    fields = ", ".join(f"`{name}`" for name in payload.model_fields)
    return f"| `{type.value}` | {text} | {fields} |"


def test_docs_events_lists_every_type_with_its_fields() -> None:
    listed = [line for line in PAGE.splitlines() if line.startswith("| `")]
    wanted = [row(type) for type in PAYLOADS]
    assert [line for line in listed if line.split("`")[1] in set(EventType)] == wanted
