"""What was consumed: what is stored."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import BigInteger, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from tldr_highlight.core.db import Base, OrgOwned, new_id


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
