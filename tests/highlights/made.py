"""Highlights and what belongs to them, as other parts of the product store them."""

from __future__ import annotations

from typing import Any

import numpy as np
from sqlalchemy.orm import Session

from tldr_highlight.analysis.signals import PICTURE_CURVES, SOUND_CURVES, Signals
from tldr_highlight.core.db import new_id
from tldr_highlight.highlights.models import DimensionSetVersion, Highlight, HighlightType, Reel, highlight_id
from tldr_highlight.streams.curves import packed
from tldr_highlight.streams.models import Segment, Stream

RULE = {"when": {"crowd_reaction": 0.6}, "match": "all", "priority": 0}
DOCUMENT = {
    "name": "derby",
    "threshold": 0.5,
    "dimensions": {"crowd_reaction": {"weight": 2.0, "description": "cheering"}},
    "types": {},
}


def add_stream(session: Session, organization_id: str, **more: Any) -> Stream:
    """A stream that was analysed."""
    about: dict[str, Any] = {
        "id": new_id("str"), "job_id": new_id("job"), "source": "sealed", "source_label": "match.mp4",
        "source_kind": "url", "platform": "custom", "protocol": "http", "options": {}, "state": "completed",
        "duration": 600.0, "title": "The match",
    }  # fmt: skip
    row = Stream(organization_id=organization_id, **about | more)
    session.add(row)
    session.flush()
    return row


def add_segment(session: Session, stream: Stream, signals: Signals | None = None) -> None:
    """A part of its curves; silence unless some are given."""
    names = (*SOUND_CURVES, *PICTURE_CURVES)
    signals = signals or Signals(0, {name: np.full(240, np.nan) for name in names})
    session.add(
        Segment(
            organization_id=stream.organization_id, stream_id=stream.id, ordinal=0,
            start=0.0, end=signals.end, curves=packed(signals),
        )
    )  # fmt: skip
    session.flush()


def add_highlight(
    session: Session, organization_id: str, stream_id: str = "", ordinal: int = 1, **more: Any
) -> Highlight:
    """One whose clip is there, as far as its row knows."""
    stream_id = stream_id or new_id("str")
    id = highlight_id(stream_id, ordinal)
    start = 20.0 * ordinal
    about: dict[str, Any] = {
        "start": start, "end": start + 5, "peak": start + 2, "score": 0.5, "confidence": 0.9,
        "types": ["reaction"], "title": f"Moment {ordinal}", "dimensions": {"crowd_reaction": 0.8},
        "evidence": [{"dimension": "crowd_reaction", "time": start + 2, "text": "a roar"}],
        "clip_start": start - 5, "clip_end": start + 10, "state": "ready",
        "clip": {"start": start - 5, "end": start + 10, "bytes": 1000, "sha256": "00"},
        "clip_key": f"{organization_id}/{stream_id}/{id}.mp4", "stored_bytes": 1000,
    }  # fmt: skip
    row = Highlight(
        id=id, organization_id=organization_id, stream_id=stream_id, ordinal=ordinal, **about | more
    )
    session.add(row)
    session.flush()
    return row


def add_reel(session: Session, organization_id: str, stream_id: str = "", **more: Any) -> Reel:
    """One that waits."""
    row = Reel(
        organization_id=organization_id, stream_id=stream_id or new_id("str"), job_id=new_id("job"),
        target_seconds=60.0, tolerance=1.0, **more,
    )  # fmt: skip
    session.add(row)
    session.flush()
    return row


def add_set(session: Session, organization_id: str, **more: Any) -> DimensionSetVersion:
    """The first version of a set."""
    about: dict[str, Any] = {"set_id": new_id("dset"), "version": 1, "name": "derby", "document": DOCUMENT}
    row = DimensionSetVersion(organization_id=organization_id, **about | more)
    session.add(row)
    session.flush()
    return row


def add_type(session: Session, organization_id: str, **more: Any) -> HighlightType:
    """A type of an organization's own."""
    about: dict[str, Any] = {"name": f"goal{new_id('x')[-6:]}", "rule": RULE}
    row = HighlightType(organization_id=organization_id, **about | more)
    session.add(row)
    session.flush()
    return row
