"""Streams, highlights, clip jobs and deliveries."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

Time = sa.DateTime(timezone=True)
Real: sa.Double[float] = sa.Double()
Json = sa.JSON(none_as_null=True).with_variant(postgresql.JSONB(none_as_null=True), "postgresql")


def upgrade() -> None:
    """Take the step."""
    op.create_table(
        "alerts",
        sa.Column("cause", sa.String(), nullable=False),
        sa.Column("message", sa.String(), nullable=False),
        sa.Column("raised_at", Time, nullable=False),
        sa.Column("seen_at", Time, nullable=False),
        sa.Column("recovered_at", Time, nullable=True),
        sa.PrimaryKeyConstraint("cause", name=op.f("pk_alerts")),
    )
    op.create_table(
        "breakers",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("window", Json, nullable=False),
        sa.Column("until", Time, nullable=True),
        sa.Column("probes", sa.Integer(), nullable=False),
        sa.Column("openings", sa.Integer(), nullable=False),
        sa.Column("error_code", sa.String(), nullable=True),
        sa.Column("changed_at", Time, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_breakers")),
    )
    op.create_table(
        "batches",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("title", sa.String(length=200), nullable=True),
        sa.Column("count", sa.Integer(), nullable=False),
        sa.Column("refused", Json, nullable=False),
        sa.Column("created_at", Time, nullable=False),
        sa.Column("ended_at", Time, nullable=True),
        sa.Column("organization_id", sa.String(), nullable=False),
        sa.ForeignKeyConstraint(
            ["organization_id"],
            ["organizations.id"],
            name=op.f("fk_batches_organization_id_organizations"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_batches")),
    )
    with op.batch_alter_table("batches", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_batches_organization_id"), ["organization_id"], unique=False)

    op.create_table(
        "clip_files",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("recipe", sa.String(), nullable=True),
        sa.Column("key", sa.String(), nullable=False),
        sa.Column("poster_key", sa.String(), nullable=True),
        sa.Column("bytes", sa.BigInteger(), nullable=False),
        sa.Column("poster_bytes", sa.Integer(), nullable=False),
        sa.Column("sha256", sa.String(), nullable=False),
        sa.Column("result", Json, nullable=False),
        sa.Column("created_at", Time, nullable=False),
        sa.Column("organization_id", sa.String(), nullable=False),
        sa.ForeignKeyConstraint(
            ["organization_id"],
            ["organizations.id"],
            name=op.f("fk_clip_files_organization_id_organizations"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_clip_files")),
        sa.UniqueConstraint("organization_id", "recipe", name=op.f("uq_clip_files_organization_id_recipe")),
    )
    with op.batch_alter_table("clip_files", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_clip_files_organization_id"), ["organization_id"], unique=False)

    op.create_table(
        "clip_jobs",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("source", sa.String(), nullable=False),
        sa.Column("source_label", sa.String(length=2100), nullable=False),
        sa.Column("video_id", sa.String(length=2048), nullable=True),
        sa.Column("title", sa.String(length=500), nullable=True),
        sa.Column("options", Json, nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("total", sa.Integer(), nullable=False),
        sa.Column("processed", sa.Integer(), nullable=False),
        sa.Column("resolver", sa.String(), nullable=True),
        sa.Column("error_code", sa.String(), nullable=True),
        sa.Column("error_message", sa.String(), nullable=True),
        sa.Column("created_at", Time, nullable=False),
        sa.Column("started_at", Time, nullable=True),
        sa.Column("completed_at", Time, nullable=True),
        sa.Column("delete_at", Time, nullable=True),
        sa.Column("organization_id", sa.String(), nullable=False),
        sa.ForeignKeyConstraint(
            ["organization_id"],
            ["organizations.id"],
            name=op.f("fk_clip_jobs_organization_id_organizations"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_clip_jobs")),
    )
    with op.batch_alter_table("clip_jobs", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_clip_jobs_delete_at"), ["delete_at"], unique=False)
        batch_op.create_index(batch_op.f("ix_clip_jobs_organization_id"), ["organization_id"], unique=False)
        batch_op.create_index("ix_clip_jobs_organization_id_id", ["organization_id", "id"], unique=False)

    op.create_table(
        "dimension_set_versions",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("set_id", sa.String(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("is_latest", sa.Boolean(), nullable=False),
        sa.Column("name", sa.String(length=100), nullable=False),
        sa.Column("document", sa.JSON(none_as_null=True), nullable=False),
        sa.Column("created_at", Time, nullable=False),
        sa.Column("deleted_at", Time, nullable=True),
        sa.Column("organization_id", sa.String(), nullable=False),
        sa.ForeignKeyConstraint(
            ["organization_id"],
            ["organizations.id"],
            name=op.f("fk_dimension_set_versions_organization_id_organizations"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_dimension_set_versions")),
        sa.UniqueConstraint("set_id", "version", name=op.f("uq_dimension_set_versions_set_id_version")),
    )
    with op.batch_alter_table("dimension_set_versions", schema=None) as batch_op:
        batch_op.create_index(
            batch_op.f("ix_dimension_set_versions_organization_id"), ["organization_id"], unique=False
        )

    op.create_table(
        "highlight_types",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("rule", sa.JSON(none_as_null=True), nullable=False),
        sa.Column("description", sa.String(length=500), nullable=True),
        sa.Column("created_at", Time, nullable=False),
        sa.Column("organization_id", sa.String(), nullable=False),
        sa.ForeignKeyConstraint(
            ["organization_id"],
            ["organizations.id"],
            name=op.f("fk_highlight_types_organization_id_organizations"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_highlight_types")),
        sa.UniqueConstraint("organization_id", "name", name=op.f("uq_highlight_types_organization_id_name")),
    )
    with op.batch_alter_table("highlight_types", schema=None) as batch_op:
        batch_op.create_index(
            batch_op.f("ix_highlight_types_organization_id"), ["organization_id"], unique=False
        )

    op.create_table(
        "highlights",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("stream_id", sa.String(), nullable=False),
        sa.Column("ordinal", sa.Integer(), nullable=False),
        sa.Column("origin", sa.String(), nullable=False),
        sa.Column("start", Real, nullable=False),
        sa.Column("end", Real, nullable=False),
        sa.Column("peak", Real, nullable=False),
        sa.Column("score", Real, nullable=True),
        sa.Column("confidence", Real, nullable=True),
        sa.Column("types", Json, nullable=False),
        sa.Column("title", sa.String(length=200), nullable=False),
        sa.Column("tags", Json, nullable=False),
        sa.Column("verdict", sa.String(), nullable=True),
        sa.Column("dimensions", sa.JSON(none_as_null=True), nullable=False),
        sa.Column("evidence", Json, nullable=False),
        sa.Column("clip_start", Real, nullable=False),
        sa.Column("clip_end", Real, nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("clip_key", sa.String(), nullable=True),
        sa.Column("clip", Json, nullable=False),
        sa.Column("thumbnail_key", sa.String(), nullable=True),
        sa.Column("thumbnail_small_key", sa.String(), nullable=True),
        sa.Column("stored_bytes", sa.BigInteger(), nullable=False),
        sa.Column("share_salt", sa.String(), nullable=True),
        sa.Column("error_code", sa.String(), nullable=True),
        sa.Column("error_message", sa.String(), nullable=True),
        sa.Column("created_at", Time, nullable=False),
        sa.Column("ready_at", Time, nullable=True),
        sa.Column("expires_at", Time, nullable=True),
        sa.Column("organization_id", sa.String(), nullable=False),
        sa.ForeignKeyConstraint(
            ["organization_id"],
            ["organizations.id"],
            name=op.f("fk_highlights_organization_id_organizations"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_highlights")),
        sa.UniqueConstraint("stream_id", "ordinal", name=op.f("uq_highlights_stream_id_ordinal")),
    )
    with op.batch_alter_table("highlights", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_highlights_organization_id"), ["organization_id"], unique=False)
        batch_op.create_index(
            "ix_highlights_organization_id_created_at",
            ["organization_id", "created_at", "id", "score", "state", "verdict", "origin", "types", "tags"],
            unique=False,
        )
        batch_op.create_index(
            "ix_highlights_organization_id_score",
            ["organization_id", "score", "id", "state", "verdict", "origin", "types", "tags", "created_at"],
            unique=False,
        )
        batch_op.create_index("ix_highlights_stream_id_start", ["stream_id", "start", "id"], unique=False)

    op.create_table(
        "reels",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("stream_id", sa.String(), nullable=False),
        sa.Column("job_id", sa.String(), nullable=False),
        sa.Column("target_seconds", Real, nullable=False),
        sa.Column("tolerance", Real, nullable=False),
        sa.Column("highlights", Json, nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("key", sa.String(), nullable=True),
        sa.Column("seconds", Real, nullable=True),
        sa.Column("note", sa.String(), nullable=True),
        sa.Column("stored_bytes", sa.BigInteger(), nullable=False),
        sa.Column("error_code", sa.String(), nullable=True),
        sa.Column("error_message", sa.String(), nullable=True),
        sa.Column("created_at", Time, nullable=False),
        sa.Column("ended_at", Time, nullable=True),
        sa.Column("organization_id", sa.String(), nullable=False),
        sa.ForeignKeyConstraint(
            ["organization_id"],
            ["organizations.id"],
            name=op.f("fk_reels_organization_id_organizations"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_reels")),
    )
    with op.batch_alter_table("reels", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_reels_organization_id"), ["organization_id"], unique=False)
        batch_op.create_index(batch_op.f("ix_reels_stream_id"), ["stream_id"], unique=False)

    op.create_table(
        "streams",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("job_id", sa.String(), nullable=False),
        sa.Column("batch_id", sa.String(), nullable=True),
        sa.Column("title", sa.String(length=200), nullable=True),
        sa.Column("source", sa.String(), nullable=False),
        sa.Column("source_label", sa.String(length=2100), nullable=False),
        sa.Column("source_kind", sa.String(), nullable=False),
        sa.Column("upload_id", sa.String(), nullable=True),
        sa.Column("platform", sa.String(), nullable=False),
        sa.Column("protocol", sa.String(), nullable=False),
        sa.Column("options", Json, nullable=False),
        sa.Column("dimension_set_id", sa.String(), nullable=True),
        sa.Column("dimension_set_version", sa.Integer(), nullable=True),
        sa.Column("highlight_types", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("admitted", sa.Boolean(), nullable=False),
        sa.Column("media", Json, nullable=False),
        sa.Column("source_version", sa.String(), nullable=True),
        sa.Column("jumped", sa.Boolean(), nullable=False),
        sa.Column("duration", Real, nullable=True),
        sa.Column("analysed_seconds", Real, nullable=False),
        sa.Column("highlight_count", sa.Integer(), nullable=False),
        sa.Column("analyzer", sa.String(), nullable=True),
        sa.Column("degraded", sa.Boolean(), nullable=False),
        sa.Column("warnings", Json, nullable=False),
        sa.Column("error_code", sa.String(), nullable=True),
        sa.Column("error_message", sa.String(), nullable=True),
        sa.Column("created_at", Time, nullable=False),
        sa.Column("started_at", Time, nullable=True),
        sa.Column("ended_at", Time, nullable=True),
        sa.Column("organization_id", sa.String(), nullable=False),
        sa.ForeignKeyConstraint(
            ["organization_id"],
            ["organizations.id"],
            name=op.f("fk_streams_organization_id_organizations"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_streams")),
    )
    with op.batch_alter_table("streams", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_streams_batch_id"), ["batch_id"], unique=False)
        batch_op.create_index(batch_op.f("ix_streams_organization_id"), ["organization_id"], unique=False)
        batch_op.create_index("ix_streams_organization_id_id", ["organization_id", "id"], unique=False)
        batch_op.create_index("ix_streams_organization_id_state", ["organization_id", "state"], unique=False)
        batch_op.create_index(batch_op.f("ix_streams_upload_id"), ["upload_id"], unique=False)

    op.create_table(
        "uploads",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("filename", sa.String(length=255), nullable=True),
        sa.Column("content_type", sa.String(), nullable=False),
        sa.Column("bytes", sa.BigInteger(), nullable=True),
        sa.Column("offset", sa.BigInteger(), nullable=False),
        sa.Column("reserved", sa.BigInteger(), nullable=False),
        sa.Column("sha256", sa.String(), nullable=True),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("token", sa.String(), nullable=True),
        sa.Column("holder", sa.String(), nullable=True),
        sa.Column("held_until", Time, nullable=True),
        sa.Column("key", sa.String(), nullable=False),
        sa.Column("created_at", Time, nullable=False),
        sa.Column("expires_at", Time, nullable=True),
        sa.Column("ended_at", Time, nullable=True),
        sa.Column("organization_id", sa.String(), nullable=False),
        sa.ForeignKeyConstraint(
            ["organization_id"],
            ["organizations.id"],
            name=op.f("fk_uploads_organization_id_organizations"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_uploads")),
    )
    with op.batch_alter_table("uploads", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_uploads_organization_id"), ["organization_id"], unique=False)
        batch_op.create_index("ix_uploads_organization_id_id", ["organization_id", "id"], unique=False)

    op.create_table(
        "usage_records",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("key", sa.String(), nullable=False),
        sa.Column("metric", sa.String(), nullable=False),
        sa.Column("amount", sa.BigInteger(), nullable=False),
        sa.Column("object_id", sa.String(), nullable=True),
        sa.Column("created_at", Time, nullable=False),
        sa.Column("organization_id", sa.String(), nullable=False),
        sa.ForeignKeyConstraint(
            ["organization_id"],
            ["organizations.id"],
            name=op.f("fk_usage_records_organization_id_organizations"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_usage_records")),
        sa.UniqueConstraint("organization_id", "key", name=op.f("uq_usage_records_organization_id_key")),
    )
    with op.batch_alter_table("usage_records", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_usage_records_object_id"), ["object_id"], unique=False)
        batch_op.create_index(
            batch_op.f("ix_usage_records_organization_id"), ["organization_id"], unique=False
        )
        batch_op.create_index("ix_usage_records_organization_id_id", ["organization_id", "id"], unique=False)

    op.create_table(
        "clip_items",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("job_id", sa.String(), nullable=False),
        sa.Column("ordinal", sa.Integer(), nullable=False),
        sa.Column("asked", Json, nullable=True),
        sa.Column("filename", sa.String(length=400), nullable=False),
        sa.Column("start", Real, nullable=True),
        sa.Column("end", Real, nullable=True),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("file_id", sa.String(), nullable=True),
        sa.Column("result", Json, nullable=False),
        sa.Column("error_code", sa.String(), nullable=True),
        sa.Column("error_message", sa.String(), nullable=True),
        sa.Column("organization_id", sa.String(), nullable=False),
        sa.ForeignKeyConstraint(
            ["job_id"], ["clip_jobs.id"], name=op.f("fk_clip_items_job_id_clip_jobs"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["organization_id"],
            ["organizations.id"],
            name=op.f("fk_clip_items_organization_id_organizations"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_clip_items")),
        sa.UniqueConstraint("job_id", "ordinal", name=op.f("uq_clip_items_job_id_ordinal")),
    )
    with op.batch_alter_table("clip_items", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_clip_items_file_id"), ["file_id"], unique=False)
        batch_op.create_index(batch_op.f("ix_clip_items_organization_id"), ["organization_id"], unique=False)
        batch_op.create_index(
            "ix_clip_items_organization_id_filename", ["organization_id", "filename"], unique=False
        )

    op.create_table(
        "deliveries",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("webhook_id", sa.String(), nullable=False),
        sa.Column("event_id", sa.String(), nullable=False),
        sa.Column("event_type", sa.String(), nullable=False),
        sa.Column("stream_id", sa.String(), nullable=True),
        sa.Column("sequence", sa.BigInteger(), nullable=True),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("due_at", Time, nullable=False),
        sa.Column("created_at", Time, nullable=False),
        sa.Column("ended_at", Time, nullable=True),
        sa.Column("organization_id", sa.String(), nullable=False),
        sa.ForeignKeyConstraint(
            ["organization_id"],
            ["organizations.id"],
            name=op.f("fk_deliveries_organization_id_organizations"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["webhook_id"],
            ["webhooks.id"],
            name=op.f("fk_deliveries_webhook_id_webhooks"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_deliveries")),
        sa.UniqueConstraint("webhook_id", "event_id", name=op.f("uq_deliveries_webhook_id_event_id")),
    )
    with op.batch_alter_table("deliveries", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_deliveries_organization_id"), ["organization_id"], unique=False)
        batch_op.create_index("ix_deliveries_webhook_id_id", ["webhook_id", "id"], unique=False)
        batch_op.create_index(
            "ix_deliveries_webhook_id_state_due_at", ["webhook_id", "state", "due_at"], unique=False
        )

    op.create_table(
        "segments",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("stream_id", sa.String(), nullable=False),
        sa.Column("ordinal", sa.Integer(), nullable=False),
        sa.Column("start", Real, nullable=False),
        sa.Column("end", Real, nullable=False),
        sa.Column("curves", sa.LargeBinary(), nullable=False),
        sa.Column("organization_id", sa.String(), nullable=False),
        sa.ForeignKeyConstraint(
            ["organization_id"],
            ["organizations.id"],
            name=op.f("fk_segments_organization_id_organizations"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["stream_id"], ["streams.id"], name=op.f("fk_segments_stream_id_streams"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_segments")),
        sa.UniqueConstraint("stream_id", "ordinal", name=op.f("uq_segments_stream_id_ordinal")),
    )
    with op.batch_alter_table("segments", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_segments_organization_id"), ["organization_id"], unique=False)

    op.create_table(
        "attempts",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("delivery_id", sa.String(), nullable=False),
        sa.Column("webhook_id", sa.String(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("status", sa.Integer(), nullable=True),
        sa.Column("error_code", sa.String(), nullable=True),
        sa.Column("answer", sa.String(), nullable=True),
        sa.Column("milliseconds", sa.Integer(), nullable=False),
        sa.Column("created_at", Time, nullable=False),
        sa.Column("organization_id", sa.String(), nullable=False),
        sa.ForeignKeyConstraint(
            ["delivery_id"],
            ["deliveries.id"],
            name=op.f("fk_attempts_delivery_id_deliveries"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["organization_id"],
            ["organizations.id"],
            name=op.f("fk_attempts_organization_id_organizations"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_attempts")),
        sa.UniqueConstraint("delivery_id", "number", name=op.f("uq_attempts_delivery_id_number")),
    )
    with op.batch_alter_table("attempts", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_attempts_organization_id"), ["organization_id"], unique=False)
        batch_op.create_index("ix_attempts_webhook_id_created_at", ["webhook_id", "created_at"], unique=False)

    with op.batch_alter_table("events", schema=None) as batch_op:
        batch_op.add_column(sa.Column("position", sa.BigInteger(), nullable=True))
        batch_op.create_unique_constraint(
            batch_op.f("uq_events_organization_id_position"), ["organization_id", "position"]
        )

    with op.batch_alter_table("organizations", schema=None) as batch_op:
        batch_op.add_column(
            sa.Column("overage_cap_percent", sa.Integer(), server_default="200", nullable=False)
        )

    with op.batch_alter_table("webhooks", schema=None) as batch_op:
        batch_op.add_column(sa.Column("description", sa.String(length=200), nullable=True))
        batch_op.add_column(sa.Column("old_secret", sa.String(), nullable=True))
        batch_op.add_column(sa.Column("old_secret_until", Time, nullable=True))
        batch_op.add_column(sa.Column("schedule", sa.String(), server_default="short", nullable=False))
        batch_op.add_column(sa.Column("disabled_reason", sa.String(), nullable=True))
        batch_op.add_column(sa.Column("failures", sa.Integer(), server_default="0", nullable=False))
        batch_op.add_column(sa.Column("failing_since", Time, nullable=True))
        batch_op.add_column(sa.Column("missed_after", sa.String(), nullable=True))
        batch_op.add_column(sa.Column("missed_until", sa.String(), nullable=True))
        batch_op.add_column(sa.Column("verified_at", Time, nullable=True))
        batch_op.add_column(sa.Column("disabled_at", Time, nullable=True))

    with op.batch_alter_table("work", schema=None) as batch_op:
        batch_op.add_column(
            sa.Column("poked", sa.Boolean(), server_default=sa.text("(false)"), nullable=False)
        )
