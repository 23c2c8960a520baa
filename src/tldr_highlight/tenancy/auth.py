"""The gate: knows callers by key, access token or cookie, counts what they ask, refuses whom it must.

It works in the event loop, from memory: 20 µs. Once a second per caller a thread asks the database.
"""

from __future__ import annotations

import time
from typing import NamedTuple

from fastapi import Request

from tldr_highlight.core.clients import Clients, neighbourhood, parsed, within
from tldr_highlight.core.security import hash_token
from tldr_highlight.errors import (
    AuthError,
    CrossSiteError,
    ForbiddenError,
    KeyAddressError,
    RateError,
    RequestError,
    RoleError,
    ScopeError,
    SuspendedError,
    TldrError,
    TokenExpiredError,
)
from tldr_highlight.runtime import Caller, Runtime
from tldr_highlight.tenancy import local
from tldr_highlight.tenancy.callers import (
    Known,
    Recent,
    holder_of_cookie,
    holder_of_key,
    holder_of_token,
)
from tldr_highlight.tenancy.cookies import cookie_of, refuse_cross_site
from tldr_highlight.tenancy.last_use import LastUses
from tldr_highlight.tenancy.rate_limit import RateLimits
from tldr_highlight.tenancy.roles import Role
from tldr_highlight.web import Demand, in_thread

NOBODY = Caller(None)

FAILURES = (AuthError, RequestError, KeyAddressError, CrossSiteError)
"""What is raised before somebody is in, so that no key's or login's count has it."""

SHOWING = (b"x-api-key", b"authorization")
"""Headers that say who is calling."""

NO_CREDENTIALS = "send a key in X-API-Key, or a key or access token in Authorization: Bearer"


class Credential(NamedTuple):
    """What a request shows."""

    secret: str
    digest: str  # of it: what is remembered and looked up
    is_cookie: bool = False


NOTHING = Credential("", "nothing")
"""What callers show who may do without a key."""


class TenantGate:
    """Knows who is calling; see `web.Gate`."""

    def __init__(self, runtime: Runtime) -> None:
        self.runtime = runtime
        self._clients = Clients(runtime.settings.trusted_proxies)
        self._recent = Recent()
        self._limits = RateLimits(runtime.counters)
        self._uses = LastUses(runtime.db)
        runtime.forget_callers = self._recent.forget

    def address(self, request: Request) -> str | None:
        """Where a request comes from."""
        peer = request.client.host if request.client else None
        hops = request.headers.getlist("x-forwarded-for") if self._clients.trusting else []
        return self._clients.address(peer, ",".join(hops))

    async def admit(self, request: Request, demand: Demand) -> Caller:
        """Who is calling."""
        if demand.public:
            await self._count_address(request, "")
            return NOBODY
        try:
            credential = self._credential(request, demand)
            known = self._recent.get(credential.digest)
            known = known or await in_thread(request, self._known, credential)
            return await self._let_in(request, demand, known)
        except FAILURES as error:
            await self._failed(request, error)
            raise

    def still_admits(self, request: Request) -> bool:
        """Whether somebody who came in some time ago may still be here."""
        demand: Demand = request.state.demand
        try:
            if not demand.public:
                known = self._known(self._credential(request, demand))
                _check_still(known, request)
                check(known, demand)
        except (AuthError, ForbiddenError, RequestError):
            return False
        return True

    def store_if_due(self) -> None:
        """Store what was used, every few seconds."""
        self._uses.store_if_due()

    def close(self) -> None:
        """Store what is not stored yet."""
        self._uses.store()

    def _credential(self, request: Request, demand: Demand) -> Credential:
        """The one thing that a request shows; a header comes before the cookie, and nothing may be enough.

        Raises:
            RequestError: it shows two, of which one may be somebody else's.
            AuthError: it shows none.
        """
        shown = [header for header in request.scope["headers"] if header[0] in SHOWING]
        if len(shown) > 1:
            raise RequestError("send either X-API-Key or Authorization, and once")
        for name, value in shown:
            text = value.decode("latin-1")
            secret = text if name == b"x-api-key" else _bearer(text)
            return Credential(secret, hash_token(secret))
        secret = cookie_of(request, self.runtime.settings)
        if secret is None and demand.keyless and local.is_allowed(self.runtime, request):
            return NOTHING
        if secret is None:
            raise AuthError(NO_CREDENTIALS)
        refuse_cross_site(request, self.runtime.settings)
        return Credential(secret, hash_token(f"cookie:{secret}"), is_cookie=True)

    def _known(self, credential: Credential) -> Known:
        known = self._recent.get(credential.digest)
        return known or self._recent.learn(credential.digest, lambda: self._look_up(credential))

    def _look_up(self, credential: Credential) -> Known:
        if credential is NOTHING:
            return local.holder(self.runtime.db)
        with self.runtime.db.read() as session:
            if credential.is_cookie:
                return holder_of_cookie(session, hash_token(credential.secret))
            if credential.secret.startswith("eyJ"):  # `{"` in base64: a JWT
                return holder_of_token(session, self.runtime.tokens, credential.secret)
            return holder_of_key(session, credential.secret, credential.digest)

    async def _failed(self, request: Request, error: TldrError) -> None:
        """Count a call that did not come in: apart, so that whoever guesses locks out no neighbour who does.

        An access token that has expired was one: it is told so whatever neighbours do, as its client
        refreshes for that answer.

        Raises:
            RateError: there were too many from that address.
        """
        try:
            await self._count_address(request, "failed:")
        except RateError:
            if not isinstance(error, TokenExpiredError):
                raise

    async def _count_address(self, request: Request, what: str) -> None:
        home = neighbourhood(request.state.address)
        most = self.runtime.settings.public_requests_per_minute
        await self._limits.count(what + home, most, request.state.headers)

    async def _let_in(self, request: Request, demand: Demand, known: Known) -> Caller:
        _check_still(known, request)
        await self._limits.count(known.name, known.requests_per_minute, request.state.headers)
        self._uses.note(known.name)
        check(known, demand)
        return known.caller


def check(known: Known, demand: Demand) -> None:
    """Whether a caller may do this.

    What takes a login and no role is a person's own, and goes on while their organization is suspended.

    Raises:
        ForbiddenError: no; its class says why.
    """
    caller = known.caller
    if (demand.login or demand.operator) and caller.user_id is None:
        raise RoleError("this takes a person's login, not a key")
    if demand.operator:
        if not caller.is_operator:
            raise ForbiddenError("this takes an operator of the installation")
        return
    if known.suspended and (demand.scope or demand.rank or caller.key_id):
        raise SuspendedError("this organization is suspended")
    if demand.scope and demand.scope not in caller.scopes:
        raise ScopeError(f"this takes the scope {demand.scope}", required_scope=demand.scope)
    if caller.rank < demand.rank:
        role = Role(demand.rank).word
        raise RoleError(f"this takes the role {role}", required_role=role)


def _check_still(known: Known, request: Request) -> None:
    if known.ends <= time.time():
        raise AuthError("this key or login is over")
    _check_address(known, request.state.address)


def _check_address(known: Known, address: str | None) -> None:
    if known.networks:
        found = parsed(address)
        if found is None or not within(found, known.networks):
            raise KeyAddressError(f"this key may not be used from {address}")


def _bearer(header: str) -> str:
    scheme, _, secret = header.partition(" ")
    if scheme.lower() != "bearer":
        raise AuthError(NO_CREDENTIALS)
    return secret.strip()
