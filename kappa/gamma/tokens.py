"""Access tokens, made, listed and revoked by who runs a Gamma server.

Whoever can open the server's database, on its host, is its admin: no door makes or revokes a token. The server may run
meanwhile, and goes by what is in the database at each request.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta

from sqlalchemy import Connection, Engine

from kappa.errors import GammaError, UsageError
from kappa.gamma.access.tokens import new_token
from kappa.gamma.database import tokens
from kappa.gamma.database.engine import failing_explained, open_present, open_present_or_new
from kappa.gamma.protocols.callers import AccessToken, Role, Scope
from kappa.gamma.serving import check_database_url

__all__ = ["all_tokens", "create_token", "revoke_token"]

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.@-]{0,62}")
_ID = re.compile(r"[0-9a-f]{12}")
_LONGEST = timedelta(days=36_500)


def create_token(
    db_url: str, name: str, *, role: Role, scope: Sequence[str] = ("*/*",), expires_in: timedelta | None = None
) -> tuple[AccessToken, str]:
    """Make a token, and return it with its text, which is kept nowhere.

    A database without tables gets them. Raises `UsageError` for what cannot be a name or a scope, `ConfigurationError`
    for a URL that cannot be one, and `GammaError` for a name that another token has, or a database that cannot be used.
    """
    if not _NAME.fullmatch(name) or _ID.fullmatch(name):
        raise UsageError(
            f"`{name}` cannot name a token: use 1 to 63 letters, digits, `_`, `.`, `@` and `-`, beginning with a "
            "letter or a digit, and nothing that looks like the id of a token."
        )
    if expires_in is not None and not timedelta() < expires_in <= _LONGEST:
        raise UsageError(f"A token is valid for at least a second and at most {_LONGEST.days} days, or without an end.")
    try:
        checked = Scope.checked(tuple(scope))
    except ValueError as exc:
        raise UsageError(f"{exc}.") from None
    made = new_token()
    with _changing(open_present_or_new(check_database_url(db_url))) as connection:
        token = tokens.add_token(
            connection,
            made.text.id,
            name,
            role=role,
            scope=checked,
            salt=made.salt,
            secret_hash=made.secret_hash,
            expires_in=expires_in,
        )
        if token is None:
            raise GammaError(
                f"There is a token `{name}`, so nothing was made. Give another name, or revoke that one first: "
                f"`kappa gamma-token revoke {name}`."
            )
    return token, str(made.text)


def all_tokens(db_url: str) -> list[AccessToken]:
    """Return all tokens, those that are no more valid too, the oldest first; raises as `revoke_token` does."""
    with _changing(open_present(check_database_url(db_url))) as connection:
        return tokens.all_tokens(connection)


def revoke_token(db_url: str, id_or_name: str) -> AccessToken:
    """Let a token be valid no more, and return it.

    Raises `GammaError` for one that is not there, or a database that cannot be used.
    """
    with _changing(open_present(check_database_url(db_url))) as connection:
        token = tokens.live_token(connection, id_or_name)
        if token is None:
            raise GammaError(
                f"There is no token `{id_or_name}` that could be revoked: `kappa gamma-token list` shows them all."
            )
        return replace(token, revoked_at=tokens.revoke(connection, token.id))


@contextmanager
def _changing(engine: Engine) -> Iterator[Connection]:
    try:
        with failing_explained(), engine.begin() as connection:
            yield connection
    finally:
        engine.dispose()
