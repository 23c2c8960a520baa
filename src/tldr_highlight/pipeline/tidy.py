"""What nobody refers to any more: files that were stored just before a process died, folders of dead jobs.

Files are stored before the row that names them, so that a row never names what is not there. What is left
over when nothing follows is found here, once a day.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Iterator
from datetime import timedelta

from sqlalchemy import select
from sqlalchemy.orm import Session

from tldr_highlight.core.db import now
from tldr_highlight.core.telemetry import logger
from tldr_highlight.core.work import Job, Kind
from tldr_highlight.highlights.models import Highlight, Reel
from tldr_highlight.runtime import Runtime
from tldr_highlight.streams import scratch

log = logger(__name__)

OLD = timedelta(days=1)
"""Age from which a file is no longer one whose row is about to be committed."""

BATCH = 500
"""Files whose rows are looked up at once."""

KEY = re.compile(r"(org_\w+)/(str_\w+)/(hl_\w+|reel_\w+)\.(mp4|jpg|webp)")
"""Names that this room gives, see `publish.key_of`. What others store is theirs to remove."""


def tidy(job: Job[Runtime]) -> None:
    """Remove what is left over.

    Raises:
        StorageError: the store does not answer.
    """
    scratch.tidy(job.runtime)
    store = job.runtime.storage
    for keys in _batches(_old(job.runtime)):
        job.ask()
        with job.runtime.db.read() as session:
            known = _known(session, keys)
        for key in sorted(set(keys) - known):
            store.delete(key)
            log.info("a file that nobody refers to is removed", key=key)


def _old(runtime: Runtime) -> Iterator[str]:
    before = now() - OLD
    for listed in runtime.storage.list():
        if listed.modified < before and KEY.fullmatch(listed.key):
            yield listed.key


def _batches(keys: Iterator[str]) -> Iterator[list[str]]:
    while batch := list(itertools.islice(keys, BATCH)):
        yield batch


def _known(session: Session, keys: Iterable[str]) -> set[str]:
    """Those that a row of the organization named in them refers to."""
    found = [match for match in map(KEY.fullmatch, keys) if match]
    organization_ids, ids = {match[1] for match in found}, {match[3] for match in found}
    highlights = select(Highlight.clip_key, Highlight.thumbnail_key, Highlight.thumbnail_small_key).where(
        Highlight.organization_id.in_(organization_ids), Highlight.id.in_(ids)
    )
    reels = select(Reel.key).where(Reel.organization_id.in_(organization_ids), Reel.id.in_(ids))
    rows = [*session.execute(highlights).all(), *session.execute(reels).all()]
    return {key for row in rows for key in row if key is not None}


TIDY = Kind("tidy", tidy, every_seconds=24 * 3600.0)
"""Once a day: a list of everything that is stored costs a bucket a request for each thousand."""
