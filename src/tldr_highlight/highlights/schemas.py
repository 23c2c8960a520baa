"""What crosses HTTP about highlights, dimension sets and types."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import Field

from tldr_highlight.web import Schema

Presets = Literal["general", "gaming", "sports", "education", "podcast", "corporate"]

# --- dimension sets ------------------------------------------------------------------------------------

# Bounds of values are held by `analysis/dimensions.py` alone, which says them in words.

Word = Annotated[str, Field(max_length=200)]

RULE = {"when": {"crowd_reaction": 0.6, "action_intensity": 0.4}, "match": "all", "priority": 10}


class DimensionIn(Schema):
    """How much one dimension matters."""

    weight: float = Field(
        default=1.0, description="0..100, relative to the others; 0: shown, never scored.", examples=[3.0]
    )
    description: Annotated[str, Field(max_length=2000)] | None = Field(
        default=None,
        description="What a value of 1 means: one line of up to 500 characters.",
        examples=["flares, smoke or fireworks on the stands"],
    )


class RuleIn(Schema):
    """When a highlight is of a type."""

    when: dict[Word, float] = Field(
        description="Dimension → minimum, 0.01..1.", examples=[RULE["when"]], max_length=64
    )
    match: Literal["all", "any"] = "all"
    priority: int = Field(default=0, description="0..1000; the higher one wins a tie.")


class DimensionSetWrite(Schema):
    """A dimension set, or what changes of it; what is left out stays, or is taken from `base`."""

    name: Annotated[str, Field(max_length=2000)] | None = Field(
        default=None, description="One line of up to 64 characters.", examples=["our derby"]
    )
    base: Presets | None = Field(
        default=None, description="A preset to start from. It has no say later.", examples=["sports"]
    )
    threshold: float | None = Field(
        default=None,
        description="0..1: score from which on a moment is kept; 0.5 if not said.",
        examples=[0.55],
    )
    dimensions: dict[Word, DimensionIn] | None = Field(
        default=None,
        max_length=200,
        description="By name: lower-case letters, digits and underscores. All of them: they replace the "
        "dimensions there are, except that those of `base` stay.",
        examples=[{"crowd_reaction": {"weight": 3.0}, "humor": {"weight": 0}}],
    )
    types: dict[Word, RuleIn] | None = Field(
        default=None,
        max_length=200,
        description="Types of this set alone; they replace those there are.",
        examples=[{"goal": RULE}],
    )


class DimensionOut(Schema):
    """One dimension."""

    weight: float
    description: str = Field(examples=["an audience that cheers, roars, gasps or applauds"])


class RuleOut(Schema):
    """When a highlight is of a type."""

    when: dict[str, float] = Field(examples=[RULE["when"]])
    match: str = Field(examples=["all"])
    priority: int


class DimensionSetOut(Schema):
    """A dimension set, as a version of it says it."""

    id: str = Field(description="A preset's is its name.", examples=["dset_01kb8mz3s5e6v7w8x9y0a1b2c3"])
    version: int | None = Field(description="null: a preset.", examples=[1])
    name: str = Field(examples=["our derby"])
    preset: bool = Field(description="It is one of ours: nobody changes it.", examples=[False])
    threshold: float = Field(examples=[0.55])
    dimensions: dict[str, DimensionOut] = Field(
        examples=[{"crowd_reaction": {"weight": 3.0, "description": "an audience that cheers"}}]
    )
    types: dict[str, RuleOut] = Field(description="Types of this set alone.", examples=[{"goal": RULE}])
    type_names: list[str] = Field(
        description="All types that its highlights can have: ours, the organization's, its own.",
        examples=[["goal", "climactic", "emotional", "reaction", "generic"]],
    )
    created_at: datetime | None = Field(description="Of this version; null: a preset.")


# --- types ---------------------------------------------------------------------------------------------


class TypeCreate(RuleIn):
    """A type to make."""

    name: Word = Field(
        description="Lower-case letters, digits and underscores, a letter first.", examples=["goal"]
    )
    description: Annotated[str, Field(max_length=500)] | None = Field(
        default=None, examples=["the ball is in and the stands know it"]
    )

    def rule(self) -> dict[str, Any]:
        """Without its name."""
        return {"when": self.when, "match": self.match, "priority": self.priority}


class TypePatch(Schema):
    """What changes of a type; what is left out stays. Its name stays: highlights have it."""

    # these defaults are never looked at
    when: dict[Word, float] = Field(
        default_factory=dict,
        max_length=64,
        description="Dimension → minimum, 0.01..1.",
        examples=[RULE["when"]],
    )
    match: Literal["all", "any"] = "all"
    priority: int = Field(default=0, description="0..1000; the higher one wins a tie.")
    description: Annotated[str, Field(max_length=500)] | None = Field(
        default=None, examples=["the ball is in and the stands know it"]
    )


class TypeOut(Schema):
    """A type of highlights."""

    id: str = Field(description="One of ours has its name.", examples=["typ_01kb8mz3s5e6v7w8x9y0a1b2c3"])
    name: str = Field(examples=["goal"])
    standard: bool = Field(description="It is one of ours: nobody changes it.", examples=[False])
    when: dict[str, float] = Field(examples=[RULE["when"]])
    match: str = Field(examples=["all"])
    priority: int
    description: str | None = Field(examples=["the ball is in and the stands know it"])
    created_at: datetime | None = Field(description="null: one of ours.")
