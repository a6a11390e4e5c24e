"""The tables of the store, for SQLite and PostgreSQL alike; both sort names and keys by their code points.

Every row belongs to a *namespace*. What a table holds is changed by a migration only (`migrations` beside it); a test
compares the two.

PERF: bundles, labels and locks have the time of build as the same number, so that an index of each yields the bundles
that meet one condition in the order of lists, and several are merged (`selection`).
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

__all__ = [
    "REVISION",
    "absent_bundles",
    "alias_changes",
    "bundles",
    "distributions",
    "folders",
    "labels",
    "locks",
    "metadata",
    "operations",
    "packages",
    "refs",
]

REVISION = "0005"
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
_DIGEST = String(71)
_TIME = DateTime(timezone=True)


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
    Column("created_at", _TIME, nullable=False),  # when it was built, in UTC
    Column("created_us", BigInteger, nullable=False),  # the same in microseconds since 1970
    Column("uri", String(1024), nullable=False),  # relative to the root of the storage
    Column("kappa_version", String(64), nullable=False),
    Column("content_digest", _DIGEST, nullable=False),
    Column("bundle_digest", _DIGEST, nullable=False),
    Column("size_bytes", BigInteger, nullable=False),
    Column("view", JSON, nullable=False),  # `kappa.spec.views.metadata_view`
    Column("registered_at", _TIME, nullable=False),  # by the clock of the database
    Column("ranked_at", _TIME, nullable=False),  # the earlier of both times: the greatest is `latest`
    Column("created_by", String(255), nullable=False),
    UniqueConstraint("namespace", "name", "version"),
    Index(None, "namespace", "created_us", "id"),
    Index(None, "namespace", "name", "created_us", "id"),
    Index(None, "namespace", "name", "ranked_at", "id"),
    Index(None, "namespace", "bundle_digest"),
)
"""One row per bundle."""

refs = Table(
    "refs",
    metadata,
    Column("namespace", _NAMESPACE, primary_key=True),
    Column("name", _sorted_text(128), primary_key=True),
    Column("ref", _sorted_text(128), primary_key=True),
    Column("kind", String(8), nullable=False),  # `version`, `alias`, or `reserved`: a version that was deleted
    Column("bundle_id", Integer, ForeignKey("bundles.id", ondelete="CASCADE")),  # none if it is reserved
    Column("bundle_digest", _DIGEST, nullable=False),  # what alone may have a reserved version
    Column("changed_at", _TIME, nullable=False),
    Index(None, "bundle_id"),
)
"""What may stand behind the colon of a tag: that it is unique keeps versions and aliases apart."""

alias_changes = Table(
    "alias_changes",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("namespace", _NAMESPACE, nullable=False),
    Column("name", _sorted_text(128), nullable=False),
    Column("alias", _sorted_text(128), nullable=False),
    Column("previous", String(128)),
    Column("version", String(128)),
    Column("changed_at", _TIME, nullable=False),
    Column("changed_by", String(255), nullable=False),
    Index(None, "namespace", "name", "alias", "id"),
)
"""The history of aliases; it outlives the bundles."""

labels = Table(
    "labels",
    metadata,
    Column("namespace", _NAMESPACE, nullable=False),
    Column("bundle_id", Integer, ForeignKey("bundles.id", ondelete="CASCADE"), primary_key=True),
    Column("key", _sorted_text(63), primary_key=True),
    Column("value", String(63), nullable=False),
    Column("created_us", BigInteger, nullable=False),  # as in `bundles`
    Index(None, "namespace", "key", "value", "created_us", "bundle_id"),
    Index(None, "namespace", "key", "created_us", "bundle_id", "value"),
)
"""The labels of bundles."""

distributions = Table(
    "distributions",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("namespace", _NAMESPACE, nullable=False),
    Column("name", String(255), nullable=False),  # normalised (PEP 503)
    UniqueConstraint("namespace", "name"),
)
"""The distributions that any bundle ever locked."""

packages = Table(
    "packages",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("distribution_id", Integer, ForeignKey("distributions.id"), nullable=False),
    Column("version", String(1024), nullable=False),  # or a URL
    UniqueConstraint("distribution_id", "version"),
)
"""Their versions."""

locks = Table(
    "locks",
    metadata,
    Column("bundle_id", Integer, ForeignKey("bundles.id", ondelete="CASCADE"), primary_key=True),
    Column("distribution_id", Integer, primary_key=True),
    Column("package_id", Integer, ForeignKey("packages.id"), primary_key=True),  # a universal lock may have several
    Column("created_us", BigInteger, nullable=False),  # as in `bundles`
    Index(None, "distribution_id", "created_us", "bundle_id", "package_id"),
    sqlite_with_rowid=False,
)
"""The lock of each bundle: which bundles have a package, and at which version."""

operations = Table(
    "operations",
    metadata,
    Column("id", String(128), primary_key=True),
    Column("request", String(64), nullable=False),  # the SHA-256 of what was asked
    Column("answer", JSON, nullable=False),
    Column("done_at", _TIME, nullable=False),
    Index(None, "done_at"),
)
"""The answers of writes, for repeats."""

absent_bundles = Table(
    "absent_bundles",
    metadata,
    Column("namespace", _NAMESPACE, primary_key=True),
    Column("name", _sorted_text(128), primary_key=True),
    Column("version", String(128), primary_key=True),
    Column("bundle_digest", _DIGEST, nullable=False),
    Column("labels", JSON, nullable=False),
    Column("aliases", JSON, nullable=False),
    Column("registered_at", _TIME, nullable=False),
    Column("created_by", String(255), nullable=False),
)
"""What is known of bundles whose trees went away by themselves, should they come back."""

folders = Table(
    "folders",
    metadata,
    Column("namespace", _NAMESPACE, primary_key=True),
    Column("name", _sorted_text(128), primary_key=True),
    Column("state", String(96), nullable=False),  # empty if it may have changed unseen
)
"""The folders of services, each with its state when trees and rows were last seen to agree."""
