"""What clients are told by whoever stands in for a server that cannot start."""

from __future__ import annotations

import socket

import pytest

from kappa.server.http.stand_in import answer_instead, is_asked

REASON = "handlers.py:1: <no module>"


def answer_to(request: bytes) -> tuple[bytes, bytes]:
    """Return the head and the body of what a client is sent."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        with socket.create_connection(listener.getsockname(), timeout=60) as client:
            client.sendall(request)
            client.shutdown(socket.SHUT_WR)
            assert is_asked(listener, within_s=60)
            answer_instead(listener, REASON)
            head, _, body = b"".join(iter(lambda: client.recv(65536), b"")).partition(b"\r\n\r\n")
        assert not is_asked(listener, within_s=0)
    return head, body


def test_programs_read_the_reason_as_json_and_when_to_return() -> None:
    head, body = answer_to(b"POST /predict HTTP/1.1\r\nHost: x\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 503 ")
    assert b"\r\nRetry-After: 1" in head
    assert b"application/json" in head
    assert REASON.encode() in body


def test_people_read_a_page_that_runs_nothing_of_the_reason() -> None:
    head, body = answer_to(b"GET / HTTP/1.1\r\nHost: x\r\nAccept: text/html\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 503 ")
    assert b"text/html" in head
    assert b"handlers.py:1: &lt;no module&gt;" in body


def test_the_process_is_healthy() -> None:
    head, body = answer_to(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 ")
    assert body == b"ok\n"


@pytest.mark.parametrize(
    "request_", [b"HEAD /x HTTP/1.1\r\nHost: x\r\n\r\n", b"HEAD / HTTP/1.1\r\nAccept: text/html\r\n\r\n"]
)
def test_the_head_alone_is_sent_to_who_asks_for_it(request_: bytes) -> None:
    head, body = answer_to(request_)
    assert head.startswith(b"HTTP/1.1 503 ")
    assert body == b""


@pytest.mark.parametrize(
    "request_", [b"", b"GET", b"\x16\x03\x01", b"x" * 100_000], ids=["nothing", "a-word", "tls", "much"]
)
def test_whatever_is_sent_holds_nobody_up(request_: bytes) -> None:
    head, _ = answer_to(request_)
    assert head.startswith(b"HTTP/1.1 503 ")
