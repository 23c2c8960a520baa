"""Clip jobs: what may happen to them. The compatible calls (`compat.py`) come through here, too."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import ColumnElement, select
from sqlalchemy.orm import Session

from tldr_highlight.clips.job import CLIP_JOB
from tldr_highlight.clips.models import ClipFile, ClipItem, ClipJob
from tldr_highlight.clips.names import Template, paths, safe
from tldr_highlight.clips.origins import stem_of
from tldr_highlight.clips.schemas import ClipJobCreate, ClipJobsQuery, ClipOptions
from tldr_highlight.core.db import new_id, now
from tldr_highlight.core.shapes import paginate
from tldr_highlight.core.work import cancel, enqueue
from tldr_highlight.errors import ConflictError, NotFoundError
from tldr_highlight.media.types import Remote
from tldr_highlight.runtime import Act, Runtime
from tldr_highlight.streams.models import Upload
from tldr_highlight.streams.service import check_source
from tldr_highlight.streams.sources import Source
from tldr_highlight.tenancy import audit
from tldr_highlight.tenancy.models import Organization
from tldr_highlight.usage import quotas
from tldr_highlight.usage.quotas import Metric

LINK = timedelta(hours=1)
"""How long a link to a file holds; its file may go before."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """One clip that is asked for, whoever asked; a bound that is None is no number."""

    asked: Any  # as it was written
    start: float | None
    end: float | None
    filename: str


@dataclass(frozen=True, slots=True)
class Order:
    """Clips of one source, in the one shape that both doors make."""

    source: Source
    clips: Sequence[Wanted]
    title: str | None = None  # None: the source's own
    options: ClipOptions = field(default_factory=ClipOptions)
    video_id: str | None = None  # of the compatible calls


def order_of(body: ClipJobCreate) -> Order:
    """What a customer asks for, each file with a name of its own."""
    source = body.named()
    template = Template.parse(body.file_name)
    stem = stem_of(Path(source.label) if source.url is None else Remote(source.url))
    names = [
        template.name(index=number, start=clip.start, end=clip.end, title=clip.name or "", source=stem)
        for number, clip in enumerate(body.clips, 1)
    ]
    files = [path.name for path in paths(map(safe, names), NOWHERE)]
    clips = [
        Wanted(clip.model_dump(exclude_unset=True), clip.start, clip.end, file)
        for clip, file in zip(body.clips, files, strict=True)
    ]
    return Order(source, clips, body.title, body.options)


NOWHERE = Path("/nonexistent")
"""A folder for names that become no files: they are stored under other ones."""


def create_job(act: Act, order: Order) -> ClipJob:
    """Take a list of clips. Nothing is asked of the source here: its work does that.

    Raises:
        AddressError, PathError, ProtocolError: a source that says by itself that it may not be opened.
        UsageError: a header that may not be set.
        NotFoundError: there is no such upload. ConflictError: it is not finished.
        QuotaError: the plan's storage is used up.
    """
    check_source(act.runtime, order.source)
    _check_upload(act, order.source.upload_id)
    organization = act.session.get_one(Organization, act.organization_id)
    quotas.require(act.session, organization, Metric.STORED_BYTES)
    job = ClipJob(
        id=new_id("job"),
        organization_id=organization.id,
        source=act.runtime.vault.seal(order.source.as_json()),
        source_label=order.source.label,
        video_id=order.video_id,
        title=order.title,
        options=order.options.model_dump(mode="json"),
        total=len(order.clips),
    )
    act.session.add(job)
    act.session.flush()
    act.session.add_all(
        ClipItem(
            organization_id=organization.id, job_id=job.id, ordinal=ordinal, asked=clip.asked,
            filename=clip.filename, start=clip.start, end=clip.end,
        )
        for ordinal, clip in enumerate(order.clips)
    )  # fmt: skip
    enqueue(
        act.session,
        CLIP_JOB.name,
        id=job.id,
        organization_id=organization.id,
        object_id=job.id,
        key=job.id,
        priority=organization.limits.priority.value,
    )
    audit.record(act, "clip_job.created", job.id, source=job.source_label, clips=job.total)
    return job


def _check_upload(act: Act, upload_id: str | None) -> None:
    if upload_id is not None:
        upload = Upload.get_for(act.session, act.organization_id, upload_id)
        if upload.state != "ready":
            raise ConflictError("the upload is not finished")


# --- looking -------------------------------------------------------------------------------------------


def list_jobs(act: Act, page: ClipJobsQuery) -> tuple[Sequence[ClipJob], str | None]:
    """The organization's clip jobs, newest first."""
    query = ClipJob.of(act.organization_id).where(ClipJob.state != "deleted")
    if page.state is not None:
        query = query.where(ClipJob.state == page.state)
    return paginate(act.session, query, ClipJob.id, page)


def get_job(act: Act, job_id: str) -> ClipJob:
    """One clip job.

    Raises:
        NotFoundError: there is none, or none any more.
    """
    return _job(act.session, act.organization_id, job_id)


def _job(session: Session, organization_id: str, job_id: str, *, lock: bool = False) -> ClipJob:
    job = ClipJob.get_for(session, organization_id, job_id, lock=lock)
    if job.state == "deleted":
        raise NotFoundError("there is no such object in this organization")
    return job


def clips_of(act: Act, job: ClipJob) -> list[tuple[ClipItem, ClipFile | None]]:
    """Clips of a job, in their order, each with its file where it has one."""
    query = (
        select(ClipItem, ClipFile)
        .outerjoin(ClipFile, ClipFile.id == ClipItem.file_id)
        .where(ClipItem.organization_id == act.organization_id, ClipItem.job_id == job.id)
        .order_by(ClipItem.ordinal)
    )
    return [(item, file) for item, file in act.session.execute(query)]


def link(runtime: Runtime, key: str) -> str:
    """An address that opens a stored file for `LINK`."""
    url = runtime.storage.url(key, expires=LINK)
    return f"{runtime.url}{url}" if url.startswith("/") else url


# --- deleting ------------------------------------------------------------------------------------------


def delete_job(act: Act, job_id: str) -> None:
    """End a clip job: it is gone at once, its work and its files within seconds.

    Raises:
        NotFoundError: there is none.
    """
    job = _job(act.session, act.organization_id, job_id)
    cancel(act.session, job.id)  # first: the work is locked before what it is about
    act.session.refresh(job, with_for_update=True)
    job.state, job.delete_at = "deleted", now()
    audit.record(act, "clip_job.deleted", job.id)


# --- as the compatible calls see it --------------------------------------------------------------------

MOST_LISTED = 1000
"""Jobs, or clips, of a list that has no pages."""


def compatible_jobs(act: Act) -> list[tuple[ClipJob, list[ClipItem]]]:
    """Jobs that were made by the compatible calls, newest first, each with its clips."""
    made = ClipJob.of(act.organization_id).where(ClipJob.video_id.is_not(None), ClipJob.state != "deleted")
    jobs = act.session.scalars(made.order_by(ClipJob.id.desc()).limit(MOST_LISTED)).all()
    clips: dict[str, list[ClipItem]] = {job.id: [] for job in jobs}
    query = ClipItem.of(act.organization_id).where(ClipItem.job_id.in_(clips)).order_by(ClipItem.ordinal)
    for item in act.session.scalars(query):
        clips[item.job_id].append(item)
    return [(job, clips[job.id]) for job in jobs]


def compatible_files(act: Act, filename: str | None = None) -> dict[str, ClipFile]:
    """Names of the clips that can be had, the newest first, and the file that each stands for."""
    query = (
        select(ClipItem.filename, ClipFile)
        .join(ClipFile, ClipFile.id == ClipItem.file_id)
        .join(ClipJob, ClipJob.id == ClipItem.job_id)
        .where(ClipItem.organization_id == act.organization_id, *_compatible(filename))
        .order_by(ClipItem.id.desc())
        .limit(MOST_LISTED)
    )
    found: dict[str, ClipFile] = {}
    for name, file in act.session.execute(query):
        found.setdefault(name, file)
    return found


def newest_file(act: Act, filename: str) -> ClipFile | None:
    """The file that a name stands for."""
    return compatible_files(act, filename).get(filename)


def drop_files(act: Act, filename: str | None = None) -> int:
    """Take the files away from the clips of a name, or from all: how many. What nobody has is swept."""
    query = (
        ClipItem.of(act.organization_id)
        .join(ClipJob, ClipJob.id == ClipItem.job_id)
        .where(ClipItem.file_id.is_not(None), *_compatible(filename))
        .with_for_update(of=ClipItem)
    )
    items = act.session.scalars(query).all()
    for item in items:
        item.state, item.file_id = "deleted", None
        audit.record(act, "clip.deleted", item.id, name=item.filename)
    return len(items)


def _compatible(filename: str | None) -> list[ColumnElement[bool]]:
    named = [] if filename is None else [ClipItem.filename == filename]
    return [ClipJob.video_id.is_not(None), ClipJob.state != "deleted", *named]
