"""Logins: how a person comes in, stays in, and is put out. All of it is in the database.

A program gets an access token for 30 minutes and a refresh token that is good once: exchanging it gives the
next one. A page gets a cookie. A refresh token that comes a second time, and not just because two calls met,
was stolen, from us or by whoever sends it, and nobody can tell which: the login ends, for both.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, or_, select, update

from tldr_highlight.core.db import after_commit, now
from tldr_highlight.core.jwt import AccessClaims
from tldr_highlight.core.mailboxes import address_key
from tldr_highlight.core.security import hash_token, new_token
from tldr_highlight.core.shapes import PageQuery, paginate
from tldr_highlight.core.sweep import Rule
from tldr_highlight.errors import (
    AuthError,
    LoginError,
    NotFoundError,
    RoleError,
    SuspendedError,
    TokenError,
)
from tldr_highlight.runtime import Act, Caller
from tldr_highlight.tenancy import audit
from tldr_highlight.tenancy.callers import COOKIE_PREFIX
from tldr_highlight.tenancy.models import ApiKey, LoginSession, Member, Organization, SpentToken, User
from tldr_highlight.tenancy.roles import Role
from tldr_highlight.tenancy.throttle import Throttle

ACCESS = timedelta(minutes=30)
REFRESH = timedelta(days=7)
"""A refresh token's and a cookie's life."""

LONGEST = timedelta(days=90)
"""However often it is refreshed, a login ends then."""

GRACE = timedelta(seconds=10)
"""How long after its exchange a refresh token may come again without ending the login: two threads or pages
that refresh together, on a slow network. It gets nothing. Who stole one and uses it less than this before
the owner does is not found out by that; the owner has to log in, and sees a login too many in the list."""


KEPT = timedelta(days=7)
"""How long a login's row is kept after its end; the audit log remembers it longer."""


@dataclass(frozen=True)
class Place:
    """An organization that a person is in, and as what."""

    organization: Organization
    member: Member


@dataclass(frozen=True)
class Login:
    """Somebody came in, or goes on."""

    session: LoginSession
    user: User
    place: Place | None  # a person may be in no organization
    secret: str  # the refresh token, or the cookie; stored nowhere


# --- coming in -----------------------------------------------------------------------------------------


def log_in(
    act: Act, email: str, password: str, *, kind: str, organization_id: str | None, agent: str | None
) -> Login:
    """Begin a login. `act` reads; it writes in a transaction of its own, after the password is verified.

    Args:
        act: Whoever it is.
        email: Of an account; any spelling of it.
        password: As it was typed.
        kind: `token` or `cookie`.
        organization_id: Where to act; None: the first that the person joined and that is active.
        agent: The program, in its own words.

    Raises:
        LoginError: no such account, another password, or disabled: the same in words and time.
        LimitError: too many tries.
        NotFoundError: the person is not in that organization.
        SuspendedError: the only organization they are in, or the one they name.
    """
    user = verified(act, email, password)
    passwords = act.runtime.passwords
    hashed = passwords.hash(password) if passwords.needs_rehash(user.password_hash) else user.password_hash
    with act.writing() as writing:
        # the row is locked: a password that is changed meanwhile ends logins, and would miss this one
        again = writing.session.get(User, user.id, with_for_update=True, populate_existing=True)
        if again is None or again.password_hash != user.password_hash or again.disabled_at is not None:
            raise _wrong()
        again.password_hash = hashed
        place = _chosen(places(writing, user.id), organization_id)
        return begin(writing, again, place, kind=kind, agent=agent)


def verified(act: Act, email: str, password: str) -> User:
    """Whose e-mail address and password they are. Takes 50 ms, and as long for nobody's.

    Raises:
        LoginError: nobody's, or of somebody who is disabled.
        LimitError: too many tries.
    """
    account = address_key(email)
    throttle = Throttle(act.runtime.counters)
    throttle.enter(account, act.address)
    user = act.session.scalar(select(User).where(User.email_key == account))
    right = act.runtime.passwords.verify(user.password_hash if user else None, password)
    if user is None or not right or user.disabled_at is not None:
        raise _wrong()
    throttle.succeeded(account, act.address)
    return user


def begin(act: Act, user: User, place: Place | None, *, kind: str, agent: str | None) -> Login:
    """A login of somebody who has shown who they are."""
    secret = _new_secret(kind)
    at = now()
    session = LoginSession(
        user_id=user.id,
        organization_id=place.organization.id if place else None,
        kind=kind,
        token_hash=hash_token(secret),
        address=act.address,
        agent=agent[:200] if agent else None,
        created_at=at,
        used_at=at,
        expires_at=at + REFRESH,
    )
    act.session.add(session)
    act.session.flush()
    themselves = act.acting(Caller(session.organization_id, user_id=user.id))
    audit.record(themselves, "login.started", session.id, kind=kind)
    return Login(session, user, place, secret)


def access_token(act: Act, login: Login) -> str:
    """A token that says which login it is; what that may do is looked up at each call."""
    at = now()
    claims = AccessClaims(
        user_id=login.user.id,
        session_id=login.session.id,
        organization_id=login.place.organization.id if login.place else None,
        role=login.place.member.role if login.place else "none",
        issued_at=at,
        expires_at=at + ACCESS,
    )
    return act.runtime.tokens.sign(claims, at)


# --- going on ------------------------------------------------------------------------------------------


def refresh(act: Act, token: str, arrived: datetime, organization_id: str | None = None) -> Login:
    """Exchange a refresh token. `act` reads; it writes in a transaction of its own.

    With `organization_id` the login acts there from now on; access tokens from before are good no more.

    Of calls with one token exactly one wins. The others are refused; the login ends if they arrived later
    than `GRACE` after that, and goes on if they did not.

    Raises:
        TokenError: not a refresh token that is good now.
        NotFoundError: the person is not in that organization; the token stays good.
        SuspendedError: the organization is suspended; the same.
    """
    digest = hash_token(token)
    with act.writing() as writing:
        login = _exchange(writing, digest, organization_id)
        if login is None:
            _end_if_spent(writing, digest, arrived)
    if login is None:  # raised here: what ended must stay so
        raise TokenError("this refresh token is not valid: log in again")
    return login


def _exchange(act: Act, digest: str, organization_id: str | None) -> Login | None:
    # Locked: who waited for somebody else's exchange finds another hash here, and no row.
    mine = select(LoginSession).where(LoginSession.token_hash == digest, LoginSession.kind == "token")
    session = act.session.scalar(mine.with_for_update())
    if session is None or session.ended_at is not None or session.expires_at <= now():
        return None
    user = act.session.get_one(User, session.user_id)
    if user.disabled_at is not None:
        return None
    place = _place_of(act, session, organization_id)
    _move(act, session, place)
    secret = _new_secret("token")
    session.token_hash = hash_token(secret)
    session.used_at = now()
    session.expires_at = min(session.used_at + REFRESH, session.created_at + LONGEST)
    act.session.add(SpentToken(token_hash=digest, session_id=session.id, spent_at=now()))
    return Login(session, user, place, secret)


def _place_of(act: Act, session: LoginSession, organization_id: str | None) -> Place | None:
    """Where a login goes on: where it was, if its person is in there still, or where they ask for."""
    there = places(act, session.user_id)
    if organization_id is not None:
        return _chosen(there, organization_id)
    place = next((p for p in there if p.organization.id == session.organization_id), None)
    if place is not None and place.organization.status != "active":
        raise _suspended()
    return place


def _move(act: Act, session: LoginSession, place: Place | None) -> None:
    """Have a login act in another organization."""
    there = place.organization.id if place else None
    if session.organization_id == there:
        return
    session.organization_id = there
    after_commit(act.session, act.runtime.forget_callers)
    if there is not None:  # where it was before is not for these people to read
        themselves = act.acting(Caller(there, user_id=session.user_id))
        audit.record(themselves, "login.switched", session.id)


def _end_if_spent(act: Act, digest: str, arrived: datetime) -> None:
    spent = act.session.get(SpentToken, digest)
    if spent is None or arrived <= spent.spent_at + GRACE:
        return
    session = act.session.get_one(LoginSession, spent.session_id, with_for_update=True)
    if session.ended_at is None:
        _end(act, session, "reuse")
        owner = Caller(session.organization_id, name="somebody")
        audit.record(act.acting(owner), "login.reused_token", session.id, user=session.user_id)


# --- going out -----------------------------------------------------------------------------------------


def end(act: Act, session_id: str) -> None:
    """End one login of the person who is acting; ending it again changes nothing.

    Raises:
        NotFoundError: it is not theirs.
    """
    session = act.session.get(LoginSession, session_id)
    if session is None or session.user_id != act.user_id:
        raise NotFoundError("there is no such login")
    if session.ended_at is None:
        _end(act, session, "logout")
        audit.record(act, "login.ended", session.id, organization_id=session.organization_id)


def end_all(act: Act, user_id: str, because: str) -> int:
    """End all logins of a person: how many.

    Args:
        act: Who does it, in a transaction.
        user_id: Whose.
        because: `logout`, `password`, `disabled`.
    """
    query = update(LoginSession).where(LoginSession.user_id == user_id, LoginSession.ended_at.is_(None))
    ended = act.session.scalars(
        query.values(ended_at=now(), ended_because=because).returning(LoginSession.id)
    ).all()
    after_commit(act.session, act.runtime.forget_callers)
    audit.record(act, "login.all_ended", user_id, because=because, logins=len(ended))
    return len(ended)


def list_logins(act: Act, page: PageQuery) -> tuple[Sequence[LoginSession], str | None]:
    """The person's logins that go on, newest first."""
    query = select(LoginSession).where(
        LoginSession.user_id == act.user_id, LoginSession.ended_at.is_(None), LoginSession.expires_at > now()
    )
    return paginate(act.session, query, LoginSession.id, page)


def _end(act: Act, session: LoginSession, because: str) -> None:
    session.ended_at, session.ended_because = now(), because
    after_commit(act.session, act.runtime.forget_callers)


def _spent_over(at: datetime) -> ColumnElement[bool]:
    return SpentToken.session_id.in_(select(LoginSession.id).where(_ended_before(at)))


def _ended_before(at: datetime) -> ColumnElement[bool]:
    return or_(LoginSession.ended_at <= at, LoginSession.expires_at <= at)


SPENT_OVER = Rule(SpentToken, _spent_over)
"""A spent token that comes again ends its login: it is needed for as long as that goes on."""

OVER = Rule(LoginSession, lambda at: _ended_before(at - KEPT))


# --- who and where -------------------------------------------------------------------------------------


def places(act: Act, user_id: str) -> list[Place]:
    """The organizations a person is in, the one they joined first first."""
    rows = act.session.execute(
        select(Organization, Member)
        .join(Member, Member.organization_id == Organization.id)
        .where(Member.user_id == user_id)
        .order_by(Member.created_at, Member.id)
    )
    return [Place(row.Organization, row.Member) for row in rows]


def person(act: Act) -> tuple[User | None, list[Place]]:
    """Who is calling, where it is a person, and where they belong."""
    if act.caller.user_id is None:
        return None, []
    return act.session.get_one(User, act.caller.user_id), places(act, act.caller.user_id)


def calling_key(act: Act) -> ApiKey | None:
    """The key that is calling, where it is one."""
    if act.caller.key_id is None:
        return None
    return ApiKey.get_for(act.session, act.organization_id, act.caller.key_id)


def require_lasting(act: Act) -> None:
    """Refuse who has lost since they were let in what let them in; for what outlives the caller.

    Callers are remembered for a second, and calls take a while. Whoever takes something away holds the row
    that the caller has locked before asking here, or finds what was made.

    Raises:
        AuthError: the key or login has ended. RoleError: the person may do less by now.
    """
    login = act.caller.session_id and act.session.get(LoginSession, act.caller.session_id)
    key = calling_key(act)
    if (login and login.ended_at is not None) or (key and key.status != "active"):
        raise AuthError("this key or login has just ended")
    if act.caller.user_id is not None and act.caller.rank:
        place = Member.of(act.organization_id).where(Member.user_id == act.caller.user_id)
        member = act.session.scalar(place.execution_options(populate_existing=True))
        if member is None or member.rank < act.caller.rank:
            raise RoleError("your role here has just changed", required_role=Role(act.caller.rank).word)


def _chosen(found: list[Place], organization_id: str | None) -> Place | None:
    if organization_id is not None:
        found = [place for place in found if place.organization.id == organization_id]
        if not found:
            raise NotFoundError("you are in no such organization")
    active = [place for place in found if place.organization.status == "active"]
    if found and not active:
        raise _suspended()
    return active[0] if active else None


def _new_secret(kind: str) -> str:
    return new_token(COOKIE_PREFIX if kind == "cookie" else "tldr_refresh_")


def _wrong() -> LoginError:
    return LoginError("e-mail address or password is wrong")


def _suspended() -> SuspendedError:
    return SuspendedError("this organization is suspended")
