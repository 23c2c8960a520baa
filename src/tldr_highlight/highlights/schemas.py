"""What crosses HTTP about highlights, dimension sets and types."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, StringConstraints

from tldr_highlight.core.shapes import NAME_PATTERN, Id, Moment, PageQuery, Schema

# --- highlights ----------------------------------------------------------------------------------------

Title = Annotated[
    str, StringConstraints(strip_whitespace=True, min_length=1, max_length=200, pattern=NAME_PATTERN)
]
Tag = Annotated[
    str, StringConstraints(strip_whitespace=True, min_length=1, max_length=40, pattern=NAME_PATTERN)
]


def _distinct(tags: list[str]) -> list[str]:
    return list(dict.fromkeys(tags))


Tags = Annotated[list[Tag], Field(max_length=10), AfterValidator(_distinct)]
"""Each once. 1600 bytes at most: PostgreSQL's indexes take 2700."""

Verdict = Literal["keep", "drop"]
TypeName = Annotated[str, StringConstraints(min_length=1, max_length=64, pattern=NAME_PATTERN)]


Order = Literal["newest", "score", "time"]


class HighlightsFilter(PageQuery):
    """Which highlights."""

    min_score: Annotated[float | None, Field(ge=0, le=1, description="As likely to be kept, or more.")] = None
    max_score: Annotated[float | None, Field(ge=0, le=1, description="As likely to be kept, or less.")] = None
    type: Annotated[
        TypeName | None, Field(description="That are of this type, among others.", examples=["reaction"])
    ] = None
    tag: Annotated[Tag | None, Field(description="That have this tag, among others.", examples=["derby"])] = (
        None
    )
    verdict: Annotated[Verdict | None, Field(description="What somebody thought of them.")] = None
    state: Annotated[
        Literal["detected", "ready", "failed"] | None, Field(description="`ready`: the clip is there.")
    ] = None
    origin: Annotated[
        Literal["analysis", "request"] | None, Field(description="Who wanted them: we, or somebody.")
    ] = None
    created_after: Annotated[Moment | None, Field(description="From this moment on.")] = None
    created_before: Annotated[Moment | None, Field(description="Before this moment.")] = None


class HighlightsQuery(HighlightsFilter):
    """Which highlights, in which order."""

    stream_id: Annotated[Id | None, Field(description="Of this stream alone.")] = None
    order: Annotated[
        Order,
        Field(
            description="`score`: best first; clips that were asked for have none and are left out. "
            "`time`: as they come in the stream, which has to be named."
        ),
    ] = "newest"


class StreamHighlightsQuery(HighlightsFilter):
    """Which highlights of a stream, in which order."""

    order: Annotated[
        Order,
        Field(
            description="`time`: as they come in it. `score`: best first; clips that were asked for have "
            "none and are left out."
        ),
    ] = "time"


class HighlightPatch(Schema):
    """What changes of a highlight; what is left out stays."""

    # these defaults are never looked at
    title: Title = Field(default_factory=str, examples=["The equaliser"])
    tags: Tags = Field(default_factory=list, examples=[["derby", "for the weekly"]])
    verdict: Verdict | None = Field(
        default=None, description="Whether it is worth keeping; null: not said.", examples=["keep"]
    )


class EvidenceOut(Schema):
    """One reason, readable by a person."""

    dimension: str = Field(examples=["crowd_reaction"])
    time: float = Field(examples=[751.5])
    text: str = Field(
        examples=["crowd noise 8.4 dB above both sides, 2.7 σ over the minutes around at 12:31"]
    )


class HighlightOut(Schema):
    """A highlight. Times are media seconds."""

    id: str
    stream_id: str
    origin: str = Field(description="`analysis`, or `request`: somebody asked for it.", examples=["analysis"])
    state: str = Field(
        description="`detected`, then `ready` or `failed`: its clip can be had, or could not be made.",
        examples=["ready"],
    )
    start: float = Field(description="Tight around what happens.", examples=[748.5])
    end: float = Field(examples=[756.0])
    peak: float = Field(examples=[751.5])
    clip_start: float = Field(description="With context, at a pause or a shot change.", examples=[743.5])
    clip_end: float = Field(examples=[761.0])
    score: float | None = Field(
        description="How likely a viewer keeps it, 0..1; null: asked for, not judged.", examples=[0.83]
    )
    confidence: float | None = Field(description="How much of it could be judged, 0..1.", examples=[0.9])
    types: list[str] = Field(examples=[["reaction"]])
    title: str = Field(examples=["Crowd reaction at 12:31"])
    tags: list[str] = Field(examples=[["derby"]])
    verdict: str | None = Field(description="`keep` or `drop`, as somebody said.", examples=["keep"])
    dimensions: dict[str, float | None] = Field(
        description="0..1; null: unknown.", examples=[{"crowd_reaction": 0.91, "skill_display": None}]
    )
    evidence: list[EvidenceOut]
    clip: dict[str, Any] | None = Field(
        description="`start` and `end` as cut, `method`, `frames`, `sync_ms`, `bytes`, `sha256`, `warnings`.",
        examples=[{"start": 743.48, "end": 761.0, "method": "smart", "frames": 438, "bytes": 2100321}],
    )
    clip_url: str | None = Field(
        description="Leads to the file; takes a key or login. null: not there.",
        examples=["https://highlights.example.com/api/v1/highlights/hl_01kb8mz3s5e6v7w8x9y0a1b2c30001/clip"],
    )
    thumbnail_url: str | None = Field(
        description="The same for the picture of its peak.",
        examples=[
            "https://highlights.example.com/api/v1/highlights/hl_01kb8mz3s5e6v7w8x9y0a1b2c30001/thumbnail"
        ],
    )
    stored_bytes: int = Field(description="Of all its files.", examples=[2150000])
    error_code: str | None = Field(examples=[None])
    error_message: str | None = Field(examples=[None])
    created_at: datetime
    ready_at: datetime | None
    expires_at: datetime | None = Field(description="When the plan deletes it.")


class ShareCreate(Schema):
    """How to share."""

    expires_in: Annotated[int, Field(strict=True, ge=60, le=2_592_000)] = Field(
        default=604_800, description="Seconds that the link works; a week if not said.", examples=[604_800]
    )


class ShareOut(Schema):
    """A link that takes no account."""

    url: str = Field(
        examples=[
            "https://highlights.example.com/shared/hl_01kb8mz3s5e6v7w8x9y0a1b2c30001"
            "?expires=1796000000&signature=wLb2mYxq0vYc1r8mJtZpLw7dHfGsUaEi2oB4yN6uKx9"
        ]
    )
    expires_at: datetime


Presets = Literal["general", "gaming", "sports", "education", "podcast", "corporate"]

# --- dimension sets ------------------------------------------------------------------------------------

SET_PATTERN = r"^([a-z]{2,8}_[0-9a-z]{1,40}|[a-z]{1,20}|[a-z]{1,20}_[a-z]{1,20})$"
SetId = Annotated[str, StringConstraints(pattern=SET_PATTERN)]
"""A set's id, or a preset's name."""
TypeId = SetId
"""A type's id, or the name of one of ours."""

Word = Annotated[str, Field(max_length=200)]
Minimum = Annotated[float, Field(strict=True, ge=0.01, le=1)]

RULE = {"when": {"crowd_reaction": 0.6, "action_intensity": 0.4}, "match": "all", "priority": 10}


class DimensionIn(Schema):
    """How much one dimension matters."""

    weight: float = Field(
        default=1.0,
        strict=True,
        ge=0,
        le=100,
        description="Relative to the others; 0: shown, never scored.",
        examples=[3.0],
    )
    description: Annotated[str, Field(max_length=2000)] | None = Field(
        default=None,
        description="What a value of 1 means: one line of up to 500 characters.",
        examples=["flares, smoke or fireworks on the stands"],
    )


class RuleIn(Schema):
    """When a highlight is of a type."""

    when: dict[Word, Minimum] = Field(
        description="Dimension → minimum.", examples=[RULE["when"]], max_length=64
    )
    match: Literal["all", "any"] = "all"
    priority: int = Field(default=0, strict=True, ge=0, le=1000, description="The higher one wins a tie.")


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
        strict=True,
        ge=0,
        le=1,
        description="Score from which on a moment is kept; 0.5 if not said.",
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
    when: dict[Word, Minimum] = Field(
        default_factory=dict,
        max_length=64,
        description="Dimension → minimum.",
        examples=[RULE["when"]],
    )
    match: Literal["all", "any"] = "all"
    priority: int = Field(default=0, strict=True, ge=0, le=1000, description="The higher one wins a tie.")
    description: Annotated[str, Field(max_length=500)] | None = Field(
        default=None, examples=["the ball is in and the stands know it"]
    )


class TypeOut(Schema):
    """A type of highlights."""

    id: str = Field(description="One of ours has its name.", examples=["typ_01kb8mz3s5e6v7w8x9y0a1b2c3"])
    name: str = Field(examples=["goal"])
    version: int | None = Field(description="Rises with each change; null: one of ours.", examples=[1])
    standard: bool = Field(description="It is one of ours: nobody changes it.", examples=[False])
    when: dict[str, float] = Field(examples=[RULE["when"]])
    match: str = Field(examples=["all"])
    priority: int
    description: str | None = Field(examples=["the ball is in and the stands know it"])
    created_at: datetime | None = Field(description="null: one of ours.")
