"""A Gamma server: both doors of one registry in one process, started, drained and stopped.

gRPC has its threads, and the web server its event loop in a thread of its own; what both count is in one place, and
one health check answers for both.
"""

from __future__ import annotations

import logging
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import uvicorn

from kappa.errors import GammaError
from kappa.gamma.access.gate import Gate, OpenGate
from kappa.gamma.doors.exchanges import Exchanges
from kappa.gamma.doors.grpc_door import GrpcDoor
from kappa.gamma.doors.http_door import http_app
from kappa.gamma.doors.readiness import Readiness
from kappa.gamma.doors.tls import ServerTls
from kappa.gamma.protocols.registry import Registry

__all__ = ["GammaServer", "Ports"]

_logger = logging.getLogger("kappa.gamma")
_START_S = 30.0
_KEEP_ALIVE_S = 75
_HEADER_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True)
class Ports:
    """Where a server listens."""

    grpc: int
    web: int | None


class GammaServer:
    """Answers for a registry over gRPC, and over HTTP where it has a ``listener`` for that.

    Without a ``gate``, everybody may do everything.
    """

    def __init__(self, registry: Registry, *, tls: ServerTls | None = None, gate: Gate | None = None) -> None:
        if tls is not None:
            tls.check()
        self._gate = gate or OpenGate(registry)
        self._tls = tls
        self._exchanges = Exchanges()
        self._grpc = GrpcDoor(self._gate, self._exchanges)
        self._readiness = Readiness(registry, lambda is_ready: self._grpc.set_ready(is_ready=is_ready))
        self._web: uvicorn.Server | None = None
        self._web_thread: threading.Thread | None = None

    def start(self, host: str, grpc_port: int, *, web: socket.socket | None = None) -> Ports:
        """Begin to answer, and return where; raises `KappaError` where that cannot be."""
        bound = self._grpc.listen(host, grpc_port, tls=self._tls)
        if web is not None:
            self._start_web(web)
        self._grpc.start()
        self._readiness.start()
        return Ports(bound, None if web is None else int(web.getsockname()[1]))

    def stop(self, *, grace_s: float) -> None:
        """Take no more requests, answer those that run for ``grace_s`` at most, and return."""
        self._readiness.end()
        if self._web is not None:
            self._web.config.timeout_graceful_shutdown = max(1, int(grace_s))
            self._web.should_exit = True
        self._grpc.stop(grace_s)
        if self._web_thread is not None:
            self._web_thread.join(grace_s + 5)

    def _start_web(self, listener: socket.socket) -> None:
        started = threading.Event()
        app = http_app(self._gate, self._exchanges, is_ready=self._readiness)
        self._web = _WebServer(_web_config(app, self._tls), started.set)

        def run(server: uvicorn.Server) -> None:
            try:
                server.run(sockets=[listener])
            except BaseException:
                _logger.exception("The web server failed.")
            finally:
                started.set()

        self._web_thread = threading.Thread(target=run, args=(self._web,), name="kappa-gamma-web", daemon=True)
        self._web_thread.start()
        if not started.wait(_START_S) or not self._web.started:
            raise GammaError("The web server did not start; its log has the reason.")


class _WebServer(uvicorn.Server):
    """A server that says when it has started."""

    def __init__(self, config: uvicorn.Config, on_started: Callable[[], None]) -> None:
        super().__init__(config)
        self._on_started = on_started

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._on_started()


def _web_config(app: Any, tls: ServerTls | None) -> uvicorn.Config:
    encryption: dict[str, Any] = {}
    if tls is not None:
        encryption = {"ssl_certfile": str(tls.cert), "ssl_keyfile": str(tls.key)}
        if tls.client_ca is not None:
            import ssl

            encryption |= {"ssl_ca_certs": str(tls.client_ca), "ssl_cert_reqs": ssl.CERT_REQUIRED}
    return uvicorn.Config(
        app,
        access_log=False,
        date_header=True,
        h11_max_incomplete_event_size=_HEADER_BYTES,
        http="h11",
        interface="asgi3",
        lifespan="off",
        log_config=None,
        proxy_headers=False,
        server_header=False,
        timeout_keep_alive=_KEEP_ALIVE_S,
        ws="none",
        **encryption,
    )
