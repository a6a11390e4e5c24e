"""The files of bundles, their blobs, and uploads."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

__all__ = ["upgrade"]

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.create_table(
        "bundle_files",
        sa.Column("bundle_id", sa.Integer(), nullable=False),
        sa.Column("path", sa.String(1024), nullable=False),
        sa.Column("namespace", sa.String(63), nullable=False),
        sa.Column("digest", sa.String(71), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("is_executable", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("bundle_id", "path", name="pk_bundle_files"),
        sa.ForeignKeyConstraint(["bundle_id"], ["bundles.id"], name="fk_bundle_files_bundle_id", ondelete="CASCADE"),
    )
    op.create_index("ix_bundle_files_namespace_digest", "bundle_files", ["namespace", "digest"])
    op.create_index("ix_bundle_files_digest", "bundle_files", ["digest"])
    op.create_table(
        "blobs",
        sa.Column("digest", sa.String(71), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("touched_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("digest", name="pk_blobs"),
    )
    op.create_index("ix_blobs_touched_at", "blobs", ["touched_at"])
    op.create_table(
        "uploads",
        sa.Column("session", sa.String(64), nullable=False),
        sa.Column("namespace", sa.String(63), nullable=False),
        sa.Column("name", sa.String(128), nullable=False),
        sa.Column("version", sa.String(128), nullable=False),
        sa.Column("bundle_digest", sa.String(71), nullable=False),
        sa.Column("manifest", sa.LargeBinary(), nullable=False),
        sa.Column("files", sa.JSON(), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("is_committed", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("session", name="pk_uploads"),
    )
    op.create_index("ix_uploads_expires_at", "uploads", ["expires_at"])
    op.create_index("ix_uploads_namespace_name_version", "uploads", ["namespace", "name", "version"])
    op.create_table(
        "upload_blobs",
        sa.Column("session", sa.String(64), nullable=False),
        sa.Column("digest", sa.String(71), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("is_whole", sa.Boolean(), nullable=False),
        sa.Column("is_lost", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("session", "digest", name="pk_upload_blobs"),
        sa.ForeignKeyConstraint(["session"], ["uploads.session"], name="fk_upload_blobs_session", ondelete="CASCADE"),
    )
    op.create_index("ix_upload_blobs_digest", "upload_blobs", ["digest"])
