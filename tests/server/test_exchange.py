"""Headers, ids and bodies, without an application."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kappa.errors import BadInputError
from kappa.server.exchange import (
    ClientGoneError,
    Request,
    RequestHeaders,
    RequestIds,
    media_type_of,
    read_body,
    timeout_of,
)
from kappa.types import HTTPHeaders


def request(*events: dict[str, Any], **headers: str) -> Request:
    """Return a request whose body comes in ``events``, the first of which is there already."""
    pending = list(events)

    async def receive() -> dict[str, Any]:
        if not pending:
            await asyncio.Event().wait()
        return pending.pop(0)

    named = [(name.replace("_", "-").encode(), value.encode("latin-1")) for name, value in headers.items()]
    scope = {"type": "http", "method": "POST", "path": "/", "query_string": b"", "headers": named}
    return Request(scope, receive, pending.pop(0) if pending else None)


def chunk(body: bytes, *, more: bool = True) -> dict[str, Any]:
    return {"type": "http.request", "body": body, "more_body": more}


def body_of(req: Request, *, max_bytes: int = 10, timeout_s: float = 5.0) -> bytes:
    return asyncio.run(read_body(req, max_bytes=max_bytes, timeout_s=timeout_s))


def test_a_body_is_read_whole_however_it_comes() -> None:
    assert body_of(request(chunk(b"abc", more=False))) == b"abc"
    assert body_of(request(chunk(b"ab"), chunk(b"c"), chunk(b"", more=False))) == b"abc"
    assert body_of(request({"type": "http.request"})) == b""


@pytest.mark.parametrize(
    "req",
    [
        pytest.param(request(chunk(b"x" * 11, more=False)), id="at-once"),
        pytest.param(request(chunk(b"x" * 6), chunk(b"x" * 6)), id="in-parts"),
        pytest.param(request(chunk(b"x"), content_length="11"), id="announced"),
    ],
)
def test_a_body_over_the_limit_is_refused_without_waiting_for_the_rest(req: Request) -> None:
    with pytest.raises(BadInputError, match="larger than the 10 bytes") as caught:
        body_of(req)
    assert caught.value.http_status == 413


def test_a_body_that_stops_arriving_is_given_up() -> None:
    with pytest.raises(BadInputError, match=r"did not arrive within 0\.01 seconds") as caught:
        body_of(request(chunk(b"x")), timeout_s=0.01)
    assert caught.value.http_status == 408


def test_a_body_is_given_up_even_where_the_server_below_takes_no_notice_of_a_cancelled_wait() -> None:
    req = request(chunk(b"x"))
    waits = iter([10.0, *[0.0] * 5])

    async def receive() -> dict[str, Any]:
        try:
            await asyncio.sleep(next(waits))
        except asyncio.CancelledError:
            return chunk(b"y")
        except StopIteration:
            return chunk(b"", more=False)
        return chunk(b"z")

    req.receive = receive
    with pytest.raises(BadInputError, match="did not arrive") as caught:
        body_of(req, timeout_s=0.01)
    assert caught.value.http_status == 408


def test_half_of_a_body_is_never_taken_for_the_whole() -> None:
    with pytest.raises(ClientGoneError):
        body_of(request(chunk(b"[1, 2]"), {"type": "http.disconnect"}))


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
        ("", ("", "utf-8", "", True)),
        ("application/json", ("application/json", "utf-8", "", False)),
        ("Application/JSON; charset=ISO-8859-1", ("application/json", "iso-8859-1", "", False)),
        ('text/csv; header=present; charset="UTF-16"', ("text/csv", "utf-16", "", True)),
        ("image/png", ("image/png", "utf-8", "", True)),
        ("Image/JPG", ("image/jpeg", "utf-8", "", True)),
        ("text/json; charset=utf-8", ("application/json", "utf-8", "", False)),
        ("text/plain; charset", ("text/plain", "utf-8", "", True)),
        ('multipart/form-data; boundary="a b"', ("multipart/form-data", "utf-8", "a b", True)),
    ],
)
def test_media_types_are_read_with_their_parameters(content_type: str, expected: tuple[str, str, str, bool]) -> None:
    assert media_type_of(content_type) == expected
