"""What was asked for with a stream, as the engines take it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from sqlalchemy.orm import Session

from tldr_highlight.analysis.dimensions import DimensionSet
from tldr_highlight.analysis.moments import MomentOptions
from tldr_highlight.media.types import CutOptions, Watermark
from tldr_highlight.pipeline.measure import SEGMENT_SECONDS
from tldr_highlight.streams.models import Stream
from tldr_highlight.streams.options import judged_by, moment_options


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is looked for, and how its clips are cut."""

    dimension_set: DimensionSet
    moments: MomentOptions
    cutting: CutOptions
    segment_seconds: float

    @classmethod
    def of(cls, session: Session, stream: Stream) -> Self:
        """What `stream` was submitted with; its dimension set and types as they were that day.

        Raises:
            NotFoundError: its dimension set is gone.
        """
        options = stream.options
        return cls(
            judged_by(session, stream).dimension_set,
            moment_options(options),
            _cutting(options),
            options.get("segment_seconds", SEGMENT_SECONDS),
        )


def _cutting(options: Mapping[str, Any]) -> CutOptions:
    text: dict[str, Any] | None = options.get("watermark")
    watermark = Watermark(**text) if text else None
    return CutOptions(quality=options.get("quality", "high"), watermark=watermark)
