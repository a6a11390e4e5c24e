"""The certificates of a Gamma server."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from pathlib import Path

from kappa.errors import ConfigurationError

__all__ = ["ServerTls"]


@dataclass(frozen=True, slots=True)
class ServerTls:
    """Files (PEM) that encrypt both doors."""

    cert: Path
    """The server's certificate, with those between it and its root."""
    key: Path
    client_ca: Path | None = None
    """The certificates that sign those of clients; with it, only clients that show one are answered."""

    def check(self) -> None:
        """Raise `ConfigurationError` for files that cannot be read or do not belong together."""
        try:
            context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=self.client_ca)
            context.load_cert_chain(self.cert, self.key)
        except (OSError, ssl.SSLError) as exc:
            raise ConfigurationError(
                f"The certificates of `--tls-cert`, `--tls-key` and `--tls-client-ca` cannot be used: {exc}."
            ) from None
