"""Keys and logins: at which address."""

from __future__ import annotations

from typing import Annotated

from fastapi import Query, Response

from tldr_highlight.core.shapes import Id, Page, PageQuery
from tldr_highlight.errors import (
    ConflictError,
    CrossSiteError,
    ForbiddenError,
    LimitError,
    LoginError,
    NotFoundError,
    PlanLimitError,
    SuspendedError,
    TokenError,
)
from tldr_highlight.runtime import Look
from tldr_highlight.tenancy import logins, service
from tldr_highlight.tenancy.cookies import drop_cookie, refuse_cross_site, refuse_plain, set_cookie
from tldr_highlight.tenancy.logins import ACCESS, REFRESH, Login, Place
from tldr_highlight.tenancy.models import ApiKey, LoginSession, Organization
from tldr_highlight.tenancy.roles import Scope
from tldr_highlight.tenancy.schemas import (
    KeyCreate,
    KeyCreated,
    KeyOut,
    KeyPatch,
    KeyRotate,
    LoginCreate,
    LoginOut,
    MeOut,
    PlaceOut,
    RefreshToken,
    SessionOut,
    TokensOut,
    UserOut,
)
from tldr_highlight.web import Call, Routes

keys = Routes("/api/v1/keys", tag="keys")
auth = Routes("/api/v1/auth", tag="auth")
me = Routes("/api/v1/me", tag="auth")

LOGIN_ERRORS = (LoginError, SuspendedError, NotFoundError, LimitError)


# --- keys ----------------------------------------------------------------------------------------------


@keys.get("", scope=Scope.KEYS_READ)
def list_keys(call: Call, page: Annotated[PageQuery, Query()]) -> Page[KeyOut]:
    """List keys. Newest first; the keys themselves are not shown again."""
    rows, cursor = service.list_keys(call, page)
    return Page(data=[KeyOut.model_validate(row) for row in rows], next_cursor=cursor)


@keys.post("", scope=Scope.KEYS_WRITE, status=201, creates=True, errors=[PlanLimitError])
def create_key(call: Call, body: KeyCreate) -> KeyCreated:
    """Make a key. The answer is the only place where it is shown.

    It gets no scope that whoever makes it lacks. Made with a key, it is no stronger than that: it lives no
    longer, calls no more often, and from no other networks.
    """
    key, secret = service.create_key(call, body)
    return KeyCreated(**KeyOut.model_validate(key).model_dump(), key=secret)


@keys.get("/{key_id}", scope=Scope.KEYS_READ)
async def get_key(look: Look, key_id: Id) -> KeyOut:
    """Read one key."""
    return KeyOut.model_validate(await look.own_row(ApiKey, key_id))


@keys.patch("/{key_id}", scope=Scope.KEYS_WRITE)
def change_key(call: Call, key_id: Id, body: KeyPatch) -> KeyOut:
    """Change a key's name, networks or limit. What it may do stays: make another for that."""
    return KeyOut.model_validate(service.change_key(call, key_id, body))


@keys.post("/{key_id}/rotate", scope=Scope.KEYS_WRITE, status=201, creates=True, errors=[ConflictError])
def rotate_key(call: Call, key_id: Id, body: KeyRotate) -> KeyCreated:
    """Replace a key. The new one is shown once; the old one is good for the overlap still."""
    key, secret = service.rotate_key(call, key_id, body.overlap_seconds)
    return KeyCreated(**KeyOut.model_validate(key).model_dump(), key=secret)


@keys.delete("/{key_id}", scope=Scope.KEYS_WRITE, status=204)
def revoke_key(call: Call, key_id: Id) -> None:
    """Revoke a key. It stops working within a second."""
    service.revoke_key(call, key_id)


# --- logins --------------------------------------------------------------------------------------------


@auth.post("/login", public=True, hashes=True, errors=LOGIN_ERRORS)
def log_in(call: Call, body: LoginCreate) -> TokensOut:
    """Log in. The access token is good for 30 minutes; exchange the refresh token for the next."""
    return _tokens(call, _log_in(call, body, "token"))


@auth.post("/refresh", public=True, writes=False, errors=[TokenError, NotFoundError, SuspendedError])
def refresh_login(call: Call, body: RefreshToken) -> TokensOut:
    """Exchange a refresh token. Each is good once: one that comes again later ends the login.

    Of calls at the same time one wins and the others get 401; the login goes on. Later is 10 s after the
    exchange. Send it once, and keep what the answer has.

    With `organization_id` the login acts in another of your organizations from now on: access tokens from
    before are refused.
    """
    arrived = call.request.state.arrived
    return _tokens(call, logins.refresh(call, body.refresh_token, arrived, body.organization_id))


@auth.post("/logout", login=True, status=204)
def log_out(call: Call) -> None:
    """Log out. This login ends; others go on."""
    assert call.caller.session_id
    logins.end(call, call.caller.session_id)


@auth.post("/logout-everywhere", login=True, status=204)
def log_out_everywhere(call: Call) -> None:
    """Log out everywhere. All your logins end, this one too."""
    logins.end_all(call, call.user_id, "logout")


@auth.get("/sessions", login=True)
def list_sessions(call: Call, page: Annotated[PageQuery, Query()]) -> Page[SessionOut]:
    """List your logins. Newest first; those that go on."""
    rows, cursor = logins.list_logins(call, page)
    return Page(data=[_session(call, row) for row in rows], next_cursor=cursor)


@auth.delete("/sessions/{session_id}", login=True, status=204)
def end_session(call: Call, session_id: Id) -> None:
    """End one of your logins."""
    logins.end(call, session_id)


@auth.post("/session", public=True, hashes=True, errors=[*LOGIN_ERRORS, ForbiddenError, CrossSiteError])
def begin_cookie_session(call: Call, body: LoginCreate) -> LoginOut:
    """Log in with a cookie. For pages of this server; programs use `auth/login`."""
    refuse_cross_site(call.request, call.runtime.settings)
    refuse_plain(call.request, call.runtime.settings)
    login = _log_in(call, body, "cookie")
    answer = Response()
    set_cookie(answer, call.request, call.runtime.settings, login.secret, int(REFRESH.total_seconds()))
    call.headers["Set-Cookie"] = answer.headers["Set-Cookie"]
    return LoginOut(user=UserOut.model_validate(login.user), organization=_place(login.place))


@auth.delete("/session", login=True, status=204)
def end_cookie_session(call: Call) -> None:
    """Log out a page. The cookie goes, and is good for nothing any more."""
    log_out(call)
    answer = Response()
    drop_cookie(answer, call.request, call.runtime.settings)
    call.headers["Set-Cookie"] = answer.headers["Set-Cookie"]


@me.get("", known=True)
def get_me(call: Call) -> MeOut:
    """Who is calling. The person or the key, where they act, and what they may do there."""
    user, places = logins.person(call)
    key = logins.calling_key(call)
    here = next((p for p in places if p.organization.id == call.caller.organization_id), None)
    return MeOut(
        user=UserOut.model_validate(user) if user else None,
        key=KeyOut.model_validate(key) if key else None,
        organization=_place(here) if key is None else _organization(call),
        organizations=[_placed(place) for place in places],
        scopes=sorted(call.caller.scopes),
    )


def _log_in(call: Call, body: LoginCreate, kind: str) -> Login:
    return logins.log_in(
        call,
        body.email,
        body.password,
        kind=kind,
        organization_id=body.organization_id,
        agent=call.request.headers.get("user-agent"),
    )


def _tokens(call: Call, login: Login) -> TokensOut:
    return TokensOut(
        access_token=logins.access_token(call, login),
        expires_in=int(ACCESS.total_seconds()),
        refresh_token=login.secret,
        user=UserOut.model_validate(login.user),
        organization=_place(login.place),
    )


def _place(place: Place | None) -> PlaceOut | None:
    return None if place is None else _placed(place)


def _placed(place: Place) -> PlaceOut:
    o = place.organization
    return PlaceOut(id=o.id, name=o.name, plan=o.plan, status=o.status, role=place.member.role)


def _organization(call: Call) -> PlaceOut:
    o = call.session.get_one(Organization, call.organization_id)
    return PlaceOut(id=o.id, name=o.name, plan=o.plan, status=o.status, role=None)


def _session(call: Call, row: LoginSession) -> SessionOut:
    return SessionOut.model_validate(row).model_copy(update={"current": row.id == call.caller.session_id})
