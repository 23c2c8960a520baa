"""Passwords: changed by who knows them, and set anew by who has the mailbox."""

from __future__ import annotations

from sqlalchemy import update

from tldr_highlight.accounts import mailed, people
from tldr_highlight.accounts.mailed import LIFETIME, Purpose
from tldr_highlight.core.db import after_commit, now
from tldr_highlight.core.mailboxes import address_key
from tldr_highlight.core.mails import PasswordChanged, ResetPassword
from tldr_highlight.core.outbox import post
from tldr_highlight.core.passwords import check_password
from tldr_highlight.core.security import hash_token
from tldr_highlight.core.work import Job, Kind, enqueue
from tldr_highlight.runtime import Act, Runtime
from tldr_highlight.tenancy import audit, logins
from tldr_highlight.tenancy.models import ApiKey, User


def change(act: Act, current: str, password: str) -> None:
    """Give the caller another password; all their other logins end.

    Raises:
        WrongPasswordError: `current` is not theirs. `PasswordError`: the new one cannot be taken.
    """
    user = act.session.get_one(User, act.user_id)
    people.confirm_password(act, user, current)
    check_password(password, personal=(user.email,))
    hashed = act.runtime.passwords.hash(password)
    with act.writing() as writing:
        _replace(writing, writing.session.get_one(User, user.id), hashed, but=act.caller.session_id)


def forgot(act: Act, email: str) -> None:
    """Have a link sent to whoever has this address.

    Nothing here depends on whether anybody has: the same row is written, and work finds out later. Of one
    address and minute there is one row.
    """
    key = f"{hash_token(address_key(email))}:{now():%Y-%m-%dT%H:%M}"
    payload = {"email": email, "base": act.runtime.url}
    enqueue(act.session, RESET_MAIL.name, key=key, payload=payload, priority="high")


def send_reset(job: Job[Runtime]) -> None:
    """Send the link, if there is somebody to send it to."""
    with job.step() as session:
        user = people.by_address(session, job.payload["email"])
        if user is None or user.disabled_at is not None:
            return
        token = mailed.issue(session, user, Purpose.RESET)
        if token is None:
            return
        link = mailed.link(job.payload["base"], "reset-password", token)
        post(session, ResetPassword(link=link, valid_for=LIFETIME[Purpose.RESET]), user.email)


RESET_MAIL = Kind("reset_mail", send_reset, limit_seconds=60)
"""Finds out whether there is somebody whose password is to be reset."""


def reset(act: Act, token: str, password: str) -> User:
    """Give whoever the token was mailed to another password; all their logins end.

    It shows that the address is theirs. Where that is news, somebody else may have signed up with it: keys
    made by this account until now end, too.

    Raises:
        LinkError: the token opens nothing. `PasswordError`: the password cannot be taken.
    """
    user = mailed.peek(act.session, token, Purpose.RESET)
    check_password(password, personal=(user.email,))
    hashed = act.runtime.passwords.hash(password)
    with act.writing() as writing:
        user, _ = mailed.redeem(writing.session, token, Purpose.RESET)
        _take_over(writing.acting(people.caller_of(user)), user, hashed)
        return user


def _take_over(act: Act, user: User, hashed: str) -> None:
    if user.email_verified_at is None:
        user.email_verified_at = now()
        _end_keys(act, user)
    _replace(act, user, hashed)


def _replace(act: Act, user: User, hashed: str, *, but: str | None = None) -> None:
    user.password_hash = hashed
    logins.end_all(act, user.id, "password", but=but)
    mailed.void(act.session, user, Purpose.RESET)
    letter = PasswordChanged(changed_at=now(), link=f"{act.runtime.url}/forgot-password")
    post(act.session, letter, user.email)
    people.record(act, user, "user.password_changed")


def _end_keys(act: Act, user: User) -> None:
    ending = (
        update(ApiKey)
        .where(ApiKey.created_by == user.id, ApiKey.revoked_at.is_(None))
        .values(revoked_at=now())
        .returning(ApiKey)
    )
    after_commit(act.session, act.runtime.forget_callers)
    for key in act.session.scalars(ending.execution_options(synchronize_session=False)):
        audit.record(act, "key.revoked", key.id, organization_id=key.organization_id, because="address")
