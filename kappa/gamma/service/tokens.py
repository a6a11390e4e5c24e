"""The access tokens of a registry: asked for each request, so that all servers of one database agree on them."""

from __future__ import annotations

from sqlalchemy import Engine

from kappa.gamma.database import tokens
from kappa.gamma.database.engine import failing_explained, reading
from kappa.gamma.database.tokens import StoredToken

__all__ = ["Tokens"]


class Tokens:
    """The access tokens in a database."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def stored(self, token_id: str) -> StoredToken | None:
        """Return the token of an id, whatever its state."""
        with failing_explained(), reading(self._engine) as connection:
            return tokens.stored_token(connection, token_id)

    def note_use(self, token_id: str) -> None:
        """Note that a token was used now."""
        with failing_explained(), self._engine.begin() as connection:
            tokens.note_use(connection, token_id)

    def has_admin(self) -> bool:
        """Return whether a valid token has the role `admin` and an unrestricted scope."""
        with failing_explained(), reading(self._engine) as connection:
            return tokens.has_admin(connection)
