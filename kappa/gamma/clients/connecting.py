"""How a registry on another machine is reached."""

from __future__ import annotations

import os
from importlib.util import find_spec
from pathlib import Path

from kappa.environment import expanded
from kappa.errors import MissingDependencyError
from kappa.gamma import clients
from kappa.gamma.clients.addresses import Address, ConnectionSettings, parse_address
from kappa.gamma.clients.tokens import check_may_send
from kappa.gamma.protocols.registry import Registry
from kappa.settings import GammaSettings

__all__ = ["connect"]

_DEFAULTS = GammaSettings()
_PACKAGES = {"grpc": ("grpc", "google.protobuf"), "http": ("httpx",)}


def connect(url: str, settings: GammaSettings = _DEFAULTS, *, token: str | None = None) -> Registry:
    """Return the registry of a server; it is asked nothing yet.

    ``url`` is `HOST:PORT`, or begins with `grpc://`, `grpcs://`, `http://` or `https://`; of the settings, those of TLS
    and the time count. ``token`` goes with each request. Raises `ConfigurationError` for another URL, for certificates
    that cannot be read and for a token that others could read on its way, and `MissingDependencyError`.
    """
    address = parse_address(url)
    if token is not None:
        check_may_send(address, settings)
    _check_packages(address)
    connection = ConnectionSettings(
        tls_ca=_path(settings.tls_ca),
        tls_cert=_path(settings.tls_cert),
        tls_key=_path(settings.tls_key),
        timeout_s=settings.timeout,
        token=token,
    )
    if address.protocol == "http":
        return clients.HttpRegistry(address, connection)
    # NOTE: gRPC reads it when it is imported, here; what it would write to stderr is in the errors, too
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    return clients.GrpcRegistry(address, connection)


def _path(text: str | None) -> Path | None:
    return None if text is None else expanded(text)


def _check_packages(address: Address) -> None:
    if all(map(_is_installed, _PACKAGES[address.protocol])):
        return
    needed_for = f"the Gamma server `{address}`"
    if address.protocol == "grpc":
        otherwise = f"give the address of its web port, like `http://{address.host}:3000`"
        raise MissingDependencyError("kappa-ml[gamma]", needed_for=needed_for, otherwise=otherwise)
    raise MissingDependencyError("kappa-ml[client]", needed_for=needed_for)


def _is_installed(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:  # of the package that it is in
        return False
