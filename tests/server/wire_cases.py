"""What a client may send, byte by byte, and what every door of Kappa must make of it (RFC 9110, RFC 9112).

A door serves one API, `/double`, which answers twice the number that is posted.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import suppress
from typing import NamedTuple

__all__ = ["CASES", "PROBE", "WireCase", "answers_to"]

PROBE = b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"


class WireCase(NamedTuple):
    """Some bytes and the statuses that may answer them."""

    name: str
    sent: bytes
    statuses: frozenset[int]
    closes: bool = True
    """Whether nothing more is answered on the connection; else the next request is."""
    is_head: bool = False
    """Whether the answer has no body, whatever its length says."""


def answers_to(connection: socket.socket, case: WireCase) -> list[int]:
    """Send a case, then a probe where the connection is to stay; return the statuses until its end."""
    connection.settimeout(20)
    with connection.makefile("rb") as stream:
        with suppress(ConnectionError):
            connection.sendall(case.sent)
        found = list(_statuses(stream, at_most=1, is_head=case.is_head))
        if not case.closes:
            with suppress(ConnectionError):
                connection.sendall(PROBE)
        found.extend(_statuses(stream))
    return found


def _statuses(stream: object, *, at_most: int = 100, is_head: bool = False) -> Iterator[int]:
    for _ in range(at_most):
        try:
            first = stream.readline()  # type: ignore[attr-defined]
        except ConnectionError:
            return
        if not first:
            return
        status = int(first.split()[1])
        length = 0
        while (line := stream.readline().strip()) != b"":  # type: ignore[attr-defined]
            name, _, value = line.partition(b":")
            if name.lower() == b"content-length":
                length = int(value)
            assert name.lower() != b"transfer-encoding", "every answer of Kappa has a length"
        if not is_head:
            assert len(stream.read(length)) == length  # type: ignore[attr-defined]
        yield status


def _post(*fields: bytes, line: bytes = b"POST /double HTTP/1.1", body: bytes = b"4") -> bytes:
    return b"\r\n".join([line, *fields, b"", b""]) + body


HOST = b"Host: x"
ONE = b"Content-Length: 1"
CHUNKED = b"Transfer-Encoding: chunked"
LAST = b"1\r\n4\r\n0\r\n\r\n"

OK = frozenset({200})
BAD = frozenset({400})
UNKNOWN_CODING = frozenset({400, 501})
UNKNOWN_VERSION = frozenset({505})
TOO_LARGE = frozenset({400, 413})


def _good(name: str, sent: bytes, statuses: frozenset[int] = OK, *, is_head: bool = False) -> WireCase:
    return WireCase(name, sent, statuses, closes=False, is_head=is_head)


def _bad(name: str, sent: bytes, statuses: frozenset[int] = BAD) -> WireCase:
    return WireCase(name, sent, statuses)


CASES = (
    # Plain ones
    _good("plain", _post(HOST, ONE)),
    _good("keep-alive", _post(HOST, ONE, b"Connection: keep-alive")),
    WireCase("close", _post(HOST, ONE, b"Connection: close"), OK),
    WireCase("close-in-capitals", _post(HOST, ONE, b"CONNECTION: Close"), OK),
    WireCase("close-in-a-list", _post(HOST, ONE, b"Connection: te, close"), OK),
    WireCase("close-and-more-behind", _post(HOST, ONE, b"Connection: close") + PROBE * 50, OK),
    _good("empty-line-before", b"\r\n" + _post(HOST, ONE)),
    _good("blanks-around-a-length", _post(HOST, b"Content-Length:  \t1 ")),
    _good("leading-zero-in-a-length", _post(HOST, b"Content-Length: 01")),
    _good("empty-field", _post(HOST, ONE, b"X-Empty:")),
    _good("bytes-above-127-in-a-field", _post(HOST, ONE, b"X-Name: \xc3\xa4\xff")),
    _good("query", _post(HOST, ONE, line=b"POST /double?a=1 HTTP/1.1")),
    _good("escaped-path", _post(HOST, ONE, line=b"POST /%64ouble HTTP/1.1")),
    _good("head", b"HEAD /healthz HTTP/1.1\r\nHost: x\r\n\r\n", is_head=True),
    _good("unknown-path", b"GET /none HTTP/1.1\r\nHost: x\r\n\r\n", frozenset({404})),
    _good("upgrade-to-h2c", _post(HOST, ONE, b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c")),
    # HTTP/1.0 (appendix C.2.2) and other versions
    WireCase("1.0", _post(HOST, ONE, line=b"POST /double HTTP/1.0"), OK),
    WireCase("1.0-without-host", b"GET /healthz HTTP/1.0\r\n\r\n", OK),
    _bad("1.0-chunked", _post(HOST, CHUNKED, line=b"POST /double HTTP/1.0", body=LAST)),
    _bad("1.2", _post(HOST, ONE, line=b"POST /double HTTP/1.2"), UNKNOWN_VERSION),
    _bad("2.0", _post(HOST, ONE, line=b"POST /double HTTP/2.0"), UNKNOWN_VERSION),
    _bad("9.9", _post(HOST, ONE, line=b"POST /double HTTP/9.9"), UNKNOWN_VERSION),
    _bad("0.9-said", _post(HOST, ONE, line=b"POST /double HTTP/0.9"), UNKNOWN_VERSION),
    _bad("0.9", b"GET /healthz\r\n\r\n"),
    _bad("http2-preface", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0", frozenset({400, 505})),
    _bad("version-of-two-digits", _post(HOST, ONE, line=b"POST /double HTTP/1.11")),
    _bad("version-in-small-letters", _post(HOST, ONE, line=b"POST /double http/1.1")),
    _bad("version-of-another-protocol", _post(HOST, ONE, line=b"POST /double RTSP/1.0")),
    _bad("words-behind-the-version", _post(HOST, ONE, line=b"POST /double HTTP/1.1 x")),
    # Host (section 3.2)
    _bad("no-host", _post(ONE)),
    _bad("two-hosts", _post(HOST, b"Host: y", ONE)),
    _bad("twice-the-same-host", _post(HOST, HOST, ONE)),
    _bad("blank-in-host", _post(b"Host: a b", ONE)),
    _bad("path-in-host", _post(b"Host: a/b", ONE)),
    _bad("user-in-host", _post(b"Host: u@a", ONE)),
    _bad("query-in-host", _post(b"Host: a?b", ONE)),
    _bad("word-for-a-port", _post(b"Host: a:b", ONE)),
    _bad("two-ports", _post(b"Host: a:1:2", ONE)),
    _bad("half-an-address", _post(b"Host: [::1", ONE)),
    _bad("tag-in-host", _post(b"Host: <a>", ONE)),
    _bad("quote-in-host", _post(b'Host: "a"', ONE)),
    _bad("backslash-in-host", _post(b"Host: a\\b", ONE)),
    _bad("bytes-above-127-in-host", _post(b"Host: \xc3\xa4.de", ONE)),
    _bad("half-an-escape-in-host", _post(b"Host: a%4", ONE)),
    _bad("two-hosts-in-one", _post(b"Host: a, b", ONE)),
    _bad("url-in-host", _post(b"Host: http://a", ONE)),
    _bad("blank-in-host-1.0", _post(b"Host: a b", ONE, line=b"POST /double HTTP/1.0")),
    _good("empty-host", _post(b"Host:", ONE)),
    _good("host-and-port", _post(b"Host: a.example:8080", ONE)),
    _good("host-with-an-underscore", _post(b"Host: my_service.default.svc", ONE)),
    _good("host-that-is-an-address", _post(b"Host: 127.0.0.1:5000", ONE)),
    _good("host-that-is-an-address-of-ipv6", _post(b"Host: [::1]:5000", ONE)),
    _good("host-in-capitals", _post(b"HOST: Example.COM", ONE)),
    # Targets (sections 3.2.1 to 3.2.4)
    _good("absolute", b"GET http://x/healthz HTTP/1.1\r\nHost: x\r\n\r\n"),
    _good("absolute-https", b"GET HTTPS://x:443/healthz HTTP/1.1\r\nHost: x\r\n\r\n"),
    _good("absolute-of-another-host", b"GET http://y/healthz HTTP/1.1\r\nHost: x\r\n\r\n"),
    _good("absolute-with-a-query", b"GET http://x/healthz?a=http://b HTTP/1.1\r\nHost: x\r\n\r\n"),
    _good("absolute-without-a-path", b"GET http://x HTTP/1.1\r\nHost: x\r\n\r\n"),
    _good("absolute-post", _post(HOST, ONE, line=b"POST http://x/double HTTP/1.1")),
    _bad("absolute-without-host", b"GET http://x/healthz HTTP/1.1\r\n\r\n"),
    _bad("absolute-with-two-hosts", b"GET http://x/healthz HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n"),
    _bad("absolute-of-nobody", b"GET http:///healthz HTTP/1.1\r\nHost: x\r\n\r\n"),
    _bad("absolute-with-a-user", b"GET http://u:p@x/healthz HTTP/1.1\r\nHost: x\r\n\r\n"),
    _bad("absolute-of-another-scheme", b"GET ftp://x/healthz HTTP/1.1\r\nHost: x\r\n\r\n"),
    _bad("authority", b"CONNECT x:443 HTTP/1.1\r\nHost: x\r\n\r\n", frozenset({400, 405, 501})),
    _bad("authority-to-get", b"GET x:443 HTTP/1.1\r\nHost: x\r\n\r\n"),
    _bad("relative", b"GET healthz HTTP/1.1\r\nHost: x\r\n\r\n"),
    _bad("nothing-to-get", b"GET  HTTP/1.1\r\nHost: x\r\n\r\n"),
    _bad("blank-in-a-path", b"GET /a b HTTP/1.1\r\nHost: x\r\n\r\n"),
    _bad("bytes-above-127-in-a-path", b"GET /\xc3\xa4 HTTP/1.1\r\nHost: x\r\n\r\n"),
    _bad("control-character-in-a-path", b"GET /a\x07 HTTP/1.1\r\nHost: x\r\n\r\n"),
    _good("options-of-the-server", b"OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n", frozenset({200, 204})),
    _good("options-of-the-server-absolute", b"OPTIONS http://x HTTP/1.1\r\nHost: x\r\n\r\n", frozenset({200, 204})),
    _bad("get-of-the-server", b"GET * HTTP/1.1\r\nHost: x\r\n\r\n", frozenset({400, 404})),
    _bad("long-path", b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", frozenset({400, 414, 431})),
    # Methods
    _bad("method-that-is-no-word", b"G(T /healthz HTTP/1.1\r\nHost: x\r\n\r\n"),
    _bad("blank-before-a-method", b" GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"),
    # Lengths (section 6.2)
    _bad("two-lengths", _post(HOST, ONE, b"Content-Length: 2")),
    _bad("two-lengths-in-one", _post(HOST, b"Content-Length: 1, 2")),
    _bad("signed-length", _post(HOST, b"Content-Length: +1")),
    _bad("negative-length", _post(HOST, b"Content-Length: -1")),
    _bad("length-of-five-thousand-digits", _post(HOST, b"Content-Length: " + b"9" * 5000)),
    _bad("two-lengths-of-many-digits", _post(HOST, b"Content-Length: " + b"9" * 5000, ONE)),
    _bad("length-of-five-thousand-zeros", _post(HOST, b"Content-Length: " + b"0" * 5000 + b"1")),
    _bad("length-beyond-64-bits", _post(HOST, b"Content-Length: 99999999999999999999"), TOO_LARGE),
    _bad("length-beyond-the-limit", _post(HOST, b"Content-Length: 99999999999"), TOO_LARGE),
    _bad("hexadecimal-length", _post(HOST, b"Content-Length: 0x1")),
    _bad("length-with-an-underscore", _post(HOST, b"Content-Length: 1_0")),
    _bad("length-with-a-point", _post(HOST, b"Content-Length: 1.0")),
    _bad("length-of-other-digits", _post(HOST, "Content-Length: ١".encode())),
    _bad("length-of-a-superscript", _post(HOST, b"Content-Length: \xb9")),
    _bad("no-word-for-a-length", _post(HOST, b"Content-Length:")),
    # Length and coding, and codings (section 6.1)
    _bad("length-then-chunked", _post(HOST, ONE, CHUNKED, body=LAST + PROBE)),
    _bad("chunked-then-length", _post(HOST, CHUNKED, b"Content-Length: 11", body=LAST + PROBE)),
    _bad("chunked-and-no-length", _post(HOST, CHUNKED, b"Content-Length: 0", body=LAST + PROBE)),
    _bad("length-and-a-coding-in-capitals", _post(HOST, ONE, b"TRANSFER-ENCODING: CHUNKED", body=LAST + PROBE)),
    _bad("identity", _post(HOST, ONE, b"Transfer-Encoding: identity"), UNKNOWN_CODING),
    _bad("gzip", _post(HOST, b"Transfer-Encoding: gzip"), UNKNOWN_CODING),
    _bad("gzip-in-chunks", _post(HOST, b"Transfer-Encoding: gzip, chunked", body=LAST), UNKNOWN_CODING),
    _bad("identity-in-chunks", _post(HOST, b"Transfer-Encoding: identity, chunked", body=LAST), UNKNOWN_CODING),
    _bad("chunked-then-identity", _post(HOST, b"Transfer-Encoding: chunked, identity", body=LAST), UNKNOWN_CODING),
    _bad("chunked-twice", _post(HOST, b"Transfer-Encoding: chunked, chunked", body=LAST), UNKNOWN_CODING),
    _bad("chunked-in-two-fields", _post(HOST, CHUNKED, CHUNKED, body=LAST), UNKNOWN_CODING),
    _bad("nearly-chunked", _post(HOST, b"Transfer-Encoding: xchunked", body=LAST), UNKNOWN_CODING),
    _bad("quoted-chunked", _post(HOST, b'Transfer-Encoding: "chunked"', body=LAST), UNKNOWN_CODING),
    _bad("chunked-behind-a-control-character", _post(HOST, b"Transfer-Encoding: \x0bchunked", body=LAST)),
    _bad("no-coding", _post(HOST, b"Transfer-Encoding:", body=LAST), UNKNOWN_CODING),
    # Chunks (section 7.1)
    _good("chunked", _post(HOST, CHUNKED, body=LAST)),
    _good("chunked-in-capitals", _post(HOST, b"Transfer-Encoding: Chunked", body=LAST)),
    _good("chunks-of-one", _post(HOST, CHUNKED, body=b"1\r\n \r\n" * 1000 + LAST)),
    _good("size-with-zeros", _post(HOST, CHUNKED, body=b"0001\r\n4\r\n00\r\n\r\n")),
    _good("extension", _post(HOST, CHUNKED, body=b'1;a=b;c="d;e"\r\n4\r\n0;f\r\n\r\n')),
    _good("trailer", _post(HOST, CHUNKED, body=b"1\r\n4\r\n0\r\nX-After: 1\r\n\r\n")),
    _bad("size-that-is-no-number", _post(HOST, CHUNKED, body=b"x\r\n4\r\n0\r\n\r\n")),
    _bad("signed-size", _post(HOST, CHUNKED, body=b"+1\r\n4\r\n0\r\n\r\n")),
    _bad("negative-size", _post(HOST, CHUNKED, body=b"-1\r\n4\r\n0\r\n\r\n")),
    _bad("size-with-0x", _post(HOST, CHUNKED, body=b"0x1\r\n4\r\n0\r\n\r\n")),
    _bad("size-with-an-underscore", _post(HOST, CHUNKED, body=b"1_0\r\n4\r\n0\r\n\r\n")),
    _bad("no-size", _post(HOST, CHUNKED, body=b"\r\n4\r\n0\r\n\r\n")),
    _bad("size-beyond-64-bits", _post(HOST, CHUNKED, body=b"1" + b"0" * 16 + b"\r\n4\r\n0\r\n\r\n"), TOO_LARGE),
    _bad("size-of-five-thousand-digits", _post(HOST, CHUNKED, body=b"f" * 5000 + b"\r\n4\r\n0\r\n\r\n"), TOO_LARGE),
    _bad("more-than-its-size", _post(HOST, CHUNKED, body=b"1\r\n44\r\n0\r\n\r\n")),
    _bad("size-ended-by-a-line-feed", _post(HOST, CHUNKED, body=b"1\n4\r\n0\r\n\r\n")),
    _bad("chunk-ended-by-a-line-feed", _post(HOST, CHUNKED, body=b"1\r\n4\n0\r\n\r\n")),
    _bad("carriage-return-in-an-extension", _post(HOST, CHUNKED, body=b"1;a\rb\r\n4\r\n0\r\n\r\n")),
    _good("chunks-of-five", _post(HOST, CHUNKED, body=b"5\r\n     \r\n" * 30_000 + LAST)),
    _bad("crumbs", _post(HOST, CHUNKED, body=b"1\r\n \r\n" * 50_000 + LAST)),
    _bad("crumbs-of-three", _post(HOST, CHUNKED, body=b"3\r\n   \r\n" * 50_000 + LAST)),
    _bad("nothing-but-extensions", _post(HOST, CHUNKED, body=(b"1;" + b"a" * 4000 + b"\r\n \r\n") * 30 + LAST)),
    _bad("length-in-a-trailer", _post(HOST, CHUNKED, body=b"1\r\n4\r\n0\r\nContent-Length: 5\r\n\r\n"), BAD),
    _bad(
        "trailers-without-end",
        _post(HOST, CHUNKED, body=b"1\r\n4\r\n0\r\n" + b"A: b\r\n" * 5000 + b"\r\n"),
        frozenset({400, 431}),
    ),
    # Fields (section 5)
    _bad("blank-before-the-colon", _post(HOST, b"Content-Length : 1")),
    _bad("blank-before-a-name", _post(HOST, b" Content-Length: 1")),
    _bad("folded", _post(HOST, b"X-Long: a", b" b", ONE)),
    _bad("folded-by-a-tab", _post(HOST, b"X-Long: a", b"\tb", ONE)),
    _bad("folded-first", _post(b" X: a", HOST, ONE)),
    _bad("no-colon", _post(HOST, b"X-Nothing", ONE)),
    _bad("no-name", _post(HOST, b": x", ONE)),
    _bad("nul-in-a-field", _post(HOST, b"X-Name: a\0b", ONE)),
    _bad("nul-in-a-name", _post(HOST, b"X\0Name: a", ONE)),
    _bad("carriage-return-in-a-field", _post(HOST, b"X-Name: a\rContent-Length: 1", ONE)),
    _bad("line-feed-in-a-field", _post(HOST, b"X-Name: a\nTransfer-Encoding: chunked", ONE)),
    _bad("line-feeds-alone", _post(HOST, ONE).replace(b"\r\n", b"\n")),
    _bad("carriage-returns-alone", _post(HOST, ONE).replace(b"\r\n", b"\r") + b"\r\n\r\n"),
    _bad("escape-in-a-field", _post(HOST, b"X-Name: \x1b[31m", ONE)),
    _bad("parentheses-in-a-name", _post(HOST, b"X(a): b", ONE)),
    _bad("many-fields", _post(HOST, *[b"X-%d: y" % number for number in range(1000)], ONE), frozenset({400, 431})),
    _bad("long-field", _post(HOST, b"X-Long: " + b"a" * 100_000, ONE), frozenset({400, 431})),
    _bad(
        "long-fields",
        _post(HOST, *[b"X-%d: %b" % (number, b"a" * 8000) for number in range(90)], ONE),
        frozenset({400, 431}),
    ),
    # What is no request at all
    _bad("noise", bytes(range(256)) + b"\r\n\r\n"),
    _bad("tls", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\xaa" * 20 + b"\r\n\r\n"),
    _bad("proxy-protocol", b"PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\n" + _post(HOST, ONE)),
)
