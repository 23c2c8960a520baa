"""What crosses HTTP about clip jobs."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, ConfigDict, Field, StringConstraints

from tldr_highlight.clips.names import Template
from tldr_highlight.core.shapes import Name, PageQuery, Schema
from tldr_highlight.errors import UsageError
from tldr_highlight.media.types import CutMode, CutOptions, Quality, Watermark
from tldr_highlight.streams.schemas import ErrorOut, SourceIn, WatermarkIn

Seconds = Annotated[float, Field(strict=True, ge=-1e6, le=1e6)]
"""Times that are none fail their clip; what is beyond these is a mistake that is told at once."""

MOST_CLIPS = 200
"""Of one job."""

JobState = Literal["pending", "processing", "finished", "failed"]
ClipState = Literal["pending", "ready", "failed", "deleted"]


def _template(text: str) -> str:
    try:
        Template.parse(text)
    except UsageError as error:
        raise ValueError(str(error)) from None
    return text


# --- what is asked for ---------------------------------------------------------------------------------


class ClipRange(Schema):
    """One range to cut. One that cannot be cut fails alone: also one that ends before it begins."""

    start: Seconds = Field(description="Seconds from the source's start.", examples=[12.5])
    end: Seconds = Field(description="Seconds; the clip ends before it.", examples=[42.5])
    name: Name | None = Field(
        default=None, description="Of the file, where `file_name` has `{title}`.", examples=["Goal"]
    )


class ClipOptions(Schema):
    """How clips are cut. What is left out has the default."""

    mode: CutMode = Field(
        default="auto",
        description="`auto` copies what can be copied and is exact; `instant` copies whole groups of "
        "pictures and hides what is too much; `encode` encodes everything anew.",
    )
    quality: Quality = Field(default="high", description="`source` copies whatever is in the source.")
    watermark: WatermarkIn | None = None
    loudness: Annotated[float, Field(strict=True, ge=-40.0, le=-5.0)] | None = Field(
        default=None, description="LUFS that the sound is brought to; null: as it is.", examples=[-14.0]
    )
    clamp: bool = Field(
        default=True, strict=True, description="Ranges that reach behind the end: cut there, or refuse them."
    )
    posters: bool = Field(default=False, strict=True, description="A picture of each clip, too.")

    def for_cutting(self) -> CutOptions:
        """What the cutter takes."""
        mark = None if self.watermark is None else Watermark(**self.watermark.model_dump())
        return CutOptions(
            mode=self.mode, quality=self.quality, watermark=mark, loudness=self.loudness, clamp=self.clamp
        )


class ClipJobCreate(SourceIn):
    """Ranges to cut from one source."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "source_url": "https://media.example.com/matches/final.mp4",
                    "clips": [{"start": 12.5, "end": 42.5}, {"start": 300, "end": 330, "name": "Goal"}],
                    "options": {"quality": "medium"},
                }
            ]
        }
    )

    clips: Annotated[list[ClipRange], Field(min_length=1, max_length=MOST_CLIPS)]
    options: ClipOptions = ClipOptions()
    file_name: Annotated[str, StringConstraints(min_length=1, max_length=200), AfterValidator(_template)] = (
        Field(
            default="{source}-{start}-{end}",
            description="Of files: text with `{source}`, `{index:03}`, `{start}`, `{end}`, `{title}`.",
            examples=["{source}-{index:03}"],
        )
    )


class ClipJobsQuery(PageQuery):
    """Which clip jobs, and which part of their list."""

    state: Annotated[JobState | None, Field(description="Those that are so far.")] = None


# --- what is told --------------------------------------------------------------------------------------


class ClipOut(Schema):
    """One clip of a job, in the order they were asked for."""

    id: str
    index: int = Field(description="Among the clips of the job, from 0.", examples=[0])
    state: ClipState = Field(description="`deleted`: its file alone was.", examples=["ready"])
    start: float | None = Field(description="As asked for.", examples=[12.5])
    end: float | None = Field(examples=[42.5])
    file_name: str = Field(examples=["final-00-00-12.500-00-00-42.500.mp4"])
    actual_start: float | None = Field(default=None, description="Of its first picture.", examples=[12.5])
    actual_end: float | None = Field(default=None, examples=[42.5])
    frames: int | None = Field(default=None, description="Pictures in it.", examples=[750])
    method: str | None = Field(default=None, description="`copy`, `smart` or `encode`.", examples=["smart"])
    reason: str | None = Field(
        default=None, description="Why by this method.", examples=["its edges are encoded"]
    )
    sync_ms: float | None = Field(default=None, description="Sound against picture.", examples=[0.0])
    width: int | None = Field(default=None, examples=[1920])
    height: int | None = Field(default=None, examples=[1080])
    bytes: int | None = Field(default=None, examples=[7_480_211])
    sha256: str | None = Field(
        default=None, examples=["9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"]
    )
    warnings: list[str] = Field(default=[], examples=[[]])
    url: str | None = Field(
        default=None, description="Opens the file, for an hour: ask again for another.",
        examples=["https://highlights.example.com/files/org_1/job_1/0.mp4?expires=1795608000&signature=x"],
    )  # fmt: skip
    poster_url: str | None = Field(
        default=None, description="Of its picture, where one was asked for.",
        examples=["https://highlights.example.com/files/org_1/job_1/0.jpg?expires=1795608000&signature=x"],
    )  # fmt: skip
    error: ErrorOut | None = None


class ClipJobSummary(Schema):
    """A clip job, without its clips."""

    id: str
    state: JobState = Field(examples=["finished"])
    source: str = Field(
        description="What of it may be shown.", examples=["https://media.example.com/final.mp4"]
    )
    title: str | None = Field(description="The source's, where it has one.", examples=["Final"])
    resolver: str | None = Field(description="Who found the media at that address.", examples=["direct"])
    options: dict[str, Any] = Field(examples=[{"mode": "auto", "quality": "high"}])
    total: int = Field(description="Clips asked for.", examples=[2])
    processed: int = Field(description="Of them, those that are done; failed ones too.", examples=[2])
    error: ErrorOut | None = Field(description="Why all of it failed.")
    created_at: datetime
    started_at: datetime | None
    completed_at: datetime | None
    delete_at: datetime | None = Field(description="When it goes, with its files; null: it goes on still.")


class ClipJobOut(ClipJobSummary):
    """A clip job with its clips."""

    clips: list[ClipOut]
