"""A stream's curves as they are stored: what re-scoring, timelines and recovery read."""

from __future__ import annotations

import io

import numpy as np
from sqlalchemy.orm import Session

from tldr_highlight.analysis.signals import Signals, joined
from tldr_highlight.streams.models import Segment


def packed(signals: Signals) -> bytes:
    """The curves of one segment, without loss: they are measured in single precision. 30 over 20 s: 9 KB."""
    file = io.BytesIO()
    curves = {name: curve.astype(np.float32) for name, curve in signals.curves.items()}
    np.savez(file, allow_pickle=False, first=np.array(signals.first), **curves)
    return file.getvalue()


def unpacked(data: bytes) -> Signals:
    """What was packed."""
    with np.load(io.BytesIO(data), allow_pickle=False) as stored:
        curves = {n: stored[n].astype(np.float64) for n in stored.files if n != "first"}
        return Signals(int(stored["first"]), curves)


def load(session: Session, organization_id: str, stream_id: str) -> Signals | None:
    """All that was measured of a stream so far; None: nothing yet."""
    query = Segment.of(organization_id).where(Segment.stream_id == stream_id).order_by(Segment.ordinal)
    whole: Signals | None = None
    for segment in session.scalars(query):
        whole = joined(whole, unpacked(segment.curves))
    return whole
