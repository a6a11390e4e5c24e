"""What a client may send, byte by byte, at a real server: every way through it answers the same."""

from __future__ import annotations

import sys
from typing import Any

import pytest

from tests.server.wire_cases import CASES, answers_to

pytestmark = [
    pytest.mark.engine,
    pytest.mark.skipif(sys.platform == "win32", reason="gunicorn does not run on Windows"),
]

DOUBLE = "def double(values):\n    return [2 * value for value in values]\n"


def connected(server: Any, *requests: bytes) -> list[bytes]:
    """Send one request after the other on one connection; return the answers' heads."""
    heads = []
    with server.connect() as client, client.makefile("rb") as stream:
        for request in requests:
            client.sendall(request)
            lines = list(iter(stream.readline, b"\r\n"))
            lengths = [int(line.split()[1]) for line in lines if line.lower().startswith(b"content-length:")]
            stream.read(sum(lengths))
            heads.append(b"".join(lines).lower())
        client.shutdown(1)
        assert stream.read() == b""
    return heads


def test_a_client_of_http_1_0_may_keep_its_connection(start: Any) -> None:
    server = start(DOUBLE, batch=["double"])
    post = b"POST /double HTTP/1.0\r\nConnection: Keep-Alive\r\nContent-Length: 1\r\n\r\n4"
    get = b"GET /healthz HTTP/1.0\r\nconnection: keep-alive\r\n\r\n"
    last = b"GET /healthz HTTP/1.0\r\n\r\n"
    *kept, closed = connected(server, post, get, post, last)
    for head in kept:
        assert b" 200 " in head
        assert b"connection: keep-alive\r\n" in head
    assert b"connection: close\r\n" in closed


@pytest.mark.parametrize(
    ("door", "access_log"),
    [("gunicorn", False), ("gunicorn", True), ("uvicorn", False)],
    ids=["whole-requests-go-straight", "all-are-parsed", "uvicorn"],
)
def test_what_is_sent_is_answered_as_http_says(start: Any, door: str, access_log: bool) -> None:
    server = start(DOUBLE, batch=["double"], server=door, options={"access_log": access_log})
    wrong = {}
    for case in CASES:
        with server.connect() as client:
            found = answers_to(client, case)
        wanted = [case.statuses] if case.closes else [case.statuses, {200}]
        if len(found) != len(wanted) or any(status not in may for status, may in zip(found, wanted, strict=True)):
            wrong[case.name] = (found, wanted)
    assert wrong == {}
    code, log = server.stop()
    assert (code, "Traceback" in log) == (0, False), log
