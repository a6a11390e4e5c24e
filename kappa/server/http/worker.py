"""gunicorn's own ASGI worker, with what a prediction server needs besides.

The base's behaviour, measured with gunicorn 27.0, and the changes here:

- After SIGTERM it accepts for up to a second more, and one idle keep-alive connection holds it for the whole graceful
  timeout. Here the worker stops accepting at once and waits only for requests. From the signal on its answers announce
  the end of their connections, and one that is idle is closed a second later: a request sent in time is answered.
- Its sockets listen from the first moment, so that connections wait at a worker that still loads while others could
  answer. Here only the first of a server's workers listens before it is ready.
- It has no limit on the time for a request's headers, none on the time a client may leave its answer unread, and none
  on connections. Here 10 s (408), 30 s, and a number (503).
- It sets and cancels a timer per request for keep-alive (PERF: 2 µs). Here one sweep a second looks at all connections.
- It runs each request in a task of its own, so that an application may go on after its answer (PERF: 10 µs). Kappa's
  does not.
- It closes a connection with the rest of a refused body unread, which resets it before the client has read why. Here
  the rest is thrown away for a moment first (RFC 9112, section 9.6).
- Its own errors are plain text. Here they have the body that every error of Kappa has.
- It reads every request with a parser written in Python, and answers it in a task by events of ASGI. Here a whole
  request for an API goes straight to it, and its answer straight to the connection (PERF: half of what one costs).
- Requests that follow each other without waiting are answered in one turn of the event loop, and those without a body
  (`HEAD`) whether or not their client reads. Here others have their turn between them, and unread answers hold them up.
- It says nothing to a client of HTTP/1.0 that asks to keep its connection, which then waits for the end of an answer
  that is there (RFC 9112, appendix C.2.2). Here it is told that the connection stays.
- Processes that are forked from it keep its sockets and its handlers of signals. Here they leave them behind.
- A failure to start ends in an endless row of new workers. Here that of one of the first workers ends the server.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import cached_property
from types import SimpleNamespace
from typing import Any

from gunicorn.arbiter import Arbiter
from gunicorn.asgi.lifespan import LifespanManager
from gunicorn.asgi.parser import ParseError
from gunicorn.asgi.protocol import ASGIProtocol
from gunicorn.http.errors import ParseException
from gunicorn.workers.gasgi import ASGIWorker

from kappa.server.answers import is_plain
from kappa.server.endpoint import Ticket
from kappa.server.failures import CLIENT_GONE, Failure
from kappa.server.forks import forks_leave
from kappa.server.http.access_log import Entry
from kappa.server.http.answering import response_of
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
from kappa.server.http.direct import Head, whole_request
from kappa.server.http.exchange import PlainResponse
from kappa.server.http.gunicorn_private import CACHED_SERVER_HEADER, NO_COPY_BODY_SIZE, get_cached_date_header
from kappa.server.http.parser import KappaParser, refusal_of
from kappa.server.http.swap import DRAIN, RELOAD, Application, Generation
from kappa.server.ports import join, turn_away, waiting_at
from kappa.types import Answer

__all__ = ["KappaProtocol", "KappaWorker"]

_TICK_S = 1.0
_IDLE_S = 1.0
"""How long a connection may do nothing before it is closed, when the worker ends."""
_CLOSING_S = 1.0
_LOADING_POLL_S = 0.02
_LARGE_READ_BYTES = 1 << 14
"""PERF: uvloop reads up to 32 times 256 KB in one turn, which takes 2 s where they are chunks of a few bytes."""
_HANDSHAKE_S = 0.02
"""How long a connection may take that has begun when the worker stops to listen."""


_HTTP_1_1 = SimpleNamespace(version=(1, 1))


def _head(status: bytes, special: bytes, length: int, request_id: str) -> bytes:
    """Return the head of a JSON answer, with a ``special`` field or none (PERF: 1 µs, the base's own way 7)."""
    return (
        b"HTTP/1.1 %b\r\ncontent-type: application/json\r\nx-request-id: %b\r\n%bcontent-length: %d\r\n%b%b\r\n"
    ) % (status, request_id.encode("latin-1"), special, length, CACHED_SERVER_HEADER, get_cached_date_header())


class KappaProtocol(ASGIProtocol):  # type: ignore[misc] # gunicorn has no types
    """One connection."""

    worker: KappaWorker
    transport: asyncio.Transport
    _closed: bool
    _max_buffer_size: int
    _reading_paused: bool
    _response_buffer: bytes | None

    def __init__(self, worker: KappaWorker) -> None:
        super().__init__(worker)
        self._waiting_since: float | None = None
        """When the connection began to wait for a request's headers; ``None`` while one is answered."""
        self._is_refused = False
        """Whether input is discarded."""
        self._is_lingering = False
        self._is_answer_begun = False
        self._is_end_announced = False
        self._ticket: Ticket | None = None
        """The request that was handed straight to its API."""
        self._generation: Generation | None = None
        """The generation that answers it."""
        self._entry: Entry | None = None
        """Its line in the access log, where there is one."""
        self._is_direct = False
        """Whether whole requests for an API are recognized here."""
        self._unsent = Unsent()

    # What the base calls

    def connection_made(self, transport: asyncio.Transport) -> None:
        """Take the connection, or refuse it when there are too many."""
        self.worker.connections.add(self)
        self._waiting_since = self.worker.loop.time()
        super().connection_made(transport)
        is_operators = is_at(transport, self.worker.app.management_port)
        self._is_direct = self.worker.is_direct and not is_operators
        if self.worker.is_full and not is_operators:
            self._send_error_response(503, TOO_MANY, [("Retry-After", "1")])
            self.close()

    def _setup_callback_parser(self) -> None:
        self._callback_parser = KappaParser(
            on_headers_complete=self._on_headers_complete,
            on_body=self._on_body,
            on_message_complete=self._on_message_complete,
            limit_request_line=self.cfg.limit_request_line,
            limit_request_fields=self.cfg.limit_request_fields,
            limit_request_field_size=self.cfg.limit_request_field_size,
        )

    def data_received(self, data: bytes) -> None:
        """Take what has arrived: a whole request for an API at once, anything else as the base does."""
        if self._is_lingering:
            return
        if self._is_direct and self._is_at_rest() and self._begin(data):
            return
        if self._waiting_since is not None and self.req_count > 1 and self._callback_parser.is_fresh:
            self._waiting_since = self.worker.loop.time()
        super().data_received(data)
        if self._callback_parser.is_chunked and len(data) >= _LARGE_READ_BYTES and not self._reading_paused:
            self._pause_reading()
            self.worker.loop.call_soon(self._resume_reading)

    @property
    def _is_incomplete(self) -> bool:
        """Whether a request has begun to arrive and is not whole yet."""
        return not (self._callback_parser.is_complete or self._callback_parser.is_fresh)

    def _http1_buffered(self) -> int:
        """Return how many buffered bytes are not consumed yet; the base stops reading above 256 KB."""
        receiver = self._body_receiver
        held: int = self._callback_parser.held_bytes
        return held if receiver is None else held + receiver.buffered

    def _resume_reading(self) -> None:
        """Read on, unless enough is held already: the base does so after each answer, however much that is."""
        if self._reading_paused and (self._is_lingering or self._http1_buffered() <= self._max_buffer_size):
            super()._resume_reading()

    def _feed_callback_parser(self, data: bytes) -> bool:
        """Read on; False if that cannot be read, and the connection ends."""
        try:
            self._callback_parser.feed(data)
        except (ParseError, ParseException) as exc:
            if not self._is_answer_begun:
                self._send_error_response(*refusal_of(exc))
            self._is_refused = True
            self._close_transport()
            return False
        return True

    def _is_at_rest(self) -> bool:
        """Return whether nothing is being read, answered or waited for, and the server is to go on."""
        return (
            self._ticket is None
            and self._current_request is None
            and self._callback_parser.is_fresh
            and not self._flow_control.write_paused
            and not self.worker.is_ending
        )

    def _begin(self, data: bytes) -> bool:
        """Hand a whole request straight to its API; False if it must be read as the base does."""
        if (request := whole_request(data)) is None:
            return False
        head, body = request
        generation = self.worker.asgi.current
        if (api := generation.apis.get(head.path)) is None:
            return False
        if generation.minds_origins and b"origin" in head.headers:
            return False
        if generation.log is not None:
            self._entry = generation.log.begin(self._scope_of(head))
        if (refused := api.refused(head.headers.get(b"x-request-id"))) is not None:
            self.req_count += 1
            self._waiting_since = self.worker.loop.time()
            text, request_id, retry_after_s = refused
            special = b"retry-after: %d\r\n" % retry_after_s
            self._safe_write(_head(b"503 Service Unavailable", special, len(text), request_id) + text)
            self._log(503, len(text), request_id)
            return True
        self._generation = generation
        generation.exchanges += 1
        self._callback_parser.hold()
        self._waiting_since = None
        ticket = api.begin(head.headers, body, self)
        if ticket is None:
            self._entry = None
            self._forget_exchange()
            self._callback_parser.reset()
            return False
        if not ticket.is_done:
            self._ticket = ticket
        return True

    def deliver(self, answer: Answer | Failure, request_id: str) -> None:
        """Send the outcome of a request that was begun; most answers are plain (PERF: 2 µs instead of 8)."""
        if self._closed:
            return
        if (
            type(answer) is Answer
            and is_plain(answer)
            and not self.worker.is_ending
            and len(answer.body) <= NO_COPY_BODY_SIZE
        ):
            body = answer.body
            self._safe_write(_head(b"200 OK", b"", len(body), request_id) + body)
            status, size_bytes = 200, len(body)
        else:
            resp = response_of(answer, request_id)
            status, size_bytes = int(resp.status), self._write(resp)
            self._is_answer_begun = False
        if self._entry is not None:
            self._log(status, size_bytes, request_id)
        self._end_exchange()

    def _scope_of(self, head: Head) -> dict[str, Any]:
        """Return the request's scope for the access log, as ASGI has it."""
        client = self.transport.get_extra_info("peername")
        return {"client": client, "method": "POST", "path": head.path, "headers": head.headers.items()}

    def _log(self, status: int, size_bytes: int, request_id: str) -> None:
        """Write the line of a request that went straight to its API, if lines are wanted."""
        if self._entry is not None:
            self._entry.write(status, size_bytes, request_id)
            self._entry = None

    def _write(self, resp: PlainResponse) -> int:
        """Send a whole answer; return the length of its body."""
        headers, body = resp.parts()
        self._send_response_start(resp.status, headers, _HTTP_1_1, close=self.worker.is_ending)
        if body:
            self._send_body(body)
        else:
            buffer, self._response_buffer = self._response_buffer, None
            self._safe_write(buffer)
        return len(body)

    def _end_exchange(self) -> None:
        """Go on with buffered input, or close where the server stops."""
        self._forget_exchange()
        if self.worker.is_ending:
            self.close()
            return
        self.req_count += 1
        self._waiting_since = self.worker.loop.time()
        if self._callback_parser.release() and not self._reading_paused:
            return
        behind = self._callback_parser.remaining()
        self._callback_parser.reset()
        self._resume_reading()
        if behind:
            self.data_received(bytes(behind))

    def _forget_exchange(self) -> None:
        self._ticket = None
        if self._generation is not None:
            self._generation.exchanges -= 1
            self._generation = None

    def connection_lost(self, exc: Exception | None) -> None:
        if self._ticket is not None:
            self._ticket.give_up()
            self._log(CLIENT_GONE.http_status, 0, "")
            self._forget_exchange()
        self.worker.forget(self)
        super().connection_lost(exc)

    def _on_headers_complete(self) -> Any:
        self._waiting_since = None
        return super()._on_headers_complete()

    async def _serve_http_request(self, request: Any, sockname: Any, peername: Any) -> bool:
        """Answer in the connection's own task; go on when the client has read, and others have had their turn."""
        self._is_answer_begun = False
        is_going_on = bool(await self._handle_http_request(request, sockname, peername))
        self._is_answer_begun = False
        if self._flow_control.write_paused:
            await self._flow_control.drain()
        elif self._callback_parser.held_bytes:
            await asyncio.sleep(0)
        return is_going_on

    def _send_response_start(self, status: int | str, headers: Any, request: Any, close: bool = False) -> None:
        self._is_answer_begun, self._is_end_announced = True, close
        if request.version < (1, 1) and not close:
            headers = [*headers, (b"Connection", b"keep-alive")]
        super()._send_response_start(status, headers, request, close)

    def _is_websocket_upgrade(self, request: Any) -> bool:  # noqa: ARG002 - the application refuses them all
        """Leave the request for a WebSocket to the application."""
        return False

    def _arm_keepalive_timer(self) -> None:
        """Record since when the connection waits; `sweep` does the rest."""
        self._waiting_since = self.worker.loop.time()

    def _cancel_keepalive_timer(self) -> None:
        """Nothing was armed."""

    def _send_error_response(self, status: int, message: str, extra_headers: Sequence[tuple[str, str]] = ()) -> None:
        """Answer a request that never reached the application, in the form of all errors."""
        self._is_refused = True
        self._safe_write(error_response(status, message, extra_headers))

    def _will_close(self, request: Any, response_requires_close: bool) -> bool:
        """Announce the end of a connection whose request is answered before it is whole, or whose worker ends."""
        if self._is_answer_begun:
            return self._is_end_announced
        if self._is_incomplete or self.worker.is_ending:
            return True
        return bool(super()._will_close(request, response_requires_close))

    def _close_transport(self) -> None:
        """Close once what was written is sent; what still arrives is thrown away for a moment first."""
        is_more_coming = self._is_refused or self._is_incomplete or self._callback_parser.held_bytes > 0
        if self._closed or not is_more_coming or self.transport.is_closing():
            super()._close_transport()
            return
        self._closed = self._is_lingering = True
        self._callback_parser.reset()
        with suppress(OSError, RuntimeError):
            self.transport.write_eof()
        self._resume_reading()
        self.worker.loop.call_later(LINGER_S, self.transport.close)

    # What the worker calls

    def close(self) -> None:
        """Close the connection and let its task end."""
        self._close_transport()
        self._request_ready.set()

    def sweep(self, now: float) -> bool:
        """Close the connection if it has been idle, its headers incomplete or its answer unread, for too long."""
        if self._unsent.is_stuck(self.transport, now):
            self.transport.abort()
            return True
        if not self.worker.is_accepting and self.is_idle(now):
            self.close()
            return True
        if self._waiting_since is None or self._closed:
            return False
        is_request_due = self._is_incomplete or self.req_count <= 1
        if now - self._waiting_since <= (HEADER_TIMEOUT_S if is_request_due else self._keepalive):
            return False
        if is_request_due:
            self._send_error_response(408, f"No request arrived within {HEADER_TIMEOUT_S:g} seconds.")
        self.close()
        return True

    def is_idle(self, now: float) -> bool:
        """Return whether no request was on its way for a second, and since the worker began to end."""
        if self._waiting_since is None or self._is_incomplete or self._closed:
            return False
        return now - max(self._waiting_since, self.worker.ending_since) >= _IDLE_S


class KappaWorker(ASGIWorker):  # type: ignore[misc] # gunicorn has no types
    """One process that answers requests; ``app`` is a `GunicornApplication`."""

    loop: asyncio.AbstractEventLoop

    def __init__(self, *arguments: Any, **keywords: Any) -> None:
        super().__init__(*arguments, **keywords)
        self.connections: set[KappaProtocol] = set()
        self.max_connections = affordable_connections(self.worker_connections)
        self.is_accepting = True
        self.is_ending = False
        """Whether answers announce the end of their connections."""
        self.ending_since = 0.0
        self._woken = asyncio.Event()
        self._listeners: list[socket.socket] = []

    @cached_property
    def is_direct(self) -> bool:
        """Whether connections may hand requests straight to an API."""
        return isinstance(self.asgi, Application)

    @property
    def is_full(self) -> bool:
        return len(self.connections) > self.max_connections

    def init_signals(self) -> None:
        super().init_signals()
        self.loop.add_signal_handler(signal.SIGHUP, self.handle_reload_signal)

    def handle_reload_signal(self) -> None:
        """Exchange the services for those that are wanted now (SIGHUP)."""
        begin: Callable[[], None] | None = self.state.get(RELOAD)
        if begin is not None and not self.is_ending:
            begin()

    def handle_exit_signal(self) -> None:
        """Begin to stop (SIGTERM): after the drain delay, during which `/readyz` already says no."""
        drain: Callable[[], None] | None = self.state.get(DRAIN)
        if drain is not None:
            drain()
        self._begin_to_end()
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
        self._begin_to_end()
        self.is_accepting = False
        self._wake()

    def _begin_to_end(self) -> None:
        if not self.is_ending:
            self.is_ending, self.ending_since = True, self.loop.time()

    def _wake(self) -> None:
        self._woken.set()
        if self.app.may_listen is not None:
            self.app.may_listen.set()

    def forget(self, connection: KappaProtocol) -> None:
        """Record that a connection is gone."""
        self.connections.discard(connection)
        if not (self.connections or self.is_accepting):
            self._woken.set()

    def run(self) -> None:
        kept = self.app.reserved or [listener.sock for listener in self.sockets]
        with forks_leave({listener.getsockname()[1] for listener in kept}):
            super().run()

    async def _serve(self) -> None:
        try:
            await self._listen()
        except Exception:
            self.log.exception("The worker cannot start.")
            raise SystemExit(Arbiter.WORKER_BOOT_ERROR) from None
        while (
            self.is_accepting and self.alive and self.ppid == os.getppid()
        ):  # without its parent, nothing would ever stop this process
            self.notify()
            await sweep(self.connections, self.loop.time())
            await self._sleep(_TICK_S)
        await self._shutdown()

    async def _listen(self) -> None:
        self.lifespan = LifespanManager(self.asgi, self.log, self.state)
        await self.lifespan.startup()
        if self.app.may_listen is not None:
            await self.app.may_listen.wait()
        if self.age > 1:
            await self._become_ready()
        if self.is_ending:
            return
        reserved = self.app.reserved
        self._listeners = list(map(join, reserved)) if reserved else [listener.sock for listener in self.sockets]
        for listener in self._listeners:
            server = await self.loop.create_server(
                lambda: KappaProtocol(self), sock=listener, ssl=self._get_ssl_context(), backlog=self.cfg.backlog
            )
            self.servers.append(server)

    async def _become_ready(self) -> None:
        """Wait until the services are loaded: others answer meanwhile, or connections wait where they are kept."""
        while not self.is_ending and isinstance(self.asgi, Application) and self.asgi.current.host.state == "loading":
            self.notify()
            await asyncio.sleep(_LOADING_POLL_S)

    async def _stop_listening(self) -> None:
        """Take the connections that have come: those that still wait at a socket when it closes are reset."""
        if self.app.reserved:  # else connections wait in the backlog for the next worker
            for listener in self._listeners:
                turn_away(listener)
            await asyncio.sleep(_HANDSHAKE_S)
        taken = [connection for listener in self._listeners for connection in waiting_at(listener)]
        for server in self.servers:
            server.close()
        for connection in taken:
            await self.loop.connect_accepted_socket(lambda: KappaProtocol(self), connection)

    async def _shutdown(self) -> None:
        """Answer what was accepted, then end the application; SIGINT or SIGQUIT cuts both short."""
        self.stop()
        await self._stop_listening()
        stop_by = self.ending_since + self.cfg.graceful_timeout
        while self.connections and not self._quick_shutdown and (now := self.loop.time()) < stop_by - _CLOSING_S:
            self.notify()
            await sweep(self.connections, now)
            await self._sleep(0.05)
        self.alive = False
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
