"""`Idempotency-Key`: a creating call that is sent again answers again, and creates nothing again."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import LargeBinary, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from tldr_highlight.core.db import Base, new_id, now


class Reservation(Base):
    """One key of one caller for one operation: reserved at first, with the stored answer later."""

    __tablename__ = "reservations"
    __table_args__ = (UniqueConstraint("owner", "operation", "key"),)

    id: Mapped[str] = mapped_column(primary_key=True, default=lambda: new_id("idm"))
    owner: Mapped[str]  # the organization
    operation: Mapped[str]
    key: Mapped[str] = mapped_column(String(255))
    fingerprint: Mapped[str]  # of the request
    holder: Mapped[str]  # the request that works on it
    held_until: Mapped[datetime]
    status: Mapped[int | None]  # of the answer, once there is one
    headers: Mapped[dict[str, Any]] = mapped_column(default=dict)
    body: Mapped[bytes | None] = mapped_column(LargeBinary)
    created_at: Mapped[datetime] = mapped_column(default=now, index=True)
