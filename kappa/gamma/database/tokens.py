"""Access tokens as rows, on a connection of the caller's."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, and_, insert, or_, select, update

from kappa.gamma.database.clock import aware, database_time
from kappa.gamma.database.engine import hold
from kappa.gamma.database.token_tables import tokens
from kappa.gamma.protocols.callers import AccessToken, Role, Scope

__all__ = ["StoredToken", "add_token", "all_tokens", "has_admin", "live_token", "note_use", "revoke", "stored_token"]

_USE_EVERY = timedelta(minutes=10)
"""How exact the time of the last use is: a write for each request would make readers wait for each other."""


@dataclass(frozen=True, slots=True)
class StoredToken:
    """A token with what its secret is checked against, at a time of the database's clock."""

    token: AccessToken
    salt: str
    secret_hash: str
    moment: datetime

    @property
    def needs_note(self) -> bool:
        """Whether its use is to be noted."""
        last = self.token.last_used_at
        return last is None or self.moment - last >= _USE_EVERY


def add_token(
    connection: Connection,
    token_id: str,
    name: str,
    *,
    role: Role,
    scope: Scope,
    salt: str,
    secret_hash: str,
    expires_in: timedelta | None = None,
) -> AccessToken | None:
    """Add a token and return it; ``None`` where one of that name is there that was not revoked."""
    hold(connection, "tokens")
    if live_token(connection, name) is not None:
        return None
    moment = database_time(connection)
    expires_at = None if expires_in is None else moment + expires_in
    row = {
        "id": token_id,
        "name": name,
        "role": role,
        "scope": list(scope.patterns),
        "salt": salt,
        "secret_hash": secret_hash,
        "created_at": moment,
        "expires_at": expires_at,
    }
    connection.execute(insert(tokens).values(row))
    return AccessToken(token_id, name, role, scope, moment, expires_at)


def stored_token(connection: Connection, token_id: str) -> StoredToken | None:
    """Return the token of an id, whatever its state."""
    row = connection.execute(select(tokens).where(tokens.c.id == token_id)).one_or_none()
    if row is None:
        return None
    return StoredToken(_token(row), row.salt, row.secret_hash, database_time(connection))


def live_token(connection: Connection, id_or_name: str) -> AccessToken | None:
    """Return the token of an id or a name that was not revoked."""
    is_named = or_(tokens.c.id == id_or_name, tokens.c.name == id_or_name)
    row = connection.execute(select(tokens).where(is_named, tokens.c.revoked_at.is_(None))).first()
    return None if row is None else _token(row)


def all_tokens(connection: Connection) -> list[AccessToken]:
    """Return all tokens, the oldest first."""
    return [_token(row) for row in connection.execute(select(tokens).order_by(tokens.c.created_at, tokens.c.id))]


def has_admin(connection: Connection) -> bool:
    """Return whether a valid token has the role `admin` and an unrestricted scope."""
    is_admin = and_(tokens.c.role == "admin", *_is_valid(database_time(connection)))
    return any(_token(row).scope.is_unrestricted for row in connection.execute(select(tokens).where(is_admin)))


def revoke(connection: Connection, token_id: str) -> datetime:
    """Let a token be valid no more; return when that was."""
    moment = database_time(connection)
    connection.execute(update(tokens).where(tokens.c.id == token_id).values(revoked_at=moment))
    return moment


def note_use(connection: Connection, token_id: str) -> None:
    """Note that a token was used now."""
    connection.execute(update(tokens).where(tokens.c.id == token_id).values(last_used_at=database_time(connection)))


def _is_valid(moment: datetime) -> tuple[ColumnElement[bool], ...]:
    return tokens.c.revoked_at.is_(None), or_(tokens.c.expires_at.is_(None), tokens.c.expires_at > moment)


def _token(row: Row[Any]) -> AccessToken:
    return AccessToken(
        id=row.id,
        name=row.name,
        role=row.role,
        scope=Scope(tuple(row.scope)),
        created_at=aware(row.created_at),
        expires_at=_aware(row.expires_at),
        revoked_at=_aware(row.revoked_at),
        last_used_at=_aware(row.last_used_at),
    )


def _aware(moment: datetime | None) -> datetime | None:
    return None if moment is None else aware(moment)
