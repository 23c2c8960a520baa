"""Who is calling: what is stored. Secrets are stored as hashes; ids are `core.db.new_id`'s."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import ForeignKey, Index, String, UniqueConstraint, select
from sqlalchemy.orm import Mapped, Session, mapped_column

from tldr_highlight.core.db import Base, OrgOwned, new_id, now
from tldr_highlight.tenancy.plans import OVERAGE_CAP, PLANS, Limits, PlanName, limits_of
from tldr_highlight.tenancy.roles import Role


class User(Base):
    """A person, with one password, in any number of organizations."""

    __tablename__ = "users"

    id: Mapped[str] = mapped_column(primary_key=True, default=lambda: new_id("usr"))
    email: Mapped[str] = mapped_column(String(254))
    email_key: Mapped[str] = mapped_column(String(254), unique=True)  # what two spellings have in common
    name: Mapped[str | None] = mapped_column(String(100))
    password_hash: Mapped[str]
    email_verified_at: Mapped[datetime | None]
    is_operator: Mapped[bool] = mapped_column(default=False)
    disabled_at: Mapped[datetime | None]
    created_at: Mapped[datetime] = mapped_column(default=now)


class Organization(Base):
    """A customer."""

    __tablename__ = "organizations"

    id: Mapped[str] = mapped_column(primary_key=True, default=lambda: new_id("org"))
    name: Mapped[str] = mapped_column(String(200))
    plan: Mapped[str] = mapped_column(default=PlanName.STARTER.value)
    overrides: Mapped[dict[str, Any]] = mapped_column(default=dict)
    overage_cap_percent: Mapped[int] = mapped_column(default=OVERAGE_CAP)  # of the plan's amounts; see `cap`
    status: Mapped[str] = mapped_column(default="active")  # active | suspended | deleting
    created_at: Mapped[datetime] = mapped_column(default=now)

    @classmethod
    def locked(cls, session: Session, id: str) -> Organization:
        """One that nobody else can lock until the transaction ends: whoever counts its rows counts right.

        Rows that refer to it can be added meanwhile: only its key is shared.
        """
        query = select(cls).where(cls.id == id).with_for_update(key_share=True)
        return session.scalars(query.execution_options(populate_existing=True)).one()

    @property
    def limits(self) -> Limits:
        """The plan's limits with this organization's own numbers."""
        return limits_of(self.plan, self.overrides)

    @property
    def cap(self) -> float:
        """How much of the plan's amounts may be used, in multiples; 1: nothing is billed beyond them."""
        return 1.0 if PLANS[PlanName(self.plan)].blocks_at_quota else self.overage_cap_percent / 100


class Member(OrgOwned, Base):
    """A user's place in an organization."""

    __tablename__ = "members"
    __table_args__ = (UniqueConstraint("organization_id", "user_id"),)

    id: Mapped[str] = mapped_column(primary_key=True, default=lambda: new_id("mem"))
    user_id: Mapped[str] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), index=True)
    role: Mapped[str]
    created_at: Mapped[datetime] = mapped_column(default=now)

    @property
    def rank(self) -> Role:
        """The role, comparable."""
        return Role.of(self.role)

    @classmethod
    def people(cls, session: Session, organization_id: str, *roles: Role) -> Sequence[User]:
        """The organization's people of these roles who can be written to: they are not disabled, and their
        address is theirs, or a stranger would hear from us."""
        places = cls.of(organization_id).where(cls.role.in_([role.word for role in roles]))
        theirs = User.id.in_(places.with_only_columns(cls.user_id))
        reached = User.disabled_at.is_(None) & User.email_verified_at.is_not(None)
        return session.scalars(select(User).where(theirs, reached).order_by(User.id)).all()


class Invitation(OrgOwned, Base):
    """A place that is offered to an address."""

    __tablename__ = "invitations"

    id: Mapped[str] = mapped_column(primary_key=True, default=lambda: new_id("inv"))
    email: Mapped[str] = mapped_column(String(254))
    email_key: Mapped[str] = mapped_column(String(254))
    role: Mapped[str]
    token_hash: Mapped[str] = mapped_column(unique=True)
    invited_by: Mapped[str]
    created_at: Mapped[datetime] = mapped_column(default=now)
    expires_at: Mapped[datetime]
    accepted_at: Mapped[datetime | None]


class ApiKey(OrgOwned, Base):
    """A program's way in."""

    __tablename__ = "api_keys"

    id: Mapped[str] = mapped_column(primary_key=True, default=lambda: new_id("key"))
    name: Mapped[str] = mapped_column(String(100))
    hash: Mapped[str] = mapped_column(unique=True)
    last4: Mapped[str] = mapped_column(String(4))
    scopes: Mapped[list[str]]
    networks: Mapped[list[str]] = mapped_column(default=list)  # addresses it may come from; none: any
    requests_per_minute: Mapped[int | None]  # None: the plan's
    created_by: Mapped[str | None]  # a user; None: the shell
    created_at: Mapped[datetime] = mapped_column(default=now)
    expires_at: Mapped[datetime | None]
    revoked_at: Mapped[datetime | None]
    replaced_by: Mapped[str | None]  # the key it was rotated to; expires_at ends the overlap
    last_used_at: Mapped[datetime | None]

    @property
    def status(self) -> str:
        """`active`, `expired` or `revoked`."""
        if self.revoked_at is not None:
            return "revoked"
        return "expired" if self.expires_at is not None and self.expires_at <= now() else "active"


class LoginSession(Base):
    """A login: a family of refresh tokens, or one cookie. Ended once `ended_at` is set."""

    __tablename__ = "login_sessions"

    id: Mapped[str] = mapped_column(primary_key=True, default=lambda: new_id("ses"))
    user_id: Mapped[str] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), index=True)
    organization_id: Mapped[str | None]  # the one it acts in
    kind: Mapped[str]  # token | cookie
    token_hash: Mapped[str] = mapped_column(unique=True)  # the refresh token that is next, or the cookie
    address: Mapped[str | None]
    agent: Mapped[str | None]
    created_at: Mapped[datetime] = mapped_column(default=now)
    used_at: Mapped[datetime] = mapped_column(default=now)
    expires_at: Mapped[datetime]
    ended_at: Mapped[datetime | None]
    ended_because: Mapped[str | None]  # logout | reuse | password | removed | disabled | expired


class SpentToken(Base):
    """A refresh token that was exchanged. Seen again, it was stolen: its whole login ends."""

    __tablename__ = "spent_tokens"

    token_hash: Mapped[str] = mapped_column(primary_key=True)
    session_id: Mapped[str] = mapped_column(ForeignKey("login_sessions.id", ondelete="CASCADE"), index=True)
    spent_at: Mapped[datetime] = mapped_column(default=now)


class MailedToken(Base):
    """A secret that went out by mail: single use, hashed, short-lived."""

    __tablename__ = "mailed_tokens"

    token_hash: Mapped[str] = mapped_column(primary_key=True)
    user_id: Mapped[str] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), index=True)
    purpose: Mapped[str]  # verify | reset | change
    email: Mapped[str] = mapped_column(String(254))  # the address it vouches for
    created_at: Mapped[datetime] = mapped_column(default=now)
    expires_at: Mapped[datetime]
    used_at: Mapped[datetime | None]


class AuditRecord(Base):
    """One change: who did what to which object."""

    __tablename__ = "audit_records"
    __table_args__ = (Index("ix_audit_records_organization_id_id", "organization_id", "id"),)

    id: Mapped[str] = mapped_column(primary_key=True, default=lambda: new_id("aud"))
    organization_id: Mapped[str | None]  # None: the installation's own
    actor: Mapped[str]  # usr_…, key_…, `shell`, `system`
    action: Mapped[str]  # key.created
    object_id: Mapped[str | None]
    details: Mapped[dict[str, Any]] = mapped_column(default=dict)  # never a secret
    address: Mapped[str | None]
    trace_id: Mapped[str | None]
    created_at: Mapped[datetime] = mapped_column(default=now)


class Alert(Base):
    """Something that keeps work from being done until the operator acts; one row for each cause."""

    __tablename__ = "alerts"

    cause: Mapped[str] = mapped_column(primary_key=True)  # an error's code
    message: Mapped[str]
    raised_at: Mapped[datetime]
    seen_at: Mapped[datetime]  # last
    recovered_at: Mapped[datetime | None]
