"""The tokens of a Gamma server, in its database."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING

from kappa import gamma
from kappa.environment import home_directory

if TYPE_CHECKING:
    from kappa.gamma.protocols.callers import AccessToken, Role

__all__ = ["create_gamma_token", "list_gamma_tokens", "revoke_gamma_token"]


def create_gamma_token(
    name: str,
    *,
    role: Role,
    scope: Sequence[str] = ("*/*",),
    expires_in: timedelta | None = None,
    db_url: str | None = None,
    environ: Mapping[str, str] = os.environ,
) -> tuple[AccessToken, str]:
    """Make a token, and return it with its text, which is kept nowhere.

    Without ``db_url`` it is for a server of this machine's own store, whose folder is made. Raises `KappaError`.
    """
    if db_url is None:
        home_directory(environ).mkdir(parents=True, exist_ok=True)
    return gamma.create_token(_url(db_url, environ), name, role=role, scope=scope, expires_in=expires_in)


def list_gamma_tokens(*, db_url: str | None = None, environ: Mapping[str, str] = os.environ) -> list[AccessToken]:
    """Return all tokens, the oldest first; raises `KappaError`."""
    return gamma.all_tokens(_url(db_url, environ))


def revoke_gamma_token(
    id_or_name: str, *, db_url: str | None = None, environ: Mapping[str, str] = os.environ
) -> AccessToken:
    """Let a token be valid no more, and return it; raises `KappaError`."""
    return gamma.revoke_token(_url(db_url, environ), id_or_name)


def _url(db_url: str | None, environ: Mapping[str, str]) -> str:
    return db_url or gamma.usual_urls(environ)[0]
