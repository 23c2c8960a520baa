"""What crosses HTTP about what came of a stream."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from tldr_highlight.core.shapes import Id, Schema
from tldr_highlight.highlights.schemas import EvidenceOut, Tags, Title
from tldr_highlight.media.types import Quality

Position = Annotated[float, Field(strict=True, ge=0, le=360_000)]
"""Media seconds; a hundred hours is more than any stream has."""

LONGEST_CLIP = 600.0
"""Seconds of a clip that somebody asks for: ten minutes are 20 s of a core's work at worst."""

# --- curves --------------------------------------------------------------------------------------------


class TimelineQuery(Schema):
    """How fine curves are."""

    smoothing_seconds: Annotated[
        float | None,
        Field(
            ge=0,
            le=60,
            description="They are averaged over; the stream's option if not said.",
            examples=[5.0],
        ),
    ] = None
    resolution: Annotated[
        int, Field(ge=10, le=5000, description="Values at most; of those that fall together, the highest.")
    ] = 1000


class TimelineOut(Schema):
    """Curves of a stream. Value `i` of each is of the `step` media seconds from `start + i * step` on."""

    start: float = Field(examples=[0.0])
    step: float = Field(examples=[0.5])
    threshold: float = Field(description="Score from which on moments are kept.", examples=[0.5])
    score: list[float | None] = Field(
        description="How likely a viewer keeps a moment around there, 0..1; null: unknown.",
        examples=[[0.12, 0.84, None]],
    )
    dimensions: dict[str, list[float | None]] = Field(
        description="0..1; null: unknown.", examples=[{"crowd_reaction": [0.05, 0.91, None]}]
    )


class TryCreate(Schema):
    """On which stream to try a dimension set."""

    stream_id: Id
    as_submitted: bool = Field(
        default=False,
        strict=True,
        description="By the version, types and threshold that the stream remembers; the set has to be its "
        "own. Else by the latest ones, and the set's threshold.",
    )


class MomentOut(Schema):
    """What would be a highlight. Times are media seconds."""

    start: float = Field(examples=[748.5])
    end: float = Field(examples=[756.0])
    peak: float = Field(examples=[751.5])
    score: float = Field(examples=[0.83])
    confidence: float = Field(examples=[0.9])
    types: list[str] = Field(examples=[["reaction"]])
    title: str = Field(examples=["Crowd reaction at 12:31"])
    dimensions: dict[str, float | None] = Field(examples=[{"crowd_reaction": 0.91, "skill_display": None}])
    evidence: list[EvidenceOut]
    clip_start: float = Field(examples=[743.5])
    clip_end: float = Field(examples=[761.0])


class TrialOut(Schema):
    """What a dimension set would find in a stream. Nothing is stored."""

    set_id: str = Field(examples=["dset_01kb8mz3s5e6v7w8x9y0a1b2c3"])
    version: int | None = Field(description="null: a preset.", examples=[1])
    stream_id: str
    analysed_seconds: float = Field(examples=[3600.0])
    known_share: float = Field(
        description="Of the set's weight, 0..1, on what could be judged at all.", examples=[0.75]
    )
    degraded: bool = Field(description="That is less than half.", examples=[False])
    highlights: list[MomentOut]


# --- clips ---------------------------------------------------------------------------------------------


class ClipCreate(Schema):
    """A range to cut, in media seconds."""

    start: Position = Field(examples=[751.5])
    end: Position = Field(description="After `start`, by ten minutes at most.", examples=[781.5])
    title: Title | None = Field(default=None, examples=["The equaliser"])
    tags: Tags = Field(default=[], examples=[["derby"]])
    quality: Quality | None = Field(default=None, description="The stream's if not said.", examples=["high"])

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if not 0.1 <= self.end - self.start <= LONGEST_CLIP:
            raise ValueError("end has to be 0.1 to 600 seconds after start")
        return self


# --- reels ---------------------------------------------------------------------------------------------


class ReelCreate(Schema):
    """How long a reel is to be."""

    target_seconds: Annotated[float, Field(strict=True, ge=1, le=7200)] = Field(examples=[60.0])
    tolerance: Annotated[float, Field(strict=True, ge=0.5, le=600)] = Field(
        default=1.0, description="Seconds that it may be longer or shorter.", examples=[1.0]
    )


class ReelOut(Schema):
    """Highlights of a stream, joined into one file."""

    id: str
    stream_id: str
    job_id: str
    state: Literal["pending", "ready", "failed"] = Field(examples=["ready"])
    target_seconds: float = Field(examples=[60.0])
    tolerance: float = Field(examples=[1.0])
    seconds: float | None = Field(description="That it has.", examples=[59.96])
    note: str | None = Field(
        description="Why it is not as long as it should be.",
        examples=["there is no more worth showing: 42.0 s, not 60"],
    )
    highlights: list[str] = Field(
        description="What it shows, in order of time.", examples=[["hl_01kb8mz3s5e6v7w8x9y0a1b2c30001"]]
    )
    video_url: str | None = Field(
        description="Leads to the file; takes a key or login. null: not there.",
        examples=["https://highlights.example.com/api/v1/reels/reel_01kb8mz3s5e6v7w8x9y0a1b2c3/video"],
    )
    stored_bytes: int = Field(examples=[8150000])
    error_code: str | None = Field(examples=[None])
    error_message: str | None = Field(examples=[None])
    created_at: datetime
    ended_at: datetime | None
