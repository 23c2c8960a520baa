"""Work that survives: a row is the truth, a bell only wakes somebody."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Index, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from tldr_highlight.core.db import Base, new_id, now


class Work(Base):
    """One unit of work. `state`: waiting → running → done | failed | cancelled; a retry goes back to waiting.

    Running work has a lease: until `lease_until` it is `owner`'s, and every write of its carries `fence`,
    which grows with each claim. `sort_at` is the time it was handed in minus its priority's bonus.
    """

    __tablename__ = "work"
    __table_args__ = (
        UniqueConstraint("kind", "key"),
        Index("ix_work_state_sort_at", "state", "sort_at"),
        Index("ix_work_state_lease_until", "state", "lease_until"),
    )

    id: Mapped[str] = mapped_column(primary_key=True, default=lambda: new_id("job"))
    kind: Mapped[str]
    organization_id: Mapped[str | None] = mapped_column(index=True)
    object_id: Mapped[str | None] = mapped_column(index=True)  # what it is about
    key: Mapped[str | None]  # of one kind and key there is one row
    payload: Mapped[dict[str, Any]] = mapped_column(default=dict)
    state: Mapped[str] = mapped_column(default="waiting")
    priority: Mapped[str] = mapped_column(default="normal")  # low | normal | high: which queue rings
    run_at: Mapped[datetime] = mapped_column(default=now)
    sort_at: Mapped[datetime] = mapped_column(default=now)
    attempts: Mapped[int] = mapped_column(default=0)  # that ended in an error which counts
    crashes: Mapped[int] = mapped_column(default=0)  # that took their process along
    owner: Mapped[str | None]
    fence: Mapped[int] = mapped_column(default=0)
    lease_until: Mapped[datetime | None]
    cancel_asked: Mapped[bool] = mapped_column(default=False)
    checkpoint: Mapped[dict[str, Any]] = mapped_column(default=dict)
    progress: Mapped[dict[str, Any]] = mapped_column(default=dict)
    error_code: Mapped[str | None]
    error_message: Mapped[str | None]
    traceparent: Mapped[str | None]
    created_at: Mapped[datetime] = mapped_column(default=now)
    started_at: Mapped[datetime | None]
    ended_at: Mapped[datetime | None]
