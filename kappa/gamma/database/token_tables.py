"""The table of access tokens; a migration makes it (`tables` beside it)."""

from __future__ import annotations

from sqlalchemy import JSON, Column, DateTime, Index, String, Table

from kappa.gamma.database.tables import metadata

__all__ = ["tokens"]

_TIME = DateTime(timezone=True)

tokens = Table(
    "tokens",
    metadata,
    Column("id", String(16), primary_key=True),  # the part of a token that is no secret
    Column("name", String(63), nullable=False),
    Column("role", String(8), nullable=False),
    Column("scope", JSON, nullable=False),  # a list of globs over `namespace/name`
    Column("salt", String(32), nullable=False),
    Column("secret_hash", String(64), nullable=False),  # the SHA-256 of the salt and the secret
    Column("created_at", _TIME, nullable=False),
    Column("expires_at", _TIME),
    Column("revoked_at", _TIME),
    Column("last_used_at", _TIME),
    Index(None, "name"),
)
"""The tokens that callers of a server with `--auth` show; a revoked one stays, for it may stand in histories."""
