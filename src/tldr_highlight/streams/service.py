"""Streams: what may happen to them.

Whoever holds several rows at once locks them in this order, so that nobody waits for each other: a stream's
work, the stream, the work on its clips and reels, highlights, reels (each by id), the organization, the
upload, then what is counted and told (usage, events). Other streams' work is taken only where nobody holds
it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import Select, func, select
from sqlalchemy.orm import Session

from tldr_highlight.core.db import id_after, new_id, now
from tldr_highlight.core.egress import Egress
from tldr_highlight.core.shapes import paginate
from tldr_highlight.core.work import NEVER, Job, Kind, Work, enqueue, release
from tldr_highlight.errors import (
    AddressError,
    ConflictError,
    NotFoundError,
    PathError,
    PendingError,
    ProtocolError,
    QuotaError,
    UsageError,
)
from tldr_highlight.highlights.dimension_sets import judging
from tldr_highlight.runtime import Act, Runtime
from tldr_highlight.streams.models import ONGOING, Batch, Stream, StreamState, Upload
from tldr_highlight.streams.schemas import (
    ProcessingOptions,
    SourceIn,
    StreamCreate,
    StreamsQuery,
)
from tldr_highlight.streams.sources import LIVE, Source, allowed_path
from tldr_highlight.tenancy import audit
from tldr_highlight.tenancy.models import Organization
from tldr_highlight.usage import quotas
from tldr_highlight.usage.quotas import Metric
from tldr_highlight.webhooks.catalogue import BatchCompleted
from tldr_highlight.webhooks.events import emit

KIND = "stream"
"""Of the work; what it does is in `pipeline/`."""

MOST_PENDING = 100
"""Streams of an organization that wait for their turn."""

PENDING_SECONDS = 60.0
"""After which trying again makes sense."""

REFUSALS = (
    AddressError, PathError, ProtocolError, UsageError, NotFoundError, ConflictError, QuotaError, PendingError
)  # fmt: skip
"""Why a source may not be taken."""


# --- submitting ----------------------------------------------------------------------------------------


def submit(act: Act, wanted: StreamCreate) -> Stream:
    """Take a source, whose work begins once the plan has room for it.

    Raises:
        AddressError, PathError, ProtocolError: the source may not be opened.
        NotFoundError: there is no such upload or dimension set. ConflictError: the upload is not finished.
        QuotaError: the plan's minutes or storage are used up. PendingError: as many wait as may.
    """
    Organization.locked(act.session, act.organization_id)
    stream = add(act, wanted, wanted.processing_options)
    admit(act.session, act.organization_id)
    return stream


def add(act: Act, wanted: SourceIn, options: ProcessingOptions, *, batch_id: str | None = None) -> Stream:
    """Store a stream and its work, which is held. The organization is locked by the caller; see `submit`."""
    source = wanted.named()
    check_source(act.runtime, source)
    organization = act.session.get_one(Organization, act.organization_id)
    require_room(act.session, organization)
    stream = Stream(
        id=new_id("str"),
        organization_id=organization.id,
        batch_id=batch_id,
        title=wanted.title,
        source=act.runtime.vault.seal(source.as_json()),
        source_label=source.label,
        source_kind=source.kind,
        upload_id=_taken(act, source.upload_id),
        platform=source.platform,
        protocol=source.protocol,
        options=options.model_dump(mode="json"),
    )
    judged_by = judging(act.session, organization.id, options.dimension_set)
    if judged_by.row is not None:
        stream.dimension_set_id, stream.dimension_set_version = judged_by.row.set_id, judged_by.row.version
    stream.highlight_types = judged_by.types
    work = enqueue(
        act.session,
        KIND,
        organization_id=organization.id,
        object_id=stream.id,
        key=stream.id,
        run_at=NEVER,
        priority=organization.limits.priority.value,
    )
    stream.job_id = work.id
    act.session.add(stream)
    act.session.flush()
    audit.record(act, "stream.submitted", stream.id, source=stream.source_label, title=stream.title)
    return stream


def check_source(runtime: Runtime, source: Source) -> None:
    """Refuse a source for what it says itself; where its names lead is judged by workers, at each connection.

    Raises:
        AddressError, PathError: it may not be opened. ProtocolError: nothing is fetched that way yet.
        UsageError: a header that may not be set.
    """
    for url in filter(None, (source.url, source.audio_url)):
        if url.partition(":")[0].lower() in LIVE:
            raise ProtocolError("live streams cannot be submitted yet: give the address of a recording")
        Egress(runtime.policy).check(url, source.headers)
    if source.path is not None:
        allowed_path(runtime.settings, source.path)


def require_room(session: Session, organization: Organization) -> None:
    """Refuse another stream where the plan has nothing left, or too many wait.

    Raises:
        QuotaError: its minutes or storage are used up. PendingError: as many wait as may.
    """
    if count(session, _pending(organization.id)) >= MOST_PENDING:
        raise PendingError(f"{MOST_PENDING} streams wait for their turn already", retry_after=PENDING_SECONDS)
    for metric in (Metric.PROCESSING_MS, Metric.STORED_BYTES):
        quotas.require(session, organization, metric)


def _taken(act: Act, upload_id: str | None) -> str | None:
    """The upload, which stays for as long as a stream is made of it."""
    if upload_id is None:
        return None
    upload = Upload.get_for(act.session, act.organization_id, upload_id, lock=True)
    if upload.state != "ready":
        raise ConflictError("the upload is not finished")
    upload.expires_at = None
    return upload.id


# --- how many at once ----------------------------------------------------------------------------------


def admit(session: Session, organization_id: str) -> None:
    """Let the streams begin that have waited longest, as many as the plan has room for."""
    organization = Organization.locked(session, organization_id)
    admitted = Stream.of(organization_id).where(Stream.state.in_(ONGOING), Stream.admitted)
    room = organization.limits.concurrent_streams - count(session, admitted)
    if room <= 0:
        return
    first = (
        _pending(organization_id)
        .join(Work, Work.id == Stream.job_id)
        .where(Work.state == "waiting", Work.run_at == NEVER)
        .order_by(Stream.id)
        .limit(room)
        .with_for_update(skip_locked=True, of=Work)
    )
    for stream in session.scalars(first).all():
        stream.admitted = True
        release(session, stream.job_id)


def _admit_all(job: Job[Any]) -> None:
    """Look for whoever was passed over: their work was held by a transaction that then changed nothing."""
    with job.runtime.db.read() as session:
        waiting = select(Stream.organization_id).where(Stream.state == StreamState.PENDING, ~Stream.admitted)
        organizations = session.scalars(waiting.distinct()).all()
    for organization_id in organizations:
        job.ask()
        with job.step() as session:
            admit(session, organization_id)


ADMISSION = Kind("admission", _admit_all, every_seconds=60.0)
"""Waiting streams begin as soon as there is room; this is for what nobody foresaw."""


def ended(session: Session, runtime: Runtime, stream: Stream) -> None:
    """Give a stream's place to those that wait. Call it when its end is stored, and before that is told.

    Args:
        session: Of the transaction in which it ended; holding its work's row.
        runtime: What is configured.
        stream: In one of its last states.
    """
    stream.admitted = False
    session.flush()
    admit(session, stream.organization_id)
    if stream.batch_id is not None:
        close_batch(session, stream.organization_id, stream.batch_id)


def close_batch(session: Session, organization_id: str, batch_id: str) -> None:
    """Tell that all streams of a batch have ended, once they have; the caller has locked the organization."""
    batch = Batch.get_for(session, organization_id, batch_id, lock=True)
    streams = Stream.of(organization_id).where(Stream.batch_id == batch_id)
    if batch.ended_at is not None or count(session, streams.where(Stream.state.in_(ONGOING))):
        return
    batch.ended_at = now()
    states = Counter(session.scalars(streams.with_only_columns(Stream.state)))
    emit(session, organization_id, BatchCompleted(batch_id=batch_id, states=dict(states)))


def _pending(organization_id: str) -> Select[Stream]:
    return Stream.of(organization_id).where(Stream.state == StreamState.PENDING, ~Stream.admitted)


def count(session: Session, query: Select[Stream]) -> int:
    """How many rows it selects."""
    return session.scalar(select(func.count()).select_from(query.subquery())) or 0


# --- looking -------------------------------------------------------------------------------------------


def list_streams(act: Act, page: StreamsQuery) -> tuple[Sequence[Stream], str | None]:
    """The organization's streams, newest first."""
    query = Stream.of(act.organization_id)
    if page.state is not None:
        query = query.where(Stream.state == page.state)
    if page.platform is not None:
        query = query.where(Stream.platform == page.platform)
    if page.batch_id is not None:
        query = query.where(Stream.batch_id == page.batch_id)
    if page.created_after is not None:
        query = query.where(Stream.created_at >= page.created_after)
    if page.created_before is not None:
        # its id was made before it was; so the index leads there
        latest = id_after("str", page.created_before)
        query = query.where(Stream.created_at < page.created_before, Stream.id < latest)
    return paginate(act.session, query, Stream.id, page)


def get_stream(act: Act, stream_id: str) -> Stream:
    """One stream."""
    return Stream.get_for(act.session, act.organization_id, stream_id)


def works_of(act: Act, streams: Iterable[Stream]) -> dict[str, Work]:
    """Job id -> work, of those streams that have not ended."""
    ids = [stream.job_id for stream in streams if stream.state in ONGOING]
    found = act.session.scalars(select(Work).where(Work.id.in_(ids))) if ids else ()
    return {work.id: work for work in found}


def concurrent_streams(act: Act) -> int:
    """How many streams the plan processes at a time."""
    return act.session.get_one(Organization, act.organization_id).limits.concurrent_streams


def get_job(act: Act, job_id: str) -> Work:
    """Any work of the organization."""
    mine = select(Work).where(Work.id == job_id, Work.organization_id == act.organization_id)
    work = act.session.scalar(mine)
    if work is None:
        raise NotFoundError("there is no such object in this organization")
    return work
