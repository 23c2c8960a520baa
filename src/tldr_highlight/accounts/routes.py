"""Accounts: at which address."""

from __future__ import annotations

from typing import Annotated

from fastapi import Query

from tldr_highlight.accounts import (
    emails,
    invitations,
    members,
    organization,
    passwords,
    people,
    plan_change,
    signup,
)
from tldr_highlight.accounts.schemas import (
    AccountOut,
    AuditOut,
    AuditQuery,
    CapChange,
    EmailChange,
    EmailIn,
    FitOut,
    InvitationAccept,
    InvitationCreate,
    InvitationOut,
    Joined,
    LimitsOut,
    MemberOut,
    OrganizationChange,
    OrganizationOut,
    PasswordChange,
    PasswordReset,
    PlanChange,
    PlanChanged,
    PlanPreview,
    RegisteredOut,
    Registration,
    RoleChange,
    Said,
    Suspension,
    TokenIn,
    WebhookCreated,
)
from tldr_highlight.core.mailboxes import normal_address
from tldr_highlight.core.shapes import Id, Page, PageQuery
from tldr_highlight.errors import (
    ClosedError,
    ConflictError,
    EmailError,
    EmailTakenError,
    LastOwnerError,
    LimitError,
    LinkError,
    NotFoundError,
    PasswordError,
    PlanFitError,
    PlanLimitError,
    SuspendedError,
    UnverifiedError,
    WebhookUrlError,
    WrongPasswordError,
)
from tldr_highlight.runtime import Look
from tldr_highlight.tenancy.models import Member, User
from tldr_highlight.tenancy.plans import PLANS, PlanName
from tldr_highlight.tenancy.roles import Role, Scope
from tldr_highlight.tenancy.schemas import KeyCreated, KeyOut, UserOut
from tldr_highlight.web import Call, Routes

auth = Routes("/api/v1/auth", tag="auth")
own = Routes("/api/v1/organization", tag="organization")
admin = Routes("/api/v1/admin", tag="admin")

# Operations that hash a password run outside of a write transaction (hashes=True) and begin their own: see
# `Act.writing`.

# --- signing up ----------------------------------------------------------------------------------------


@auth.post(
    "/register",
    public=True,
    hashes=True,
    status=201,
    errors=(ClosedError, EmailError, EmailTakenError, LimitError, PasswordError, WebhookUrlError),
)
def register(call: Call, body: Registration) -> RegisteredOut:
    """Register a company. Makes a person, their organization, and its first key, which is shown once."""
    made = signup.register(call, body)
    webhook = None
    if made.webhook is not None:
        row, secret = made.webhook
        webhook = WebhookCreated(id=row.id, url=row.url, events=row.events, status=row.status, secret=secret)
    return RegisteredOut(
        user=UserOut.model_validate(made.user),
        organization=OrganizationOut.model_validate(made.organization),
        role="owner",
        api_key=KeyCreated(**KeyOut.model_validate(made.key).model_dump(), key=made.secret),
        webhook=webhook,
        next_step=f"Keep the key: it is not shown again. A mail is on its way to {made.user.email}; its link "
        "confirms the address, which inviting others and changing the plan take.",
    )


@auth.post("/verify-email", public=True, errors=(LinkError,))
def verify_email(call: Call, body: TokenIn) -> UserOut:
    """Confirm an e-mail address. Takes the token of the mail; it works once."""
    return UserOut.model_validate(emails.verify(call, body.token))


@auth.post("/resend-verification", login=True, status=202, errors=(ConflictError, LimitError))
def resend_verification(call: Call) -> Said:
    """Send the mail that confirms your address again. The link before it stops working."""
    emails.resend_verification(call)
    return Said(message="A new mail is on its way.")


# --- passwords and addresses ---------------------------------------------------------------------------


@auth.post("/forgot-password", public=True, status=202, errors=(EmailError,))
def forgot_password(call: Call, body: EmailIn) -> Said:
    """Ask for a new password. The answer is the same whether or not the address has an account."""
    passwords.forgot(call, normal_address(body.email))
    return Said(message="If this address has an account, a mail with a link is on its way to it.")


@auth.post("/reset-password", public=True, hashes=True, errors=(LinkError, PasswordError))
def reset_password(call: Call, body: PasswordReset) -> UserOut:
    """Set a new password with the token of the mail. All logins end.

    Where the address had never been confirmed, somebody else may have registered it: all keys, webhooks and
    invitations of organizations that nobody else owns end, too.
    """
    return UserOut.model_validate(passwords.reset(call, body.token, body.password.get_secret_value()))


@auth.post(
    "/change-password",
    login=True,
    hashes=True,
    status=204,
    errors=(LimitError, PasswordError, WrongPasswordError),
)
def change_password(call: Call, body: PasswordChange) -> None:
    """Change your password. All your logins end, this one too: log in again."""
    current, wanted = body.current_password.get_secret_value(), body.password.get_secret_value()
    passwords.change(call, current, wanted)


@auth.post(
    "/change-email", login=True, hashes=True, status=202, errors=(EmailError, LimitError, WrongPasswordError)
)
def change_email(call: Call, body: EmailChange) -> Said:
    """Change your e-mail address. A mail goes to the new one; until it is confirmed, the old one stays."""
    emails.ask_change(call, body.email, body.password.get_secret_value())
    return Said(message="If this address is free, a mail with a link is on its way to it.")


@auth.post("/confirm-email", public=True, errors=(LinkError, EmailTakenError))
def confirm_email(call: Call, body: TokenIn) -> UserOut:
    """Confirm a new e-mail address with the token of the mail. The old address is told."""
    return UserOut.model_validate(emails.confirm_change(call, body.token))


@auth.post(
    "/accept-invitation",
    public=True,
    hashes=True,
    errors=(
        ConflictError,
        EmailTakenError,
        LimitError,
        LinkError,
        PasswordError,
        PlanLimitError,
        SuspendedError,
        WrongPasswordError,
    ),
)
def accept_invitation(call: Call, body: InvitationAccept) -> Joined:
    """Accept an invitation. With the password of your account; where there is none, it is made with it."""
    password = body.password.get_secret_value()
    user, joined, member = invitations.accept(call, body.token, password, body.name)
    return Joined(
        user=UserOut.model_validate(user),
        organization=OrganizationOut.model_validate(joined),
        role=member.rank.word,
    )


# --- the organization ----------------------------------------------------------------------------------


@own.get("", scope=Scope.ORGANIZATIONS_READ)
async def get_organization(look: Look) -> OrganizationOut:
    """Get your organization."""
    found = await organization.get(look)
    return OrganizationOut(
        id=found.id,
        name=found.name,
        plan=PlanName(found.plan),
        status=found.status,
        limits=LimitsOut.model_validate(found.limits),
        overage_cap_percent=found.overage_cap_percent,
        created_at=found.created_at,
    )


@own.patch("", scope=Scope.ORGANIZATIONS_WRITE)
def change_organization(call: Call, body: OrganizationChange) -> OrganizationOut:
    """Rename your organization."""
    return OrganizationOut.model_validate(organization.rename(call, body.name))


@own.get("/members", scope=Scope.ORGANIZATIONS_READ)
def list_members(call: Call, page: Annotated[PageQuery, Query()]) -> Page[MemberOut]:
    """List members. Latest first."""
    found, cursor = members.list_members(call, page)
    return Page(data=[_member(*each) for each in found], next_cursor=cursor)


@own.patch("/members/{member_id}", rank=Role.ADMIN, errors=(LastOwnerError,))
def change_role(call: Call, member_id: Id, body: RoleChange) -> MemberOut:
    """Give a member another role. It takes an owner to make owners, and to change them."""
    return _member(*members.change_role(call, member_id, Role.of(body.role)))


@own.delete("/members/{member_id}", rank=Role.ADMIN, status=204, errors=(LastOwnerError,))
def remove_member(call: Call, member_id: Id) -> None:
    """Remove a member. Keys that they made go on working; invitations that they sent end."""
    members.remove(call, member_id)


@own.post("/leave", login=True, status=204, errors=(NotFoundError, LastOwnerError))
def leave_organization(call: Call) -> None:
    """Leave the organization. Its only owner cannot."""
    members.leave(call)


@own.get("/invitations", rank=Role.ADMIN)
def list_invitations(call: Call, page: Annotated[PageQuery, Query()]) -> Page[InvitationOut]:
    """List invitations that can be accepted. Latest first."""
    rows, cursor = invitations.list_invitations(call, page)
    return Page(data=[InvitationOut.model_validate(row) for row in rows], next_cursor=cursor)


@own.post(
    "/invitations",
    rank=Role.ADMIN,
    status=201,
    creates=True,
    errors=(EmailError, UnverifiedError, ConflictError, PlanLimitError, LimitError),
)
def invite(call: Call, body: InvitationCreate) -> InvitationOut:
    """Invite somebody by mail. The answer is the same whether or not the address has an account."""
    return InvitationOut.model_validate(invitations.invite(call, body.email, Role.of(body.role)))


@own.delete("/invitations/{invitation_id}", rank=Role.ADMIN, status=204, errors=(ConflictError,))
def revoke_invitation(call: Call, invitation_id: Id) -> None:
    """Take an invitation back."""
    invitations.revoke(call, invitation_id)


@own.get("/plan/preview", scope=Scope.ORGANIZATIONS_READ)
def preview_plan(
    call: Call, plan: Annotated[PlanName, Query(description="The plan to look at.")]
) -> PlanPreview:
    """Look at what a plan would mean. Says for each limit what is used and whether it fits."""
    seen = plan_change.preview(call, plan)
    return PlanPreview(
        plan=seen.plan,
        current=PlanName(seen.organization.plan),
        possible=seen.possible,
        base_fee_cents=PLANS[plan].base_fee,
        limits=LimitsOut.model_validate(seen.limits),
        fits=[FitOut.model_validate(fit) for fit in seen.fits],
    )


@own.post("/plan", rank=Role.ADMIN, errors=(UnverifiedError, ConflictError, PlanFitError))
def change_plan(call: Call, body: PlanChange) -> PlanChanged:
    """Change the plan. Its limits hold at once; refused while more is used than it allows."""
    changed, payment = plan_change.change(call, body.plan)
    return PlanChanged(organization=OrganizationOut.model_validate(changed), payment=payment)


@own.post("/overage-cap", rank=Role.ADMIN, errors=(UnverifiedError,))
def set_overage_cap(call: Call, body: CapChange) -> OrganizationOut:
    """Set how much of the plan's amounts may be used. On plans that bill what goes beyond them."""
    return OrganizationOut.model_validate(plan_change.set_cap(call, body.percent))


@own.get("/audit", rank=Role.ADMIN)
def list_audit(call: Call, page: Annotated[AuditQuery, Query()]) -> Page[AuditOut]:
    """List what was done in the organization. Latest first; by action, actor or object where asked for."""
    rows, cursor = organization.list_audit(call, page)
    return Page(data=[AuditOut.model_validate(row) for row in rows], next_cursor=cursor)


# --- for operators -------------------------------------------------------------------------------------


@admin.post("/organizations/{organization_id}/suspend", operator=True)
def suspend_organization(call: Call, organization_id: Id, body: Suspension) -> OrganizationOut:
    """Suspend an organization. Its keys and logins answer 403; its owners get a mail."""
    return OrganizationOut.model_validate(organization.suspend(call, organization_id, body.reason))


@admin.post("/organizations/{organization_id}/activate", operator=True)
def activate_organization(call: Call, organization_id: Id) -> OrganizationOut:
    """End an organization's suspension."""
    return OrganizationOut.model_validate(organization.activate(call, organization_id))


@admin.post("/users/{user_id}/disable", operator=True, errors=(ConflictError,))
def disable_user(call: Call, user_id: Id) -> AccountOut:
    """Disable a person. Their logins end within a second and no new ones begin; keys go on working."""
    return AccountOut.model_validate(people.disable(call, user_id))


@admin.post("/users/{user_id}/enable", operator=True)
def enable_user(call: Call, user_id: Id) -> AccountOut:
    """Enable a person. They can log in again."""
    return AccountOut.model_validate(people.enable(call, user_id))


def _member(member: Member, user: User) -> MemberOut:
    return MemberOut(
        id=member.id,
        user_id=user.id,
        email=user.email,
        name=user.name,
        role=member.rank.word,
        created_at=member.created_at,
    )
