"""Starting a Gamma server."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from pathlib import Path

from kappa import gamma, server
from kappa.environment import home_directory
from kappa.errors import KappaError, MissingDependencyError, UsageError
from kappa.log_format import LogFormat, LogLevel

__all__ = ["start_gamma_service"]

_PACKAGES = ("grpc", "grpc_health", "grpc_reflection", "obstore", "uvicorn")
_WEB_LOG = "gamma_web_server.log"


def start_gamma_service(
    *,
    db_url: str | None = None,
    repo_base_url: str | None = None,
    host: str = "0.0.0.0",  # noqa: S104 - the concepts page's; it is for others
    grpc_port: int = 50051,
    ui_port: int = 3000,
    has_ui: bool = True,
    tls_cert: Path | None = None,
    tls_key: Path | None = None,
    tls_client_ca: Path | None = None,
    direct_transfer: bool = False,
    auth: bool = False,
    graceful_timeout_s: float = 30.0,
    log_format: LogFormat = "text",
    log_level: LogLevel = "info",
    on_started: Callable[[gamma.Listening], None],
    environ: Mapping[str, str] = os.environ,
) -> None:
    """Serve bundles to other machines until SIGTERM or SIGINT.

    By default those of this machine's own store. With ``direct_transfer``, clients move blobs to and from the object
    store themselves; with ``auth``, they need tokens. Ports of 0 take any free one; ``on_started`` is told which.
    Raises `KappaError` where it cannot start.
    """
    missing = [package for package in _PACKAGES if find_spec(package) is None]
    if missing:
        raise MissingDependencyError("kappa-ml[gamma]", needed_for="a Gamma server")
    if (tls_cert is None) != (tls_key is None):
        raise UsageError("A server with TLS has a certificate and its key: give `--tls-cert` and `--tls-key`.")
    if tls_client_ca is not None and tls_cert is None:
        raise UsageError("`--tls-client-ca` is for a server with TLS: give `--tls-cert` and `--tls-key` as well.")
    if has_ui and grpc_port == ui_port != 0:
        raise UsageError(f"gRPC and the web UI cannot both listen on port {ui_port}: choose another for one of them.")
    usual_db, usual_repo = gamma.usual_urls(environ)
    web_log = home_directory(environ) / "logs" / _WEB_LOG
    _take_and_leave(host, grpc_port)
    web = _listen(host, ui_port, option="--ui-port") if has_ui else None
    try:
        options = gamma.ServingOptions(
            db_url=gamma.check_database_url(db_url or usual_db),
            repo_base_url=repo_base_url or usual_repo,
            host=host,
            grpc_port=grpc_port,
            tls=None if tls_cert is None or tls_key is None else gamma.ServerTls(tls_cert, tls_key, tls_client_ca),
            graceful_timeout_s=graceful_timeout_s,
            log_format=log_format,
            log_level=log_level,
            is_direct=direct_transfer,
            has_auth=auth,
            web_log=web_log,
        )
        gamma.serve(options, web=web, on_started=on_started)
    finally:
        if web is not None:
            web.close()


def _take_and_leave(host: str, port: int) -> None:
    """Raise `PortInUseError`, which says who holds a port, before gRPC binds it and says only that it cannot."""
    _listen(host, port, option="--grpc-port").close()


def _listen(host: str, port: int, *, option: str) -> socket.socket:
    try:
        return server.listen_on(host, port)
    except KappaError as exc:
        raise type(exc)(str(exc).replace("`--port", f"`{option}")) from None
