"""Dimension sets and types of an organization: checked, in versions, and what streams are judged by."""

from __future__ import annotations

from typing import Any

import pytest

from tests.api.world import World
from tests.highlights.made import add_highlight
from tldr_highlight.analysis.dimensions import PRESETS, STANDARD_TYPES, TypeRule, classify
from tldr_highlight.errors import NotFoundError
from tldr_highlight.highlights.dimension_sets import Judging, judging

SETS, TYPES = "/api/v1/dimension-sets", "/api/v1/highlight-types"

DERBY = {
    "name": "our derby",
    "base": "sports",
    "threshold": 0.55,
    "dimensions": {"crowd_reaction": {"weight": 3.0}, "fireworks": {"description": "flares on the stands"}},
    "types": {"goal": {"when": {"crowd_reaction": 0.6, "action_intensity": 0.4}, "priority": 10}},
}


class Desk:
    """An organization that makes sets."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.id = world.organization()
        self.headers = world.key(self.id)

    def call(self, method: str, path: str, body: Any = None) -> Any:
        return self.world.client.request(method, path, headers=self.headers, json=body)

    def made(self, path: str, body: Any) -> dict[str, Any]:
        answer = self.call("POST", path, body)
        assert answer.status_code == 201, answer.text
        return answer.json()

    def judging(self, set_id: str, version: int | None = None) -> Judging:
        with self.world.runtime.db.read() as session:
            return judging(session, self.id, set_id, version)

    def rules(self, set_id: str) -> dict[str, TypeRule]:
        return {rule.type: rule for rule in self.judging(set_id).dimension_set.types}


@pytest.fixture
def desk(world: World) -> Desk:
    return Desk(world)


@pytest.fixture
def quick(light: World) -> Desk:
    return Desk(light)


# --- sets ----------------------------------------------------------------------------------------------


def test_a_set_that_begins_with_a_preset_has_what_is_said_and_the_presets_rest(desk: Desk) -> None:
    made = desk.made(SETS, DERBY)
    assert (made["version"], made["name"], made["threshold"], made["preset"]) == (1, "our derby", 0.55, False)
    weights = {name: about["weight"] for name, about in made["dimensions"].items()}
    expected = {d.name: d.weight for d in PRESETS["sports"].dimensions}
    assert weights == expected | {"crowd_reaction": 3.0, "fireworks": 1.0}
    assert made["dimensions"]["fireworks"]["description"] == "flares on the stands"
    assert made["types"] == {"goal": {**DERBY["types"]["goal"], "match": "all"}}  # type: ignore[index]
    assert {"goal", "score", "generic"} <= set(made["type_names"])
    assert desk.call("GET", f"{SETS}/{made['id']}").json() == made
    found = desk.judging(made["id"])
    assert found.row
    assert (found.row.set_id, found.row.version, found.dimension_set.threshold) == (made["id"], 1, 0.55)


def test_a_change_makes_a_version_and_streams_keep_theirs(desk: Desk) -> None:
    made = desk.made(SETS, DERBY)
    at = f"{SETS}/{made['id']}"
    changed = desk.call("PATCH", at, {"threshold": 0.8}).json()
    assert (changed["version"], changed["threshold"], changed["name"]) == (2, 0.8, "our derby")
    assert changed["dimensions"] == made["dimensions"]
    assert desk.call("PATCH", at, {"threshold": 0.8}).json()["version"] == 2  # nothing changed
    assert desk.judging(made["id"], 1).dimension_set.threshold == 0.55
    assert desk.judging(made["id"]).dimension_set.threshold == 0.8
    assert desk.call("GET", f"{at}?version=1").json() == made
    assert desk.call("DELETE", at).status_code == 204
    assert desk.call("GET", at).status_code == 404
    assert desk.call("PATCH", at, {"threshold": 0.1}).status_code == 404
    with pytest.raises(NotFoundError):
        desk.judging(made["id"])
    assert desk.judging(made["id"], 2).dimension_set.threshold == 0.8


def test_what_was_written_in_an_order_stays_in_it(desk: Desk) -> None:
    """PostgreSQL's JSONB puts short names first."""
    names = ["scoring_moment", "humor", "rarity", "crowd_reaction", "joy"]
    when = dict.fromkeys(names[:3], 0.5)
    kinds = {"longest_of_all": {"when": when}, "b": {"when": when}, "mid": {"when": when}}
    made = desk.made(SETS, {"dimensions": {name: {} for name in names}, "types": kinds})
    own = desk.made(TYPES, {"name": "goal", "when": when})
    at = f"{SETS}/{made['id']}"
    for found in (made, desk.call("GET", at).json()):
        assert [*found["dimensions"]] == names
        assert [*found["types"]] == [*kinds]
        assert [*found["types"]["b"]["when"]] == [*when]
    assert [*desk.call("GET", f"{TYPES}/{own['id']}").json()["when"]] == [*when]
    assert desk.judging(made["id"]).dimension_set.names == tuple(names)
    other = dict(reversed(made["dimensions"].items()))
    changed = desk.call("PATCH", at, {"dimensions": other}).json()
    assert (changed["version"], [*changed["dimensions"]]) == (2, names[::-1])
    assert desk.call("PATCH", at, {"dimensions": other}).json()["version"] == 2  # nothing changed
    assert [*desk.call("GET", f"{at}?version=1").json()["dimensions"]] == names
    with desk.world.runtime.db.begin() as session:
        highlight = add_highlight(session, desk.id, dimensions=dict.fromkeys(names, 0.5))
    assert [*desk.call("GET", f"/api/v1/highlights/{highlight.id}").json()["dimensions"]] == names


def test_dimensions_and_types_are_replaced_as_a_whole(quick: Desk) -> None:
    made = quick.made(SETS, DERBY)
    only = {"humor": {"weight": 1.0}, "crowd_reaction": {"weight": 1.0}}
    refused = quick.call("PATCH", f"{SETS}/{made['id']}", {"dimensions": only})
    assert refused.status_code == 422  # its own type asks for action_intensity
    assert refused.json()["field"] == "types.goal.when.action_intensity"
    changed = quick.call("PATCH", f"{SETS}/{made['id']}", {"dimensions": only, "types": {}}).json()
    assert changed["dimensions"].keys() == only.keys()
    assert changed["types"] == {}
    again = quick.call("PATCH", f"{SETS}/{made['id']}", {"base": "podcast"}).json()
    assert again["dimensions"].keys() == {d.name for d in PRESETS["podcast"].dimensions}


@pytest.mark.parametrize(
    ("change", "field", "words"),
    [
        ({"dimensions": {"crowd_reactoin": {}}}, "dimensions.crowd_reactoin", 'write "crowd_reaction"'),
        ({"dimensions": {"Big Goal": {}}}, "dimensions.Big Goal", 'write "big_goal"'),
        ({"types": {"goal": {"when": {"joy": 0.5}}}}, "types.goal.when.joy", "which this set does not have"),
        ({"types": {"goal": {"when": {}}}}, "types.goal.when", "no conditions"),
        ({"types": {"generic": {"when": {"humor": 0.5}}}}, "types.generic", "takes no rule"),
        ({"name": "two\nlines"}, "name", "one line"),
        ({"name": " "}, "name", "empty"),
        ({"base": None}, "dimensions", "no dimensions"),
        ({"base": None, "dimensions": {"humor": {"weight": 0}}}, "dimensions", "all weights are 0"),
    ],
    ids=["typo", "name", "unknown", "empty", "generic", "lines", "blank", "none", "zero"],
)
def test_what_cannot_be_used_is_refused_with_its_field(
    quick: Desk, change: dict[str, Any], field: str, words: str
) -> None:
    answer = quick.call("POST", SETS, {"base": "sports", **change})
    found = answer.json()
    assert (answer.status_code, found["code"]) == (422, "dimension_set_invalid")
    assert found["field"] == field
    assert words in found["detail"]
    assert ":1:" not in found["detail"]  # no line: there is no file


@pytest.mark.parametrize(
    "body",
    [{"threshold": 1.5}, {"dimensions": {"humor": {"weight": -1}}}, {"weights": {}}, {"base": "cooking"},
     {"types": {"goal": {"when": {"humor": 0.5}, "priority": 1.5}}}],
    ids=["threshold", "weight", "unknown", "base", "priority"],
)  # fmt: skip
def test_what_has_the_wrong_shape_is_refused(quick: Desk, body: dict[str, Any]) -> None:
    answer = quick.call("POST", SETS, {"base": "sports", **body})
    assert (answer.status_code, answer.json()["code"]) == (422, "validation_failed")


def test_presets_come_first_and_nobody_changes_them(quick: Desk) -> None:
    mine = [quick.made(SETS, {"base": "gaming", "name": f"set {n}"})["id"] for n in range(3)]
    wanted = [*PRESETS, *reversed(mine)]
    assert [s["id"] for s in quick.call("GET", SETS).json()["data"]] == wanted
    seen: list[str] = []
    cursor = ""
    while True:
        page = quick.call("GET", f"{SETS}?limit=2{cursor}").json()
        assert len(page["data"]) <= 2
        seen += [s["id"] for s in page["data"]]
        if page["next_cursor"] is None:
            break
        cursor = f"&cursor={page['next_cursor']}"
    assert seen == wanted
    sports = quick.call("GET", f"{SETS}/sports").json()
    assert (sports["preset"], sports["version"]) == (True, None)
    for method, body in (("PATCH", {"threshold": 0.1}), ("DELETE", None)):
        assert quick.call(method, f"{SETS}/sports", body).status_code == 409
    assert quick.call("GET", f"{SETS}/cooking").status_code == 404


def test_there_are_a_hundred_at_most(quick: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tldr_highlight.highlights.dimension_sets.MOST", 1)
    quick.made(SETS, {"base": "gaming"})
    quick.made(TYPES, {"name": "goal", "when": {"crowd_reaction": 0.5}})
    assert quick.call("POST", SETS, {"base": "gaming"}).status_code == 409
    assert quick.call("POST", TYPES, {"name": "kick", "when": {"humor": 0.5}}).status_code == 409


# --- types ---------------------------------------------------------------------------------------------


def test_a_type_joins_every_set_that_has_its_dimensions(desk: Desk) -> None:
    made = desk.made(TYPES, {"name": "party", "when": {"crowd_reaction": 0.9}, "priority": 500})
    for name in ("sports", "podcast"):
        found = desk.judging(name)
        assert found.row is None
        assert [each["name"] for each in found.types] == ["party"]
        judged = classify({"crowd_reaction": 0.95}, found.dimension_set)
        assert judged == ("reaction", "party")  # surest first
    lecture = desk.made(SETS, {"dimensions": {"humor": {}}})
    assert "party" not in lecture["type_names"]
    other = Desk(desk.world)
    assert "party" not in other.rules("sports")
    changed = desk.call("PATCH", f"{TYPES}/{made['id']}", {"when": {"humor": 0.2}, "description": "ha"})
    assert (changed.json()["when"], changed.json()["priority"]) == ({"humor": 0.2}, 500)
    assert "party" in desk.call("GET", f"{SETS}/{lecture['id']}").json()["type_names"]
    assert desk.call("DELETE", f"{TYPES}/{made['id']}").status_code == 204
    assert "party" not in desk.rules("sports")


def test_a_change_makes_a_version_of_a_type(desk: Desk) -> None:
    made = desk.made(TYPES, {"name": "party", "when": {"crowd_reaction": 0.9, "humor": 0.2}})
    at = f"{TYPES}/{made['id']}"
    assert made["version"] == 1
    for change, version in (
        ({"priority": 7}, 2),
        ({"priority": 7}, 2),  # nothing changed
        ({"description": "ha"}, 3),
        ({"when": {"humor": 0.2, "crowd_reaction": 0.9}}, 4),  # in another order
        ({}, 4),
    ):
        changed = desk.call("PATCH", at, change).json()
        assert (changed["version"], desk.call("GET", at).json()) == (version, changed)
    assert desk.call("GET", f"{TYPES}/reaction").json()["version"] is None


def test_a_type_of_the_same_name_takes_the_place_of_ours_but_not_of_the_sets_own(quick: Desk) -> None:
    quick.made(TYPES, {"name": "reaction", "when": {"crowd_reaction": 0.1}})
    assert quick.rules("sports")["reaction"].when == {"crowd_reaction": 0.1}
    own = {"base": "sports", "types": {"reaction": {"when": {"humor": 0.9}}}}
    made = quick.made(SETS, own)
    assert quick.rules(made["id"])["reaction"].when == {"humor": 0.9}


def test_ours_come_first_and_nobody_changes_them(quick: Desk) -> None:
    mine = quick.made(TYPES, {"name": "goal", "when": {"crowd_reaction": 0.5}})
    found = quick.call("GET", TYPES).json()["data"]
    assert [t["id"] for t in found] == [*(r.type for r in STANDARD_TYPES), mine["id"]]
    assert quick.call("GET", f"{TYPES}/reaction").json() == found[-2]
    for method, body in (("PATCH", {"priority": 1}), ("DELETE", None)):
        assert quick.call(method, f"{TYPES}/reaction", body).status_code == 409
    again = quick.call("POST", TYPES, {"name": "goal", "when": {"crowd_reaction": 0.5}})
    assert (again.status_code, again.json()["code"]) == (409, "conflict")


@pytest.mark.parametrize(
    ("body", "field"),
    [({"name": "Goal!", "when": {"humor": 0.5}}, "name"), ({"name": "goal", "when": {}}, "when"),
     ({"name": "goal", "when": {"humour": 0.5}}, "when.humour")],
    ids=["name", "empty", "typo"],
)  # fmt: skip
def test_a_type_that_cannot_be_used_is_refused_with_its_field(
    quick: Desk, body: dict[str, Any], field: str
) -> None:
    answer = quick.call("POST", TYPES, body)
    assert (answer.status_code, answer.json()["code"]) == (422, "dimension_set_invalid")
    assert answer.json()["field"] == field
