"""The gate: knows callers by key or login, refuses the others."""

from __future__ import annotations

from fastapi import Request
from sqlalchemy import select

from tldr_highlight.core.db import now
from tldr_highlight.core.security import hash_token
from tldr_highlight.errors import AuthError, RoleError, ScopeError, SuspendedError
from tldr_highlight.runtime import Caller, Runtime
from tldr_highlight.tenancy.models import ApiKey, Organization
from tldr_highlight.web import Demand


class TenantGate:
    """Knows who is calling from `X-API-Key` or `Authorization: Bearer`."""

    def __init__(self, runtime: Runtime) -> None:
        self.runtime = runtime

    def recall(self, request: Request, demand: Demand) -> Caller | None:
        """Who is calling, from memory."""
        return Caller(None) if demand.public else None

    def admit(self, request: Request, demand: Demand) -> Caller:
        """Who is calling; see `web.Gate`."""
        caller = self._caller(request)
        if demand.scope and demand.scope not in caller.scopes:
            raise ScopeError(f"this takes the scope {demand.scope}", required_scope=demand.scope)
        if demand.login and caller.rank < max(1, demand.rank):
            raise RoleError("this takes a person's login with a higher role")
        return caller

    def _caller(self, request: Request) -> Caller:
        secret = request.headers.get("x-api-key")
        if secret is None:
            raise AuthError("send a key in X-API-Key, or a token in Authorization: Bearer")
        with self.runtime.db.read() as session:
            found = session.execute(
                select(ApiKey, Organization)
                .join(Organization, Organization.id == ApiKey.organization_id)
                .where(ApiKey.hash == hash_token(secret))
            ).first()
        if found is None or found.ApiKey.revoked_at or _over(found.ApiKey):
            raise AuthError("this key is not valid")
        if found.Organization.status != "active":
            raise SuspendedError("this organization is suspended")
        return Caller(found.Organization.id, frozenset(found.ApiKey.scopes), key_id=found.ApiKey.id)


def _over(key: ApiKey) -> bool:
    return key.expires_at is not None and key.expires_at <= now()
