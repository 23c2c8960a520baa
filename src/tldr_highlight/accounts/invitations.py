"""Invitations: a place in an organization, offered by mail."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, Select, delete, func, or_, select

from tldr_highlight.accounts import mailed, members, people
from tldr_highlight.core.db import now
from tldr_highlight.core.mailboxes import address_key, normal_address
from tldr_highlight.core.mails import Invitation as Letter
from tldr_highlight.core.outbox import Mail, post
from tldr_highlight.core.passwords import check_password
from tldr_highlight.core.security import hash_token, new_token
from tldr_highlight.core.shapes import PageQuery, paginate
from tldr_highlight.core.sweep import Rule
from tldr_highlight.errors import ConflictError, LimitError, SuspendedError, WrongPasswordError
from tldr_highlight.runtime import Act
from tldr_highlight.tenancy import audit
from tldr_highlight.tenancy.logins import require_lasting
from tldr_highlight.tenancy.models import Invitation, Member, Organization, User
from tldr_highlight.tenancy.roles import Role
from tldr_highlight.usage import quotas

LIFETIME = timedelta(days=7)

KEPT = timedelta(days=7)
"""How long one is kept that was accepted, or is too old to be."""

A_DAY = 100
"""Invitations of one organization in 24 hours: nobody writes to the world in its name through us."""


def invite(act: Act, email: str, role: Role) -> Invitation:
    """Offer a place. The same happens, and is answered, whether or not the address has an account.

    An invitation to the same address takes the place of the older one.

    Raises:
        UnverifiedError: the caller's own address is not confirmed.
        RoleError: it takes an owner to invite owners.
        PlanLimitError: no room for another. ConflictError: they are a member.
        LimitError: too many today, or the last one to this address has just gone out.
    """
    email = normal_address(email)
    people.require_verified(act)
    members.require_rank(act, role)
    organization = Organization.locked(act.session, act.organization_id)
    require_lasting(act)
    _refuse_members(act, email)
    _replace_older(act, email)
    taken = quotas.usage_of(act.session, organization.id)["members"]
    if taken >= organization.limits.members:
        raise members.too_many(organization)
    _refuse_floods(act)
    return _offer(act, organization, email, role)


def list_invitations(act: Act, page: PageQuery) -> tuple[Sequence[Invitation], str | None]:
    """Those that can be accepted, latest first."""
    return paginate(act.session, _pending(act.organization_id), Invitation.id, page)


def revoke(act: Act, invitation_id: str) -> None:
    """Take an offer back."""
    invitation = Invitation.get_for(act.session, act.organization_id, invitation_id, lock=True)
    if invitation.accepted_at is not None:
        raise ConflictError("this invitation was accepted: remove the member instead")
    act.session.delete(invitation)
    audit.record(act, "invitation.revoked", invitation.id, email=invitation.email)


def accept(act: Act, token: str, password: str, name: str | None) -> tuple[User, Organization, Member]:
    """Take a place: with the password of the account that the address has, or a new one for a new account.

    Whoever has the token has the mailbox, so that both may be told apart here.

    Raises:
        LinkError: the token opens nothing. `WrongPasswordError`: there is an account, with another password.
        PasswordError: the new password cannot be taken.
        EmailTakenError: there was no account, and now there is: whoever made it is not who has the mailbox.
        PlanLimitError, ConflictError, SuspendedError: as things stand, they cannot join.
    """
    email = _by_token(act, token).email
    user = people.by_address(act.session, email)
    who = _new_account(act, email, password, name) if user is None else _account(act, user, password)
    with act.writing() as writing:
        return _join(writing, token, who)


def _new_account(act: Act, email: str, password: str, name: str | None) -> Callable[[Act], User]:
    check_password(password, personal=(email,))
    hashed = act.runtime.passwords.hash(password)
    return lambda writing: people.add(writing.session, email, hashed, name=name)


def _account(act: Act, user: User, password: str) -> Callable[[Act], User]:
    if user.disabled_at is not None:
        raise WrongPasswordError("this account cannot be used: ask the people who run this installation")
    people.confirm_password(act, user, password)
    return lambda writing: people.unchanged(writing, user)


def _join(act: Act, token: str, who: Callable[[Act], User]) -> tuple[User, Organization, Member]:
    organization = Organization.locked(act.session, _by_token(act, token).organization_id)
    invitation = _by_token(act, token)  # nobody else can take it from here on
    if organization.status != "active":
        raise SuspendedError("this organization is suspended")
    user = who(act)  # nobody else who has the address by now
    user.email_verified_at = user.email_verified_at or now()
    invitation.accepted_at = now()
    act = act.acting(people.caller_of(user))
    return user, organization, members.add(act, organization, user, Role.of(invitation.role))


def _over(at: datetime) -> ColumnElement[bool]:
    return or_(Invitation.expires_at < at - KEPT, Invitation.accepted_at < at - KEPT)


OVER = Rule(Invitation, _over)
"""Offers that nobody can take any more; the audit log remembers them."""


def _pending(organization_id: str) -> Select[Invitation]:
    """Offers that stand."""
    query = Invitation.of(organization_id)
    return query.where(Invitation.accepted_at.is_(None), Invitation.expires_at > now())


def _by_token(act: Act, token: str) -> Invitation:
    query = select(Invitation).where(
        Invitation.token_hash == hash_token(token),
        Invitation.accepted_at.is_(None),
        Invitation.expires_at > now(),
    )
    invitation = act.session.scalar(query.execution_options(populate_existing=True))
    if invitation is None or not _stands(act, invitation):
        raise mailed.refused()
    return invitation


def _stands(act: Act, invitation: Invitation) -> bool:
    """Whether who offered the place could still do so. Who loses their own place has theirs taken back; who
    is disabled has not."""
    if not invitation.invited_by.startswith("usr_"):  # the shell
        return True
    inviter = (User.id == invitation.invited_by, User.disabled_at.is_(None))
    places = Member.of(invitation.organization_id).where(Member.user_id == invitation.invited_by)
    member = act.session.scalar(places.join(User, User.id == Member.user_id).where(*inviter))
    return member is not None and members.may_invite(member.rank, Role.of(invitation.role))


def _refuse_members(act: Act, email: str) -> None:
    user = people.by_address(act.session, email)
    places = Member.of(act.organization_id)
    if user is not None and act.session.scalar(places.where(Member.user_id == user.id)) is not None:
        raise ConflictError("this person is a member already")


def _replace_older(act: Act, email: str) -> None:
    older = act.session.scalars(
        _pending(act.organization_id).where(Invitation.email_key == address_key(email))
    ).all()
    if any(invitation.created_at > now() - mailed.PAUSE for invitation in older):
        raise LimitError(
            "an invitation to this address has just gone out", retry_after=mailed.PAUSE.total_seconds()
        )
    for invitation in older:
        act.session.execute(delete(Invitation).where(Invitation.id == invitation.id))
        audit.record(act, "invitation.revoked", invitation.id, email=invitation.email, because="replaced")


def _refuse_floods(act: Act) -> None:
    day = (Mail.organization_id == act.organization_id, Mail.created_at > now() - timedelta(days=1))
    query = select(func.count()).select_from(Mail).where(*day, Mail.kind == Letter.kind)
    if act.session.execute(query).scalar_one() >= A_DAY:
        raise LimitError(f"{A_DAY} invitations a day are the most: try again tomorrow", retry_after=3600)


def _offer(act: Act, organization: Organization, email: str, role: Role) -> Invitation:
    token = new_token()
    inviter = act.caller.user_id and act.session.get_one(User, act.caller.user_id).email
    invitation = Invitation(
        organization_id=organization.id,
        email=email,
        email_key=address_key(email),
        role=role.word,
        token_hash=hash_token(token),
        invited_by=act.caller.actor,
        expires_at=now() + LIFETIME,
    )
    act.session.add(invitation)
    act.session.flush()
    letter = Letter(
        organization=organization.name,
        invited_by=inviter or "an operator",
        role=role.word,
        link=mailed.link_of(act.runtime, "accept-invitation", token),
        valid_for=LIFETIME,
    )
    post(act.session, letter, email, organization_id=organization.id)
    audit.record(act, "invitation.sent", invitation.id, email=email, role=role.word)
    return invitation
