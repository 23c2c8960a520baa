"""People: found by address, added once, disabled, written to, and written down what they did."""

from __future__ import annotations

import contextlib
from collections.abc import Generator

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from tldr_highlight.core.db import now
from tldr_highlight.core.mailboxes import address_key
from tldr_highlight.errors import (
    ConflictError,
    EmailTakenError,
    NotFoundError,
    UnverifiedError,
    WrongPasswordError,
)
from tldr_highlight.runtime import Act, Caller
from tldr_highlight.tenancy import audit, logins
from tldr_highlight.tenancy.models import Member, User
from tldr_highlight.tenancy.throttle import Throttle


def by_address(session: Session, email: str) -> User | None:
    """Who has this address, however it is spelled."""
    return session.scalar(select(User).where(User.email_key == address_key(email)))


def refuse_known(session: Session, email: str) -> None:
    """Early, so that a password is not hashed in vain; `unique_address` decides.

    Raises:
        EmailTakenError: somebody has this address.
    """
    if by_address(session, email) is not None:
        raise EmailTakenError("this e-mail address has an account already: log in, or reset its password")


@contextlib.contextmanager
def unique_address(session: Session) -> Generator[None]:
    """Write an address to a person in the block; of any number at the same time one can.

    Raises:
        EmailTakenError: somebody else has it.
    """
    try:
        with session.begin_nested():
            yield
    except IntegrityError as error:
        raise EmailTakenError("this e-mail address has an account already") from error


def add(
    session: Session, email: str, password_hash: str, *, name: str | None = None, verified: bool = False
) -> User:
    """A new person.

    Raises:
        EmailTakenError: the address is somebody's.
    """
    user = User(
        email=email,
        email_key=address_key(email),
        name=name,
        password_hash=password_hash,
        email_verified_at=now() if verified else None,
    )
    with unique_address(session):
        session.add(user)
    return user


def require_verified(act: Act) -> None:
    """Let nobody write to strangers, or order, in the name of an address that may not be theirs.

    Raises:
        UnverifiedError: the person's address is not confirmed.
    """
    user_id = act.caller.user_id
    if user_id is not None and act.session.get_one(User, user_id).email_verified_at is None:
        raise UnverifiedError("confirm your e-mail address first: the link is in the mail that we sent you")


def disable(act: Act, user_id: str) -> User:
    """Let a person in nowhere any more, until somebody enables them; disabling again changes nothing.

    All their logins end. Keys that they made belong to organizations and go on working.

    Raises:
        NotFoundError: there is no such person. ConflictError: it is who asks.
    """
    user = _locked(act, user_id)
    if user.id == act.caller.user_id:
        raise ConflictError("nobody disables themselves: let another operator do it, or the shell")
    if user.disabled_at is None:
        user.disabled_at = now()
        logins.end_all(act, user.id, "disabled")
        record(act, user, "user.disabled")
    return user


def enable(act: Act, user_id: str) -> User:
    """Let a person log in again. Their former logins stay ended.

    Raises:
        NotFoundError: there is no such person.
    """
    user = _locked(act, user_id)
    if user.disabled_at is not None:
        user.disabled_at = None
        record(act, user, "user.enabled")
    return user


def _locked(act: Act, user_id: str) -> User:
    """Locked: a login that is about to begin waits, and finds out."""
    user = act.session.get(User, user_id, with_for_update=True, populate_existing=True)
    if user is None:
        raise NotFoundError("there is no such person")
    return user


def record(act: Act, user: User, action: str, **details: object) -> None:
    """An audit record about a person, in each of their organizations."""
    places = act.session.scalars(select(Member.organization_id).where(Member.user_id == user.id)).all()
    for organization_id in places or [None]:
        audit.record(act, action, user.id, organization_id=organization_id, **details)


def caller_of(user: User) -> Caller:
    """A person who showed by a token out of a mail who they are."""
    return Caller(None, user_id=user.id)


def confirm_password(act: Act, user: User, password: str) -> None:
    """Ask somebody for their password again. Takes 50 ms: outside of write transactions.

    Wrong ones count as failed logins do: who holds a stolen login guesses no quicker than others.

    Raises:
        WrongPasswordError: it is another. LimitError: too many tries.
    """
    throttle = Throttle(act.runtime.counters)
    throttle.enter(user.email_key, act.address)
    if not act.runtime.passwords.verify(user.password_hash, password):
        raise WrongPasswordError("this is not the account's password")
    throttle.succeeded(user.email_key, act.address)


def unchanged(act: Act, seen: User) -> User:
    """The person of this row, locked, in the transaction that writes; what was checked before still holds.

    While a password is hashed, somebody else may set another one, or take the account over.

    Raises:
        WrongPasswordError: it has another password or address by now, is disabled, or gone.
    """
    user = act.session.get(User, seen.id, with_for_update={"key_share": True}, populate_existing=True)
    if user is None or _credentials(user) != _credentials(seen):
        raise WrongPasswordError("this account was just changed: try again")
    return user


def _credentials(user: User) -> tuple[object, ...]:
    return user.password_hash, user.email_key, user.disabled_at
