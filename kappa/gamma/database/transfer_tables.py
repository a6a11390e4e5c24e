"""The tables of what bundles are made of and what is being uploaded; a migration makes them (`tables` beside it)."""

from __future__ import annotations

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    DateTime,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    String,
    Table,
)

from kappa.gamma.database.tables import metadata

__all__ = ["blobs", "bundle_files", "upload_blobs", "uploads"]

_DIGEST, _SESSION = String(71), String(64)

bundle_files = Table(
    "bundle_files",
    metadata,
    Column("bundle_id", Integer, ForeignKey("bundles.id", ondelete="CASCADE"), primary_key=True),
    Column("path", String(1024), primary_key=True),
    Column("namespace", String(63), nullable=False),
    Column("digest", _DIGEST, nullable=False),
    Column("size_bytes", BigInteger, nullable=False),
    Column("is_executable", Boolean, nullable=False),
    Index(None, "namespace", "digest"),
    Index(None, "digest"),
)
"""The files of each bundle that was uploaded; a tree that was put into a folder has none, and is listed itself."""

blobs = Table(
    "blobs",
    metadata,
    Column("digest", _DIGEST, primary_key=True),
    Column("size_bytes", BigInteger, nullable=False),
    Column("touched_at", DateTime(timezone=True), nullable=False, index=True),
)
"""The blobs that an object store may have: a row is there before the object and goes after it.

Touched when an upload names it, and when a bundle that has it is deleted.
"""

uploads = Table(
    "uploads",
    metadata,
    Column("session", _SESSION, primary_key=True),
    Column("namespace", String(63), nullable=False),
    Column("name", String(128), nullable=False),
    Column("version", String(128), nullable=False),
    Column("bundle_digest", _DIGEST, nullable=False),
    Column("manifest", LargeBinary, nullable=False),
    Column("files", JSON, nullable=False),
    Column("expires_at", DateTime(timezone=True), nullable=False, index=True),
    Column("is_committed", Boolean, nullable=False),
    Column("token_id", String(16), nullable=False),  # of the token that began it; empty on a server without `--auth`
    Index(None, "namespace", "name", "version"),
)
"""The uploads that have begun; a committed one stays until it expires, to answer a repeated commit."""

upload_blobs = Table(
    "upload_blobs",
    metadata,
    Column("session", _SESSION, ForeignKey("uploads.session", ondelete="CASCADE"), primary_key=True),
    Column("digest", _DIGEST, primary_key=True),
    Column("size_bytes", BigInteger, nullable=False),
    Column("is_whole", Boolean, nullable=False),  # sent by this upload
    Column("is_lost", Boolean, nullable=False),  # a bundle has it, and the storage does not
    Index(None, "digest"),
)
"""The blobs of each upload: all of its bundle, so that none is removed meanwhile."""
