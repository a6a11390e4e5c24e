"""Headers, ids and bodies, without an application."""

from __future__ import annotations

import gzip
import random
import zlib
from contextlib import suppress
from typing import Any

import falcon.asgi
import h11
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kappa.errors import BadInputError
from kappa.server.answers import problem_of
from kappa.server.http.exchange import (
    PlainResponse,
    Request,
    RequestHeaders,
    RequestIds,
    announced_length,
    media_type_of,
    send_answer,
    timeout_of,
    unpacked,
)
from kappa.types import Answer, HTTPHeaders


def request(**headers: str) -> Request:
    named = [(name.replace("_", "-").encode(), value.encode("latin-1")) for name, value in headers.items()]
    return Request({"type": "http", "method": "POST", "path": "/", "query_string": b"", "headers": named}, None)


def test_ids_are_made_once_per_request_and_differ_between_requests() -> None:
    ids = RequestIds("host")
    first, second = request(), request()
    assert [ids.of(first), ids.of(second), ids.of(first)] == ["host-1", "host-2", "host-1"]
    assert RequestIds().of(request()) != RequestIds().of(request())


@pytest.mark.parametrize("text", ["0", "-1", "nan", "inf", "soon", ""])
def test_a_deadline_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(BadInputError, match="positive number of seconds"):
        timeout_of({b"x-request-timeout-seconds": text.encode()})


def test_a_deadline_is_a_number_of_seconds() -> None:
    assert timeout_of({b"x-request-timeout-seconds": b"0.25"}) == 0.25
    assert timeout_of({}) is None


@given(st.dictionaries(st.text("abcxyz-", min_size=1), st.text(st.characters(max_codepoint=255))), st.text(max_size=5))
def test_headers_that_are_decoded_late_read_like_any_others(values: dict[str, str], name: str) -> None:
    lazy = RequestHeaders({key.encode(): value.encode("latin-1") for key, value in values.items()})
    eager = HTTPHeaders(values)
    for asked in [*values, name, name.upper()]:
        assert (lazy[asked], asked in lazy, lazy.get(asked)) == (eager[asked], asked in eager, eager.get(asked))
    assert (dict(lazy), len(lazy), repr(lazy)) == (dict(eager), len(eager), repr(eager))


@pytest.mark.parametrize(
    ("content_type", "expected"),
    [
        ("", ("", "utf-8", "")),
        ("application/json", ("application/json", "utf-8", "")),
        ("Application/JSON; charset=ISO-8859-1", ("application/json", "iso-8859-1", "")),
        ('text/csv; header=present; charset="UTF-16"', ("text/csv", "utf-16", "")),
        ("image/png", ("image/png", "utf-8", "")),
        ("Image/JPG", ("image/jpeg", "utf-8", "")),
        ("text/json; charset=utf-8", ("application/json", "utf-8", "")),
        ("text/plain; charset", ("text/plain", "utf-8", "")),
        ('multipart/form-data; boundary="a b"', ("multipart/form-data", "utf-8", "a b")),
    ],
)
def test_media_types_are_read_with_their_parameters(content_type: str, expected: tuple[str, str, str]) -> None:
    assert media_type_of(content_type.encode()) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [(b"0", 0), (b"12", 12), (b"1" * 5000, 10**18), (b"9" * 18, 10**18), (b"", None), (b"-1", None), (b"1_0", None)],
)
def test_a_length_is_read_however_long_it_is(text: bytes, expected: int | None) -> None:
    assert announced_length({b"content-length": text}) == expected
    assert announced_length({}) is None


TEXT = b"the body " * 100
NOISE = random.Random(0).randbytes(300_000)


@pytest.mark.parametrize(
    ("body", "encoding", "expected"),
    [
        pytest.param(TEXT, b"", TEXT, id="none"),
        pytest.param(TEXT, b"identity", TEXT, id="identity"),
        pytest.param(gzip.compress(TEXT), b"gzip", TEXT, id="gzip"),
        pytest.param(gzip.compress(TEXT), b" X-GZIP ", TEXT, id="x-gzip"),
        pytest.param(zlib.compress(TEXT), b"deflate", TEXT, id="deflate"),
        pytest.param(gzip.compress(NOISE), b"gzip", NOISE, id="longer-than-a-step"),
        pytest.param(gzip.compress(gzip.compress(TEXT)), b"gzip, gzip", TEXT, id="twice"),
        pytest.param(gzip.compress(zlib.compress(TEXT)), b"deflate,gzip", TEXT, id="in-the-order-of-the-header"),
        pytest.param(gzip.compress(TEXT), b"identity, , gzip", TEXT, id="identity-and-nothing"),
        pytest.param(gzip.compress(b"a") + gzip.compress(b"b"), b"gzip", b"ab", id="files-in-a-row"),
        pytest.param(gzip.compress(NOISE) + gzip.compress(TEXT), b"gzip", NOISE + TEXT, id="long-files-in-a-row"),
        pytest.param(gzip.compress(b"a") + bytes(99) + gzip.compress(b"b"), b"gzip", b"ab", id="zeros-between"),
        pytest.param(gzip.compress(b"a") + bytes(200_000), b"gzip", b"a", id="zeros-behind"),
        pytest.param(gzip.compress(b"a") * 5000, b"gzip", b"a" * 5000, id="many-files"),
        pytest.param(b"", b"gzip", b"", id="nothing"),
    ],
)
def test_a_packed_body_is_unpacked(body: bytes, encoding: bytes, expected: bytes) -> None:
    assert unpacked(body, encoding, max_bytes=400_000) == expected


@pytest.mark.parametrize(
    ("body", "encoding", "status", "said"),
    [
        pytest.param(TEXT, b"br", 415, "`br` is not taken here", id="unknown"),
        pytest.param(gzip.compress(TEXT), b"gzip, zstd", 415, "`zstd` is not taken here", id="one-unknown"),
        pytest.param(TEXT, b"gzip", 400, "not valid `gzip`", id="not-packed"),
        pytest.param(gzip.compress(TEXT), b"deflate", 400, "not valid `deflate`", id="otherwise-packed"),
        pytest.param(gzip.compress(TEXT), b"gzip, gzip", 400, "not valid `gzip`", id="not-packed-twice"),
        pytest.param(gzip.compress(TEXT)[:-1], b"gzip", 400, "ends too soon", id="cut"),
        pytest.param(gzip.compress(TEXT)[:5], b"gzip", 400, "ends too soon", id="cut-header"),
        pytest.param(gzip.compress(TEXT) + b"x", b"gzip", 400, "not valid `gzip`", id="more-behind"),
        pytest.param(gzip.compress(b"a") + gzip.compress(TEXT)[:-1], b"gzip", 400, "too soon", id="cut-second"),
        pytest.param(gzip.compress(b"") * 10_001, b"gzip", 400, "more than 10000", id="too-many-files"),
        pytest.param(TEXT, b"gzip" + b",gzip" * 3, 400, "packed 4 times", id="too-often"),
        pytest.param(gzip.compress(bytes(1001)), b"gzip", 413, "larger than the 1000", id="too-large"),
        pytest.param(gzip.compress(bytes(501)) * 2, b"gzip", 413, "larger than the 1000", id="too-large-together"),
        pytest.param(gzip.compress(gzip.compress(bytes(10**7))), b"gzip,gzip", 413, "larger", id="too-large-within"),
    ],
)
def test_a_body_that_is_not_what_it_says_is_refused(body: bytes, encoding: bytes, status: int, said: str) -> None:
    with pytest.raises(BadInputError, match=said) as caught:
        unpacked(body, encoding, max_bytes=1000)
    assert caught.value.http_status == status


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(gzip.compress(b"") * 10_000, id="empty-files"),
        pytest.param((gzip.compress(b"a") + b"\0") * 5000, id="zeros-between-files"),
        pytest.param(gzip.compress(NOISE), id="one-file"),
        pytest.param(gzip.compress(bytes(10**8)), id="too-large"),
    ],
)
def test_unpacking_takes_time_in_proportion_to_the_body(body: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    given = []

    class Counting:
        def __init__(self, *options: Any) -> None:
            self._inner = inflater(*options)

        def decompress(self, data: Any, most: int) -> bytes:
            given.append(len(data))
            return self._inner.decompress(data, most)

        def __getattr__(self, name: str) -> Any:
            return getattr(self._inner, name)

    inflater = zlib.decompressobj
    monkeypatch.setattr(zlib, "decompressobj", Counting)
    with suppress(BadInputError):
        unpacked(body, b"gzip", max_bytes=10**6)
    assert sum(given) <= 20 * len(body)


@given(st.text(st.characters(max_codepoint=256), max_size=4), st.text(" \ta", max_size=3), st.text(" \ta", max_size=3))
def test_each_server_takes_the_values_of_headers_that_a_function_may_set(inner: str, before: str, behind: str) -> None:
    value = before + inner + behind
    answer = Answer(b"1", before + "text/plain" + behind, http_headers={"X-Own": value, "Set-Cookie": [value, "b"]})
    if problem_of(answer) is not None:
        return
    resp = PlainResponse()
    send_answer(resp, answer, "1")
    sent = h11.Response(status_code=200, headers=resp.parts()[0]).headers
    own = value.strip(" \t").encode("latin-1")
    assert [item for item in sent if item[0] in (b"x-own", b"set-cookie")] == [
        (b"x-own", own),
        (b"set-cookie", own),
        (b"set-cookie", b"b"),
    ]


@pytest.mark.parametrize("make", [PlainResponse, falcon.asgi.Response], ids=["direct", "framework"])
def test_each_value_of_a_list_is_sent(make: Any) -> None:
    resp = make()
    send_answer(resp, Answer(b"", http_headers={"Set-Cookie": ("a=1", " b=2 "), "Via": ["x", "y"]}), "1")
    sent = resp.parts()[0] if make is PlainResponse else resp._asgi_headers()
    assert [value for name, value in sent if name == b"set-cookie"] == [b"a=1", b"b=2"]
    assert b", ".join(value for name, value in sent if name == b"via") == b"x, y"


@pytest.mark.parametrize(
    ("headers", "said"),
    [
        (
            {"Set-Cookie": "a", "set-cookie": "b"},
            "two of its headers are called `set-cookie`: give one a list of values",
        ),
        ({"X-Own": ["a", 5]}, "the value of the header `X-Own` cannot be sent"),
        ({"X-Own": ["a\nb"]}, "the value of the header `X-Own` cannot be sent"),
        ({"X-Own": 5}, "the value of the header `X-Own` cannot be sent"),
        ({"X-Own": ["a", "b"]}, None),
    ],
)
def test_headers_that_cannot_be_sent_are_named(headers: Any, said: str | None) -> None:
    assert problem_of(Answer(b"", http_headers=headers)) == said
