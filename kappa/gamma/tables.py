"""The tables of the store, for SQLite and PostgreSQL alike; both sort names and keys by their code points.

Every row belongs to a *namespace*. What a table holds is changed by a migration only (`kappa.gamma.migrations`); a test
compares the two.
"""

from __future__ import annotations

from sqlalchemy import (
    JSON,
    BigInteger,
    Column,
    DateTime,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    UniqueConstraint,
)
from sqlalchemy.types import TypeEngine

__all__ = ["REVISION", "bundles", "labels", "locked_packages", "metadata"]

REVISION = "0001"
"""The newest migration: what a database must be at."""

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

_NAMESPACE = String(63)


def _sorted_text(length: int) -> TypeEngine[str]:
    """Return the type of a column that is sorted by code points, as SQLite does; PostgreSQL goes by its locale."""
    return String(length).with_variant(String(length, collation="C"), "postgresql")


bundles = Table(
    "bundles",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("namespace", _NAMESPACE, nullable=False),
    Column("name", _sorted_text(128), nullable=False),
    Column("version", String(128), nullable=False),
    Column("created_at", DateTime(timezone=True), nullable=False),  # when it was built, in UTC
    Column("uri", String(1024), nullable=False),  # relative to the root of the storage
    Column("kappa_version", String(64), nullable=False),
    Column("content_digest", String(71), nullable=False),
    Column("bundle_digest", String(71), nullable=False),
    Column("size_bytes", BigInteger, nullable=False),
    Column("view", JSON, nullable=False),  # `kappa.spec.views.metadata_view`
    UniqueConstraint("namespace", "name", "version"),
    Index(None, "namespace", "name", "created_at"),
    Index(None, "namespace", "bundle_digest"),
)
"""One row per bundle."""

labels = Table(
    "labels",
    metadata,
    Column("namespace", _NAMESPACE, nullable=False),
    Column("bundle_id", Integer, ForeignKey("bundles.id", ondelete="CASCADE"), primary_key=True),
    Column("key", _sorted_text(63), primary_key=True),
    Column("value", String(63), nullable=False),
    Index(None, "namespace", "key", "value"),
)
"""The labels of bundles."""

locked_packages = Table(
    "locked_packages",
    metadata,
    Column("namespace", _NAMESPACE, nullable=False),
    Column("bundle_id", Integer, ForeignKey("bundles.id", ondelete="CASCADE"), primary_key=True),
    Column("distribution", String(255), primary_key=True),  # normalised (PEP 503)
    Column("version", String(1024), primary_key=True),  # or a URL; a universal lock may have several
    Index(None, "namespace", "distribution", "version"),
)
"""The lock of each bundle: which bundles have a package, and at which version."""
