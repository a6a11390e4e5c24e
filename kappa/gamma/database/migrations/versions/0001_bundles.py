"""Bundles, their labels and their locks."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

__all__ = ["sorted_text", "upgrade"]

revision = "0001"
down_revision = None


def sorted_text(length: int) -> sa.types.TypeEngine[str]:
    """Return the type of a column that is sorted by code points in every database."""
    return sa.String(length).with_variant(sa.String(length, collation="C"), "postgresql")


def upgrade() -> None:
    op.create_table(
        "bundles",
        sa.Column("id", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("namespace", sa.String(63), nullable=False),
        sa.Column("name", sorted_text(128), nullable=False),
        sa.Column("version", sa.String(128), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("uri", sa.String(1024), nullable=False),
        sa.Column("kappa_version", sa.String(64), nullable=False),
        sa.Column("content_digest", sa.String(71), nullable=False),
        sa.Column("bundle_digest", sa.String(71), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("view", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_bundles"),
        sa.UniqueConstraint("namespace", "name", "version", name="uq_bundles_namespace_name_version"),
    )
    op.create_index("ix_bundles_namespace_name_created_at", "bundles", ["namespace", "name", "created_at"])
    op.create_index("ix_bundles_namespace_bundle_digest", "bundles", ["namespace", "bundle_digest"])
    op.create_table(
        "labels",
        sa.Column("namespace", sa.String(63), nullable=False),
        sa.Column("bundle_id", sa.Integer(), nullable=False),
        sa.Column("key", sorted_text(63), nullable=False),
        sa.Column("value", sa.String(63), nullable=False),
        sa.PrimaryKeyConstraint("bundle_id", "key", name="pk_labels"),
        sa.ForeignKeyConstraint(["bundle_id"], ["bundles.id"], name="fk_labels_bundle_id", ondelete="CASCADE"),
    )
    op.create_index("ix_labels_namespace_key_value", "labels", ["namespace", "key", "value"])
    op.create_table(
        "locked_packages",
        sa.Column("namespace", sa.String(63), nullable=False),
        sa.Column("bundle_id", sa.Integer(), nullable=False),
        sa.Column("distribution", sa.String(255), nullable=False),
        sa.Column("version", sa.String(1024), nullable=False),
        sa.PrimaryKeyConstraint("bundle_id", "distribution", "version", name="pk_locked_packages"),
        sa.ForeignKeyConstraint(["bundle_id"], ["bundles.id"], name="fk_locked_packages_bundle_id", ondelete="CASCADE"),
    )
    op.create_index(
        "ix_locked_packages_namespace_distribution_version",
        "locked_packages",
        ["namespace", "distribution", "version"],
    )
