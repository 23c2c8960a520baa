"""What was found: what is stored."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, Index, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from tldr_highlight.core.db import Base, Json, OrderedJson, OrgOwned, new_id, now

FILTERS = ("score", "state", "verdict", "origin", "types", "tags", "created_at")
"""What lists are filtered by. The indexes have them, too, so that whatever is looked for is found in these
alone: one highlight of 100 000 in some 30 ms, where looking at the rows took 300."""


class Highlight(OrgOwned, Base):
    """A moment that was kept. `state`: detected → ready | failed (its clip).

    Its id follows from its stream and ordinal (`highlight_id`), so that publishing it again changes nothing.
    """

    __tablename__ = "highlights"
    __table_args__ = (
        UniqueConstraint("stream_id", "ordinal"),
        Index(
            "ix_highlights_organization_id_created_at", "organization_id", "created_at", "id", *FILTERS[:-1]
        ),
        Index("ix_highlights_organization_id_score", "organization_id", "score", "id", *FILTERS[1:]),
        Index("ix_highlights_stream_id_start", "stream_id", "start", "id"),
    )

    id: Mapped[str] = mapped_column(primary_key=True)
    stream_id: Mapped[str]  # no foreign key: streams are a room above
    ordinal: Mapped[int]  # 1, 2, 3 … in the order of publishing; -1, -2, -3 … those that were asked for
    origin: Mapped[str] = mapped_column(default="analysis")  # | request: somebody asked for this clip
    start: Mapped[float]  # media seconds, tight around what happens
    end: Mapped[float]
    peak: Mapped[float]
    score: Mapped[float | None]
    confidence: Mapped[float | None]
    types: Mapped[list[str]]
    title: Mapped[str] = mapped_column(String(200))
    tags: Mapped[list[str]] = mapped_column(default=list)
    verdict: Mapped[str | None]  # keep | drop: what somebody thought of it
    dimensions: Mapped[dict[str, Any]] = mapped_column(OrderedJson, default=dict)  # name -> 0..1 or None
    evidence: Mapped[list[Any]] = mapped_column(Json, default=list)
    clip_start: Mapped[float]
    clip_end: Mapped[float]
    state: Mapped[str] = mapped_column(default="detected")
    clip_key: Mapped[str | None]  # in the store
    clip: Mapped[dict[str, Any]] = mapped_column(default=dict)  # method, frames, sync_ms, bytes, sha256 …
    thumbnail_key: Mapped[str | None]
    thumbnail_small_key: Mapped[str | None]
    stored_bytes: Mapped[int] = mapped_column(BigInteger, default=0)  # of all its files
    share_salt: Mapped[str | None]  # in the signature of its links without account; a new one ends them
    error_code: Mapped[str | None]
    error_message: Mapped[str | None]
    created_at: Mapped[datetime] = mapped_column(default=now)
    ready_at: Mapped[datetime | None]
    expires_at: Mapped[datetime | None]


class DimensionSetVersion(OrgOwned, Base):
    """One version of an organization's dimension set; versions are never changed, a change makes the next."""

    __tablename__ = "dimension_set_versions"
    __table_args__ = (UniqueConstraint("set_id", "version"),)

    id: Mapped[str] = mapped_column(primary_key=True, default=lambda: new_id("dsv"))
    set_id: Mapped[str]  # dset_…
    version: Mapped[int]
    is_latest: Mapped[bool] = mapped_column(default=True)
    name: Mapped[str] = mapped_column(String(100))
    document: Mapped[dict[str, Any]] = mapped_column(OrderedJson)  # threshold, dimensions, types
    created_at: Mapped[datetime] = mapped_column(default=now)
    deleted_at: Mapped[datetime | None]  # of the set; streams remember their versions


class HighlightType(OrgOwned, Base):
    """A kind of highlight that an organization added, with the rule for it."""

    __tablename__ = "highlight_types"
    __table_args__ = (UniqueConstraint("organization_id", "name"),)

    id: Mapped[str] = mapped_column(primary_key=True, default=lambda: new_id("typ"))
    version: Mapped[int] = mapped_column(default=1)  # rises with each change; streams keep a copy of theirs
    name: Mapped[str] = mapped_column(String(64))
    rule: Mapped[dict[str, Any]] = mapped_column(OrderedJson)
    description: Mapped[str | None] = mapped_column(String(500))
    created_at: Mapped[datetime] = mapped_column(default=now)


class Reel(OrgOwned, Base):
    """Highlights of one stream, joined into one file. `state`: pending → ready | failed."""

    __tablename__ = "reels"

    id: Mapped[str] = mapped_column(primary_key=True, default=lambda: new_id("reel"))
    stream_id: Mapped[str] = mapped_column(index=True)
    job_id: Mapped[str]
    target_seconds: Mapped[float]
    tolerance: Mapped[float]
    highlights: Mapped[list[str]] = mapped_column(default=list)
    state: Mapped[str] = mapped_column(default="pending")
    key: Mapped[str | None]
    seconds: Mapped[float | None]
    note: Mapped[str | None]  # why it is not as long as it should be
    stored_bytes: Mapped[int] = mapped_column(BigInteger, default=0)
    error_code: Mapped[str | None]
    error_message: Mapped[str | None]
    created_at: Mapped[datetime] = mapped_column(default=now)
    ended_at: Mapped[datetime | None]


def highlight_id(stream_id: str, ordinal: int) -> str:
    """`hl_`, the stream's own part, and the ordinal in four letters that sort."""
    return f"hl_{stream_id.removeprefix('str_')}{ordinal:04d}"
