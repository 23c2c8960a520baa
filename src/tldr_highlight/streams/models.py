"""What was submitted: what is stored."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import BigInteger, ForeignKey, Index, LargeBinary, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from tldr_highlight.core.db import Base, Json, OrderedJson, OrgOwned, new_id, now


class StreamState(StrEnum):
    """How far a stream is. The last four are ends; from all of them but `completed` it can be tried again."""

    PENDING = "pending"
    PROCESSING = "processing"
    COMPLETED = "completed"
    PARTIALLY_COMPLETED = "partially_completed"
    FAILED = "failed"
    CANCELLED = "cancelled"


ONGOING = (StreamState.PENDING, StreamState.PROCESSING)


class Stream(OrgOwned, Base):
    """One submitted source and everything known about it.

    `state`: pending → processing → completed | partially_completed | failed | cancelled; a retry goes back to
    pending. `admitted`: it counts against the plan's concurrent streams, from when its work may begin on.
    """

    __tablename__ = "streams"
    __table_args__ = (
        Index("ix_streams_organization_id_id", "organization_id", "id"),
        Index("ix_streams_organization_id_state", "organization_id", "state"),
    )

    id: Mapped[str] = mapped_column(primary_key=True, default=lambda: new_id("str"))
    job_id: Mapped[str]  # its row of work
    batch_id: Mapped[str | None] = mapped_column(index=True)
    title: Mapped[str | None] = mapped_column(String(200))
    source: Mapped[str]  # sealed: `sources.Source` as JSON; addresses may hold keys
    source_label: Mapped[str] = mapped_column(String(2100))  # what of it may be shown
    source_kind: Mapped[str]  # url | upload | path | pair
    upload_id: Mapped[str | None] = mapped_column(index=True)
    platform: Mapped[str]  # youtube | twitch | … | upload | local | custom
    protocol: Mapped[str]  # http | hls | dash | rtmp | … | file
    options: Mapped[dict[str, Any]]  # as asked, with the defaults of that day
    dimension_set_id: Mapped[str | None]  # none: a preset, which `options` names
    dimension_set_version: Mapped[int | None]
    # the organization's types in the set, as they were then (`dimension_sets.TypeCopy`); none: as they are
    highlight_types: Mapped[list[Any] | None] = mapped_column(OrderedJson)
    state: Mapped[str] = mapped_column(default="pending")
    admitted: Mapped[bool] = mapped_column(default=False)
    media: Mapped[dict[str, Any]] = mapped_column(default=dict)  # what it turned out to be
    source_version: Mapped[str | None]  # of what was analysed, where that is known
    jumped: Mapped[bool] = mapped_column(default=False)  # timestamps leapt in what was analysed
    duration: Mapped[float | None]  # seconds
    analysed_seconds: Mapped[float] = mapped_column(default=0.0)
    highlight_count: Mapped[int] = mapped_column(default=0)  # also the last ordinal given
    analyzer: Mapped[str | None]
    degraded: Mapped[bool] = mapped_column(default=False)
    warnings: Mapped[list[str]] = mapped_column(default=list)
    error_code: Mapped[str | None]
    error_message: Mapped[str | None]
    created_at: Mapped[datetime] = mapped_column(default=now)
    started_at: Mapped[datetime | None]
    ended_at: Mapped[datetime | None]


class Segment(OrgOwned, Base):
    """A stretch of a stream that was analysed: the unit of checkpoints, and the stream's stored curves."""

    __tablename__ = "segments"
    __table_args__ = (UniqueConstraint("stream_id", "ordinal"),)

    id: Mapped[str] = mapped_column(primary_key=True, default=lambda: new_id("seg"))
    stream_id: Mapped[str] = mapped_column(ForeignKey("streams.id", ondelete="CASCADE"))
    ordinal: Mapped[int]  # 0, 1, 2 …
    start: Mapped[float]  # media seconds
    end: Mapped[float]
    curves: Mapped[bytes] = mapped_column(LargeBinary)  # `curves.packed`


class Upload(OrgOwned, Base):
    """A file that a customer sends. `state`: receiving → ready | aborted."""

    __tablename__ = "uploads"
    __table_args__ = (Index("ix_uploads_organization_id_id", "organization_id", "id"),)

    id: Mapped[str] = mapped_column(primary_key=True, default=lambda: new_id("upl"))
    filename: Mapped[str | None] = mapped_column(String(255))
    content_type: Mapped[str] = mapped_column(default="application/octet-stream")
    bytes: Mapped[int | None] = mapped_column(BigInteger)  # announced; none: known at its end
    offset: Mapped[int] = mapped_column(BigInteger, default=0)  # that are safe
    reserved: Mapped[int] = mapped_column(BigInteger, default=0)  # of the plan's storage, until it is ready
    sha256: Mapped[str | None]  # announced, then found
    state: Mapped[str] = mapped_column(default="receiving")
    token: Mapped[str | None]  # of the store, sealed, while it is received
    holder: Mapped[str | None]  # the call that writes it
    held_until: Mapped[datetime | None]
    key: Mapped[str]  # in the store
    created_at: Mapped[datetime] = mapped_column(default=now)
    expires_at: Mapped[datetime | None]  # unfinished, or used by no stream
    ended_at: Mapped[datetime | None]


class Batch(OrgOwned, Base):
    """Many sources that were submitted in one call."""

    __tablename__ = "batches"

    id: Mapped[str] = mapped_column(primary_key=True, default=lambda: new_id("bat"))
    title: Mapped[str | None] = mapped_column(String(200))
    count: Mapped[int]  # streams that were taken
    refused: Mapped[list[Any]] = mapped_column(Json, default=list)  # the others: index, code, message
    created_at: Mapped[datetime] = mapped_column(default=now)
    ended_at: Mapped[datetime | None]
