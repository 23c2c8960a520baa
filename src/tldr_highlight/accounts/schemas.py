"""What crosses HTTP about accounts, organizations, members and plans."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from pydantic import Field, SecretStr, StringConstraints

from tldr_highlight.core.shapes import Name, PageQuery, Schema
from tldr_highlight.tenancy.plans import HIGHEST_CAP, OVERAGE_CAP, PlanName, Priority
from tldr_highlight.tenancy.roles import RoleWord
from tldr_highlight.tenancy.schemas import KeyCreated, UserOut
from tldr_highlight.webhooks.schemas import Patterns

Email = Annotated[str, Field(min_length=3, max_length=254, examples=["ann@example.com"])]

Password = Annotated[SecretStr, Field(min_length=1, max_length=512, examples=["four words of your own"])]
"""Bounded for the wire; which ones are taken is said by `core/passwords.py`."""

MAILED_PATTERN = r"^[A-Za-z0-9_-]{20,100}$"

Token = Annotated[
    str,
    StringConstraints(pattern=MAILED_PATTERN),
    Field(description="Out of the mail.", examples=["6Zk2u8yNRw3m0bqf1hJcT9sVdLxA4eGi7oPnYrUKtQE"]),
]

# --- signing up ----------------------------------------------------------------------------------------


class WebhookWanted(Schema):
    """An endpoint to register along the way."""

    url: Annotated[str, Field(max_length=2048, examples=["https://example.com/hooks/highlights"])]
    events: Patterns = Field(default_factory=lambda: ["*"])


class Person(Schema):
    """What a person is called."""

    name: Annotated[Name, Field(description="The person's own.", examples=["Ann Berg"])] | None = None


class AccountOut(UserOut):
    """A person, as operators see them."""

    disabled_at: datetime | None = Field(description="null: they may log in.", examples=[None])


class Registration(Person):
    """A company that wants to begin."""

    email: Email
    password: Password
    company_name: Annotated[Name, Field(examples=["Nordlicht Sports"])]
    webhook: WebhookWanted | None = None


class LimitsOut(Schema):
    """What an organization may have and use."""

    requests_per_minute: int
    processing_minutes: int
    concurrent_streams: int
    storage_gb: int
    retention_days: int
    cold_after_days: int | None
    delivered_gb: int
    api_calls: int
    webhook_endpoints: int
    api_keys: int
    members: int
    priority: Priority


class OrganizationOut(Schema):
    """An organization."""

    id: str
    name: str
    plan: PlanName
    status: str
    limits: LimitsOut
    overage_cap_percent: int = Field(
        description="Of the plan's amounts: where plans block that bill what goes beyond them. STARTER does "
        "at 100.",
        examples=[OVERAGE_CAP],
    )
    created_at: datetime


class WebhookCreated(Schema):
    """An endpoint, the one time that its secret is shown."""

    id: str
    url: str
    events: list[str]
    status: str
    secret: str


class RegisteredOut(Schema):
    """A company that can begin. Key and webhook secret are not shown again."""

    user: UserOut
    organization: OrganizationOut
    role: RoleWord
    api_key: KeyCreated
    webhook: WebhookCreated | None
    next_step: str


# --- addresses and passwords ---------------------------------------------------------------------------


class TokenIn(Schema):
    """A token out of a mail."""

    token: Token


class EmailIn(Schema):
    """An address."""

    email: Email


class PasswordReset(Schema):
    """A new password for whoever got the mail."""

    token: Token
    password: Password


class PasswordChange(Schema):
    """A new password for who knows the old one."""

    current_password: Password
    password: Password


class EmailChange(Schema):
    """A new address for who knows the password."""

    email: Email
    password: Password


class Said(Schema):
    """What happens now, in words."""

    message: str


# --- organizations -------------------------------------------------------------------------------------


class OrganizationChange(Schema):
    """What an organization is called."""

    name: Name


class MemberOut(Schema):
    """A person's place in the organization."""

    id: str
    user_id: str
    email: str
    name: str | None
    role: RoleWord
    created_at: datetime


class RoleChange(Schema):
    """Another role."""

    role: RoleWord


class InvitationCreate(Schema):
    """A place to offer."""

    email: Email
    role: RoleWord = "member"


class InvitationOut(Schema):
    """A place that is offered."""

    id: str
    email: str
    role: RoleWord
    invited_by: str
    created_at: datetime
    expires_at: datetime


class InvitationAccept(Schema):
    """Who takes a place: with their account's password, or one for a new account."""

    token: Token
    password: Password
    name: Annotated[Name, Field(description="Of a new account.")] | None = None


class Joined(Schema):
    """Somebody who is in an organization now; they log in as always."""

    user: UserOut
    organization: OrganizationOut
    role: RoleWord


Reason = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=500)]


class Suspension(Schema):
    """Why an organization is suspended; its owners read it."""

    reason: Reason | None = None


class AuditQuery(PageQuery):
    """Which part of the audit log."""

    action: Annotated[str, Field(max_length=100, description="Such as `key.created`.")] | None = None
    actor: Annotated[str, Field(max_length=100, description="A person's or key's id; `shell`.")] | None = None
    object_id: Annotated[str, Field(max_length=100, description="What it was done to.")] | None = None


class AuditOut(Schema):
    """One change: who did what to which object."""

    id: str
    actor: str
    action: str
    object_id: str | None
    details: dict[str, Any]
    address: str | None
    trace_id: str | None
    created_at: datetime


# --- plans ---------------------------------------------------------------------------------------------


class PlanChange(Schema):
    """Another plan."""

    plan: PlanName


class CapChange(Schema):
    """How much of the plan's amounts may be used."""

    percent: Annotated[int, Field(strict=True, ge=100, le=HIGHEST_CAP)] = Field(
        description="100: nothing beyond them, which would be billed.", examples=[150]
    )


class FitOut(Schema):
    """One limit, and what is used of it."""

    limit: Annotated[str, Field(examples=["api_keys"])]
    used: float
    allowed: float
    fits: bool


class PlanPreview(Schema):
    """What a plan would mean for the organization."""

    plan: PlanName
    current: PlanName
    possible: bool
    base_fee_cents: int  # US cents a month
    limits: LimitsOut
    fits: list[FitOut]


class PlanChanged(Schema):
    """The organization on its new plan."""

    organization: OrganizationOut
    payment: str | None = Field(
        description="What there is to say about payment.",
        examples=["No payment provider is set: the change is free."],
    )
