"""Requests that are recognized whole: exactly those that the server's parser would find too, and no others."""

from __future__ import annotations

from typing import Any

import pytest
from gunicorn.asgi.parser import CallbackRequest, ParseError
from hypothesis import given, settings
from hypothesis import strategies as st

from kappa.server.http.direct import whole_request
from kappa.server.http.parser import KappaParser
from tests.server.wire_cases import CASES, WireCase

LINE = b"POST /predict HTTP/1.1\r\n"


def request(*lines: bytes, body: bytes = b"[1]", line: bytes = LINE) -> bytes:
    return line + b"".join(line + b"\r\n" for line in lines or (b"Host: x", b"Content-Length: 3")) + b"\r\n" + body


def parsed(data: bytes) -> tuple[Any, bytes] | None:
    """Return what the parser makes of ``data`` if that is exactly one request."""
    body = bytearray()
    parser = KappaParser(on_body=body.extend)
    try:
        parser.feed(data)
        if not parser.is_complete or parser.remaining():
            return None
        return CallbackRequest.from_parser(parser), bytes(body)
    except ParseError:
        return None


def test_a_request_as_clients_send_it() -> None:
    lines = (b"Host: x:5000", b"User-Agent: curl/8", b"Accept: */*", b"Connection: keep-alive", b"X-Y:  a b\t")
    found = whole_request(request(*lines, b"Content-Type: application/json", b"Content-Length: 3"))
    assert found is not None
    head, body = found
    assert (head.path, body) == ("/predict", b"[1]")
    assert head.headers == {
        b"host": b"x:5000",
        b"user-agent": b"curl/8",
        b"accept": b"*/*",
        b"connection": b"keep-alive",
        b"x-y": b"a b",
        b"content-type": b"application/json",
        b"content-length": b"3",
    }


def test_a_head_that_was_read_before_goes_with_each_body_anew() -> None:
    for body, is_whole in ((b"[1]", True), (b"[2]", True), (b"[1", False), (b"[1]x", False), (b"[3]", True)):
        found = whole_request(request(body=body))
        assert (found is not None and found[1] == body) is is_whole
    assert found is not None
    with pytest.raises(TypeError):
        found[0].headers[b"host"] = b"y"  # type: ignore[index]


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(LINE, id="a-line"),
        pytest.param(request(body=b"[1"), id="half-a-body"),
        pytest.param(request(body=b"[1]P"), id="something-behind"),
        pytest.param(request() * 2, id="two-requests"),
        pytest.param(request(b"Content-Length: 3"), id="no-host"),
        pytest.param(request(b"Host: a b", b"Content-Length: 3"), id="blank-in-host"),
        pytest.param(
            request(b"Host: x", b"X-Forwarded-Proto: http", b"X-Forwarded-Ssl: on", b"Content-Length: 3"),
            id="two-words-on-the-scheme",
        ),
        pytest.param(request(b"Host: x", body=b""), id="no-length"),
        pytest.param(request(b"Host: x", b"Content-Length: 3", b"Content-Length: 3"), id="two-lengths"),
        pytest.param(request(b"Host: x", b"Content-Length: +3"), id="signed-length"),
        pytest.param(request(b"Host: x", b"Content-Length: 3", b"Transfer-Encoding: chunked"), id="chunked"),
        pytest.param(request(b"Host: x", b"Content-Length: 3", b"Expect: 100-continue"), id="waits-for-100"),
        pytest.param(request(b"Host: x", b"Content-Length: 3", b"Connection: close"), id="close"),
        pytest.param(request(b"Host: x", b"Content-Length: 3", b"Connection: upgrade"), id="upgrade"),
        pytest.param(request(b"Host: x", b"Content-Length: 3", b"X_Y: 1"), id="underscore"),
        pytest.param(request(b"Host: x", b"Content-Length : 3"), id="blank-before-colon"),
        pytest.param(request(b"Host: x", b" folded", b"Content-Length: 3"), id="folded"),
        pytest.param(request(b"Host: x", b"Content-Length: 3", b"A: \0"), id="control-character"),
        pytest.param(request(b"Host: x", b"Content-Length: 3", *[b"A%d: b" % i for i in range(100)]), id="many-fields"),
        pytest.param(request(b"Host: x", b"Content-Length: 3", b"A: " + b"a" * 8190), id="long-field"),
        pytest.param(request(line=b"GET /predict HTTP/1.1\r\n"), id="get"),
        pytest.param(request(line=b"POST /predict HTTP/1.0\r\n"), id="http-1.0"),
        pytest.param(request(line=b"POST /predict?a=1 HTTP/1.1\r\n"), id="query"),
        pytest.param(request(line=b"POST /%70redict HTTP/1.1\r\n"), id="encoded-path"),
        pytest.param(request(line=b"POST http://x/predict HTTP/1.1\r\n"), id="absolute-form"),
        pytest.param(request().replace(b"\r\n", b"\n"), id="bare-line-feeds"),
    ],
)
def test_anything_else_is_left_to_the_parser(data: bytes) -> None:
    assert whole_request(data) is None


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_what_is_recognized_is_never_what_is_to_be_refused(case: WireCase) -> None:
    assert whole_request(case.sent) is None or case.statuses == {200}


usual = st.sampled_from(
    [
        b"Connection: Keep-Alive",
        b"Content-Type: a/b",
        b"X: \xe4",
        b"Y:",
        b"Z: a:b\t",
        b"x-forwarded-proto: https",
        b"a!: 1",
    ]
)
unusual = st.sampled_from(
    [
        *(
            b"host:y",
            b"Host: a b",
            b"Content-Length: 03",
            b"Content-Length: 0",
            b"Content-Length: 3, 3",
            b"Expect: 100-continue",
        ),
        *(b"Transfer-Encoding: chunked", b"Transfer-Encoding: identity", b"Connection: close", b"Content-Type: c"),
        *(b"X: \x7f", b": x", b"X", b" y", b"Upgrade: websocket", b"X_Y: 1", b"A\tB: c", b"X: a\rb", b"Keep-Alive: 5"),
    ]
)
lines = st.sampled_from([LINE, LINE, b"POST //a/../b HTTP/1.1\r\n", b"POST /a  HTTP/1.1\r\n", b"POST /a\r\n"])
bodies = st.sampled_from([b"[1]", b"[1]", b"", b"[1]POST / HTTP/1.1\r\n", b"3\r\n[1]\r\n0\r\n\r\n", b"\r\n\r"])
whole = st.builds(
    lambda fields: request(b"Host: x", *fields, b"Content-Length: 3"), st.lists(usual, max_size=3, unique=True)
)
odd = st.builds(
    lambda line, fields, body: request(b"Host: x", *fields, b"content-length:\t3 ", line=line, body=body),
    lines,
    st.lists(usual | unusual, max_size=3),
    bodies,
)


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    data = draw(whole)
    at, gone = draw(st.integers(0, len(data))), draw(st.integers(0, 2))
    put = draw(st.sampled_from([b"", b"\r", b"\n", b"\r\n", b"\0", b" ", b"\t", b":", b",", b"_", b"\x80", b"1", b"%"]))
    return data[:at] + put + data[at + gone :]


@settings(max_examples=500, deadline=None)
@given(whole | odd | mutated())
def test_what_is_recognized_is_what_the_parser_finds(data: bytes) -> None:
    found = whole_request(data)
    if found is None:
        return
    theirs = parsed(data)
    assert theirs is not None, "the parser refuses it, finds it incomplete, or finds more than one"
    request, body = theirs
    head, found_body = found
    assert (head.path, found_body) == (request.path, body)
    assert sorted(head.headers.items()) == sorted(request.headers_bytes)
    assert (request.method, request.version, request.query) == ("POST", (1, 1), "")
    assert not request.should_close()
    assert not request.may_upgrade()
