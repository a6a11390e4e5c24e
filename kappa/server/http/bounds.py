"""Limits of one connection, in every server: how long it may be idle, and the answer then."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Iterable, Sequence
from http import HTTPStatus
from typing import Protocol

from kappa.services.representations import error_answer

__all__ = [
    "BODY_LEAST_RATE",
    "BODY_PACE_S",
    "BODY_TIMEOUT_S",
    "HEADER_TIMEOUT_S",
    "SEND_LEAST_RATE",
    "SEND_TIMEOUT_S",
    "TOO_MANY",
    "Unsent",
    "affordable_connections",
    "error_response",
    "is_at",
    "sweep",
]

HEADER_TIMEOUT_S = 10.0
"""How long the headers of a request may take to arrive."""
BODY_TIMEOUT_S = 30.0
"""How long its body may take."""
BODY_PACE_S = 5.0
"""How long it may almost stop, at fewer than `BODY_LEAST_RATE` bytes a second."""
BODY_LEAST_RATE = 240
SEND_TIMEOUT_S = 30.0
"""How long a client may read nothing of an answer that waits for it, or fewer than `SEND_LEAST_RATE` bytes a second."""
SEND_LEAST_RATE = 240
LINGER_S = 2.0
"""How long the rest of a request that is answered already is read and thrown away before the connection closes."""
TOO_MANY = "Too many connections are open here."
_LOOKS_AT_ONCE = 500
_LOOKS_PER_CLOSING = 30


class _Connection(Protocol):
    def sweep(self, now: float) -> bool:
        """Close the connection if a client has let it wait for too long at ``now``; return whether it had."""


async def sweep(connections: Iterable[_Connection], now: float) -> None:
    """Close the connections whose clients have let them wait for too long.

    PERF: to look at one costs 1.5 µs and to close one 50, and those that opened together are due together: the loop
    yields now and then (8,000 kept the event loop for 240 ms, now for 4).
    """
    done = 0
    for connection in list(connections):
        done += _LOOKS_PER_CLOSING if connection.sweep(now) else 1
        if done >= _LOOKS_AT_ONCE:
            done = 0
            await asyncio.sleep(0)


class Unsent:
    """Watches whether a client goes on reading what was written to it."""

    __slots__ = ("_bytes", "_since")

    def __init__(self) -> None:
        self._bytes = 0
        self._since = 0.0

    def is_stuck(self, transport: asyncio.WriteTransport, now: float) -> bool:
        """Return whether the client has read next to nothing for too long; to be asked regularly.

        If more is unsent than before, it has read: the writer waits for that before it writes more.
        """
        waiting = transport.get_write_buffer_size()
        is_read = waiting <= self._bytes - SEND_LEAST_RATE * SEND_TIMEOUT_S
        if waiting == 0 or waiting > self._bytes or is_read:
            self._bytes, self._since = waiting, now
            return False
        return now - self._since > SEND_TIMEOUT_S


def error_response(status: int, message: str, extra_headers: Sequence[tuple[str, str]] = ()) -> bytes:
    """Return a whole HTTP/1.1 response for a request that never reaches the application, in the form of all errors."""
    request_id = os.urandom(8).hex()
    body = error_answer(message, request_id=request_id, http_status=status).body
    lines = [
        f"HTTP/1.1 {status} {HTTPStatus(status).phrase}",
        "Content-Type: application/json",
        f"Content-Length: {len(body)}",
        f"X-Request-Id: {request_id}",
        *(f"{name}: {value}" for name, value in extra_headers),
        "Connection: close",
    ]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


def is_at(transport: asyncio.BaseTransport, port: int | None) -> bool:
    """Return whether a connection came to this port, e.g. that of the operators, which the limit does not count."""
    return port is not None and transport.get_extra_info("sockname")[1] == port


def affordable_connections(wanted: int) -> int:
    """Return how many connections may be open, leaving some of the process's files for everything else."""
    if sys.platform == "win32":
        return wanted
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < wanted + _OTHER_FILES:
        most = wanted + _OTHER_FILES if hard == resource.RLIM_INFINITY else min(hard, wanted + _OTHER_FILES)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
        soft = most
    return wanted if soft == resource.RLIM_INFINITY else max(1, min(wanted, soft - _OTHER_FILES))


_OTHER_FILES = 64
