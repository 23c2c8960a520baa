"""Events, the endpoints they go to, and how that went: what is stored."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, ForeignKey, Index, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from tldr_highlight.core.db import Base, OrgOwned, new_id, now


class Event(OrgOwned, Base):
    """Something that happened, written in the transaction that made it true."""

    __tablename__ = "events"
    __table_args__ = (
        UniqueConstraint("stream_id", "sequence"),
        UniqueConstraint("organization_id", "position"),
        Index("ix_events_organization_id_id", "organization_id", "id"),
    )

    id: Mapped[str] = mapped_column(primary_key=True, default=lambda: new_id("evt"))
    type: Mapped[str]
    stream_id: Mapped[str | None]
    sequence: Mapped[int | None] = mapped_column(BigInteger)  # gapless within its stream
    position: Mapped[int | None] = mapped_column(BigInteger)  # in its organization: the order of commits
    data: Mapped[dict[str, Any]]
    trace_id: Mapped[str | None]
    created_at: Mapped[datetime] = mapped_column(default=now)


class Webhook(OrgOwned, Base):
    """An address that wants events. It gets nothing but the challenge until it is verified."""

    __tablename__ = "webhooks"

    id: Mapped[str] = mapped_column(primary_key=True, default=lambda: new_id("whk"))
    url: Mapped[str] = mapped_column(String(2048))
    description: Mapped[str | None] = mapped_column(String(200))
    events: Mapped[list[str]]  # types, or patterns such as `stream.*`
    secret: Mapped[str]  # sealed
    old_secret: Mapped[str | None]  # sealed; signs, too, until `old_secret_until`
    old_secret_until: Mapped[datetime | None]
    schedule: Mapped[str] = mapped_column(default="short")  # | standard | seconds with commas
    status: Mapped[str] = mapped_column(default="pending_verification")  # | active | disabled
    disabled_reason: Mapped[str | None]  # `gone`, `failing`, `stuck`
    failures: Mapped[int] = mapped_column(default=0)  # deliveries given up in a row
    failing_since: Mapped[datetime | None]  # the first of those was given up
    missed_after: Mapped[
        str | None
    ]  # later events than this id, which it has not got, are still to be sent …
    missed_until: Mapped[str | None]  # … up to this one
    verified_at: Mapped[datetime | None]
    disabled_at: Mapped[datetime | None]
    created_at: Mapped[datetime] = mapped_column(default=now)


class Delivery(OrgOwned, Base):
    """One event on its way to one endpoint. `state`: waiting → sending → delivered | failed | waiting.

    What is being sent is taken for lost at `due_at`: whoever sends it died. `attempts` grows with each claim
    and so tells who may store how it went.
    """

    __tablename__ = "deliveries"
    __table_args__ = (
        UniqueConstraint("webhook_id", "event_id"),
        Index("ix_deliveries_webhook_id_state_due_at", "webhook_id", "state", "due_at"),
        Index("ix_deliveries_webhook_id_id", "webhook_id", "id"),
    )

    id: Mapped[str] = mapped_column(primary_key=True, default=lambda: new_id("dlv"))
    webhook_id: Mapped[str] = mapped_column(ForeignKey("webhooks.id", ondelete="CASCADE"))
    event_id: Mapped[str]
    event_type: Mapped[str]
    stream_id: Mapped[str | None]  # deliveries of one stream go one after another …
    sequence: Mapped[int | None] = mapped_column(BigInteger)  # … in this order
    state: Mapped[str] = mapped_column(default="waiting")
    attempts: Mapped[int] = mapped_column(default=0)
    failures: Mapped[int] = mapped_column(
        default=0
    )  # attempts that the endpoint failed, of this row of tries
    due_at: Mapped[datetime] = mapped_column(default=now)
    created_at: Mapped[datetime] = mapped_column(default=now)
    ended_at: Mapped[datetime | None]


class Attempt(OrgOwned, Base):
    """One try of a delivery, and what the receiver said."""

    __tablename__ = "attempts"
    __table_args__ = (
        UniqueConstraint("delivery_id", "number"),
        Index("ix_attempts_webhook_id_created_at", "webhook_id", "created_at"),
    )

    id: Mapped[str] = mapped_column(primary_key=True, default=lambda: new_id("att"))
    delivery_id: Mapped[str] = mapped_column(ForeignKey("deliveries.id", ondelete="CASCADE"))
    webhook_id: Mapped[str]
    number: Mapped[int]
    status: Mapped[int | None]  # of HTTP
    error_code: Mapped[str | None]  # none: it went well
    answer: Mapped[str | None]  # its first 16 KiB
    milliseconds: Mapped[int]
    created_at: Mapped[datetime] = mapped_column(default=now)


class EventSequence(Base):
    """The number of the latest event of a stream, or of an organization."""

    __tablename__ = "event_sequences"

    stream_id: Mapped[str] = mapped_column(primary_key=True)  # or an organization's
    last: Mapped[int] = mapped_column(BigInteger)
