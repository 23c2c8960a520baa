"""Dimension sets: presets, typing, weighting, and complaints that point at the line."""
# ruff: noqa: E501 - a table of mistakes reads better with one on a line

from __future__ import annotations

import math
import pickle
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tldr_highlight.analysis.dimensions import (
    DESCRIPTIONS,
    PRESETS,
    STANDARD_TYPES,
    Dimension,
    DimensionSet,
    TypeRule,
    classify,
    load,
    preset,
    weighted,
)
from tldr_highlight.errors import DimensionSetError, NotFoundError, UsageError

CONTRACT_DIMENSIONS = [
    *("action_intensity", "crowd_reaction", "speech_excitement", "scene_energy", "humor", "skill_display"),
    *("scoring_moment", "clutch_factor", "rarity", "emotional_peak", "concept_clarity", "key_moment"),
    *("question_answered", "engagement"),
]
CONTRACT_TYPES = [
    *("generic", "reaction", "funny", "skillful", "clutch", "score", "fail", "emotional", "climactic"),
    *("key_concept", "question_answered", "summary"),
]
SIGNALS = {
    "action_intensity",
    "crowd_reaction",
    "speech_excitement",
    "humor",
    "scene_energy",
    "emotional_peak",
}
DOCS = Path(__file__).parents[2] / "docs" / "dimensions.md"


# --- presets


def test_presets_are_the_contracts() -> None:
    assert list(PRESETS) == ["general", "gaming", "sports", "education", "podcast", "corporate"]
    assert list(DESCRIPTIONS) == CONTRACT_DIMENSIONS
    assert {n for s in PRESETS.values() for n in s.names} == set(CONTRACT_DIMENSIONS)
    assert {"generic", *(r.type for r in STANDARD_TYPES)} == set(CONTRACT_TYPES)
    assert all(preset(n).name == n and preset(n).threshold == 0.5 for n in PRESETS)


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_is_sound(name: str) -> None:
    made = preset(name)
    assert len(set(made.names)) == len(made.names)
    assert all(0 < d.weight <= 100 for d in made.dimensions)
    for rule in made.types:
        assert rule.when
        assert set(rule.when) <= set(made.names)
    assert pickle.loads(pickle.dumps(made)) == made  # sets travel to child processes


@pytest.mark.parametrize("name", PRESETS)
def test_signals_alone_rank_sensibly_in_every_preset(name: str) -> None:
    """What a preset is about must move its score even where only the six signals are known."""
    quiet = weighted(dict.fromkeys(SIGNALS, 0.1), preset(name))
    loud = weighted(dict.fromkeys(SIGNALS, 0.9), preset(name))
    assert quiet[0] == pytest.approx(0.1)
    assert loud[0] == pytest.approx(0.9)
    assert loud[1] > 0.4
    assert (loud[1] >= 0.5) == (name not in ("education", "corporate"))  # those two are honestly degraded


def test_genres_care_about_different_things() -> None:
    roar = dict.fromkeys(SIGNALS, 0.1) | {"crowd_reaction": 0.9, "action_intensity": 0.9}
    laugh = dict.fromkeys(SIGNALS, 0.1) | {"humor": 0.9, "speech_excitement": 0.9}
    assert weighted(roar, preset("sports"))[0] > weighted(laugh, preset("sports"))[0] + 0.1
    assert weighted(laugh, preset("podcast"))[0] > weighted(roar, preset("podcast"))[0] + 0.1


def test_an_unknown_preset_is_refused_with_the_choice() -> None:
    with pytest.raises(UsageError, match=r"'sport': choose from general, gaming, sports"):
        preset("sport")


# --- weighted

TWO = DimensionSet("two", 0.5, (Dimension("a", 3.0, ""), Dimension("b", 1.0, "")), ())


def test_weights_are_relative() -> None:
    assert weighted({"a": 1.0, "b": 0.0}, TWO) == (0.75, 1.0)


@pytest.mark.parametrize("unknown", [None, math.nan, math.inf])
def test_unknown_is_left_out_and_never_zero(unknown: float | None) -> None:
    assert weighted({"a": unknown, "b": 0.4}, TWO) == (0.4, 0.25)
    assert weighted({"b": 0.4}, TWO) == (0.4, 0.25)


def test_nothing_known_and_names_not_in_the_set() -> None:
    assert weighted({}, TWO) == (0.0, 0.0)
    assert weighted({"a": None, "other": 1.0}, TWO) == (0.0, 0.0)


def test_a_weight_of_zero_is_never_scored() -> None:
    made = DimensionSet("z", 0.5, (Dimension("a", 0.0, ""), Dimension("b", 1.0, "")), ())
    assert weighted({"a": 1.0, "b": 0.2}, made) == (0.2, 1.0)
    assert weighted({"a": 1.0}, made) == (0.0, 0.0)


values = st.dictionaries(st.sampled_from(CONTRACT_DIMENSIONS), st.none() | st.floats(0, 1))


@given(values, st.sampled_from(list(PRESETS)))
def test_weighted_stays_between_the_known_values(given_values: dict[str, float | None], name: str) -> None:
    made = preset(name)
    mean, share = weighted(given_values, made)
    known = [v for n, v in given_values.items() if v is not None and n in made.names]
    assert 0 <= share <= 1 + 1e-12
    if known:
        assert min(known) - 1e-12 <= mean <= max(known) + 1e-12
    else:
        assert (mean, share) == (0.0, 0.0)


# --- classify


def test_types_from_signals() -> None:
    sports = preset("sports")
    assert classify({"crowd_reaction": 0.8}, sports) == ("reaction",)
    assert classify({"crowd_reaction": 0.8, "emotional_peak": 0.95}, sports) == ("emotional", "reaction")
    assert classify({"humor": 0.9}, preset("podcast")) == ("funny",)


def test_generic_only_when_nothing_else_fits() -> None:
    assert classify({}, preset("general")) == ("generic",)
    assert classify({"crowd_reaction": 0.49}, preset("general")) == ("generic",)
    assert classify({"crowd_reaction": 0.5}, preset("general")) == ("reaction",)


def test_signals_never_claim_what_they_cannot_judge() -> None:
    for made in PRESETS.values():
        seen = classify(dict.fromkeys(SIGNALS, 1.0), made)
        assert not {
            "score",
            "skillful",
            "clutch",
            "fail",
            "key_concept",
            "summary",
            "question_answered",
        } & set(seen)


@pytest.mark.parametrize("wanted", [t for t in CONTRACT_TYPES if t != "generic"])
def test_every_type_can_be_reached_in_some_preset(wanted: str) -> None:
    rule = next(r for r in STANDARD_TYPES if r.type == wanted)
    exact = dict(rule.when)
    assert any(wanted in classify(exact, made) for made in PRESETS.values())
    for name in rule.when:
        assert wanted not in classify(exact | {name: None}, preset("general"))


RULES = (
    TypeRule("both", {"a": 0.5, "b": 0.5}, "all", 1),
    TypeRule("either", {"a": 0.5, "b": 0.9}, "any", 2),
    TypeRule("same", {"a": 0.5}, "all", 2),
    TypeRule("top", {"b": 1.0}, "all", 0),
)
RULED = DimensionSet("r", 0.5, (Dimension("a", 1, ""), Dimension("b", 1, "")), RULES)


def test_confidence_is_the_room_used_above_the_minimum() -> None:
    both, either, _, top = RULES
    assert both.confidence({"a": 1.0, "b": 0.75}) == pytest.approx(0.5)  # the weakest decides
    assert both.confidence({"a": 1.0, "b": 0.4}) is None
    assert both.confidence({"a": 1.0, "b": None}) is None
    assert either.confidence({"a": 0.75, "b": None}) == pytest.approx(0.5)
    assert either.confidence({"a": 0.75, "b": 1.0}) == pytest.approx(1.0)  # the strongest decides
    assert either.confidence({"a": 0.4, "b": math.nan}) is None
    assert top.confidence({"b": 1.0}) == 1.0


def test_order_is_confidence_then_priority_then_name_and_at_most_three() -> None:
    assert classify({"a": 1.0, "b": 1.0}, RULED) == ("either", "same", "both")
    assert classify({"a": 0.6, "b": 0.95}, RULED) == ("either", "same", "both")
    assert classify({"a": 0.9, "b": 0.6}, RULED) == ("either", "same", "both")
    assert classify({"b": 1.0}, RULED) == ("either", "top")
    assert classify({"a": 0.50001, "b": 1.0}, RULED) == ("either", "top", "same")


@given(values, st.sampled_from(list(PRESETS)))
def test_classify_always_answers_and_ignores_order(given_values: dict[str, float | None], name: str) -> None:
    types = classify(given_values, preset(name))
    assert 1 <= len(types) <= 3
    assert len(set(types)) == len(types)
    assert ("generic" in types) == (types == ("generic",))
    assert classify(dict(reversed(given_values.items())), preset(name)) == types


# --- files


def write(folder: Path, text: str) -> Path:
    path = folder / "my.toml"
    path.write_bytes(text.encode("utf-8"))
    return path


def test_a_whole_file(tmp_path: Path) -> None:
    made = load(
        write(
            tmp_path,
            'name = "x"\nthreshold = 0.6\n[dimensions]\nmagic = {weight = 2, description = "it sparkles"}\n'
            "humor.weight = 1\n[types.wow]\nwhen = {magic = 0.5, humor = 0.1}\nmatch = 'any'\npriority = 7\n",
        )
    )
    assert (made.name, made.threshold) == ("x", 0.6)
    assert made.dimensions == (
        Dimension("magic", 2.0, "it sparkles"),
        Dimension("humor", 1.0, DESCRIPTIONS["humor"]),
    )
    assert made.types[-1] == TypeRule("wow", {"magic": 0.5, "humor": 0.1}, "any", 7)
    assert [r.type for r in made.types] == ["funny", "wow"]  # standard types that the set can have


def test_a_base_is_changed_not_replaced(tmp_path: Path) -> None:
    made = load(
        write(
            tmp_path,
            'base = "sports"\n[dimensions.humor]\nweight = 9\n[dimensions.fire]\n'
            "[types.reaction]\nwhen = {fire = 0.3}\n",
        )
    )
    base = preset("sports")
    assert made.name == "sports (changed)"
    assert made.threshold == base.threshold
    assert made.names == (*base.names, "fire")
    weights = {d.name: d.weight for d in made.dimensions}
    assert weights == {d.name: d.weight for d in base.dimensions} | {"humor": 9.0, "fire": 1.0}
    assert [r.type for r in made.types] == [r.type for r in base.types]
    assert classify({"fire": 0.3}, made) == ("reaction",)
    assert classify({"crowd_reaction": 0.9}, made) == ("generic",)


def test_a_base_alone_is_enough_and_a_name_defaults_to_the_files(tmp_path: Path) -> None:
    assert load(write(tmp_path, 'base = "podcast"')).dimensions == preset("podcast").dimensions
    assert load(write(tmp_path, "[dimensions.humor]")).name == "my"


def test_what_editors_do_is_fine(tmp_path: Path) -> None:
    text = '\ufeffname = "é σ"\r\n# comment\r\n[dimensions.humor]\r\nweight = 1\r\n'
    assert load(write(tmp_path, text)).name == "é σ"


def test_the_documented_example_loads(tmp_path: Path) -> None:
    example = re.search(r"```toml\n(.*?)```", DOCS.read_text("utf-8"), re.DOTALL)
    assert example
    made = load(write(tmp_path, example[1]))
    assert (made.name, made.threshold) == ("our derby", 0.55)
    assert {"goal", "party"} <= {r.type for r in made.types}
    assert classify({"crowd_reaction": 0.7, "action_intensity": 0.6}, made)[0] == "reaction"
    assert "goal" in classify({"crowd_reaction": 0.7, "action_intensity": 0.6}, made)


def test_the_documented_tables_are_the_code() -> None:
    rows = [[c.strip() for c in line.strip("|").split("|")] for line in DOCS.read_text("utf-8").splitlines()
            if line.startswith("| ")]  # fmt: skip
    header = next(r for r in rows if r[0] == "dimension")
    assert header[1:-1] == list(PRESETS)
    dimensions = {r[0].removesuffix(" ●"): r for r in rows if len(r) == len(header) and r[0] != "dimension"}
    assert list(dimensions) == list(DESCRIPTIONS)
    for name, row in dimensions.items():
        weights = [{d.name: f"{d.weight:g}" for d in s.dimensions}.get(name, "–") for s in PRESETS.values()]
        assert row[1:] == [*weights, DESCRIPTIONS[name]]
        assert row[0].endswith("●") == (name in SIGNALS)
    types = {r[0]: r[1:] for r in rows if len(r) == 3 and r[2].isdigit()}
    wanted = {
        r.type: [" and ".join(f"{n} ≥ {m:g}" for n, m in r.when.items()), str(r.priority)]
        for r in STANDARD_TYPES
    }
    assert types == wanted


D = "[dimensions.crowd_reaction]\n"
BAD = {
    "negative weight": (f"# one\n\n{D}weight = -1\n", 4, "weight of crowd_reaction is -1; it must be between 0 and 100"),
    "heavy": (f"{D}weight = 100.5", 2, "is 100.5; it must be between 0 and 100"),
    "nan": (f"{D}weight = nan", 2, "weight of crowd_reaction is nan; it must be between 0 and 100"),
    "inf": (f"{D}weight = inf", 2, "is inf; it must be between"),
    "endless number": (f"{D}weight = 0x{'f' * 5000}", 2, "is a number without end; it must be between"),
    "weight is text": (f'{D}weight = "2"', 2, 'is "2"; it must be a number between 0 and 100'),
    "weight is true": (f"{D}weight = true", 2, "is true; it must be a number"),
    "weight is a table": (f"{D}weight = {{a = 1}}", 2, "is a table; it must be a number"),
    "inline weight": ("\ndimensions = {humor = {weight = -2}}", 2, "weight of humor is -2"),
    "dotted weight": ("\n\ndimensions.humor.weight = -2", 3, "weight of humor is -2"),
    "quoted key": ('[dimensions."humor"]\n\n"weight" = -2', 3, "weight of humor is -2"),
    "unknown key": (f"{D}wieght = 2", 2, 'unknown key "wieght"; did you mean "weight"?'),
    "far key": (f"{D}xyz = 2", 2, 'unknown key "xyz"; what may stand here: description, weight'),
    "unknown top": (f"treshold = 0.5\n{D}", 1, 'did you mean "threshold"?'),
    "unknown in type": (f"{D}[types.a]\nwhenn = {{}}", 3, 'did you mean "when"?'),
    "threshold": (f"threshold = 1.5\n{D}", 1, "threshold is 1.5; it must be between 0 and 1"),
    "threshold text": (f'threshold = "high"\n{D}', 1, 'threshold is "high"; it must be a number'),
    "syntax": (f"{D}weight = \n", 2, "no valid TOML: Invalid value"),
    "unquoted": (f"name = me\n{D}", 1, 'texts need quotes: name = "..."'),
    "open list": (f"{D}weight = [1,\n\n\n", 2, "no valid TOML"),
    "key twice": (f"{D}weight = 1\nweight = 2\n", 3, "this key is there twice, keep one of them"),
    "table twice": (f"{D}\n{D}", 3, "put everything about it under one heading"),
    "endless digits": (f"{D}weight = {'1' * 5000}", 2, "no valid TOML"),
    "lacks dimension": (f"{D}[types.a]\nwhen = {{crowd_reactio = 0.5}}", 3, 'did you mean "crowd_reaction"?'),
    "lacks far": (f"{D}[types.a]\nwhen = {{zz = 0.5}}", 3, "asks for zz, which this set does not have; add [dimensions.zz]"),
    "low minimum": (f"{D}[types.a]\nwhen.crowd_reaction = 0", 3, "minimum of crowd_reaction is 0; it must be between 0.01 and 1"),
    "no when": (f"{D}[types.a]\npriority = 1", 2, "type a has no conditions; add when = {crowd_reaction = 0.6}"),
    "empty when": (f"{D}[types.a]\nwhen = {{}}", 3, "type a has no conditions; write"),
    "when is number": (f"{D}[types.a]\nwhen = 0.5", 3, "types.a.when is 0.5; it must be a table"),
    "match": (f'{D}[types.a]\nwhen.crowd_reaction = 0.5\nmatch = "some"', 4, 'match of a is "some"; write "all" or "any"'),
    "match list": (f"{D}[types.a]\nwhen.crowd_reaction = 0.5\nmatch = [1]", 4, "match of a is a list"),
    "priority": (f"{D}[types.a]\nwhen.crowd_reaction = 0.5\npriority = 1.5", 4, "must be a whole number between 0 and 1000"),
    "priority low": (f"{D}[types.a]\nwhen.crowd_reaction = 0.5\npriority = -1", 4, "priority of a is -1"),
    "generic": (f"{D}[types.generic]\nwhen.crowd_reaction = 0.5", 2, "generic is what remains"),
    "type name": (f"{D}[types.'My Goal']\nwhen.crowd_reaction = 0.5", 2, 'write "my_goal"'),
    "all zero": (f"name = 'a'\n{D}weight = 0", 2, "all weights are 0"),
    "no dimensions": ("name = 'a'\n", 1, "there are no dimensions; add [dimensions.<name>]"),
    "empty dimensions": ("name = 'a'\n[dimensions]\n", 2, "there are no dimensions"),
    "dimension is number": ("[dimensions]\nhumor = 2", 2, "dimensions.humor is 2; it must be a table: [dimensions.humor] weight"),
    "dimensions is list": ("dimensions = ['humor']", 1, "dimensions is a list; it must be a table"),
    "array of tables": ("[[dimensions]]\nname = 'humor'", 1, "dimensions is a list; it must be a table"),
    "base": (f"base = 'sport'\n{D}", 1, 'base is "sport"; choose from general, gaming'),
    "base type": (f"base = 1\n{D}", 1, "base is 1; choose from"),
    "near miss": ("[dimensions.crowd_reacton]\n", 1, 'looks like crowd_reaction; write "crowd_reaction"'),
    "upper case": ("[dimensions.Crowd]\n", 1, 'only lower-case letters, digits and underscores, a letter first: write "crowd"'),
    "no letters": ("\n[dimensions.'!!']\n", 2, "only lower-case letters"),
    "newline in name": ('[dimensions."a\\nb"]\n', 1, 'dimension name "a�b"'),
    "long name": (f"[dimensions.{'x' * 65}]\n", 1, "the dimension's name is 65 characters long; 64 are allowed"),
    "long set name": (f"name = '{'x' * 65}'\n{D}", 1, "name is 65 characters long; 64 are allowed"),
    "empty name": (f"name = ' '\n{D}", 1, "name is empty"),
    "name is number": (f"name = 3\n{D}", 1, 'name is 3; it must be a text in quotes: name = "..."'),
    "control in name": (f'name = "a\\u0007"\n{D}', 1, "control character"),
    "long description": (f"{D}description = '{'x' * 501}'", 2, "description of crowd_reaction is 501 characters long"),
    "many": ("\n".join(f"[dimensions.d{i}]" for i in range(65)), 1, "there are 65 dimensions; keep the 64"),
    "many types": (D + "\n".join(f"[types.t{i}]\nwhen.crowd_reaction = 0.5" for i in range(65)), 2, "there are 65 types"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_a_mistake_is_named_with_its_line_and_what_to_do(case: str, tmp_path: Path) -> None:
    text, line, words = BAD[case]
    path = write(tmp_path, text)
    with pytest.raises(DimensionSetError) as caught:
        load(path)
    message = str(caught.value)
    assert message.startswith(f"{path}:{line}: "), message
    assert words in message
    assert "\n" not in message
    assert len(message) < len(str(path)) + 250


def test_files_that_are_no_sets(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="no dimension set at"):
        load(tmp_path / "none.toml")
    with pytest.raises(DimensionSetError, match="cannot be read: Is a directory"):
        load(tmp_path)
    with pytest.raises(DimensionSetError, match=r"there is nothing in it; see docs/dimensions\.md"):
        load(write(tmp_path, "# nothing\n"))
    with pytest.raises(DimensionSetError, match="nested too deeply"):
        load(write(tmp_path, "x = " + "[" * 5000))
    large = write(tmp_path, "#" * (256 * 1024 + 1))
    with pytest.raises(DimensionSetError, match="larger than 256 KiB"):
        load(large)
    latin = tmp_path / "latin.toml"
    latin.write_bytes(b"# one\nname = '\xe9'\n")
    with pytest.raises(DimensionSetError, match=r"latin\.toml:2: not UTF-8; save the file as UTF-8"):
        load(latin)


@given(st.text(st.sampled_from("abt=\"'[]{}.,#\n 01-\\"), max_size=60))
def test_any_text_loads_or_is_refused_in_words(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    path = write(tmp_path_factory.getbasetemp(), text)
    with pytest.raises(DimensionSetError, match=r"my\.toml"):
        load(path)
