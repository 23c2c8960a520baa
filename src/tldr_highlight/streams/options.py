"""What was asked for with a stream, as the engines take it, and what it is judged by."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy.orm import Session

from tldr_highlight.analysis.moments import MomentOptions
from tldr_highlight.highlights.dimension_sets import USUAL, Judging, judging
from tldr_highlight.streams.models import Stream

_MOMENTS = {
    "threshold": "threshold",
    "context_before_seconds": "context_before",
    "context_after_seconds": "context_after",
    "merge_gap_seconds": "merge_gap",
    "min_clip_seconds": "shortest_clip",
    "max_clip_seconds": "longest_clip",
    "max_highlights": "max_highlights",
}
"""Name among a stream's options -> the engine's."""


def moment_options(options: Mapping[str, Any]) -> MomentOptions:
    """How moments are chosen for a stream; what its options do not say has the engine's default."""
    return MomentOptions(**{ours: options[name] for name, ours in _MOMENTS.items() if name in options})


def set_of(stream: Stream) -> str:
    """The preset's name or the set's id among its options."""
    return stream.options.get("dimension_set") or USUAL


def judged_by(session: Session, stream: Stream) -> Judging:
    """What a stream was submitted with: its set in the version of that day, with the types of that day.

    Raises:
        NotFoundError: its set is gone.
    """
    version, types = stream.dimension_set_version, stream.highlight_types
    return judging(session, stream.organization_id, set_of(stream), version, types)
