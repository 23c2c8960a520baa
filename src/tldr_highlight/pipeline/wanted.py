"""What was asked for with a stream, as the engines take it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from sqlalchemy.orm import Session

from tldr_highlight.analysis.dimensions import DimensionSet
from tldr_highlight.analysis.moments import MomentOptions
from tldr_highlight.highlights.dimension_sets import dimension_set_for
from tldr_highlight.media.types import CutOptions, Watermark
from tldr_highlight.streams.models import Stream


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is looked for, and how its clips are cut."""

    dimension_set: DimensionSet
    moments: MomentOptions
    cutting: CutOptions

    @classmethod
    def of(cls, session: Session, stream: Stream) -> Self:
        """What `stream` was submitted with; a dimension set in the version of that day.

        Raises:
            NotFoundError: its dimension set is gone.
        """
        options = stream.options
        judged_by, _, _ = dimension_set_for(
            session, stream.organization_id, options, stream.dimension_set_version
        )
        return cls(judged_by, _moments(options), _cutting(options))


def _moments(options: Mapping[str, Any]) -> MomentOptions:
    names = {
        "threshold": "threshold",
        "context_before": "context_before_seconds",
        "context_after": "context_after_seconds",
        "merge_gap": "merge_gap_seconds",
        "shortest_clip": "min_clip_seconds",
        "longest_clip": "max_clip_seconds",
        "max_highlights": "max_highlights",
    }
    return MomentOptions(**{ours: options[name] for ours, name in names.items() if name in options})


def _cutting(options: Mapping[str, Any]) -> CutOptions:
    text: dict[str, Any] | None = options.get("watermark")
    watermark = Watermark(**text) if text else None
    return CutOptions(quality=options.get("quality", "high"), watermark=watermark)
