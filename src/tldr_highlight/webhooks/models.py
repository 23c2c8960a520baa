"""Events and the endpoints they go to: what is stored."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, Index, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from tldr_highlight.core.db import Base, OrgOwned, new_id, now


class Event(OrgOwned, Base):
    """Something that happened, written in the transaction that made it true."""

    __tablename__ = "events"
    __table_args__ = (
        UniqueConstraint("stream_id", "sequence"),
        Index("ix_events_organization_id_id", "organization_id", "id"),
    )

    id: Mapped[str] = mapped_column(primary_key=True, default=lambda: new_id("evt"))
    type: Mapped[str]
    stream_id: Mapped[str | None]
    sequence: Mapped[int | None] = mapped_column(BigInteger)  # gapless within its stream
    data: Mapped[dict[str, Any]]
    trace_id: Mapped[str | None]
    created_at: Mapped[datetime] = mapped_column(default=now)


class Webhook(OrgOwned, Base):
    """An address that wants events. It gets nothing but the challenge until it is verified."""

    __tablename__ = "webhooks"

    id: Mapped[str] = mapped_column(primary_key=True, default=lambda: new_id("whk"))
    url: Mapped[str] = mapped_column(String(2048))
    events: Mapped[list[str]]  # types, or patterns such as `stream.*`
    secret: Mapped[str]  # sealed
    status: Mapped[str] = mapped_column(default="pending_verification")  # | active | disabled
    created_at: Mapped[datetime] = mapped_column(default=now)


class EventSequence(Base):
    """The number of a stream's latest event."""

    __tablename__ = "event_sequences"

    stream_id: Mapped[str] = mapped_column(primary_key=True)
    last: Mapped[int] = mapped_column(BigInteger)
