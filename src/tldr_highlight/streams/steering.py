"""What may happen to streams after they were submitted: renamed, cancelled, tried again, deleted.

Rows are locked in the order that `service.py` tells.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, Select, and_, delete, or_, select
from sqlalchemy.orm import Session

from tldr_highlight.core import work as works
from tldr_highlight.core.db import now
from tldr_highlight.core.work import Job, Kind, LaterError, Work, enqueue
from tldr_highlight.errors import ConflictError
from tldr_highlight.highlights.models import Highlight, Reel
from tldr_highlight.runtime import Act, Runtime
from tldr_highlight.streams import service
from tldr_highlight.streams.models import ONGOING, Stream, StreamState, Upload
from tldr_highlight.streams.schemas import StreamPatch
from tldr_highlight.tenancy import audit
from tldr_highlight.tenancy.models import Organization
from tldr_highlight.usage import ledger
from tldr_highlight.usage.quotas import Metric


def change_stream(act: Act, stream_id: str, wanted: StreamPatch) -> Stream:
    """Give a stream another title."""
    stream = Stream.get_for(act.session, act.organization_id, stream_id, lock=True)
    changes = wanted.model_dump(exclude_unset=True)
    for name, value in changes.items():
        setattr(stream, name, value)
    if changes:
        audit.record(act, "stream.changed", stream.id, **changes)
    return stream


def cancel(act: Act, stream_id: str) -> Stream:
    """Stop a stream for good: at once while it waits, within seconds while it is processed. Results stay.

    Raises:
        ConflictError: it has ended otherwise.
    """
    work, stream = _locked(act, stream_id)
    if stream.state == StreamState.CANCELLED or (work and work.cancel_asked):
        return stream
    if stream.state not in ONGOING or work is None:
        raise ConflictError(f"the stream is {stream.state}: there is nothing to cancel")
    works.cancel(act.session, work.id)
    audit.record(act, "stream.cancelled", stream.id)
    return stream


def retry(act: Act, stream_id: str) -> Stream:
    """Let a stream go on where it ended; what it had is kept, and nothing of it is done twice.

    Raises:
        ConflictError: it has not ended, or there is nothing left to do or to go on from.
        QuotaError, PendingError: as with submitting.
    """
    work, stream = _locked(act, stream_id)
    if stream.state in (*ONGOING, StreamState.COMPLETED):
        raise ConflictError(f"the stream is {stream.state}: there is nothing to try again")
    if work is None:
        raise ConflictError("it ended too long ago to be gone on with: submit its source again")
    organization = Organization.locked(act.session, act.organization_id)
    service.require_room(act.session, organization)
    works.retry(act.session, work.id, hold=True)
    stream.state, stream.ended_at = StreamState.PENDING, None
    stream.error_code = stream.error_message = None
    audit.record(act, "stream.retried", stream.id)
    act.session.flush()
    service.admit(act.session, organization.id)
    return stream


# --- deleting ------------------------------------------------------------------------------------------


def delete_stream(act: Act, stream_id: str) -> None:
    """Remove a stream and everything that came of it, at whatever moment.

    When this commits it is over: a worker that is at it can store nothing any more. Files follow, by work.
    """
    _, stream = _locked(act, stream_id)
    ending = _locked_works(act.session, stream)
    stored = _locked_bytes(act.session, stream)
    _end(act.session, stream, ending)
    _let_go_of_upload(act.session, stream)
    _give_back(act.session, stream, stored)
    for model in (Highlight, Reel):
        act.session.execute(delete(model).where(_belongs(model, stream)))
    act.session.delete(stream)
    enqueue(
        act.session,
        PURGE.name,
        organization_id=stream.organization_id,
        object_id=stream.id,
        key=stream.id,
        priority="soon",
    )
    audit.record(act, "stream.deleted", stream.id, source=stream.source_label, title=stream.title)


def _locked(act: Act, stream_id: str) -> tuple[Work | None, Stream]:
    """A stream and its work, which may be forgotten: the work first, as workers do."""
    mine = Stream.of(act.organization_id).where(Stream.id == stream_id)
    job_id = act.session.scalar(mine.with_only_columns(Stream.job_id))
    work = act.session.scalar(select(Work).where(Work.id == job_id).with_for_update())
    return work, Stream.get_for(act.session, act.organization_id, stream_id, lock=True)


def _belongs(model: type[Highlight] | type[Reel], stream: Stream) -> ColumnElement[bool]:
    return and_(model.organization_id == stream.organization_id, model.stream_id == stream.id)


def _ids_of(model: type[Highlight] | type[Reel], stream: Stream) -> Select[Any]:
    return model.of(stream.organization_id).where(model.stream_id == stream.id).with_only_columns(model.id)


def _locked_works(session: Session, stream: Stream) -> Sequence[Work]:
    """Its own work, and that of clips and reels that somebody asked for beside it."""
    about = or_(
        Work.object_id == stream.id,
        Work.object_id.in_(_ids_of(Highlight, stream)),
        Work.object_id.in_(_ids_of(Reel, stream)),
    )
    mine = select(Work).where(Work.organization_id == stream.organization_id, about)
    return session.scalars(mine.order_by(Work.id).with_for_update()).all()


def _locked_bytes(session: Session, stream: Stream) -> int:
    """What its files take up; locked, as who deletes one of them meanwhile gives that back, too."""
    stored = 0
    for model in (Highlight, Reel):
        mine = select(model.stored_bytes).where(_belongs(model, stream))
        stored += sum(session.scalars(mine.order_by(model.id).with_for_update()))
    return stored


def _end(session: Session, stream: Stream, ending: Sequence[Work]) -> None:
    """All work on it is over, and forgotten."""
    for work in ending:
        if work.id != stream.job_id or stream.state in ONGOING:
            works.cancel(session, work.id, at_once=True)
    session.execute(delete(Work).where(Work.id.in_([work.id for work in ending])))


def _give_back(session: Session, stream: Stream, stored: int) -> None:
    """What is stored of it is not counted any more."""
    if stored:
        key = f"{stream.id}/deleted"
        ledger.record(
            session, stream.organization_id, Metric.STORED_BYTES, -stored, key=key, object_id=stream.id
        )


def _let_go_of_upload(session: Session, stream: Stream) -> None:
    """An upload is kept for as long as there is a stream of it."""
    if stream.upload_id is None:
        return
    uploads, streams = Upload.of(stream.organization_id), Stream.of(stream.organization_id)
    upload = session.scalar(uploads.where(Upload.id == stream.upload_id).with_for_update())
    others = streams.where(Stream.upload_id == stream.upload_id, Stream.id != stream.id)
    if upload is not None and service.count(session, others) == 0:
        upload.expires_at = now()


def _purge(job: Job[Any]) -> None:
    """Delete a stream's files: twice, as a worker that was at it may have stored one on its last breath."""
    runtime: Runtime = job.runtime
    for file in list(runtime.storage.list(f"{job.organization_id}/{job.object_id}")):
        job.ask()
        runtime.storage.delete(file.key)
    if not job.checkpoint:
        with job.step() as session:
            job.save(session, checkpoint={"passes": 1})
        raise LaterError(2 * runtime.settings.worker_lease_seconds)


PURGE = Kind("purge", _purge, tries=20, backoff_seconds=15.0)
"""Files of streams that are deleted; a store that does not answer is asked again for hours."""
