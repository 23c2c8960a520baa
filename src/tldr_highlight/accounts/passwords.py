"""Passwords: changed by who knows them, and set anew by who has the mailbox."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import or_, select
from sqlalchemy.orm import aliased

from tldr_highlight.accounts import mailed, people
from tldr_highlight.accounts.mailed import LIFETIME, Purpose
from tldr_highlight.core.db import OrgOwned, after_commit, now
from tldr_highlight.core.mailboxes import address_key
from tldr_highlight.core.mails import PasswordChanged, ResetPassword
from tldr_highlight.core.outbox import post
from tldr_highlight.core.passwords import check_password
from tldr_highlight.core.security import hash_token
from tldr_highlight.core.work import Job, Kind, enqueue
from tldr_highlight.runtime import Act, Caller, Runtime
from tldr_highlight.tenancy import audit, logins
from tldr_highlight.tenancy.models import ApiKey, Invitation, Member, Organization, User
from tldr_highlight.tenancy.roles import Role
from tldr_highlight.webhooks import service as webhooks
from tldr_highlight.webhooks.models import Webhook


def change(act: Act, current: str, password: str) -> None:
    """Give the caller another password; all their logins end, this one included.

    Raises:
        WrongPasswordError: `current` is not theirs. `PasswordError`: the new one cannot be taken.
    """
    user = act.session.get_one(User, act.user_id)
    people.confirm_password(act, user, current)
    check_password(password, personal=(user.email,))
    hashed = act.runtime.passwords.hash(password)
    with act.writing() as writing:
        _replace(writing, people.unchanged(writing, user), hashed)


def forgot(act: Act, email: str) -> None:
    """Have a link sent to whoever has this address.

    Nothing here depends on whether anybody has: the same row is written, and work finds out later. Of one
    address and minute there is one row.
    """
    key = f"{hash_token(address_key(email))}:{now():%Y-%m-%dT%H:%M}"
    payload = {"email": email, "base": act.runtime.url}
    enqueue(act.session, RESET_MAIL.name, key=key, payload=payload, priority="soon")


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
        nobody = Act(job.runtime, Caller(None), session=session)
        people.record(nobody, user, "user.reset_asked")


RESET_MAIL = Kind("reset_mail", send_reset, limit_seconds=60)
"""Finds out whether there is somebody whose password is to be reset."""


def reset(act: Act, token: str, password: str) -> User:
    """Give whoever the token was mailed to another password; all their logins end.

    It shows that the address is theirs. Where that is news, somebody else may have signed up with it: then
    everything ends by which they could come back, or be told.

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
        _shut_out(act, user)
    _replace(act, user, hashed)


def _replace(act: Act, user: User, hashed: str) -> None:
    user.password_hash = hashed
    logins.end_all(act, user.id, "password")
    mailed.void(act.session, user, Purpose.RESET, Purpose.CHANGE)  # whoever knew the old one may have asked
    letter = PasswordChanged(changed_at=now(), link=f"{act.runtime.url}/forgot-password")
    post(act.session, letter, user.email)
    people.record(act, user, "user.password_changed")


def _shut_out(act: Act, user: User) -> None:
    """End all keys, endpoints and invitations of organizations that nobody else owns, whoever made them: with
    a key one makes keys. In others', the person's own keys."""
    alone = [place.organization_id for place in _owned_alone(act, user)]
    for organization_id in alone:
        Organization.locked(act.session, organization_id)  # who makes a key has made it, or waits
    theirs = or_(ApiKey.created_by == user.id, ApiKey.organization_id.in_(alone))
    for key in act.session.scalars(select(ApiKey).where(theirs, ApiKey.revoked_at.is_(None))):
        key.revoked_at = now()
        _record_end(act, "key.revoked", key)
    for webhook in act.session.scalars(select(Webhook).where(Webhook.organization_id.in_(alone))).all():
        webhooks.remove(act.session, webhook)  # not disabled: its secret is known, and enabling is one call
        _record_end(act, "webhook.deleted", webhook)
    offers = select(Invitation).where(Invitation.organization_id.in_(alone), Invitation.accepted_at.is_(None))
    for invitation in act.session.scalars(offers):
        act.session.delete(invitation)
        _record_end(act, "invitation.revoked", invitation)
    after_commit(act.session, act.runtime.forget_callers)


def _owned_alone(act: Act, user: User) -> Sequence[Member]:
    """Places of the person as the only owner."""
    others = aliased(Member)
    another = (
        select(others.id)
        .where(others.organization_id == Member.organization_id, others.role == Role.OWNER.word)
        .where(others.user_id != user.id)
    )
    mine = select(Member).where(Member.user_id == user.id, Member.role == Role.OWNER.word)
    return act.session.scalars(mine.where(~another.exists()).order_by(Member.organization_id)).all()


def _record_end(act: Act, action: str, ended: OrgOwned) -> None:
    audit.record(act, action, ended.id, organization_id=ended.organization_id, because="address")
