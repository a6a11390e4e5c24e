"""h11 with what it leaves open: the cases of every door, in one piece and byte by byte."""

from __future__ import annotations

from collections.abc import Iterable

import h11
import pytest

from kappa.server.http.strict_h11 import StrictConnection, UnreadableError
from tests.server.wire_cases import CASES, WireCase

OF_THE_APPLICATION = {"length-beyond-the-limit"}
"""What is not refused for how it is written."""


def read(pieces: Iterable[bytes]) -> tuple[int, list[bytes]]:
    """Return the status of the refusal, or 0, and the requests that were read with their bodies."""
    connection = StrictConnection()
    requests: list[bytes] = []
    try:
        for piece in pieces:
            connection.receive_data(piece)
            while (event := connection.next_event()) not in (h11.NEED_DATA, h11.PAUSED):
                if isinstance(event, h11.Request):
                    fields = b"".join(b"%b=%b;" % field for field in event.headers)
                    requests.append(event.method + b" " + event.target + b" " + fields)
                elif isinstance(event, h11.Data):
                    requests[-1] += bytes(event.data)
                elif isinstance(event, h11.EndOfMessage):
                    return 0, requests
    except UnreadableError as exc:
        return exc.status, requests
    return 0, requests


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_a_request_is_read_the_same_whole_and_byte_by_byte(case: WireCase) -> None:
    status, requests = read([case.sent])
    one_by_one = read(case.sent[at : at + 1] for at in range(len(case.sent)))
    if case.statuses & {400, 414, 431, 501, 505} and case.name not in OF_THE_APPLICATION:
        assert status in case.statuses
        assert one_by_one[0] in case.statuses
    else:
        assert (status, requests) == one_by_one == (0, requests)
        assert len(requests) == 1


def test_what_follows_a_request_is_read_after_it_also_behind_empty_lines() -> None:
    connection = StrictConnection()
    connection.receive_data(b"\r\n\r\nGET /a HTTP/1.1\r\nHost: x\r\n\r\n\r\n\r\nGET /b HTTP/1.1\r\nHost: x\r\n\r\n")
    for target in (b"/a", b"/b"):
        request = connection.next_event()
        assert (type(request), request.target) == (h11.Request, target)
        assert type(connection.next_event()) is h11.EndOfMessage
        connection.send(h11.Response(status_code=204, headers=[]))
        connection.send(h11.EndOfMessage())
        connection.start_next_cycle()


def test_the_host_of_a_url_stands_in_place_of_the_field() -> None:
    _, requests = read([b"GET http://y:80/a?b HTTP/1.1\r\nHost: x\r\nAccept: */*\r\n\r\n"])
    assert requests == [b"GET /a?b host=y:80;accept=*/*;"]


def test_a_refusal_holds_no_bytes_of_the_client_that_are_not_text() -> None:
    connection = StrictConnection()
    connection.receive_data(b"GET /\x1b[31m\xff HTTP/1.1\r\nHost: x\r\n\r\n")
    with pytest.raises(UnreadableError) as error:
        connection.next_event()
    assert str(error.value).isprintable()
    assert str(error.value).isascii()


def test_chunks_that_come_together_are_one_event() -> None:
    connection = StrictConnection()
    connection.receive_data(b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
    assert type(connection.next_event()) is h11.Request
    half = b"5\r\nab"
    connection.receive_data(b"5\r\nabcde\r\n" * 20_000 + half)
    together, begun = connection.next_event(), connection.next_event()
    assert (together.data, begun.data) == (b"abcde" * 20_000, b"ab")
    assert connection.next_event() is h11.NEED_DATA
    connection.receive_data(b"cde\r\n" + b"5\r\nabcde\r\n" * 3 + b"0\r\nX-After: 1\r\n\r\n")
    *rest, end = iter(connection.next_event, h11.NEED_DATA)
    assert b"".join(event.data for event in rest) == b"cde" + b"abcde" * 3
    assert end.headers == [(b"x-after", b"1")]
