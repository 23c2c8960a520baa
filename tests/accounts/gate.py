"""A gate for tests, until the product's own knows logins."""

from __future__ import annotations

from typing import Any

from sqlalchemy import select

from tldr_highlight.core.db import now
from tldr_highlight.errors import AuthError, ForbiddenError, RoleError, ScopeError, SuspendedError
from tldr_highlight.runtime import Caller
from tldr_highlight.tenancy.auth import TenantGate
from tldr_highlight.tenancy.models import LoginSession, Member, Organization, User
from tldr_highlight.tenancy.roles import SCOPES
from tldr_highlight.web import Demand


class StandIn(TenantGate):
    def admit(self, request: Any, demand: Demand) -> Caller:
        bearer = request.headers.get("authorization", "")
        if not bearer:
            return super().admit(request, demand)
        claims = self.runtime.tokens.read(bearer.removeprefix("Bearer "), now())
        with self.runtime.db.read() as session:
            login = session.get(LoginSession, claims.session_id)
            user = session.get(User, claims.user_id)
            member = session.scalar(
                select(Member).where(
                    Member.user_id == claims.user_id, Member.organization_id == claims.organization_id
                )
            )
            organization = session.get(Organization, claims.organization_id or "")
        if login is None or user is None or login.ended_at:
            raise AuthError("over")
        if organization and organization.status != "active":
            raise SuspendedError("suspended")
        if demand.operator and not user.is_operator:
            raise ForbiddenError("operators")
        rank = member.rank if member else 0
        scopes = frozenset(SCOPES[member.rank]) if member else frozenset()
        if demand.scope and demand.scope not in scopes:
            raise ScopeError("scope")
        if demand.login and rank < demand.rank:
            raise RoleError("role")
        return Caller(
            member and member.organization_id, scopes, user.id, None, login.id, rank, user.is_operator
        )
