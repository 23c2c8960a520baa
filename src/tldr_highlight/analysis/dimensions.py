"""What to score, how much each of it matters, and what kind of highlight that makes.

A dimension set is a preset, a file of the user's (`docs/dimensions.md`), or a document of the same members
that the API stores. An analyzer gives each dimension a value 0..1 or leaves it out: unknown, which is never
the same as zero.
"""

from __future__ import annotations

import difflib
import math
import re
import tomllib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Literal, NoReturn, cast

from tldr_highlight.core.toml_lines import KeyPath, key_lines
from tldr_highlight.errors import DimensionSetError, NotFoundError, UsageError

GENERIC = "generic"
"""The type of a highlight that no rule fits."""

MOST_TYPES = 3
"""Types a highlight may carry."""


@dataclass(frozen=True, slots=True)
class Dimension:
    """One named thing to score."""

    name: str  # lower-case letters, digits and underscores
    weight: float  # 0..100, relative to the others of its set; 0 is shown and typed by, never scored
    description: str  # what a value of 1 means, for people and for models


@dataclass(frozen=True, slots=True)
class TypeRule:
    """When a highlight is called `type`: all or any of the dimensions reach their minimum."""

    type: str
    when: Mapping[str, float]  # dimension -> minimum, above 0 up to 1
    match: Literal["all", "any"] = "all"
    priority: int = 0  # the higher one wins between equally sure types

    def confidence(self, values: Mapping[str, float | None]) -> float | None:
        """How far the conditions are exceeded, 0..1 of the room above them; None: they are not met.

        The weakest condition decides with `all`, the strongest with `any`. What is unknown meets nothing.
        """
        margins = [_margin(_known(values, name), minimum) for name, minimum in self.when.items()]
        met = [m for m in margins if m is not None]
        if self.match == "any":
            return max(met, default=None)
        return min(met, default=None) if len(met) == len(margins) else None


def _known(values: Mapping[str, float | None], name: str) -> float | None:
    value = values.get(name)
    return value if value is not None and math.isfinite(value) else None


def _margin(value: float | None, minimum: float) -> float | None:
    if value is None or value < minimum:
        return None
    return 1.0 if minimum >= 1 else min(1.0, (value - minimum) / (1 - minimum))


@dataclass(frozen=True, slots=True)
class DimensionSet:
    """What one organization, or one kind of source, cares about."""

    name: str
    threshold: float  # score from which a moment is kept, 0..1
    dimensions: tuple[Dimension, ...]
    types: tuple[TypeRule, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """The dimensions' names, in order."""
        return tuple(d.name for d in self.dimensions)


def classify(values: Mapping[str, float | None], dimension_set: DimensionSet) -> tuple[str, ...]:
    """The types that fit, at most three: surest first, ties (to a hundredth) by priority, then by name.

    `generic` when nothing else fits.
    """
    fitting: list[tuple[float, int, str]] = []
    for rule in dimension_set.types:
        confidence = rule.confidence(values)
        if confidence is not None:
            fitting.append((-round(confidence, 2), -rule.priority, rule.type))
    return tuple(name for _, _, name in sorted(fitting)[:MOST_TYPES]) or (GENERIC,)


def weighted(values: Mapping[str, float | None], dimension_set: DimensionSet) -> tuple[float, float]:
    """Weighted mean 0..1 over the known dimensions, and their share 0..1 of the set's whole weight.

    Unknown dimensions are left out and the other weights renormalised. Nothing known: `(0.0, 0.0)`.
    """
    whole = sum(d.weight for d in dimension_set.dimensions)
    known = [(d.weight, v) for d in dimension_set.dimensions if (v := _known(values, d.name)) is not None]
    weight = sum(w for w, _ in known)
    if weight <= 0:
        return 0.0, 0.0
    return sum(w * v for w, v in known) / weight, weight / whole


# --- presets -------------------------------------------------------------------------------------------

DESCRIPTIONS: Mapping[str, str] = MappingProxyType(
    {
        "action_intensity": "how much and how fast things move: chases, rallies, fights, collisions",
        "crowd_reaction": "an audience that cheers, roars, gasps or applauds",
        "speech_excitement": "a speaker louder, higher or faster than they usually are",
        "scene_energy": "how far sound and cutting stand out from what comes before and after",
        "humor": "something funny, heard as laughter or seen",
        "skill_display": "something hard done well",
        "scoring_moment": "a goal, point, kill or win, or the chance of one just missed",
        "clutch_factor": "a decision under pressure, late or against the odds",
        "rarity": "something seldom seen, even by people who watch a lot of this",
        "emotional_peak": "the strongest feeling: joy, grief, tension breaking",
        "concept_clarity": "an idea explained so well that it stands on its own",
        "key_moment": "a turning point, decision or announcement that the rest builds on",
        "question_answered": "a question asked and answered to the point",
        "engagement": "speaker and audience busy with each other",
    }
)
"""The contract's dimensions: what a value of 1 means."""

STANDARD_TYPES: tuple[TypeRule, ...] = (
    TypeRule("score", {"scoring_moment": 0.6}, priority=100),
    TypeRule("clutch", {"clutch_factor": 0.6}, priority=90),
    TypeRule("skillful", {"skill_display": 0.6}, priority=80),
    TypeRule("question_answered", {"question_answered": 0.6}, priority=75),
    TypeRule("key_concept", {"concept_clarity": 0.6}, priority=70),
    TypeRule("summary", {"key_moment": 0.6, "concept_clarity": 0.4}, priority=65),
    TypeRule("fail", {"humor": 0.4, "action_intensity": 0.4, "rarity": 0.4}, priority=60),
    TypeRule("funny", {"humor": 0.5}, priority=50),
    TypeRule("climactic", {"scene_energy": 0.6, "emotional_peak": 0.5}, priority=40),
    TypeRule("emotional", {"emotional_peak": 0.5}, priority=30),
    TypeRule("reaction", {"crowd_reaction": 0.5}, priority=20),
)
"""The contract's types besides `generic`. A set has those whose dimensions it has.

A rule is met only by what an analyzer can judge: signals alone never claim a score or a skill.
"""

_WEIGHTS: dict[str, dict[str, float]] = {
    "general": {
        "crowd_reaction": 1.5,
        "speech_excitement": 1.2,
        "emotional_peak": 1.2,
        "action_intensity": 1.0,
        "scene_energy": 1.0,
        "humor": 0.8,
        "key_moment": 0.8,
        "engagement": 0.6,
        "skill_display": 0.6,
        "rarity": 0.6,
    },
    "gaming": {
        "speech_excitement": 1.8,
        "action_intensity": 1.6,
        "skill_display": 1.5,
        "clutch_factor": 1.5,
        "scene_energy": 1.0,
        "emotional_peak": 1.0,
        "humor": 1.0,
        "rarity": 0.8,
        "crowd_reaction": 0.6,
        "scoring_moment": 0.6,
    },
    "sports": {
        "crowd_reaction": 2.0,
        "scoring_moment": 2.0,
        "action_intensity": 1.5,
        "skill_display": 1.2,
        "speech_excitement": 1.0,
        "emotional_peak": 1.0,
        "clutch_factor": 1.0,
        "scene_energy": 0.8,
        "rarity": 0.6,
        "humor": 0.2,
    },
    "education": {
        "concept_clarity": 2.0,
        "key_moment": 1.5,
        "question_answered": 1.5,
        "speech_excitement": 1.5,
        "engagement": 1.0,
        "crowd_reaction": 1.0,
        "humor": 0.8,
        "scene_energy": 0.5,
        "emotional_peak": 0.4,
    },
    "podcast": {
        "speech_excitement": 2.0,
        "humor": 2.0,
        "emotional_peak": 1.5,
        "engagement": 1.2,
        "key_moment": 1.2,
        "crowd_reaction": 0.8,
        "scene_energy": 0.6,
        "question_answered": 0.6,
        "rarity": 0.4,
    },
    "corporate": {
        "key_moment": 2.0,
        "speech_excitement": 1.5,
        "crowd_reaction": 1.5,
        "concept_clarity": 1.2,
        "engagement": 1.2,
        "question_answered": 1.0,
        "emotional_peak": 0.6,
        "humor": 0.6,
        "scene_energy": 0.4,
    },
}

THRESHOLD = 0.5
"""Even odds that a viewer keeps the moment: what every preset, and a file that names none, asks for."""


def _types_for(names: Iterable[str]) -> tuple[TypeRule, ...]:
    known = set(names)
    return tuple(rule for rule in STANDARD_TYPES if rule.when.keys() <= known)


def _preset(name: str, weights: Mapping[str, float]) -> DimensionSet:
    dimensions = tuple(Dimension(n, w, DESCRIPTIONS[n]) for n, w in weights.items())
    return DimensionSet(name, THRESHOLD, dimensions, _types_for(weights))


PRESETS: Mapping[str, DimensionSet] = MappingProxyType({n: _preset(n, w) for n, w in _WEIGHTS.items()})
"""Name -> set. They differ in weights and in the types those allow, never in how anything is measured."""


def preset(name: str) -> DimensionSet:
    """The preset called `name`.

    Raises:
        UsageError: there is none of that name.
    """
    if name not in PRESETS:
        raise UsageError(f"no preset is called {name!r}: choose from {', '.join(PRESETS)}")
    return PRESETS[name]


# --- files and documents -------------------------------------------------------------------------------

LARGEST_FILE = 256 * 1024
LONGEST_NAME = 64
LONGEST_TEXT = 500
HEAVIEST = 100.0
MOST_ENTRIES = 64
"""Dimensions, and types, that one set may have: a model is asked about each of them."""

_NAME = re.compile(r"[a-z][a-z0-9_]*")


def load(path: Path) -> DimensionSet:
    """The dimension set in a TOML file; the format is in `docs/dimensions.md`.

    Raises:
        NotFoundError: no such file.
        DimensionSetError: it cannot be used; the message starts with file and line and says what to do.
    """
    text = _text_of(path)
    document = _parsed(path, text)
    lines = key_lines(text)

    def refuse(at: KeyPath, message: str) -> NoReturn:
        while at and at not in lines:
            at = at[:-1]
        raise DimensionSetError(f"{path}:{lines.get(at, 1)}: {message}")

    if not document:
        raise DimensionSetError(f"{path}: there is nothing in it; see docs/dimensions.md for an example")
    return _SetReader(path.stem, refuse).dimension_set(document)


def read_set(document: Mapping[str, object]) -> DimensionSet:
    """The dimension set that a document says: the members of a file, as JSON has them.

    Raises:
        DimensionSetError: it cannot be used; `extra["field"]` is the place: `dimensions.humor.weight`.
    """
    return _SetReader("", _refuse_field).dimension_set(document)


def read_rule(name: str, rule: Mapping[str, object]) -> TypeRule:
    """A type by itself, whose conditions may name any dimension.

    Raises:
        DimensionSetError: it cannot be used; `extra["field"]` is the place: `when.humor`.
    """

    def refuse(at: KeyPath, message: str) -> NoReturn:
        _refuse_field(at[2:] or ("name",), message)  # within types.<name>

    return _SetReader("", refuse).type(name, rule, None)


def with_types(dimension_set: DimensionSet, rules: Iterable[TypeRule]) -> DimensionSet:
    """The set with further types: those whose dimensions it has. Its own of the same name stay."""
    own = {rule.type for rule in dimension_set.types if rule not in STANDARD_TYPES}
    new = {r.type: r for r in rules if r.type not in own and r.when.keys() <= set(dimension_set.names)}
    kept = tuple(rule for rule in dimension_set.types if rule.type not in new)
    return replace(dimension_set, types=(*kept, *new.values()))


def _refuse_field(at: KeyPath, message: str) -> NoReturn:
    place = ".".join(at)
    raise DimensionSetError(f"{place}: {message}" if place else message, field=place)


def _text_of(path: Path) -> str:
    try:
        with path.open("rb") as file:
            raw = file.read(LARGEST_FILE + 1)
    except FileNotFoundError as error:
        raise NotFoundError(f"no dimension set at {path}") from error
    except OSError as error:
        raise DimensionSetError(f"{path}: cannot be read: {error.strerror or error}") from error
    if len(raw) > LARGEST_FILE:
        raise DimensionSetError(f"{path}: larger than {LARGEST_FILE // 1024} KiB; this is no dimension set")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise DimensionSetError(f"{path}:{line}: not UTF-8; save the file as UTF-8 text") from error


def _parsed(path: Path, text: str) -> dict[str, object]:
    try:
        return tomllib.loads(text)
    except RecursionError as error:
        raise DimensionSetError(f"{path}: nested too deeply; a dimension set has two levels") from error
    except ValueError as error:
        words = str(error)
        found = re.search(r" ?\(at (?:line (\d+), column \d+|end of document)\)$", words)
        line = int(found[1]) if found and found[1] else len(text.rstrip().splitlines()) or 1
        reason = words[: found.start()] if found else words
        hint = _SYNTAX_HINTS.get(reason.partition("(")[0].strip(), "")
        raise DimensionSetError(f"{path}:{line}: no valid TOML: {reason}{hint}") from error


_SYNTAX_HINTS = {
    "Cannot overwrite a value": "; this key is there twice, keep one of them",
    "Cannot declare": "; put everything about it under one heading",
    "Invalid value": '; texts need quotes: name = "..."',
    "Unterminated string": "; a closing quote is missing",
    "Expected '=' after a key in a key/value pair": "; write key = value",
    "Invalid statement": "; write key = value or a [heading]",
}
"""What tomllib says -> what to do."""


@dataclass(frozen=True, slots=True)
class _SetReader:
    """Understands documents; every complaint knows its place."""

    default_name: str  # where the document has none
    refuse: Callable[[KeyPath, str], NoReturn]

    def dimension_set(self, document: Mapping[str, object]) -> DimensionSet:
        self._only(document, (), {"name", "threshold", "base", "dimensions", "types"})
        base = self._base(document)
        threshold = base.threshold if base else THRESHOLD
        if "threshold" in document:
            threshold = self._number(document["threshold"], ("threshold",), "threshold", 0.0, 1.0)
        default = f"{base.name} (changed)" if base else self.default_name[:LONGEST_NAME] or "custom"
        name = self._line_of_text(document, (), "name", "name", LONGEST_NAME) or default
        dimensions = self._dimensions(document, base)
        types = self._types(document, tuple(d.name for d in dimensions))
        return DimensionSet(name, threshold, dimensions, types)

    def _base(self, document: Mapping[str, object]) -> DimensionSet | None:
        if "base" not in document:
            return None
        name = document["base"]
        if not isinstance(name, str) or name not in PRESETS:
            self.refuse(("base",), f"base is {_shown(name)}; choose from {', '.join(PRESETS)}")
        return PRESETS[name]

    # dimensions

    def _dimensions(self, document: Mapping[str, object], base: DimensionSet | None) -> tuple[Dimension, ...]:
        found = {d.name: d for d in base.dimensions} if base else {}
        entries = self._table(
            document.get("dimensions", {}), ("dimensions",), "[dimensions.<name>] weight = 1.0"
        )
        for name, entry in entries.items():
            at = ("dimensions", name)
            self._check_name(name, at, "dimension")
            self._check_typo(name, at)
            found[name] = self._dimension(name, entry, found.get(name))
        if not found:
            here = "dimensions" if "dimensions" in document else next(iter(document), "dimensions")
            self.refuse(
                (here,), 'there are no dimensions; add [dimensions.<name>], or base = "sports" to start from'
            )
        if len(found) > MOST_ENTRIES:
            self.refuse(
                ("dimensions",),
                f"there are {len(found)} dimensions; keep the {MOST_ENTRIES} that matter most",
            )
        if not any(d.weight for d in found.values()):
            self.refuse(
                ("dimensions",), "all weights are 0, so nothing could be scored; give one of them more"
            )
        return tuple(found.values())

    def _dimension(self, name: str, entry: object, before: Dimension | None) -> Dimension:
        at = ("dimensions", name)
        table = self._table(entry, at, f"[dimensions.{name}] weight = 1.0")
        self._only(table, at, {"weight", "description"})
        weight = before.weight if before else 1.0
        if "weight" in table:
            weight = self._number(table["weight"], (*at, "weight"), f"weight of {name}", 0.0, HEAVIEST)
        text = self._line_of_text(table, at, "description", f"description of {name}", LONGEST_TEXT)
        known = before.description if before else DESCRIPTIONS.get(name, name.replace("_", " "))
        return Dimension(name, weight, text or known)

    def _check_typo(self, name: str, at: KeyPath) -> None:
        """A near miss would be scored by nobody and noticed by nobody."""
        if name in DESCRIPTIONS:
            return
        if near := difflib.get_close_matches(name, DESCRIPTIONS, 1, 0.9):
            self.refuse(
                at, f'{name} looks like {near[0]}; write "{near[0]}", or choose a name that differs more'
            )

    # types

    def _types(self, document: Mapping[str, object], names: tuple[str, ...]) -> tuple[TypeRule, ...]:
        found = {rule.type: rule for rule in _types_for(names)}
        entries = self._table(document.get("types", {}), ("types",), "[types.<name>] when = {...}")
        for name, entry in entries.items():
            found[name] = self.type(name, entry, names)
        if len(entries) > MOST_ENTRIES:
            self.refuse(
                ("types",), f"there are {len(entries)} types; keep the {MOST_ENTRIES} that matter most"
            )
        return tuple(found.values())

    def type(self, name: str, entry: object, names: tuple[str, ...] | None) -> TypeRule:
        """One type; its conditions name some of `names`, or anything where there are none yet."""
        at = ("types", name)
        self._check_name(name, at, "type")
        if name == GENERIC:
            self.refuse(at, "generic is what remains when no other type fits; it takes no rule, remove it")
        example = f"when = {{{names[0] if names else 'crowd_reaction'} = 0.6}}"
        table = self._table(entry, at, f"[types.{name}] {example}")
        self._only(table, at, {"when", "match", "priority"})
        if "when" not in table:
            self.refuse(at, f"type {name} has no conditions; add {example}")
        when = self._conditions(name, table["when"], names, example)
        match = table.get("match", "all")
        if match not in ("all", "any"):
            self.refuse((*at, "match"), f'match of {name} is {_shown(match)}; write "all" or "any"')
        priority = table.get("priority", 0)
        if not isinstance(priority, int) or isinstance(priority, bool) or not 0 <= priority <= 1000:
            what = f"priority of {name} is {_shown(priority)}"
            self.refuse((*at, "priority"), f"{what}; it must be a whole number between 0 and 1000")
        return TypeRule(name, when, match, priority)

    def _conditions(
        self, name: str, value: object, names: tuple[str, ...] | None, example: str
    ) -> Mapping[str, float]:
        at = ("types", name, "when")
        table = self._table(value, at, example)
        if not table:
            self.refuse(at, f"type {name} has no conditions; write {example}")
        when: dict[str, float] = {}
        for dimension, minimum in table.items():
            here = (*at, dimension)
            if names is None:
                self._check_name(dimension, here, "dimension")
                self._check_typo(dimension, here)
            elif dimension not in names:
                hint = _did_you_mean(dimension, names) or f"; add [dimensions.{dimension}] or remove it here"
                self.refuse(here, f"type {name} asks for {dimension}, which this set does not have{hint}")
            when[dimension] = self._number(minimum, here, f"minimum of {dimension}", 0.01, 1.0)
        return when

    # values

    def _table(self, value: object, at: KeyPath, example: str) -> Mapping[str, object]:
        if not isinstance(value, dict):
            self.refuse(at, f"{'.'.join(at)} is {_shown(value)}; it must be a table: {example}")
        return cast("Mapping[str, object]", value)

    def _only(self, table: Mapping[str, object], at: KeyPath, known: set[str]) -> None:
        for key in table:
            if key not in known:
                hint = _did_you_mean(key, known) or f"; what may stand here: {', '.join(sorted(known))}"
                self.refuse((*at, key), f"unknown key {_shown(key)}{hint}")

    def _number(self, value: object, at: KeyPath, what: str, least: float, most: float) -> float:
        if not isinstance(value, int | float) or isinstance(value, bool):
            self.refuse(at, f"{what} is {_shown(value)}; it must be a number between {least:g} and {most:g}")
        if not least <= value <= most:  # NaN fails this too
            self.refuse(at, f"{what} is {_shown(value)}; it must be between {least:g} and {most:g}")
        return float(value)

    def _line_of_text(
        self, table: Mapping[str, object], at: KeyPath, key: str, what: str, longest: int
    ) -> str | None:
        if key not in table:
            return None
        value = table[key]
        here = (*at, key)
        if not isinstance(value, str):
            self.refuse(here, f'{what} is {_shown(value)}; it must be a text in quotes: {key} = "..."')
        if not value.strip():
            self.refuse(here, f"{what} is empty; write something or remove the line")
        if len(value) > longest:
            self.refuse(here, f"{what} is {len(value)} characters long; {longest} are allowed")
        if not value.isprintable():
            self.refuse(here, f"{what} holds a line break or another control character; write it on one line")
        return value

    def _check_name(self, name: str, at: KeyPath, kind: str) -> None:
        if len(name) > LONGEST_NAME:
            self.refuse(at, f"the {kind}'s name is {len(name)} characters long; {LONGEST_NAME} are allowed")
        if not _NAME.fullmatch(name):
            better = re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")
            hint = f': write "{better}"' if _NAME.fullmatch(better) else ""
            what = f"{kind} name {_shown(name)}"
            self.refuse(at, f"{what}: only lower-case letters, digits and underscores, a letter first{hint}")


def _did_you_mean(word: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(word, list(known), 1)
    return f'; did you mean "{near[0]}"?' if near else ""


def _shown(value: object) -> str:
    """A value as a complaint quotes it: as it was written, never long, on one line."""
    if isinstance(value, dict):
        return "a table"
    if isinstance(value, list):
        return "a list"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int) and value.bit_length() > 100:
        return "a number without end"  # Python refuses to print very long ones
    text = f'"{value}"' if isinstance(value, str) else str(value)
    text = "".join(c if c.isprintable() else "�" for c in text)
    return text if len(text) <= 60 else f"{text[:59]}…"
