"""Work of streams as tests want it to go: in place of the pipeline, which has tests of its own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sqlalchemy.orm import Session

from tldr_highlight.core.db import now
from tldr_highlight.core.work import Job, Kind, Kinds, Work, kinds_of
from tldr_highlight.errors import TldrError
from tldr_highlight.streams import service
from tldr_highlight.streams.models import Stream
from tldr_highlight.worker.kinds import product_kinds

STATES = {"done": "completed", "failed": "failed", "cancelled": "cancelled"}

Run = Callable[[Job[Any]], None]


def begin(job: Job[Any]) -> None:
    """Note that somebody works on it."""
    with job.step() as session:
        Stream.get_for(session, job.organization_id or "", job.object_id or "").state = "processing"


def end(session: Session, runtime: Any, work: Work, error: TldrError | None) -> None:
    """Note how it ended."""
    stream = Stream.get_for(session, work.organization_id or "", work.object_id or "")
    stream.state, stream.ended_at = STATES[work.state], now()
    if error is not None:
        stream.error_code, stream.error_message = error.code, str(error)
    service.ended(session, runtime, stream)


def kinds(run: Run = begin) -> Kinds:
    """The product's kinds, streams being done by `run`."""
    return {**product_kinds(), **kinds_of(Kind("stream", run, on_end=end))}
