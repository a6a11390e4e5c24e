"""Bodies that come slowly, announce too much or unfold to too much, at real servers."""

from __future__ import annotations

import contextlib
import gzip
import json
import re
import socket
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest

pytestmark = [
    pytest.mark.engine,
    pytest.mark.skipif(sys.platform == "win32", reason="gunicorn does not run on Windows"),
]

LENGTH = "def length(value):\n    return len(value)\n"
MOST = 20 * 2**20
"""The largest body that is taken, if the service does not say."""

Serve = Callable[..., Any]


@pytest.fixture(params=["gunicorn", "uvicorn"])
def serve(request: pytest.FixtureRequest, start: Any) -> Serve:
    """Start the server of this name."""
    return lambda **wanted: start(LENGTH, server=request.param, single=["length"], **wanted)


def head(path: str, *headers: str) -> bytes:
    return "\r\n".join([f"POST {path} HTTP/1.1", "Host: x", *headers, "", ""]).encode()


@contextlib.contextmanager
def uploads(server: Any, count: int, *headers: str) -> Iterator[list[socket.socket]]:
    """Begin so many requests whose bodies never come but for one byte."""
    with contextlib.ExitStack() as stack:
        connections = [stack.enter_context(server.connect()) for _ in range(count)]
        for connection in connections:
            connection.sendall(head("/length", *headers) + b"[")
        yield connections


def said_by(connection: socket.socket) -> tuple[int, str]:
    """Return the status of the next answer, and its error."""
    stream = connection.makefile("rb")
    status, length = int(stream.readline().split()[1]), 0
    while (line := stream.readline().strip()) != b"":
        name, _, value = line.decode().partition(":")
        length = int(value) if name.lower() == "content-length" else length
    return status, json.loads(stream.read(length))["error"] if length else ""


def test_idle_clients_that_announce_much_keep_nobody_out_and_are_given_up(serve: Serve) -> None:
    server = serve(bounds={"BODY_PACE_S": 1.0})
    with uploads(server, 20, f"Content-Length: {MOST}") as idle:
        body = json.dumps([1.5] * 100_000).encode()
        for _ in range(3):
            assert server.request("POST", "/length", body)[:2] == (200, b"100000")
        for connection in idle:
            status, error = said_by(connection)
            assert status == 408
            assert error.startswith("The body almost stopped: for 1 seconds")
    assert server.stop()[0] == 0


@pytest.mark.parametrize("operations", [False, True], ids=["", "management-port"])
def test_a_body_that_does_not_begin_is_given_up_wherever_it_is_sent(serve: Serve, operations: bool) -> None:
    server = serve(bounds={"BODY_PACE_S": 0.2}, options={"management_port": 0} if operations else {})
    port = server.port
    if operations:
        found = re.search(r"Metrics are at http://127\.0\.0\.1:(\d+)", "".join(server.lines))
        assert found is not None
        port = int(found[1])
    for line in (
        "POST /length",
        "POST /length/",
        "POST /nothing",
        "PUT /",
        "GET /healthz",
        "HEAD /docs",
        "OPTIONS /length",
    ):
        for framing in ("Content-Length: 5", f"Content-Length: {MOST}", "Transfer-Encoding: chunked"):
            with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
                connection.sendall(f"{line} HTTP/1.1\r\nHost: x\r\nX-Request-Id: mine\r\n{framing}\r\n\r\n".encode())
                answer = connection.makefile("rb").read()
            assert answer.startswith(b"HTTP/1.1 408 "), (line, framing)
            assert b"x-request-id: mine\r\n" in answer.lower()
            assert b"The body almost stopped: for 0.2 seconds" in answer or line.startswith("HEAD")
    assert server.post("/length", [1, 2]) == 2
    code, log = server.stop()
    assert (code, "Traceback" in log) == (0, False), log


@pytest.mark.parametrize("path", ["/length", "/length/"])
def test_a_body_that_says_it_is_too_large_is_refused_before_it_is_sent(serve: Serve, path: str) -> None:
    server = serve()
    for headers in (["Expect: 100-continue"], []):
        with server.connect() as connection:
            connection.sendall(head(path, f"Content-Length: {MOST + 1}", *headers))
            assert said_by(connection) == (413, f"The body is larger than the {MOST} bytes that are taken here.")
    with server.connect() as connection:
        connection.sendall(head(path, "Content-Length: 3", "Expect: 100-continue"))
        assert said_by(connection) == (100, "")
        connection.sendall(b"[1]")
        assert connection.recv(1 << 16).startswith(b"HTTP/1.1 200")


def test_packed_bodies_cost_what_they_hold(serve: Serve) -> None:
    server = serve()
    packed = gzip.compress(json.dumps([1] * 1000).encode())
    many = gzip.compress(b"") * 50_000
    bomb = gzip.compress(bytes(10 * MOST))
    for body, encoding, expected in [
        (packed, "gzip", 200),
        (gzip.compress(packed), "gzip, gzip", 200),
        (many, "gzip", 400),
        (bomb, "gzip", 413),
        (packed, "br", 415),
    ]:
        assert server.request("POST", "/length", body, Content_Encoding=encoding)[0] == expected
    assert "Traceback" not in server.stop()[1]
