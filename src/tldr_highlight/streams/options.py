"""What was asked for with a stream, as the engines take it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tldr_highlight.analysis.moments import MomentOptions

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
