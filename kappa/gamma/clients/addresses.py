"""The addresses of Gamma servers: `HOST:PORT`, `grpc://`, `grpcs://`, `http://` and `https://`."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from kappa.errors import ConfigurationError
from kappa.secret_urls import masked

__all__ = ["Address", "ConnectionSettings", "parse_address"]

Protocol = Literal["grpc", "http"]

GRPC_PORT = 50051
_HTTP_PORTS = {"http": 80, "https": 443}
_FORMS = "`HOST:PORT`, `grpc://HOST:PORT`, `grpcs://HOST:PORT`, `http://HOST:PORT` or `https://HOST:PORT/PREFIX`"
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
_HOST = re.compile(r"[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+(%[A-Za-z0-9._-]+)?\]")


@dataclass(frozen=True, slots=True)
class Address:
    """Where a Gamma server listens, and which protocol it speaks there."""

    protocol: Protocol
    host: str
    """As a URL has it: an IPv6 address is in brackets."""
    port: int
    is_encrypted: bool = False
    prefix: str = ""
    """The path under which a proxy has it, without a slash at the end."""

    @property
    def target(self) -> str:
        return f"{self.host}:{self.port}"

    @property
    def url(self) -> str:
        scheme = f"{self.protocol}s" if self.is_encrypted else self.protocol
        return f"{scheme}://{self.target}{self.prefix}"

    def __str__(self) -> str:
        return self.target if self.protocol == "grpc" and not self.is_encrypted else self.url


@dataclass(frozen=True, slots=True)
class ConnectionSettings:
    """How a client connects to a Gamma server."""

    tls_ca: Path | None = None
    """A file of the certificates (PEM) that sign the server's, in place of the system's."""
    tls_cert: Path | None = None
    """The client's own certificate (PEM), where the server asks for one."""
    tls_key: Path | None = None
    """The key of it (PEM)."""
    timeout_s: float = 60.0
    """How long one operation may take; of transfers, how long no byte may move."""
    token: str | None = field(default=None, repr=False)
    """What the server knows the client by."""

    @property
    def authorization(self) -> str | None:
        """The `Authorization` of each request (RFC 6750)."""
        return None if self.token is None else f"Bearer {self.token}"


def parse_address(text: str) -> Address:
    """Read the address of a Gamma server; raises `ConfigurationError` that names the forms."""
    scheme = _SCHEME.match(text)
    try:
        url = urlsplit(text if scheme else f"grpc://{text}")
    except ValueError:
        raise _refused(text, "it is not a URL") from None
    kind = (scheme[1] if scheme else "grpc").lower()
    if kind not in ("grpc", "grpcs", "http", "https"):
        raise _refused(text, f"`{kind}` is not a protocol of it")
    if "@" in url.netloc:
        raise _refused(text, "it holds a user or a password, which it must not")
    host, port = _split(text, url.netloc, default=_HTTP_PORTS.get(kind, GRPC_PORT))
    if url.query or url.fragment or (kind.startswith("grpc") and url.path.strip("/")):
        raise _refused(text, "there is something after its port that does not belong there")
    return Address(
        protocol="http" if kind.startswith("http") else "grpc",
        host=host,
        port=port,
        is_encrypted=kind.endswith("s"),
        prefix=url.path.rstrip("/"),
    )


def _split(text: str, netloc: str, *, default: int) -> tuple[str, int]:
    host, colon, digits = netloc.rpartition(":")
    if not colon or digits.endswith("]"):
        host, digits = netloc, ""
    if not _HOST.fullmatch(host):
        raise _refused(text, f"`{host}` is not a host" if host else "it has no host")
    if not colon or not digits:
        return host, default
    if not (digits.isascii() and digits.isdecimal() and 0 < int(digits) < 65536):
        raise _refused(text, f"`{digits}` is not a port")
    return host, int(digits)


def _refused(text: str, reason: str) -> ConfigurationError:
    return ConfigurationError(f"`{masked(text)}` is not the address of a Gamma server: {reason}. Give {_FORMS}.")
