"""What crosses HTTP about streams, their work, and batches of them."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal, Self

from pydantic import ConfigDict, Field, StringConstraints, model_validator

from tldr_highlight.core.shapes import Id, Moment, PageQuery, Schema
from tldr_highlight.highlights.schemas import RuleOut, SetId, Title
from tldr_highlight.media.types import Corner, Quality
from tldr_highlight.streams.models import StreamState
from tldr_highlight.streams.sources import Source

WORD_PATTERN = r"^[a-z][a-z0-9_]*$"

Url = Annotated[str, StringConstraints(min_length=1, max_length=8192)]
"""An address; which ones are taken is said by `core/addresses.py`."""

HeaderName = Annotated[str, StringConstraints(min_length=1, max_length=100)]
HeaderValue = Annotated[str, StringConstraints(max_length=8192)]

Seconds = Annotated[float, Field(strict=True, ge=0.0, le=60.0)]

# --- what is asked for ---------------------------------------------------------------------------------


class WatermarkIn(Schema):
    """A text in a corner of every clip."""

    text: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=100)] = Field(
        examples=["Nordlicht Sports"]
    )
    corner: Corner = "bottom-right"
    margin: Annotated[
        float, Field(strict=True, ge=0.0, le=0.2, description="Of the clip's height, to the edges.")
    ] = 0.03
    height: Annotated[float, Field(strict=True, ge=0.02, le=0.3, description="Of the clip's height.")] = 0.08
    opacity: Annotated[float, Field(strict=True, ge=0.05, le=1.0)] = 0.8


class ProcessingOptions(Schema):
    """What is to be found, and how clips are made. What is left out has the default of the day."""

    dimension_set: SetId = Field(
        default="general", description="A preset (`sports`), or the id of one of your own sets."
    )
    analyzer: Literal["auto", "signals"] = Field(
        default="auto", description="Who judges: `auto` takes the best there is."
    )
    threshold: Annotated[float, Field(strict=True, ge=0.0, le=1.0)] | None = Field(
        default=None, description="Keep what scores this or more; null: as the dimension set says."
    )
    segment_seconds: Annotated[float, Field(strict=True, ge=10.0, le=30.0)] = Field(
        default=20.0, description="Length of the pieces that are analysed and stored one by one."
    )
    smoothing_seconds: Seconds = Field(default=5.0, description="Of curves that are shown and compared.")
    context_before_seconds: Annotated[float, Field(strict=True, ge=0.0, le=30.0)] = Field(
        default=5.0, description="What a clip has before the moment."
    )
    context_after_seconds: Annotated[float, Field(strict=True, ge=0.0, le=30.0)] = Field(
        default=5.0, description="What a clip has after the moment."
    )
    merge_gap_seconds: Seconds = Field(default=3.0, description="Moments that are closer become one.")
    min_clip_seconds: Annotated[float, Field(strict=True, ge=5.0, le=120.0)] = 5.0
    max_clip_seconds: Annotated[float, Field(strict=True, ge=5.0, le=120.0)] = 120.0
    max_highlights: Annotated[int, Field(strict=True, ge=1, le=1000)] | None = Field(
        default=None, description="Keep the best so many, which are known, and published, only at the end."
    )
    quality: Quality = Field(default="high", description="Of clips; `source` copies what can be copied.")
    watermark: WatermarkIn | None = None
    reel_seconds: Annotated[float, Field(strict=True, ge=1.0, le=7200.0)] | None = Field(
        default=None, description="Join the best into one file of this length, too."
    )

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.min_clip_seconds > self.max_clip_seconds:
            raise ValueError("min_clip_seconds is more than max_clip_seconds")
        if self.context_before_seconds + self.context_after_seconds >= self.max_clip_seconds:
            raise ValueError("context before and after leave no room for the moment in max_clip_seconds")
        return self


class SourceIn(Schema):
    """Where media is: `source_url` (or `url`), `upload_id`, `path`, or `video_url` with `audio_url`."""

    source_url: Url | None = Field(
        default=None, description="A file, a playlist (HLS, DASH), or a page of a platform."
    )
    url: Url | None = Field(default=None, description="The same as `source_url`.")
    upload_id: Id | None = Field(default=None, description="A finished upload.")
    path: Annotated[str, StringConstraints(min_length=1, max_length=4096)] | None = Field(
        default=None, description="A file on the server, in a folder that its operator opened."
    )
    video_url: Url | None = Field(
        default=None, description="Of the picture, where the sound has an address of its own."
    )
    audio_url: Url | None = Field(default=None, description="Of the sound, with `video_url`.")
    headers: Annotated[dict[HeaderName, HeaderValue], Field(max_length=20)] = Field(
        default={},
        description="For the address's own host; yt-dlp sends them with all that it asks for a page.",
    )
    title: Title | None = Field(default=None, description="null: what the source calls itself, if it does.")

    @model_validator(mode="after")
    def _one(self) -> Self:
        ways = (self.source_url, self.url, self.upload_id, self.path, self.video_url)
        if sum(way is not None for way in ways) != 1:
            raise ValueError("name one source: source_url, upload_id, path, or video_url with audio_url")
        if (self.video_url is None) != (self.audio_url is None):
            raise ValueError("video_url and audio_url go together")
        if self.headers and (self.upload_id or self.path):
            raise ValueError("headers go with an address")
        return self

    def named(self) -> Source:
        """What it names, as one value."""
        return Source(
            url=self.source_url or self.url or self.video_url,
            audio_url=self.audio_url,
            upload_id=self.upload_id,
            path=self.path,
            headers=self.headers,
        )


class StreamCreate(SourceIn):
    """A source to find the highlights of."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "source_url": "https://media.example.com/matches/final.mp4",
                    "title": "Final",
                    "processing_options": {"dimension_set": "sports", "max_highlights": 10},
                }
            ]
        }
    )

    processing_options: ProcessingOptions = ProcessingOptions()


class BatchSource(SourceIn):
    """One source of a batch."""

    processing_options: ProcessingOptions | None = Field(default=None, description="null: the batch's.")


class BatchCreate(Schema):
    """Sources to find the highlights of, all at once."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "title": "Round 7",
                    "sources": [
                        {"source_url": "https://media.example.com/matches/1.mp4"},
                        {"source_url": "https://media.example.com/matches/2.mp4", "title": "The late one"},
                    ],
                    "processing_options": {"dimension_set": "sports"},
                }
            ]
        }
    )

    title: Title | None = None
    sources: Annotated[list[BatchSource], Field(min_length=1, max_length=100)]
    processing_options: ProcessingOptions = ProcessingOptions()


class StreamPatch(Schema):
    """What changes of a stream; what is left out stays."""

    title: Title | None = Field(default=None, description="null: none.", examples=["Semi-final"])


class StreamsQuery(PageQuery):
    """Which streams, and which part of their list."""

    state: Annotated[StreamState | None, Field(description="Those that are so far.")] = None
    platform: Annotated[
        Annotated[str, StringConstraints(max_length=20, pattern=WORD_PATTERN)] | None,
        Field(description="Those from there: `youtube`, `upload`, `custom` …", examples=["youtube"]),
    ] = None
    batch_id: Annotated[
        Id | None, Field(description="Those of one batch.", examples=["bat_01kb8mz3s5e6v7w8x9y0a1b2c3"])
    ] = None
    created_after: Annotated[Moment | None, Field(description="Those submitted then or later.")] = None
    created_before: Annotated[Moment | None, Field(description="Those submitted before that.")] = None


# --- what is told --------------------------------------------------------------------------------------


class ErrorOut(Schema):
    """Why something did not work."""

    code: str = Field(examples=["source_not_found"])
    message: str = Field(examples=["the server has no such file"])


class ProgressOut(Schema):
    """How far a stream is."""

    percent: float | None = Field(description="0 to 100; null: the length is not known.", examples=[41.7])
    analysed_seconds: float = Field(description="Of the source.", examples=[1500.0])
    times_realtime: float | None = Field(description="Seconds of source in a second.", examples=[38.2])
    seconds_left: float | None = Field(description="As fast as now; null: nobody knows.", examples=[55.0])
    highlights: int = Field(
        description="That were published so far, those that somebody deleted since included.", examples=[4]
    )


class WaitingOut(Schema):
    """Why a stream does not move."""

    reason: str = Field(
        description="`concurrent_streams`: others of yours are processed; `worker`: for its turn; else the "
        "code of the error after which it is tried again.",
        examples=["concurrent_streams"],
    )
    message: str = Field(examples=["the plan processes 5 streams at a time"])
    next_at: datetime | None = Field(description="When it goes on; null: once there is room.")


class JudgingTypeOut(RuleOut):
    """A type of the organization's own, as a stream remembers it."""

    id: str = Field(examples=["typ_01kb8mz3s5e6v7w8x9y0a1b2c3"])
    name: str = Field(examples=["goal"])
    version: int = Field(examples=[1])


class StreamOut(Schema):
    """A stream: a source, and how far it is."""

    id: str
    job_id: str
    batch_id: str | None = Field(examples=[None])
    title: str | None = Field(examples=["Final"])
    source: str = Field(
        description="What of it may be shown: addresses without what may be a key in them.",
        examples=["https://media.example.com/matches/final.mp4"],
    )
    source_kind: str = Field(description="`url`, `pair`, `upload` or `path`.", examples=["url"])
    upload_id: str | None = Field(examples=[None])
    platform: str = Field(
        description="`youtube`, `twitch` …; `custom`, `upload`, `local`.", examples=["custom"]
    )
    protocol: str = Field(description="`http`, `hls`, `dash` or `file`.", examples=["http"])
    processing_options: dict[str, Any] = Field(
        description="As asked, with that day's defaults.", examples=[{"dimension_set": "sports"}]
    )
    dimension_set_id: str | None = Field(description="null: a preset.", examples=[None])
    dimension_set_version: int | None = Field(examples=[None])
    highlight_types: list[JudgingTypeOut] | None = Field(
        description="The organization's types that it is judged by, as they were when it was submitted; "
        "null: it is from before they were remembered, and is judged by those of today."
    )
    state: StreamState
    cancelling: bool = Field(description="It is to be cancelled, and about to be.", examples=[False])
    waiting: WaitingOut | None = Field(description="null: it does not wait.")
    progress: ProgressOut
    media: dict[str, Any] = Field(description="What it turned out to be.")
    duration: float | None = Field(description="Seconds; null: not known yet.", examples=[3600.0])
    analyzer: str | None = Field(description="Who judged.", examples=["signals"])
    degraded: bool = Field(description="Much of what was asked for could not be judged.", examples=[False])
    warnings: list[str] = Field(examples=[[]])
    error: ErrorOut | None
    created_at: datetime
    started_at: datetime | None
    ended_at: datetime | None


class RefusedOut(Schema):
    """A source of a batch that was not taken."""

    index: int = Field(description="Its place among the sources, from 0.", examples=[3])
    code: str = Field(examples=["source_url_not_allowed"])
    message: str = Field(examples=["this address is not allowed"])


class BatchOut(Schema):
    """Streams that were submitted together."""

    id: str
    title: str | None = Field(examples=["Round 7"])
    count: int = Field(description="Streams that were taken.", examples=[2])
    refused: list[RefusedOut] = Field(description="Sources that were not.")
    states: dict[str, int] = Field(
        description="State -> streams; deleted ones are not counted.",
        examples=[{"processing": 1, "pending": 1}],
    )
    created_at: datetime
    ended_at: datetime | None = Field(description="When all of them had; null: they have not.")


class BatchCreated(BatchOut):
    """A batch, and its streams in the order of their sources."""

    streams: list[StreamOut]


class JobOut(Schema):
    """A unit of work."""

    id: str
    kind: str = Field(examples=["stream"])
    object_id: str | None = Field(
        description="What it is about.", examples=["str_01kb8mz3s5e6v7w8x9y0a1b2c3"]
    )
    state: str = Field(
        description="`waiting`, `running`, `done`, `failed` or `cancelled`.", examples=["running"]
    )
    attempts: int = Field(description="That failed since it last got further.", examples=[0])
    progress: dict[str, Any]
    error: ErrorOut | None = Field(description="Of the last attempt.")
    held: bool = Field(description="It waits for others of yours, by the plan's limits.", examples=[False])
    next_at: datetime | None = Field(description="When it is taken up at the earliest, where it waits.")
    created_at: datetime
    started_at: datetime | None
    ended_at: datetime | None
