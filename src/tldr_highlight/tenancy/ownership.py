"""Work is about an object of the organization that its row says, or it is dropped and written down (T5)."""

from __future__ import annotations

from sqlalchemy import select

from tldr_highlight.core.db import OrgOwned
from tldr_highlight.core.work import Job
from tldr_highlight.errors import NotFoundError
from tldr_highlight.runtime import Act, Caller, Runtime
from tldr_highlight.tenancy import audit


def require_own(job: Job[Runtime], model: type[OrgOwned]) -> None:
    """Go on only where the object belongs to the organization that the job is for, or is gone.

    Raises:
        NotFoundError: it is another's; the installation's audit log says so.
    """
    with job.runtime.db.read() as session:
        owner = session.scalar(select(model.organization_id).where(model.id == job.object_id))
    if owner is None or owner == job.organization_id:
        return
    with job.runtime.db.begin() as session:
        act = Act(job.runtime, Caller(None, name="system"), session=session)
        audit.record(act, "work.dropped", job.object_id, job=job.id, kind=job.kind, said=job.organization_id)
    raise NotFoundError("there is no such object in this organization")
