"""A Gamma server from its options: its database, its storage, its log, and when it ends."""

from __future__ import annotations

import logging
import re
import signal
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from logging.handlers import RotatingFileHandler
from pathlib import Path
from types import FrameType

from sqlalchemy import make_url
from sqlalchemy.exc import ArgumentError

from kappa.environment import home_directory
from kappa.errors import ConfigurationError, GammaError
from kappa.gamma import doors
from kappa.gamma.access.token_gate import TokenGate
from kappa.gamma.database.engine import sqlite_url
from kappa.gamma.doors.tls import ServerTls
from kappa.gamma.protocols.storage import BundleStorage
from kappa.gamma.service.gamma_service import GammaService
from kappa.gamma.storages.opening import open_storage
from kappa.log_format import LogFormat, LogLevel, formatter_of
from kappa.secret_urls import masked
from kappa.service_log import logging_to_stderr

__all__ = ["Listening", "ServerTls", "ServingOptions", "check_database_url", "serve", "usual_urls"]

_logger = logging.getLogger("kappa.gamma")
_BACKENDS = ("sqlite", "postgresql")
_LOOPBACK = ("127.0.0.1", "::1", "localhost")
_LOG_BYTES = 16 * 1024 * 1024
_LOGS_KEPT = 4


@dataclass(frozen=True, slots=True)
class ServingOptions:
    """What an operator says of a Gamma server."""

    db_url: str
    """`sqlite:///PATH` or `postgresql://USER:PASSWORD@HOST:PORT/NAME`."""
    repo_base_url: str
    """A path, or the URL of an object store, as `s3://BUCKET/PREFIX`."""
    host: str
    grpc_port: int
    tls: ServerTls | None = None
    graceful_timeout_s: float = 30.0
    """How long requests that run may take after SIGTERM."""
    log_format: LogFormat = "text"
    log_level: LogLevel = "info"
    is_direct: bool = False
    """Whether clients move blobs by URLs that the object store signs."""
    has_auth: bool = False
    """Whether callers need a token."""
    web_log: Path | None = None
    """The file of the web server's log."""


@dataclass(frozen=True, slots=True)
class Listening:
    """A server that answers."""

    host: str
    grpc_port: int
    web_port: int | None
    is_encrypted: bool
    has_auth: bool
    web_log: Path | None
    """Where the web server's log is; ``None`` where it goes to stderr."""


def usual_urls(environ: Mapping[str, str]) -> tuple[str, str]:
    """Return the database and the storage of this machine, below ``$KAPPA_HOME``."""
    home = home_directory(environ)
    return sqlite_url(home / "storage.db"), str(home / "repository")


def check_database_url(url: str) -> str:
    """Return the URL of a database that Kappa can use; raises `ConfigurationError`."""
    forms = "Give `sqlite:///PATH` or `postgresql://USER:PASSWORD@HOST:PORT/NAME`"
    try:
        address = make_url(url)
    except (ArgumentError, ValueError):
        shown = masked(url) if "://" in url else re.sub(r"[^@]*@", "****@", url)  # which may be a mistyped one
        raise ConfigurationError(f"`{shown}` is not the URL of a database. {forms}.") from None
    if address.get_backend_name() not in _BACKENDS:
        kind = address.get_backend_name()
        raise ConfigurationError(f"`{masked(url)}` is of a database that Kappa does not know, `{kind}`. {forms}.")
    if address.get_backend_name() == "sqlite" and not address.database:
        raise ConfigurationError(f"`{url}` names no file: what it holds would be gone with the server. {forms}.")
    return url


def serve(options: ServingOptions, *, web: socket.socket | None, on_started: Callable[[Listening], None]) -> None:
    """Answer until SIGTERM or SIGINT, then answer what runs, and return; ``web`` is what the web server listens on.

    Raises `KappaError` where it cannot start: also `GammaError` for a database that a newer Kappa made.
    """
    with ExitStack() as stack:
        stack.enter_context(logging_to_stderr(options.log_format, options.log_level))
        web_log = stack.enter_context(_web_log(options)) if web is not None else None
        storage = open_storage(options.repo_base_url, is_direct=options.is_direct)
        registry = GammaService(storage, check_database_url(options.db_url))
        stack.callback(registry.close)
        registry.open()
        if options.has_auth:
            _check_auth(registry, storage, options)
        gate = TokenGate(registry) if options.has_auth else None
        server = doors.GammaServer(registry, tls=options.tls, gate=gate)
        with _asked_to_stop() as has_ended:
            ports = server.start(options.host, options.grpc_port, web=web)
            try:
                if not options.has_auth:
                    _warn_of_openness(options)
                elif options.tls is None and options.host not in _LOOPBACK:
                    _logger.warning(
                        "Tokens arrive in plain text: give `--tls-cert` and `--tls-key`, unless a proxy before this "
                        "server encrypts."
                    )
                _logger.info(
                    "Serving the bundles of `%s` with the database `%s`.",
                    masked(options.repo_base_url),
                    masked(options.db_url),
                )
                listening = Listening(
                    options.host, ports.grpc, ports.web, options.tls is not None, options.has_auth, web_log
                )
                on_started(listening)
                has_ended.wait()
                _logger.info("Stopping: what runs may take %g s more.", options.graceful_timeout_s)
            finally:
                server.stop(grace_s=options.graceful_timeout_s)
        _logger.info("Stopped.")


def _check_auth(registry: GammaService, storage: BundleStorage, options: ServingOptions) -> None:
    """Raise where nobody could be let in, or nobody be kept out any more."""
    if why := storage.why_read_only:
        raise GammaError(
            f"`--auth` does not go with the store `{storage.location}`, which cannot be changed: {why}. A token that "
            "is revoked would stay valid."
        )
    if not registry.tokens.has_admin():
        raise ConfigurationError(
            f"With `--auth` the database `{masked(options.db_url)}` needs a token of an admin, and has none. Make one: "
            "`kappa gamma-token create admin --role admin --db-url URL`, with the URL of this database."
        )


def _warn_of_openness(options: ServingOptions) -> None:
    who = "whoever reaches its ports"
    if options.tls is not None and options.tls.client_ca is not None:
        who = "every client with a certificate of `--tls-client-ca`"
    _logger.warning(
        "THIS SERVER HAS NO AUTHENTICATION: %s can read, change and delete every bundle. Run it only inside of a "
        "network that you trust.",
        who,
    )


@contextmanager
def _asked_to_stop() -> Iterator[threading.Event]:
    """Yield what SIGTERM and SIGINT set; a second one ends the process as if nobody handled it."""
    has_ended = threading.Event()
    previous = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}

    def end(number: int, _: FrameType | None) -> None:
        has_ended.set()
        signal.signal(number, signal.SIG_DFL)

    for number in previous:
        signal.signal(number, end)
    try:
        yield has_ended
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


@contextmanager
def _web_log(options: ServingOptions) -> Iterator[Path | None]:
    """Send the web server's log to its file, and yield that; where it cannot be written, to stderr."""
    if options.web_log is None:
        yield None
        return
    try:
        options.web_log.parent.mkdir(parents=True, exist_ok=True)
        handler = RotatingFileHandler(options.web_log, maxBytes=_LOG_BYTES, backupCount=_LOGS_KEPT, encoding="utf-8")
    except OSError as exc:
        _logger.warning(
            "The web server's log goes to stderr: `%s` cannot be written: %s.", options.web_log, exc.strerror
        )
        yield None
        return
    handler.setFormatter(formatter_of(options.log_format))
    loggers = [logging.getLogger(name) for name in ("kappa.gamma.web", "uvicorn")]
    for logger in loggers:
        logger.addHandler(handler)
        logger.propagate = False
    try:
        yield options.web_log
    finally:
        for logger in loggers:
            logger.removeHandler(handler)
            logger.propagate = True
        handler.close()
