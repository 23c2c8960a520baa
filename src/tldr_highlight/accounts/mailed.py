"""Tokens that go out by mail: for one purpose and person, used once, soon over, stored as a hash."""

from __future__ import annotations

from datetime import datetime, timedelta
from enum import StrEnum

from sqlalchemy import ColumnElement, delete, or_, select, update
from sqlalchemy.orm import Session

from tldr_highlight.core.db import now
from tldr_highlight.core.security import hash_token, new_token
from tldr_highlight.core.sweep import Rule
from tldr_highlight.errors import LinkError
from tldr_highlight.runtime import Runtime
from tldr_highlight.tenancy.models import MailedToken, User


class Purpose(StrEnum):
    """What a token opens."""

    VERIFY = "verify"  # the address is theirs
    RESET = "reset"  # a new password
    CHANGE = "change"  # another address


LIFETIME = {
    Purpose.VERIFY: timedelta(hours=24),
    Purpose.RESET: timedelta(hours=1),
    Purpose.CHANGE: timedelta(hours=1),
}

PAUSE = timedelta(minutes=1)
"""Between two mails of one purpose: nobody's mailbox is flooded through us."""

AT_ONCE = 5
"""Links that reset a password and are good at the same time: with `LIFETIME`, as many are sent in an hour."""


def issue(session: Session, user: User, purpose: Purpose, *, email: str | None = None) -> str | None:
    """A new token, for the person's own address unless another is given.

    Older ones open nothing any more, but for `RESET`: that anybody may ask for, who would make the link
    useless that its owner is about to open. There older ones live until one is used.

    None: the last mail went out less than `PAUSE` ago, or enough links are out (`AT_ONCE`).
    """
    one_at_a_time = select(User.id).where(User.id == user.id).with_for_update(key_share=True)
    session.execute(one_at_a_time)
    theirs = (MailedToken.user_id == user.id, MailedToken.purpose == purpose.value)
    if purpose is Purpose.RESET:
        session.execute(delete(MailedToken).where(*theirs, MailedToken.expires_at <= now()))
    out = select(MailedToken.created_at).where(*theirs, MailedToken.used_at.is_(None))
    sent = session.scalars(out.order_by(MailedToken.created_at.desc())).all()
    if len(sent) >= AT_ONCE or (sent and sent[0] > now() - PAUSE):
        return None
    if purpose is not Purpose.RESET:
        void(session, user, purpose)
    token = new_token()
    session.add(
        MailedToken(
            token_hash=hash_token(token),
            user_id=user.id,
            purpose=purpose.value,
            email=email or user.email,
            expires_at=now() + LIFETIME[purpose],
        )
    )
    session.flush()
    return token


def peek(session: Session, token: str, purpose: Purpose) -> User:
    """Whose token it is, without using it.

    Raises:
        LinkError: it opens nothing.
    """
    query = (
        select(User)
        .join(MailedToken, MailedToken.user_id == User.id)
        .where(*_open(token, purpose), User.disabled_at.is_(None))
    )
    user = session.scalar(query)
    if user is None:
        raise refused()
    return user


def redeem(session: Session, token: str, purpose: Purpose) -> tuple[User, str]:
    """Use a token up: whose it is, and the address it vouches for. Of any number at the same time one can.

    Raises:
        LinkError: it opens nothing.
    """
    # the person first, then their tokens, as whoever voids them does: else two could wait for each other
    found = peek(session, token, purpose)
    user = session.get(User, found.id, with_for_update={"key_share": True}, populate_existing=True)
    using = update(MailedToken).where(*_open(token, purpose)).values(used_at=now()).returning(MailedToken)
    row = session.scalar(using.execution_options(synchronize_session=False))
    if row is None or user is None or user.disabled_at is not None:
        raise refused()
    return user, row.email


def void(session: Session, user: User, *purposes: Purpose) -> None:
    """Let none of a person's tokens of these purposes open anything any more."""
    session.execute(
        delete(MailedToken).where(MailedToken.user_id == user.id, MailedToken.purpose.in_(purposes))
    )


def void_others(session: Session, user: User, email: str) -> None:
    """Let a person's links to other addresses open nothing; that they went out is remembered."""
    others = update(MailedToken).where(
        MailedToken.user_id == user.id,
        MailedToken.purpose == Purpose.CHANGE.value,
        MailedToken.email != email,
    )
    session.execute(others.values(expires_at=now()))


def _open(token: str, purpose: Purpose) -> tuple[ColumnElement[bool], ...]:
    return (
        MailedToken.token_hash == hash_token(token),
        MailedToken.purpose == purpose.value,
        MailedToken.used_at.is_(None),
        MailedToken.expires_at > now(),
    )


def _over(at: datetime) -> ColumnElement[bool]:
    return or_(MailedToken.expires_at <= at, MailedToken.used_at.is_not(None))


OVER = Rule(MailedToken, _over)
"""What opens nothing any more."""


def refused() -> LinkError:
    """One message, whatever is wrong with a token."""
    return LinkError("this link is used or too old: ask for a new mail")


def link(base: str, page: str, token: str) -> str:
    """The page that uses a token. Behind the #, it reaches no server, no log, and no scanner of mails."""
    return f"{base}/{page}#token={token}"


def link_of(runtime: Runtime, page: str, token: str) -> str:
    """`link` at our own address."""
    return link(runtime.url, page, token)
