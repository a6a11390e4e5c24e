"""The token that a client shows to a Gamma server: that of `KAPPA_GAMMA_TOKEN`, else the one in a file.

It is never on a command line, in a log or in an error. It goes to the server that is configured alone: never to an
object store, and not without TLS to another machine unless that is allowed.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Mapping
from ipaddress import ip_address
from pathlib import Path

from kappa.environment import expanded
from kappa.errors import ConfigurationError
from kappa.gamma.clients.addresses import Address
from kappa.settings import GammaSettings

__all__ = ["TOKEN_VARIABLE", "check_may_send", "token_of"]

TOKEN_VARIABLE = "KAPPA_GAMMA_TOKEN"  # noqa: S105 - its name
_TOKEN = re.compile(r"[\x21-\x7e]{1,4096}")
_LARGEST_FILE = 16 * 1024


def token_of(settings: GammaSettings, environ: Mapping[str, str]) -> str | None:
    """Return the token that is configured, or ``None``.

    Raises `ConfigurationError` for a file that is not there or that others than its owner can read, and for what cannot
    be a token.
    """
    if text := environ.get(TOKEN_VARIABLE, "").strip():
        return _checked(text, f"The variable `{TOKEN_VARIABLE}`")
    if settings.token_file is None:
        return None
    path = expanded(settings.token_file)
    return _checked(_read(path), f"The file `{path}`, which `gamma_service.token_file` names,")


def check_may_send(address: Address, settings: GammaSettings) -> None:
    """Raise `ConfigurationError` where a token would travel to another machine so that others can read it."""
    if address.is_encrypted or settings.allow_plaintext or _is_loopback(address.host):
        return
    encrypted = f"https://{address.target}" if address.protocol == "http" else f"grpcs://{address.target}"
    raise ConfigurationError(
        f"The token for `{address}` would go over the network without encryption. Use TLS, as in "
        f"`kappa config set gamma_service.url={encrypted}`, or, where the network itself is trusted, allow it by "
        "`kappa config set gamma_service.allow_plaintext=true`."
    )


def _read(path: Path) -> str:
    named = f"The file `{path}`, which `gamma_service.token_file` names,"
    try:
        with path.open("rb") as file:
            state = os.fstat(file.fileno())
            if hasattr(os, "getuid"):
                if state.st_uid not in (os.getuid(), 0):
                    raise ConfigurationError(f"{named} belongs to another user: make one of your own.")
                if state.st_mode & (stat.S_IRWXG | stat.S_IRWXO):
                    raise ConfigurationError(f"{named} can be read by others than you: `chmod 600 {path}`.")
            return file.read(_LARGEST_FILE).decode("ascii", errors="replace").strip()
    except OSError as exc:
        raise ConfigurationError(f"{named} cannot be read: {exc.strerror}.") from None


def _checked(text: str, named: str) -> str:
    if not _TOKEN.fullmatch(text):
        raise ConfigurationError(f"{named} holds no token: that is one word of letters, digits and punctuation.")
    return text


def _is_loopback(host: str) -> bool:
    """Return whether a host of a URL is this machine, by what it is called alone."""
    if host.lower() == "localhost":
        return True
    try:
        return ip_address(host.strip("[]").partition("%")[0]).is_loopback
    except ValueError:
        return False
