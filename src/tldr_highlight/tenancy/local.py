"""Callers without a key, where the operator lets them: they act as one organization, made on its first use.

Who can reach a server that listens on loopback is at this machine, or is a page in somebody's browser there.
Such pages are kept out: by what browsers say of them, and by the name they call us by, which is another's
when a name of theirs leads here (DNS rebinding).
"""

from __future__ import annotations

import math

from fastapi import Request
from sqlalchemy.orm import Session

from tldr_highlight.core.db import Database, insert, now
from tldr_highlight.runtime import Caller, Runtime
from tldr_highlight.tenancy.callers import Known
from tldr_highlight.tenancy.cookies import is_this_machine, refuse_cross_site
from tldr_highlight.tenancy.models import AuditRecord, Organization
from tldr_highlight.tenancy.plans import PlanName
from tldr_highlight.tenancy.roles import Scope

ID = "org_local"

NAME = "local"
"""Who acts, in the audit log, and what their calls are counted under."""

PLAN = PlanName.ENTERPRISE

SCOPES = frozenset({Scope.CLIPS_READ, Scope.CLIPS_WRITE})

PROXIED = ("x-forwarded-for", "forwarded", "x-real-ip", "via")
"""Headers by which a proxy tells of itself; one that sends none looks like a program of this machine."""


def is_allowed(runtime: Runtime, request: Request) -> bool:
    """Whether this caller may do without a key.

    Raises:
        CrossSiteError: another site's page changes something.
    """
    required = runtime.settings.compat_requires_key
    if required is None:
        proxied = runtime.settings.public_url is not None or is_forwarded(request)
        required = proxied or not runtime.is_private or not is_this_machine(request.url.hostname)
    if required:
        return False
    if (
        "sec-fetch-site" in request.headers or "origin" in request.headers
    ):  # a browser's; programs say neither
        refuse_cross_site(request, runtime.settings)
    return True


def is_forwarded(request: Request) -> bool:
    """Whether a proxy says that it forwards this request: who opened the connection is not who calls."""
    return any(name in request.headers for name in PROXIED)


def holder(db: Database) -> Known:
    """Who they act as."""
    with db.read() as session:
        organization = session.get(Organization, ID)
    if organization is None:
        with db.begin() as session:
            organization = _made(session)
    caller = Caller(ID, SCOPES, name=NAME)
    limits = organization.limits
    return Known(caller, math.inf, limits.requests_per_minute, suspended=organization.status != "active")


def _made(session: Session) -> Organization:
    """The organization, whoever of several came first."""
    adding = (
        insert(session, Organization)
        .values(id=ID, name="Local", plan=PLAN.value, overrides={}, status="active", created_at=now())
        .on_conflict_do_nothing(index_elements=["id"])
        .returning(Organization.id)
    )
    if session.execute(adding).first() is not None:
        about = {"plan": PLAN.value}
        action = "organization.created"
        session.add(AuditRecord(organization_id=ID, actor=NAME, action=action, object_id=ID, details=about))
    return session.get_one(Organization, ID)
