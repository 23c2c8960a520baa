"""Batches: many sources in one call. What is wrong with one of them is no reason to refuse the others."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence

from sqlalchemy import func, select

from tldr_highlight.core.db import new_id
from tldr_highlight.core.shapes import PageQuery, paginate
from tldr_highlight.errors import TldrError
from tldr_highlight.runtime import Act
from tldr_highlight.streams import service
from tldr_highlight.streams.models import Batch, Stream
from tldr_highlight.streams.schemas import BatchCreate, BatchSource
from tldr_highlight.tenancy import audit
from tldr_highlight.tenancy.models import Organization


def submit_batch(act: Act, wanted: BatchCreate) -> tuple[Batch, list[Stream]]:
    """Take every source that can be taken; the batch remembers which others there were, and why not."""
    organization_id = act.organization_id
    Organization.locked(act.session, organization_id)
    batch = Batch(id=new_id("bat"), organization_id=organization_id, title=wanted.title, refused=[], count=0)
    act.session.add(batch)
    streams: list[Stream] = []
    for index, source in enumerate(wanted.sources):
        try:
            streams.append(_add(act, batch, source, wanted))
        except service.REFUSALS as error:
            batch.refused = [*batch.refused, _refusal(index, error)]
    batch.count = len(streams)
    audit.record(act, "batch.submitted", batch.id, streams=batch.count, refused=len(batch.refused))
    act.session.flush()
    service.admit(act.session, organization_id)
    service.close_batch(act.session, organization_id, batch.id)
    return batch, streams


def _add(act: Act, batch: Batch, source: BatchSource, wanted: BatchCreate) -> Stream:
    """One of them, all of it or nothing."""
    with act.session.begin_nested():
        options = source.processing_options or wanted.processing_options
        return service.add(act, source, options, batch_id=batch.id)


def _refusal(index: int, error: TldrError) -> dict[str, object]:
    return {"index": index, "code": error.code, "message": str(error)}


def list_batches(act: Act, page: PageQuery) -> tuple[Sequence[Batch], str | None]:
    """The organization's batches, newest first."""
    return paginate(act.session, Batch.of(act.organization_id), Batch.id, page)


def get_batch(act: Act, batch_id: str) -> Batch:
    """One batch."""
    return Batch.get_for(act.session, act.organization_id, batch_id)


def states_of(act: Act, batches: Iterable[Batch]) -> dict[str, dict[str, int]]:
    """Batch -> state -> how many of its streams are so far; deleted ones are not counted."""
    ids = [batch.id for batch in batches]
    counting = (
        select(Stream.batch_id, Stream.state, func.count())
        .where(Stream.organization_id == act.organization_id, Stream.batch_id.in_(ids))
        .group_by(Stream.batch_id, Stream.state)
    )
    found: dict[str, dict[str, int]] = defaultdict(dict)
    for batch_id, state, count in act.session.execute(counting):
        found[str(batch_id)][state] = count
    return found
