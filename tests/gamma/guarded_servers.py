"""A Gamma server with `--auth` in this process, and the tokens that tests show it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from kappa.gamma.access.failed_logins import FailedLogins
from kappa.gamma.access.token_gate import TokenGate
from kappa.gamma.database.engine import sqlite_url
from kappa.gamma.protocols.callers import Caller, Role
from kappa.gamma.service.gamma_service import GammaService
from kappa.gamma.storages.opening import open_storage
from kappa.gamma.tokens import create_token
from tests.gamma.servers import Served, serving

__all__ = ["Guarded", "Token", "guarded_server", "make_token"]


@dataclass(frozen=True)
class Token:
    """A token that a test has."""

    text: str
    caller: Caller

    @property
    def header(self) -> str:
        return f"Bearer {self.text}"

    @property
    def secret(self) -> str:
        return self.text.rpartition("_")[2]


@dataclass(frozen=True)
class Guarded:
    """A server whose callers need tokens, and the registry behind it, as its operator has it."""

    served: Served
    service: GammaService
    database_url: str


def make_token(database_url: str, name: str, role: Role, *scope: str, expires_in: timedelta | None = None) -> Token:
    """Make a token as an operator does."""
    token, text = create_token(database_url, name, role=role, scope=scope or ("*/*",), expires_in=expires_in)
    return Token(text, token.caller)


@contextmanager
def guarded_server(
    folder: Path, *, database_url: str | None = None, repository: str | None = None, limit: int = 10**6
) -> Iterator[Guarded]:
    """Serve an empty registry behind a gate that withholds after ``limit`` wrong tokens."""
    url = database_url or sqlite_url(folder / "storage.db")
    storage = open_storage(repository or str(folder / "repository"), environ={"KAPPA_HOME": str(folder)})
    service = GammaService(storage, url)
    try:
        service.open()
        gate = TokenGate(service, failed_logins=FailedLogins(limit=limit))
        with serving(service, gate=gate) as served:
            yield Guarded(served, service, url)
    finally:
        service.close()
