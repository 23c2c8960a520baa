"""Clip jobs: what may happen to them. The compatible calls (`compat.py`) come through here, too."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from tldr_highlight.clips.job import CLIP_JOB
from tldr_highlight.clips.models import ClipFile, ClipItem, ClipJob
from tldr_highlight.clips.names import Template, paths, safe
from tldr_highlight.clips.origins import stem_of
from tldr_highlight.clips.schemas import ClipJobCreate, ClipJobsQuery, ClipOptions
from tldr_highlight.core.db import new_id, now
from tldr_highlight.core.egress import Egress
from tldr_highlight.core.work import cancel, enqueue
from tldr_highlight.errors import NotFoundError
from tldr_highlight.media.types import Remote
from tldr_highlight.runtime import Act, Runtime
from tldr_highlight.streams.models import Upload
from tldr_highlight.streams.sources import Source
from tldr_highlight.tenancy import audit
from tldr_highlight.tenancy.models import Organization
from tldr_highlight.web import paginate

LINK = timedelta(hours=1)
"""How long a link to a file holds; its file may go before."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """One clip that is asked for, whoever asked; a bound that is None is no number."""

    asked: dict[str, Any]  # as it was written
    start: float | None
    end: float | None
    filename: str


@dataclass(frozen=True, slots=True)
class Order:
    """Clips of one source, in the one shape that both doors make."""

    source: Source
    clips: Sequence[Wanted]
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
    return Order(source, clips, body.options)


NOWHERE = Path("/nonexistent")
"""A folder for names that become no files: they are stored under other ones."""


def create_job(act: Act, order: Order) -> ClipJob:
    """Take a list of clips. Nothing is asked of the source here: its work does that.

    Raises:
        AddressError: an address that says by itself that it may not be opened.
        NotFoundError: there is no such upload.
    """
    _check(act, order.source)
    organization = act.session.get_one(Organization, act.organization_id)
    job = ClipJob(
        id=new_id("job"),
        organization_id=organization.id,
        source=act.runtime.vault.seal(order.source.as_json()),
        source_label=order.source.label,
        video_id=order.video_id,
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


def _check(act: Act, source: Source) -> None:
    for url in filter(None, (source.url, source.audio_url)):
        Egress(act.runtime.policy).check(url)
    if source.upload_id is not None:
        Upload.get_for(act.session, act.organization_id, source.upload_id)


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
    cancel(act.session, _job(act.session, act.organization_id, job_id).id)  # locks the work before the job
    job = _job(act.session, act.organization_id, job_id, lock=True)
    job.state, job.delete_at = "deleted", now()
    audit.record(act, "clip_job.deleted", job.id)
