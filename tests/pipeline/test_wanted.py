"""What a stream is judged by: what was there when it was submitted, whatever became of it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.services import Backend
from tests.streams.house import URL, House, house_on
from tldr_highlight.analysis.dimensions import DimensionSet
from tldr_highlight.pipeline.wanted import Wanted
from tldr_highlight.streams.models import Stream

TYPES, SETS = "/highlight-types", "/dimension-sets"
DERBY = {"base": "sports", "types": {"goal": {"when": {"crowd_reaction": 0.6}}}}


@pytest.fixture
def house(backend: Backend, tmp_path: Path) -> Iterator[House]:
    with house_on(backend, tmp_path) as made:
        yield made


def judges(house: House, stream: dict[str, Any]) -> DimensionSet:
    with house.world.runtime.db.read() as session:
        return Wanted.of(session, Stream.get_for(session, house.id, stream["id"])).dimension_set


def submitted(house: House, set_id: str) -> dict[str, Any]:
    return house.submit(source_url=URL, processing_options={"dimension_set": set_id})


def test_a_stream_is_judged_by_the_types_of_the_day_it_was_submitted(house: House) -> None:
    rule = {"when": {"scene_energy": 0.3, "crowd_reaction": 0.9}, "match": "any", "priority": 500}
    party = house.call("POST", TYPES, {"name": "party", **rule}).json()["id"]
    house.call("POST", TYPES, {"name": "party_trick", "when": {"juggling": 0.5}})  # joins neither of these
    house.call("POST", TYPES, {"name": "goal", "when": {"crowd_reaction": 0.1}})  # the set's own one stays
    derby = house.call("POST", SETS, DERBY).json()["id"]
    streams = [submitted(house, "podcast"), submitted(house, derby)]
    before = [judges(house, stream) for stream in streams]
    copied = {"id": party, "name": "party", "version": 1, **rule}
    assert streams[1]["highlight_types"] == [copied]
    assert [*streams[1]["highlight_types"][0]["when"]] == [*rule["when"]]
    assert [each["name"] for each in streams[0]["highlight_types"]] == ["goal", "party"]

    for method, path, body in (
        ("PATCH", f"{TYPES}/{party}", {"when": {"crowd_reaction": 0.1}}),
        ("PATCH", f"{TYPES}/{party}", {"priority": 1}),
        ("POST", TYPES, {"name": "quiet", "when": {"scene_energy": 0.1}}),
        ("POST", TYPES, {"name": "reaction", "when": {"crowd_reaction": 0.1}}),  # in the place of ours
        ("DELETE", f"{TYPES}/{party}", None),
        ("POST", TYPES, {"name": "party", "when": {"humor": 0.1}}),
        ("PATCH", f"{SETS}/{derby}", {"types": {}}),
        ("DELETE", f"{SETS}/{derby}", None),
    ):
        assert house.call(method, path, body).is_success
        assert [judges(house, stream) for stream in streams] == before
        assert [house.get(stream)["highlight_types"] for stream in streams] == [
            stream["highlight_types"] for stream in streams
        ]

    later = submitted(house, "podcast")
    assert judges(house, later) != before[0]
    assert [(each["name"], each["version"]) for each in later["highlight_types"]] == [
        ("goal", 1), ("party", 1), ("quiet", 1), ("reaction", 1),
    ]  # fmt: skip


def test_a_stream_from_before_types_were_remembered_is_judged_by_those_of_today(house: House) -> None:
    stream = submitted(house, "podcast")
    assert stream["highlight_types"] == []
    house.set(stream["id"], highlight_types=None)
    house.call("POST", TYPES, {"name": "party", "when": {"crowd_reaction": 0.9}})
    assert "party" in [rule.type for rule in judges(house, stream).types]
    assert house.get(stream)["highlight_types"] is None
