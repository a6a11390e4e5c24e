"""gunicorn's own ASGI worker, with what a prediction server needs besides.

What the base does, measured with gunicorn 27.0, and what is changed here:

- After SIGTERM it accepts for up to a second more, and one idle keep-alive connection holds it for the whole graceful
  timeout. Here the worker stops accepting at once, closes idle connections, and waits only for requests.
- It has no limit on the time for a request's headers, none on the time a client may leave its answer unread, and none
  on connections. Here 10 s (408), 30 s, and a number (503).
- It sets and cancels a timer per request for keep-alive (PERF: 2 µs). Here one sweep a second looks at all connections.
- It runs each request in a task of its own, so that an application may go on after its answer (PERF: 10 µs). Kappa's
  does not.
- It closes a connection with the rest of a refused body unread, which resets it before the client has read why. Here
  the rest is thrown away for a moment first (RFC 9112, section 9.6).
- Its own errors are plain text. Here they have the body that every error of Kappa has.
- A failure to start ends in an endless row of new workers. Here it ends the server.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

from gunicorn.arbiter import Arbiter
from gunicorn.asgi.lifespan import LifespanManager
from gunicorn.asgi.protocol import ASGIProtocol
from gunicorn.workers.gasgi import ASGIWorker

from kappa.server.bounds import (
    HEADER_TIMEOUT_S,
    LINGER_S,
    TOO_MANY,
    Unsent,
    affordable_connections,
    error_response,
    is_at,
)
from kappa.server.swap import DRAIN, RELOAD

__all__ = ["KappaProtocol", "KappaWorker"]

_TICK_S = 1.0
_FIRST_REQUEST_S = 1.0
_CLOSING_S = 1.0


class KappaProtocol(ASGIProtocol):  # type: ignore[misc] # gunicorn has no types
    """One connection."""

    worker: KappaWorker
    transport: asyncio.Transport
    _closed: bool

    def __init__(self, worker: KappaWorker) -> None:
        super().__init__(worker)
        self._waiting_since: float | None = None
        """When the connection began to wait for a request's headers; ``None`` while one is answered."""
        self._is_incomplete = False
        """Whether a request has begun to arrive and is not whole yet."""
        self._is_lingering = False
        self._unsent = Unsent()

    # What the base calls

    def connection_made(self, transport: asyncio.Transport) -> None:
        """Take the connection, or refuse it when there are too many."""
        self.worker.connections.add(self)
        self._waiting_since = self.worker.loop.time()
        super().connection_made(transport)
        if self.worker.is_full and not is_at(transport, self.worker.app.management_port):
            self._send_error_response(503, TOO_MANY, [("Retry-After", "1")])
            self._is_incomplete = True
            self.close()

    def data_received(self, data: bytes) -> None:
        if not self._is_lingering:
            self._is_incomplete = True
            super().data_received(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self.worker.forget(self)
        super().connection_lost(exc)

    def _on_headers_complete(self) -> Any:
        self._waiting_since = None
        return super()._on_headers_complete()

    def _on_message_complete(self) -> None:
        self._is_incomplete = False
        super()._on_message_complete()

    async def _serve_http_request(self, request: Any, sockname: Any, peername: Any) -> bool:
        """Answer in the connection's own task."""
        return bool(await self._handle_http_request(request, sockname, peername))

    def _arm_keepalive_timer(self) -> None:
        """Remember since when the connection waits; `sweep` does the rest."""
        self._waiting_since = self.worker.loop.time()

    def _cancel_keepalive_timer(self) -> None:
        """Nothing was armed."""

    def _send_error_response(self, status: int, message: str, extra_headers: Sequence[tuple[str, str]] = ()) -> None:
        """Answer what never reached the application, in the form of all errors."""
        self._safe_write(error_response(status, message, extra_headers))

    def _will_close(self, request: Any, response_requires_close: bool) -> bool:
        """Announce the end of a connection whose request is answered before it is whole."""
        return self._is_incomplete or bool(super()._will_close(request, response_requires_close))

    def _close_transport(self) -> None:
        """Close once what was written is sent; a request that still arrives is thrown away for a moment first."""
        if self._closed or not self._is_incomplete or self.transport.is_closing():
            super()._close_transport()
            return
        self._closed = self._is_lingering = True
        with suppress(OSError, RuntimeError):
            self.transport.write_eof()
        self._resume_reading()
        self.worker.loop.call_later(LINGER_S, self.transport.close)

    # What the worker calls

    def close(self) -> None:
        """Close the connection and let its task end."""
        self._close_transport()
        self._request_ready.set()

    def sweep(self, now: float) -> None:
        """Close the connection if it has been idle, its headers incomplete or its answer unread, for too long."""
        if self._unsent.is_stuck(self.transport, now):
            self.transport.abort()
            return
        if self._waiting_since is None or self._closed:
            return
        waited = now - self._waiting_since
        if self._is_incomplete or self.req_count <= 1:
            if waited > HEADER_TIMEOUT_S:
                self._send_error_response(408, f"No request arrived within {HEADER_TIMEOUT_S:g} seconds.")
                self.close()
        elif waited > self._keepalive:
            self.close()

    def is_idle(self, now: float) -> bool:
        """Return whether no request is on its way; a new connection gets a second to send its first one."""
        if self._waiting_since is None or self._is_incomplete:
            return False
        return self.req_count > 1 or now - self._waiting_since > _FIRST_REQUEST_S


class KappaWorker(ASGIWorker):  # type: ignore[misc] # gunicorn has no types
    """One process that answers requests; ``app`` is a `GunicornApplication`."""

    loop: asyncio.AbstractEventLoop

    def __init__(self, *arguments: Any, **keywords: Any) -> None:
        super().__init__(*arguments, **keywords)
        self.connections: set[KappaProtocol] = set()
        self.max_connections = affordable_connections(self.worker_connections)
        self._woken = asyncio.Event()
        self._stop_by: float | None = None

    @property
    def is_full(self) -> bool:
        return len(self.connections) > self.max_connections

    def init_signals(self) -> None:
        super().init_signals()
        self.loop.add_signal_handler(signal.SIGHUP, self.handle_reload_signal)

    def handle_reload_signal(self) -> None:
        """Exchange the services for those that are wanted now (SIGHUP)."""
        begin: Callable[[], None] | None = self.state.get(RELOAD)
        if begin is not None and self.alive:
            begin()

    def handle_exit_signal(self) -> None:
        """Begin to stop (SIGTERM): after the drain delay, during which `/readyz` already says no."""
        drain: Callable[[], None] | None = self.state.get(DRAIN)
        if drain is not None:
            drain()
        if self._stop_by is None:
            self._stop_by = self.loop.time() + self.cfg.graceful_timeout
        if self.app.drain_delay_s:
            self.loop.call_later(self.app.drain_delay_s, self.stop)
        else:
            self.stop()

    def handle_quit_signal(self) -> None:
        """Stop quickly (SIGINT, SIGQUIT)."""
        super().handle_quit_signal()
        self._wake()

    def stop(self) -> None:
        """Stop accepting, answer what was accepted, and end."""
        self.alive = False
        self._wake()

    def _wake(self) -> None:
        self._woken.set()
        if self.app.may_listen is not None:
            self.app.may_listen.set()

    def forget(self, connection: KappaProtocol) -> None:
        """Take note that a connection is gone."""
        self.connections.discard(connection)
        if not (self.connections or self.alive):
            self._woken.set()

    async def _serve(self) -> None:
        try:
            await self._listen()
        except Exception:
            self.log.exception("The worker cannot start.")
            raise SystemExit(Arbiter.WORKER_BOOT_ERROR) from None
        while self.alive and self.ppid == os.getppid():  # without its parent, nobody would ever stop this process
            self.notify()
            now = self.loop.time()
            for connection in list(self.connections):
                connection.sweep(now)
            await self._sleep(_TICK_S)
        await self._shutdown()

    async def _listen(self) -> None:
        self.lifespan = LifespanManager(self.asgi, self.log, self.state)
        await self.lifespan.startup()
        if self.app.may_listen is not None:
            await self.app.may_listen.wait()
        for listener in self.sockets:
            server = await self.loop.create_server(
                lambda: KappaProtocol(self),
                sock=listener.sock,
                ssl=self._get_ssl_context(),
                backlog=self.cfg.backlog,
            )
            self.servers.append(server)

    async def _shutdown(self) -> None:
        """Answer what was accepted, then end the application; SIGINT or SIGQUIT cuts both short."""
        await asyncio.sleep(0)  # what has already arrived counts as accepted
        for server in self.servers:
            server.close()
        stop_by = self._stop_by or self.loop.time() + self.cfg.graceful_timeout
        while self.connections and not self._quick_shutdown and (now := self.loop.time()) < stop_by - _CLOSING_S:
            self.notify()
            for connection in list(self.connections):
                if connection.is_idle(now):
                    connection.close()
            await self._sleep(0.05)
        if self.connections and not self._quick_shutdown:
            self.log.warning("%d requests were not answered in time and are given up.", len(self.connections))
        patience = _CLOSING_S if self._quick_shutdown else max(_CLOSING_S, stop_by - self.loop.time())
        with suppress(asyncio.TimeoutError):
            await asyncio.wait_for(self.lifespan.shutdown(), patience)

    async def _sleep(self, seconds: float) -> None:
        """Sleep until ``seconds`` have passed or something happened that the worker must look at."""
        self._woken.clear()
        with suppress(asyncio.TimeoutError):
            await asyncio.wait_for(self._woken.wait(), seconds)
