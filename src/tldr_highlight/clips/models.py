"""Lists of ranges to cut: what is stored."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, ForeignKey, Index, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from tldr_highlight.core.db import Base, Json, OrgOwned, new_id, now


class ClipJob(OrgOwned, Base):
    """A customer's list of ranges to cut from one source; its id is its work's.

    `state`: pending → processing → finished | failed → deleted. `failed`: no source could be opened, or the
    work was poison; where every clip failed it is `finished`, with errors.
    """

    __tablename__ = "clip_jobs"
    __table_args__ = (Index("ix_clip_jobs_organization_id_id", "organization_id", "id"),)

    id: Mapped[str] = mapped_column(primary_key=True)
    source: Mapped[str]  # sealed: `sources.Source` as JSON
    source_label: Mapped[str] = mapped_column(String(2100))
    video_id: Mapped[str | None] = mapped_column(String(2048))  # of the compatible calls
    title: Mapped[str | None] = mapped_column(String(500))  # the source's, as its resolver told
    options: Mapped[dict[str, Any]] = mapped_column(default=dict)
    state: Mapped[str] = mapped_column(default="pending")
    total: Mapped[int]
    processed: Mapped[int] = mapped_column(default=0)  # failed ones too
    resolver: Mapped[str | None]  # which one answered
    error_code: Mapped[str | None]
    error_message: Mapped[str | None]
    created_at: Mapped[datetime] = mapped_column(default=now)
    started_at: Mapped[datetime | None]
    completed_at: Mapped[datetime | None]
    delete_at: Mapped[datetime | None] = mapped_column(index=True)


class ClipItem(OrgOwned, Base):
    """One range of a clip job. `state`: pending → ready | failed; ready → deleted: its file alone is gone."""

    __tablename__ = "clip_items"
    __table_args__ = (
        UniqueConstraint("job_id", "ordinal"),
        Index("ix_clip_items_organization_id_filename", "organization_id", "filename"),
    )

    id: Mapped[str] = mapped_column(primary_key=True, default=lambda: new_id("clip"))
    job_id: Mapped[str] = mapped_column(ForeignKey("clip_jobs.id", ondelete="CASCADE"))
    ordinal: Mapped[int]  # 0, 1, 2 …: its index
    asked: Mapped[Any] = mapped_column(
        Json, nullable=True
    )  # as the customer wrote it, which may be no object
    filename: Mapped[str] = mapped_column(String(400))
    start: Mapped[float | None]  # None: what was asked is no number
    end: Mapped[float | None]
    state: Mapped[str] = mapped_column(default="pending")
    file_id: Mapped[str | None] = mapped_column(index=True)
    result: Mapped[dict[str, Any]] = mapped_column(default=dict)  # actual range, method, frames, pictures …
    error_code: Mapped[str | None]
    error_message: Mapped[str | None]


class ClipFile(OrgOwned, Base):
    """A verified clip in the store. It lives until the last clip that has it is deleted, then it is swept.

    Its keys are its own: they follow from the clip that it was cut for and from who cut it, and no other file
    ever has them, so that deleting them can take as long as it takes.
    """

    __tablename__ = "clip_files"
    __table_args__ = (UniqueConstraint("organization_id", "recipe"),)

    id: Mapped[str] = mapped_column(primary_key=True, default=lambda: new_id("cf"))
    recipe: Mapped[str | None]  # hash of source, its version, range and options; None: for one clip alone
    key: Mapped[str]  # in the store
    poster_key: Mapped[str | None]
    bytes: Mapped[int] = mapped_column(BigInteger)  # of the clip
    poster_bytes: Mapped[int] = mapped_column(default=0)
    sha256: Mapped[str]
    result: Mapped[dict[str, Any]] = mapped_column(default=dict)
    created_at: Mapped[datetime] = mapped_column(default=now)
