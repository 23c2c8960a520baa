"""H1: schemathesis calls every operation with what its schema allows and what it does not."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from tests.api.world import World, world_on
from tests.services import Backend, SQLite

schemathesis.serializer.alias("application/offset+octet-stream", "application/octet-stream")

SEED = int(os.environ.get("TLDR_SEED", "20261125"))
LONG = os.environ.get("TLDR_LONG_TESTS") == "1"
EXAMPLES = 200 if LONG else 6
CHECKS = [
    schemathesis.checks.not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
UNDOING = {"log_out", "log_out_everywhere", "end_cookie_session", "leave_organization"}
"""After which there would be nobody to call the rest."""


@pytest.fixture(scope="module")
def shared(sqlite: SQLite, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("contract")
    with sqlite.databases(folder) as new, world_on(Backend("sqlite", new), folder) as world:
        yield world


@pytest.fixture(scope="module")
def callers(shared: World) -> dict[str, dict[str, str]]:
    home = shared.organization()
    return {"key": shared.key(home), "login": shared.person(home, operator=True), "nobody": {}}


@pytest.mark.parametrize("kind", ["key", "login", "nobody"])
def test_nothing_breaks_and_nothing_surprises(
    shared: World, callers: dict[str, dict[str, str]], kind: str
) -> None:
    sys.stdout.write(f"TLDR_SEED={SEED}\n")  # shown when it fails
    schema = schemathesis.openapi.from_asgi("/api/v1/openapi.json", shared.app)
    called = 0
    for result in schema.get_all_operations():
        operation = result.ok()
        about = operation.definition.raw
        if about["operationId"] in UNDOING or (kind == "nobody" and about["security"]):
            continue
        if kind == "key" and {"key": []} not in about["security"]:
            continue
        call(operation, callers[kind])
        called += 1
    assert called >= 5


def call(operation: Any, headers: dict[str, str]) -> None:
    """Call one operation with generated values, good and bad."""

    @seed(SEED)
    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        database=None,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    def one(case: Any) -> None:
        answers = case.operation.definition.raw["responses"]
        if "text/event-stream" in answers.get("200", {}).get("content", {}):
            case.query = {**(case.query or {}), "follow": "false"}  # it would have no end
        case.validate_response(case.call(headers=headers), checks=CHECKS)

    strategy = operation.as_strategy() | operation.as_strategy(
        generation_mode=schemathesis.GenerationMode.NEGATIVE
    )
    given(case=strategy)(one)()
