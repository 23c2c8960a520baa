"""From a key, an access token or a cookie to who it is: what the database says, remembered for a second."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from tldr_highlight.core.clients import Network, networks
from tldr_highlight.core.db import now
from tldr_highlight.core.jwt import Tokens
from tldr_highlight.core.security import is_well_formed_key
from tldr_highlight.errors import AuthError, TokenError
from tldr_highlight.runtime import Caller
from tldr_highlight.tenancy.models import ApiKey, LoginSession, Member, Organization, User
from tldr_highlight.tenancy.roles import ALL, SCOPES

REMEMBERED_SECONDS = 1.0
"""How long a caller is known without asking the database: after a second at most, an end is an end."""

MOST = 10_000
"""Callers remembered at once, about 10 MB."""

LOGIN_REQUESTS_PER_MINUTE = 300
"""Of a person's login: a page makes a dozen at once. Programs have keys, with their plan's limit."""

COOKIE_PREFIX = "tldr_web_"
"""What a cookie's secret begins with, so that logs know it."""


@dataclass(frozen=True, slots=True)
class Known:
    """A caller, and what is checked at every call."""

    caller: Caller
    ends: float  # Unix seconds: when key, token or cookie is over
    requests_per_minute: int
    networks: tuple[Network, ...] = ()  # it may call from; none: any
    suspended: bool = False

    @property
    def name(self) -> str:
        """What its calls are counted under."""
        return self.caller.key_id or self.caller.session_id or self.caller.name


class Recent:
    """Callers of the last second by their secret's hash. Who is not known is asked about every time."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._known: dict[str, tuple[Known, float]] = {}  # oldest first
        self._age = 0  # how often all was forgotten

    def get(self, digest: str) -> Known | None:
        """Who it was within the last second."""
        found = self._known.get(digest)
        return found[0] if found is not None and found[1] > self._clock() else None

    def learn(self, digest: str, ask: Callable[[], Known]) -> Known:
        """What `ask` says; remembered, unless all was forgotten while it was asked."""
        age, until = self._age, self._clock() + REMEMBERED_SECONDS
        known = ask()
        with self._lock:
            if age == self._age:
                self._known.pop(digest, None)
                self._known[digest] = (known, until)
                if len(self._known) > MOST:
                    del self._known[next(iter(self._known))]
        return known

    def forget(self) -> None:
        """Somebody may do less than a moment ago: ask about everybody again."""
        with self._lock:
            self._age += 1
            self._known.clear()


def holder_of_key(session: Session, secret: str, digest: str) -> Known:
    """Whose API key it is.

    Raises:
        AuthError: nobody's, or it is revoked. Typing errors do not reach the database.
    """
    if not is_well_formed_key(secret):
        raise AuthError("this is no key: keys have 46 characters and begin with tldr_live_")
    found = session.execute(
        select(ApiKey, Organization)
        .join(Organization, Organization.id == ApiKey.organization_id)
        .where(ApiKey.hash == digest)
    ).first()
    if found is None or found.ApiKey.revoked_at is not None:
        raise AuthError("this key is not valid: it was revoked, or never made here")
    key: ApiKey = found.ApiKey
    organization: Organization = found.Organization
    return Known(
        Caller(organization.id, ALL.intersection(key.scopes), key_id=key.id),
        ends=float("inf") if key.expires_at is None else key.expires_at.timestamp(),
        requests_per_minute=requests_per_minute(key, organization),
        networks=networks(key.networks),
        suspended=organization.status != "active",
    )


def requests_per_minute(key: ApiKey, organization: Organization) -> int:
    """A key's own limit where it has one; never more than the plan has now."""
    plans = organization.limits.requests_per_minute
    return plans if key.requests_per_minute is None else min(key.requests_per_minute, plans)


def holder_of_token(session: Session, tokens: Tokens, token: str) -> Known:
    """Whose access token it is. The token says which login; what that may do now, the database.

    It is good for one organization: a program that has not heard of a switch must not act in another.

    Raises:
        AuthError: not ours, over, or of a login that has ended.
    """
    claims = tokens.read(token, now())
    found = _login(session, LoginSession.id == claims.session_id)
    if found is None or found.LoginSession.user_id != claims.user_id:
        raise TokenError("this login has ended: log in again")
    if found.LoginSession.organization_id != claims.organization_id:
        raise TokenError("this login acts in another organization by now: use its new access token")
    return _person(found, min(claims.expires_at, found.LoginSession.expires_at))


def holder_of_cookie(session: Session, digest: str) -> Known:
    """Whose cookie it is.

    Raises:
        AuthError: nobody's, or of a login that has ended.
    """
    found = _login(session, LoginSession.token_hash == digest, LoginSession.kind == "cookie")
    if found is None:
        raise AuthError("this login has ended: log in again")
    return _person(found, found.LoginSession.expires_at)


def _login(session: Session, *which: Any) -> Any:
    """A login that goes on, with its user, and its place in an organization if it has one still."""
    query = (
        select(LoginSession, User, Member, Organization)
        .join(User, User.id == LoginSession.user_id)
        .outerjoin(
            Member,
            (Member.user_id == LoginSession.user_id)
            & (Member.organization_id == LoginSession.organization_id),
        )
        .outerjoin(Organization, Organization.id == Member.organization_id)
        .where(LoginSession.ended_at.is_(None), User.disabled_at.is_(None), *which)
    )
    return session.execute(query).first()


def _person(found: Any, ends: datetime) -> Known:
    login: LoginSession = found.LoginSession
    user: User = found.User
    member: Member | None = found.Member
    return Known(
        Caller(
            member.organization_id if member else None,
            frozenset(SCOPES[member.rank]) if member else frozenset(),
            user_id=user.id,
            session_id=login.id,
            rank=int(member.rank) if member else 0,
            is_operator=user.is_operator,
        ),
        ends=ends.timestamp(),
        requests_per_minute=LOGIN_REQUESTS_PER_MINUTE,
        suspended=member is not None and found.Organization.status != "active",
    )
