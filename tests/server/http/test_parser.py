"""What the parser of requests adds to gunicorn's; `wire_cases` holds what both doors refuse."""

from __future__ import annotations

import sys
from typing import Any

import pytest

if sys.platform == "win32":
    pytest.skip("gunicorn does not run on Windows", allow_module_level=True)

from gunicorn.asgi.parser import ParseError

from kappa.server.http.parser import KappaParser, refusal_of

HEAD = b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"


def parser() -> tuple[KappaParser, list[bytes]]:
    pieces: list[bytes] = []
    return KappaParser(on_body=pieces.append), pieces


def feed(reading: KappaParser, data: bytes, fed_bytes: int) -> None:
    for at in range(0, len(data), fed_bytes):
        reading.feed(data[at : at + fed_bytes])


def chunks(size: int, count: int) -> bytes:
    return (b"%x\r\n" % size + b"1" * size + b"\r\n") * count


@pytest.mark.parametrize(("size", "count"), [(1, 10_000), (5, 100_000), (70_000, 20)])
def test_chunks_that_come_together_are_handed_on_together(size: int, count: int) -> None:
    reading, pieces = parser()
    reading.feed(HEAD + chunks(size, count) + b"0\r\n\r\n")
    assert reading.is_complete
    assert pieces == [b"1" * size * count]


@pytest.mark.parametrize("fed_bytes", [1000, 1_000_000])
@pytest.mark.parametrize(
    "many", [chunks(1, 30_000), (b"1;" + b"a" * 50 + b"\r\n1\r\n") * 2000], ids=["small", "extended"]
)
def test_very_many_chunks_that_are_smaller_than_their_framing_are_refused(many: bytes, fed_bytes: int) -> None:
    reading, _ = parser()
    reading.feed(HEAD)
    with pytest.raises(ParseError) as refused:
        feed(reading, many, fed_bytes)
    assert refusal_of(refused.value) == (
        400,
        "The request cannot be read: its chunks are smaller than their framing.",
    )


@pytest.mark.parametrize("fed_bytes", [1, 100, 1_000_000])
def test_fields_are_bounded_together_however_they_come(fed_bytes: int) -> None:
    fields = b"".join(b"X-%d: %b\r\n" % (number, b"a" * 1000) for number in range(90))
    reading, _ = parser()
    with pytest.raises(ParseError) as refused:
        feed(reading, b"GET / HTTP/1.1\r\nHost: x\r\n" + fields + b"\r\n", fed_bytes)
    assert refusal_of(refused.value)[0] == 431


@pytest.mark.parametrize(
    ("sent", "message"),
    [
        (b"GET / HTTP/2.0\r\n", "only HTTP/1.1 and HTTP/1.0 are spoken here"),
        (b"GET / HTTP/x\r\n", "`HTTP/x` is not a version of HTTP"),
        (b"get / HTTP/1.1\r\n", "`get` is not a method"),
        (b"CONNECT x:1 HTTP/1.1\r\n", "this server is not a proxy"),
        (b"GET ftp://x/ HTTP/1.1\r\n", "its target is neither a path nor a URL"),
        (b"GET / HTTP/1.1\r\n\r\n", "HTTP/1.1 needs a `Host`"),
        (b"GET / HTTP/1.1\r\nHost: a b\r\n\r\n", "its `Host` is not the name or address of a host"),
        (b"GET / HTTP/1.1\r\nA B: c\r\n\r\n", "`A B` is not the name of a field that may stand there"),
        (HEAD.replace(b"chunked", b"gzip"), "of all transfer codings, only `chunked` is known here"),
        (
            b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: " + b"1" * 99 + b"\r\n\r\n",
            "no body has a length of so many digits",
        ),
    ],
)
def test_a_refusal_says_what_cannot_be_read(sent: bytes, message: str) -> None:
    reading, _ = parser()
    with pytest.raises(ParseError) as refused:
        reading.feed(sent)
    assert refusal_of(refused.value)[1] == f"The request cannot be read: {message}."


@pytest.mark.parametrize("method", ["GET", "OPTIONS"])
def test_the_host_of_a_whole_url_stands_in_place_of_the_field(method: str) -> None:
    reading: Any = parser()[0]
    reading.feed(f"{method} http://a:1/b?c HTTP/1.1\r\nA: b\r\nHost: x\r\n\r\n".encode())
    assert (reading.path, reading.headers) == (b"/b?c", [(b"a", b"b"), (b"host", b"a:1")])


def test_what_follows_a_request_is_read_on_without_a_copy() -> None:
    reading, _ = parser()
    reading.feed(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n" * 3)
    for _ in range(2):
        behind = reading.remaining()
        reading.reset()
        reading.feed(behind)
        assert reading.is_complete
        assert reading._buffer is behind
    assert reading.held_bytes == 0
