"""uvicorn, with what a prediction server needs besides: it is the server on Windows, and a second one elsewhere.

What uvicorn leaves open, measured with 0.54, is bounded here as `worker` bounds it for gunicorn: the time for a
request's headers and for a client to read its answer, and the number of connections. Its own errors get the body that
every error of Kappa has, a stop may be announced before it begins, and the request of a client that has left is given
up. From the signal on, answers announce the end of their connections; one that is idle is closed a second later, so
that a request sent in time is answered, and those that were not accepted yet are taken before their socket closes.
"""

from __future__ import annotations

import asyncio
import signal
import socket
import sys
import threading
from collections.abc import Sequence
from time import monotonic
from types import FrameType
from typing import Any

import uvicorn
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.h11_impl import H11Protocol

from kappa.server.forks import forks_leave
from kappa.server.http.bounds import (
    HEADER_TIMEOUT_S,
    LINGER_S,
    TOO_MANY,
    Unsent,
    affordable_connections,
    error_response,
    is_at,
    sweep,
)
from kappa.server.http.strict_h11 import StrictConnection, UnreadableError
from kappa.server.http.swap import DRAIN, RELOAD, Application
from kappa.server.options import ServerOptions
from kappa.server.ports import waiting_at

__all__ = ["KappaUvicorn"]

_SWEEP_EVERY_TICKS = 10  # of a tenth of a second
_IDLE_S = 1.0
_CLOSING_S = 1.0
_CLOSE = (b"connection", b"close")
_MOST_BEHIND_BYTES = 1 << 16


class _Flow(FlowControl):
    """When a connection is read from: not while much that follows a request waits to be answered.

    uvicorn reads on with every request that it begins, 256 KB for each of a hundred bytes.
    """

    def __init__(self, transport: asyncio.Transport, connection: StrictConnection) -> None:
        super().__init__(transport)
        self._connection = connection

    def resume_reading(self) -> None:
        if self._connection.held_bytes <= _MOST_BEHIND_BYTES:
            super().resume_reading()

    def read_anyway(self) -> None:
        """Read what is thrown away."""
        super().resume_reading()


class _Protocol(H11Protocol):
    """One connection."""

    flow: _Flow
    max_connections = 0
    management_port: int | None = None

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self.conn = StrictConnection()
        self.flow = _Flow(transport, self.conn)
        self._waiting_since = monotonic()
        self._unsent = Unsent()
        self._has_begun = False
        self._is_lingering = False
        self._application = self.config.loaded_app
        self.app = self._answer
        self._answering: asyncio.Task[Any] | None = None
        if len(self.connections) > self.max_connections and not is_at(transport, self.management_port):
            self._refuse(503, TOO_MANY, [("Retry-After", "1")])

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        if self._answering is not None:
            self._answering.cancel()

    async def _answer(self, scope: Any, receive: Any, send: Any) -> None:
        """Have the application answer, until the client leaves."""
        self._answering = task = asyncio.current_task()
        try:
            await self._application(scope, receive, send)
        except asyncio.CancelledError:  # the client has gone, or a stop has lasted too long
            cycle = send.__self__  # not `self.cycle`, which is the last of several requests that have arrived
            if not cycle.response_started and not self.transport.is_closing():
                self._refuse(503, "The server stops, and could not answer in time.", [("Retry-After", "1")])
            cycle.disconnected = True  # so that uvicorn misses no answer
            self.transport.close()
        finally:
            if self._answering is task:
                self._answering = None

    def data_received(self, data: bytes) -> None:
        if self._is_lingering or self.transport.is_closing():
            return
        if not self._has_begun:
            self._has_begun = True
            self._waiting_since = monotonic()
        super().data_received(data)

    def _should_upgrade(self) -> bool:
        """Leave every request for an upgrade to the application, without uvicorn's two log records."""
        return False

    def on_response_complete(self) -> None:
        self._has_begun = False
        self._waiting_since = monotonic()
        is_whole = not self.cycle.more_body
        super().on_response_complete()
        if not is_whole:
            self._linger()

    def handle_events(self) -> None:
        """Go on with what has arrived, or refuse what cannot be read."""
        try:
            super().handle_events()
        except UnreadableError as exc:
            self._refuse_arriving(exc)

    def _refuse_arriving(self, error: UnreadableError) -> None:
        """Answer a request that cannot be read, unless its answer has begun; its task gives up."""
        cycle = self.cycle
        is_being_answered = cycle is not None and not cycle.response_complete
        if not ((is_being_answered and cycle.response_started) or self.transport.is_closing()):
            self.transport.write(error_response(error.status, str(error)))
        if is_being_answered:
            cycle.disconnected = True
            cycle.message_event.set()
        self._linger()

    def _linger(self) -> None:
        """Throw the rest of an answered request away for a moment, so that the client reads why (RFC 9112, 9.6)."""
        if self._is_lingering or self.transport.is_closing():
            return
        self._is_lingering = True
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self.flow.read_anyway()
        self.loop.call_later(LINGER_S, self.transport.close)

    def _refuse(self, status: int, message: str, headers: Any = ()) -> None:
        if self._is_lingering:
            return
        self.transport.write(error_response(status, message, headers))
        self.transport.close()

    def announce_end(self) -> None:
        """Have an answer that has not begun say that the connection ends with it."""
        if self.cycle is not None and not self.cycle.response_started:
            self.cycle.default_headers = [*self.cycle.default_headers, _CLOSE]

    def close_if_idle(self, now: float, *, since: float) -> None:
        """Close the connection if no request was on its way for a second, and since the server began to end."""
        is_answering = self.cycle is not None and not self.cycle.response_complete
        if not (is_answering or self._has_begun or self._is_lingering or self.transport.is_closing()) and (
            now - max(self._waiting_since, since) >= _IDLE_S
        ):
            self.shutdown()

    def sweep(self, now: float) -> bool:
        """Close the connection if its headers are incomplete or its answer unread for too long."""
        if self._unsent.is_stuck(self.transport, now):
            self.transport.abort()
            return True
        if self.transport.is_closing() or self._is_lingering:
            return False
        is_answering = self.cycle is not None and not self.cycle.response_complete
        is_first = self.cycle is None
        if is_answering or not (is_first or self._has_begun) or now - self._waiting_since <= HEADER_TIMEOUT_S:
            return False
        self._refuse(408, f"No request arrived within {HEADER_TIMEOUT_S:g} seconds.")
        return True


class KappaUvicorn(uvicorn.Server):
    """A server in this process."""

    def __init__(self, app: Application, options: ServerOptions, *, management_port: int | None = None) -> None:
        most = affordable_connections(options.max_connections)
        protocol = type("Protocol", (_Protocol,), {"max_connections": most, "management_port": management_port})
        config = uvicorn.Config(
            app,
            http=protocol,
            ws="none",
            lifespan="on",
            log_config=None,
            log_level="warning",
            access_log=False,
            timeout_keep_alive=max(1, round(options.keep_alive_s)),
            timeout_graceful_shutdown=max(1, round(options.graceful_timeout_s)),
        )
        super().__init__(config)
        self._drain_delay_s = options.drain_delay_s
        self._graceful_timeout_s = options.graceful_timeout_s
        self._exit_at: float | None = None

    def run(self, sockets: Any = None) -> None:
        if threading.current_thread() is threading.main_thread():
            # uvicorn raises the signal again once it has stopped: it was no failure
            signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
            if sys.platform != "win32":
                signal.signal(signal.SIGHUP, self._reload)
        with forks_leave({listener.getsockname()[1] for listener in sockets or ()}):
            super().run(sockets)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Begin to stop: after the drain delay, during which `/readyz` already says no."""
        if self._exit_at is None:
            if (drain := self.lifespan.state.get(DRAIN)) is not None:
                drain()
            self._announce_end()
        is_first, self._exit_at = self._exit_at is None, self._exit_at or monotonic() + self._drain_delay_s
        if sig == signal.SIGTERM and self._drain_delay_s and is_first:
            self._captured_signals.append(sig)
            return
        super().handle_exit(sig, frame)

    def _announce_end(self) -> None:
        self.config.encoded_headers.append(_CLOSE)
        self.server_state.default_headers = [*self.server_state.default_headers, _CLOSE]
        for connection in self._connections():
            connection.announce_end()

    def _connections(self) -> list[_Protocol]:
        return [connection for connection in self.server_state.connections if isinstance(connection, _Protocol)]

    async def shutdown(self, sockets: Any = None) -> None:
        """Answer what was accepted, close what is idle, and leave the rest to uvicorn."""
        since = monotonic()
        await self._stop_listening(sockets or [])
        while self.server_state.connections and not self.force_exit:
            now = monotonic()
            if now - since >= self._graceful_timeout_s - _CLOSING_S:
                break
            await sweep(self._connections(), now)
            for connection in self._connections():
                connection.close_if_idle(now, since=since)
            await asyncio.sleep(0.05)
        self.config.timeout_graceful_shutdown = 1
        await super().shutdown(sockets)

    async def _stop_listening(self, listeners: Sequence[socket.socket]) -> None:
        """Take the connections that have come: those that still wait at a socket when it closes are reset."""
        loop = asyncio.get_running_loop()
        waiting = [connection for listener in listeners for connection in waiting_at(listener)]
        for server in self.servers:
            server.close()
        for connection in waiting:
            await loop.connect_accepted_socket(self._protocol, connection)

    def _protocol(self) -> asyncio.Protocol:
        protocol: asyncio.Protocol = self.config.http_protocol_class(  # type: ignore[call-arg]
            config=self.config, server_state=self.server_state, app_state=self.lifespan.state
        )
        return protocol

    async def on_tick(self, counter: int) -> bool:
        now = monotonic()
        if counter % _SWEEP_EVERY_TICKS == 0:
            await sweep((each for each in self.server_state.connections if isinstance(each, _Protocol)), now)
        if self._exit_at is not None and now >= self._exit_at:
            self.should_exit = True
        return await super().on_tick(counter)

    def _reload(self, _signal: int, _frame: FrameType | None) -> None:
        if (begin := self.lifespan.state.get(RELOAD)) is not None:
            begin()
