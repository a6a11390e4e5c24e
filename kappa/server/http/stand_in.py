"""Answers in place of a server that cannot start: the reason, with status 503."""

from __future__ import annotations

import select
import socket
from contextlib import suppress
from html import escape
from time import monotonic

from kappa.server.http.bounds import error_response

__all__ = ["answer_instead", "is_asked"]

_PATIENCE_S = 0.5
_MOST_BYTES = 1 << 16


def is_asked(listener: socket.socket, *, within_s: float) -> bool:
    """Wait for a client; return whether one is there to be accepted."""
    return bool(select.select([listener], [], [], within_s)[0])


def answer_instead(listener: socket.socket, reason: str) -> None:
    """Accept a waiting client and answer with the reason."""
    until = monotonic() + _PATIENCE_S
    with suppress(OSError):
        client, _ = listener.accept()
        with client:
            client.settimeout(_PATIENCE_S)
            head = _head_of(client, until)
            client.sendall(_response(head, reason))
            client.shutdown(socket.SHUT_WR)
            while client.recv(_MOST_BYTES) and monotonic() < until:  # else it may be cut off before it has read
                pass


def _head_of(client: socket.socket, until: float) -> bytes:
    data = b""
    while b"\r\n\r\n" not in data and len(data) < _MOST_BYTES and monotonic() < until:
        if not (piece := client.recv(_MOST_BYTES)):
            break
        data += piece
    return data.partition(b"\r\n\r\n")[0]


def _response(head: bytes, reason: str) -> bytes:
    method, _, rest = head.partition(b" ")
    path = rest.partition(b" ")[0]
    if path == b"/healthz":
        body, response = b"ok\n", b"HTTP/1.1 200 OK\r\nContent-Type: text/plain; charset=utf-8\r\n"
    elif any(line.lower().startswith(b"accept:") and b"text/html" in line for line in head.split(b"\r\n")):
        body = _PAGE.format(escape(reason)).encode()
        response = (
            b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: text/html; charset=utf-8\r\nRetry-After: 1\r\n"
            b"Content-Security-Policy: default-src 'none'; style-src 'unsafe-inline'\r\n"
        )
    else:
        whole = error_response(503, reason, [("Retry-After", "1")])
        return whole.partition(b"\r\n\r\n")[0] + b"\r\n\r\n" if method == b"HEAD" else whole
    response += b"Content-Length: %d\r\nConnection: close\r\n\r\n" % len(body)
    return response if method == b"HEAD" else response + body


_PAGE = """<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>Not served</title><h1>Not served</h1><pre style="white-space: pre-wrap; overflow-wrap: anywhere">{}</pre></html>
"""
