"""Members: their roles, and how they go. An organization always has an owner."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import func, select, update

from tldr_highlight.core.db import after_commit, now
from tldr_highlight.core.shapes import PageQuery, paginate
from tldr_highlight.errors import ConflictError, LastOwnerError, NotFoundError, PlanLimitError, RoleError
from tldr_highlight.runtime import Act
from tldr_highlight.tenancy import audit
from tldr_highlight.tenancy.logins import require_lasting
from tldr_highlight.tenancy.models import Invitation, LoginSession, Member, Organization, User
from tldr_highlight.tenancy.roles import Role


def list_members(act: Act, page: PageQuery) -> tuple[list[tuple[Member, User]], str | None]:
    """Who is in the organization, latest first."""
    rows, cursor = paginate(act.session, Member.of(act.organization_id), Member.id, page)
    return _with_people(act, rows), cursor


def change_role(act: Act, member_id: str, role: Role) -> tuple[Member, User]:
    """Give a member another role. Invitations that they sent and could not send now are taken back.

    Raises:
        RoleError: it takes an owner to make owners, and to change them.
        LastOwnerError: they are the only owner.
    """
    Organization.locked(act.session, act.organization_id)
    require_lasting(act)
    member = Member.get_for(act.session, act.organization_id, member_id)
    require_rank(act, max(role, member.rank))
    if role < Role.OWNER:
        _leave_an_owner(act, member)
    if member.rank != role:
        audit.record(
            act, "member.role_changed", member.id, user=member.user_id, before=member.role, now=role.word
        )
        member.role = role.word
        _withdraw_invitations(act, member, role)
        after_commit(act.session, act.runtime.forget_callers)
    return member, act.session.get_one(User, member.user_id)


def remove(act: Act, member_id: str) -> None:
    """Take a member out. Keys that they made belong to the organization and go on working;
    invitations that they sent are taken back.

    Raises:
        RoleError: it takes an owner to remove one.
        LastOwnerError: they are the only owner.
    """
    Organization.locked(act.session, act.organization_id)
    require_lasting(act)
    member = Member.get_for(act.session, act.organization_id, member_id)
    require_rank(act, member.rank)
    _take_out(act, member, "member.removed")


def leave(act: Act) -> None:
    """Take the caller out.

    Raises:
        LastOwnerError: they are the only owner.
    """
    Organization.locked(act.session, act.organization_id)
    member = act.session.scalar(Member.of(act.organization_id).where(Member.user_id == act.user_id))
    if member is None:
        raise NotFoundError("you are no member of this organization any more")
    _take_out(act, member, "member.left")


def add(act: Act, organization: Organization, user: User, role: Role) -> Member:
    """Put a person into an organization that the caller has locked.

    Raises:
        ConflictError: they are in it. `PlanLimitError`: it is full.
    """
    members = Member.of(organization.id)
    if act.session.scalar(members.where(Member.user_id == user.id)) is not None:
        raise ConflictError("this person is a member already")
    if _count(act, organization.id) >= organization.limits.members:
        raise too_many(organization)
    member = Member(organization_id=organization.id, user_id=user.id, role=role.word)
    act.session.add(member)
    act.session.flush()
    audit.record(
        act, "member.added", member.id, organization_id=organization.id, user=user.id, role=member.role
    )
    return member


def require_rank(act: Act, role: int) -> None:
    """Nobody makes, changes or removes somebody above themselves.

    Raises:
        RoleError: the caller's role is lower.
    """
    if act.caller.rank < role:
        raise RoleError(f"this takes the role {Role(role).word}", required_role=Role(role).word)


def may_invite(rank: int, role: Role) -> bool:
    """Whether somebody of this rank may offer a place of this role."""
    return rank >= max(Role.ADMIN, role)


def too_many(organization: Organization) -> PlanLimitError:
    """What says that no more people fit."""
    allowed = organization.limits.members
    return PlanLimitError(
        f"the plan has room for {allowed} members, open invitations included",
        limit="members",
        allowed=allowed,
    )


def _take_out(act: Act, member: Member, action: str) -> None:
    _leave_an_owner(act, member)
    act.session.delete(member)
    _withdraw_invitations(act, member, 0)
    _end_logins(act, member)
    audit.record(act, action, member.id, user=member.user_id, role=member.role)


def _withdraw_invitations(act: Act, member: Member, rank: int) -> None:
    """Take back what the member offered and could not offer now."""
    theirs = Invitation.of(member.organization_id).where(
        Invitation.invited_by == member.user_id, Invitation.accepted_at.is_(None)
    )
    for invitation in act.session.scalars(theirs).all():
        if not may_invite(rank, Role.of(invitation.role)):
            act.session.delete(invitation)
            audit.record(act, "invitation.revoked", invitation.id, email=invitation.email, because="inviter")


def _end_logins(act: Act, member: Member) -> None:
    here = (LoginSession.user_id == member.user_id, LoginSession.organization_id == member.organization_id)
    ending = update(LoginSession).where(*here, LoginSession.ended_at.is_(None))
    act.session.execute(ending.values(ended_at=now(), ended_because="removed"))
    after_commit(act.session, act.runtime.forget_callers)


def _leave_an_owner(act: Act, member: Member) -> None:
    if member.rank is Role.OWNER and _count(act, member.organization_id, Role.OWNER) == 1:
        raise LastOwnerError("this is the organization's only owner: make somebody else owner first")


def _count(act: Act, organization_id: str, role: Role | None = None) -> int:
    query = Member.of(organization_id)
    if role is not None:
        query = query.where(Member.role == role.word)
    return act.session.execute(select(func.count()).select_from(query.subquery())).scalar_one()


def _with_people(act: Act, members: Sequence[Member]) -> list[tuple[Member, User]]:
    ids = [member.user_id for member in members]
    found = {user.id: user for user in act.session.scalars(select(User).where(User.id.in_(ids)))}
    return [(member, found[member.user_id]) for member in members]
