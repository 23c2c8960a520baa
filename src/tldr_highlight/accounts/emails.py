"""E-mail addresses: shown to be somebody's, and changed."""

from __future__ import annotations

from tldr_highlight.accounts import mailed, people
from tldr_highlight.accounts.mailed import LIFETIME, Purpose
from tldr_highlight.core.db import now
from tldr_highlight.core.mailboxes import address_key, normal_address
from tldr_highlight.core.mails import EmailChangeConfirm, EmailChanged, VerifyEmail
from tldr_highlight.core.outbox import post
from tldr_highlight.errors import ConflictError, LimitError
from tldr_highlight.runtime import Act
from tldr_highlight.tenancy.models import Organization, User


def send_verification(act: Act, user: User) -> bool:
    """Ask a person whether their address is theirs; False: the last mail has just gone out."""
    token = mailed.issue(act.session, user, Purpose.VERIFY)
    if token is None:
        return False
    letter = VerifyEmail(
        organization=act.session.get_one(Organization, act.organization_id).name,
        link=mailed.link_of(act.runtime, "verify-email", token),
        valid_for=LIFETIME[Purpose.VERIFY],
    )
    post(act.session, letter, user.email, organization_id=act.organization_id)
    return True


def resend_verification(act: Act) -> None:
    """Send the caller a new link; the old one opens nothing any more.

    Raises:
        ConflictError: the address is confirmed.
        LimitError: the last one went out less than a minute ago.
    """
    user = act.session.get_one(User, act.user_id)
    if user.email_verified_at is not None:
        raise ConflictError("this address is confirmed already")
    if not send_verification(act, user):
        raise LimitError("a mail has just gone out: look for it", retry_after=mailed.PAUSE.total_seconds())
    people.record(act, user, "user.verification_asked")


def verify(act: Act, token: str) -> User:
    """Take note that an address is its person's.

    Raises:
        LinkError: the token opens nothing.
    """
    user, email = mailed.redeem(act.session, token, Purpose.VERIFY)
    if address_key(email) != user.email_key:  # it was changed meanwhile
        raise mailed.refused()
    user.email_verified_at = user.email_verified_at or now()
    people.record(act.acting(people.caller_of(user)), user, "user.email_verified")
    return user


def ask_change(act: Act, email: str, password: str) -> None:
    """Send a link to the new address; the old one stays until that is opened.

    Says nothing else where somebody has the new address already: nothing is sent then.

    Raises:
        EmailError: no address. `WrongPasswordError`: not the caller's password.
        LimitError: they asked less than a minute ago. Links to other addresses, which may have been mistyped,
            open nothing any more.
    """
    email = normal_address(email)
    user = act.session.get_one(User, act.user_id)
    people.confirm_password(act, user, password)
    with act.writing() as writing:
        in_time = _send_change(writing, people.unchanged(writing, user), email)
    if not in_time:  # raised here: what is void must stay so
        words = "you asked less than a minute ago: ask again then; links to other addresses are void"
        raise LimitError(words, retry_after=mailed.PAUSE.total_seconds())


def _send_change(act: Act, user: User, email: str) -> bool:
    # all that the person can see later is the same whoever has the address: but for the mail itself
    people.record(act, user, "user.email_change_asked")
    token = mailed.issue(act.session, user, Purpose.CHANGE, email=email)
    if token is None:
        mailed.void_others(act.session, user, email)
        return False
    other = people.by_address(act.session, email)
    if other is not None and other.id != user.id:
        return True
    letter = EmailChangeConfirm(
        link=mailed.link_of(act.runtime, "confirm-email", token), valid_for=LIFETIME[Purpose.CHANGE]
    )
    post(act.session, letter, email)
    return True


def confirm_change(act: Act, token: str) -> User:
    """Make the new address the person's; the old one is told.

    Raises:
        LinkError: the token opens nothing. `EmailTakenError`: somebody has the address since.
    """
    user, email = mailed.redeem(act.session, token, Purpose.CHANGE)
    old = user.email
    with people.unique_address(act.session):
        user.email, user.email_key, user.email_verified_at = email, address_key(email), now()
    mailed.void(act.session, user, Purpose.VERIFY, Purpose.RESET)  # they went to the old address
    post(act.session, EmailChanged(new_address=email, changed_at=now()), old)
    people.record(act.acting(people.caller_of(user)), user, "user.email_changed")
    return user
