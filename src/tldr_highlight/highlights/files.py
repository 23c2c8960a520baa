"""Stored files that nobody refers to any more: they go in the background, until they are gone."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from sqlalchemy.orm import Session

from tldr_highlight.core.work import Job, Kind, enqueue
from tldr_highlight.runtime import Runtime


def remove_later(session: Session, organization_id: str, keys: Iterable[str | None]) -> None:
    """Have files removed once the transaction, after which nothing refers to them, is committed."""
    named = [key for key in keys if key is not None]
    if named:
        enqueue(
            session,
            REMOVE_FILES.name,
            organization_id=organization_id,
            payload={"keys": named},
            priority="soon",
        )


def _remove(job: Job[Runtime]) -> None:
    keys: list[Any] = job.payload["keys"]
    for key in keys:
        job.ask()
        job.runtime.storage.delete(key)


REMOVE_FILES = Kind("remove_files", _remove, tries=10)
"""Ten tries: a bucket may be away for an hour, and what stays is paid for."""
