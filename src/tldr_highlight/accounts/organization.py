"""The organization itself: its name, its state, and the record of what was done in it."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import select

from tldr_highlight.accounts.schemas import AuditQuery
from tldr_highlight.core.db import after_commit, now
from tldr_highlight.core.mails import OrganizationSuspended
from tldr_highlight.core.outbox import post
from tldr_highlight.core.shapes import paginate
from tldr_highlight.errors import NotFoundError
from tldr_highlight.runtime import Act, Look
from tldr_highlight.tenancy import audit
from tldr_highlight.tenancy.models import AuditRecord, Member, Organization
from tldr_highlight.tenancy.roles import Role


async def get(look: Look) -> Organization:
    """The caller's organization.

    Raises:
        NotFoundError: it was deleted a moment ago.
    """
    found = await look.runtime.db.row(Organization, look.organization_id)
    if found is None:
        raise NotFoundError("there is no such organization")
    return found


def rename(act: Act, name: str) -> Organization:
    """Call it something else."""
    organization = Organization.locked(act.session, act.organization_id)
    if organization.name != name:
        audit.record(act, "organization.renamed", organization.id, before=organization.name, now=name)
        organization.name = name
    return organization


def suspend(act: Act, organization_id: str, reason: str | None) -> Organization:
    """Let none of its keys and logins in, until an operator ends that; its owners are told.

    Raises:
        NotFoundError: there is none.
    """
    organization = _any(act, organization_id)
    if organization.status == "active":
        organization.status = "suspended"
        after_commit(act.session, act.runtime.forget_callers)
        letter = OrganizationSuspended(organization=organization.name, suspended_at=now(), reason=reason)
        for owner in Member.people(act.session, organization.id, Role.OWNER):
            post(act.session, letter, owner.email, organization_id=organization.id)
        audit.record(
            act, "organization.suspended", organization.id, organization_id=organization.id, reason=reason
        )
    return organization


def activate(act: Act, organization_id: str) -> Organization:
    """End a suspension.

    Raises:
        NotFoundError: there is none.
    """
    organization = _any(act, organization_id)
    if organization.status == "suspended":
        organization.status = "active"
        after_commit(act.session, act.runtime.forget_callers)
        audit.record(act, "organization.activated", organization.id, organization_id=organization.id)
    return organization


def list_audit(act: Act, wanted: AuditQuery) -> tuple[Sequence[AuditRecord], str | None]:
    """What was done in the organization, latest first."""
    query = select(AuditRecord).where(AuditRecord.organization_id == act.organization_id)
    for column in (AuditRecord.action, AuditRecord.actor, AuditRecord.object_id):
        value = getattr(wanted, column.key)
        if value is not None:
            query = query.where(column == value)
    return paginate(act.session, query, AuditRecord.id, wanted)


def _any(act: Act, organization_id: str) -> Organization:
    if act.session.get(Organization, organization_id) is None:
        raise NotFoundError("there is no such organization")
    return Organization.locked(act.session, organization_id)
