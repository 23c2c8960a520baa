"""What was consumed: what is stored."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import BigInteger, Index, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from tldr_highlight.core.db import Base, OrgOwned, new_id, now


class UsageTotal(OrgOwned, Base):
    """How much of one metric an organization used in one month, in the metric's unit (integers only)."""

    __tablename__ = "usage_totals"
    __table_args__ = (UniqueConstraint("organization_id", "month", "metric"),)

    id: Mapped[str] = mapped_column(primary_key=True, default=lambda: new_id("use"))
    month: Mapped[str] = mapped_column(String(7))  # 2026-11, in UTC
    metric: Mapped[str]  # processing_ms | stored_bytes | delivered_bytes | api_calls
    amount: Mapped[int] = mapped_column(BigInteger, default=0)
    warned_at: Mapped[datetime | None]  # at 80 %, once a month
    exceeded_at: Mapped[datetime | None]


class UsageRecord(OrgOwned, Base):
    """One thing that was consumed, written in the transaction that made it so; never changed, never deleted.

    What is deleted gives back what it stored: a record with a negative amount.
    """

    __tablename__ = "usage_records"
    __table_args__ = (
        UniqueConstraint("organization_id", "key"),
        Index("ix_usage_records_organization_id_id", "organization_id", "id"),
    )

    id: Mapped[str] = mapped_column(primary_key=True, default=lambda: new_id("urec"))
    key: Mapped[str]  # follows from what was consumed: writing it again changes nothing
    metric: Mapped[str]
    amount: Mapped[int] = mapped_column(BigInteger)
    object_id: Mapped[str | None] = mapped_column(index=True)  # the stream, clip job, upload
    created_at: Mapped[datetime] = mapped_column(default=now)
