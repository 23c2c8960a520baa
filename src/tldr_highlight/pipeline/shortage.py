"""When something runs out: streams wait, the operator is told, and one at a time finds out if it is over.

Two streams that fail for want of room fail again together; one alone may fit, and its first stored clip tells
that the others can go on. Decided by rows, so that it holds for all workers of an installation.
"""

from __future__ import annotations

import contextlib
from collections.abc import Generator

from sqlalchemy import select
from sqlalchemy.orm import Session

from tldr_highlight.core.work import Job, LaterError, Work
from tldr_highlight.runtime import Runtime
from tldr_highlight.tenancy import alerts

TURN_SECONDS = 15.0
"""After which a stream that stood back looks again."""


@contextlib.contextmanager
def watching(job: Job[Runtime]) -> Generator[None]:
    """Stand back while another finds out whether what was short is there again; tell if this one runs short.

    Raises:
        LaterError: it is another's turn.
    """
    with job.runtime.db.read() as session:
        short = alerts.lasting(session, alerts.STORING)
        if short and not _is_first(session, job):
            raise LaterError(TURN_SECONDS, short)
    with alerts.telling(job.runtime.db):
        yield


def _is_first(session: Session, job: Job[Runtime]) -> bool:
    """Of the jobs of this kind that run now: the oldest, so that there is always one."""
    running = select(Work.id).where(Work.kind == job.kind, Work.state == "running").order_by(Work.id).limit(1)
    return session.scalar(running) == job.id
