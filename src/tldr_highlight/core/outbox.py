"""Mail that is not lost: a row in the transaction that wants it, sent by work."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import String
from sqlalchemy.orm import Mapped, mapped_column

from tldr_highlight.core.db import Base, new_id, now


class Mail(Base):
    """One mail to one person. What it says is made when it is sent; secrets in it are sealed."""

    __tablename__ = "mails"

    id: Mapped[str] = mapped_column(primary_key=True, default=lambda: new_id("mail"))
    organization_id: Mapped[str | None] = mapped_column(index=True)
    kind: Mapped[str]
    recipient: Mapped[str] = mapped_column(String(254))
    context: Mapped[dict[str, Any]] = mapped_column(default=dict)
    sealed: Mapped[str | None]  # the part of the context that is secret, until it is sent
    created_at: Mapped[datetime] = mapped_column(default=now)
    sent_at: Mapped[datetime | None]
