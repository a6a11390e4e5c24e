"""How bodies are read, and what is held of those that are on their way."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from kappa.errors import BadInputError
from kappa.server.arrivals import Arrival, Arrivals
from kappa.server.batching.outcomes import RefusedError
from kappa.server.failures import ClientGoneError
from kappa.server.http import bounds
from kappa.server.http.arrival import Pace, first_event, read_body
from kappa.server.http.exchange import PlainRequest


def request(*events: dict[str, Any], **headers: str) -> PlainRequest:
    """Return a request whose body comes in ``events``, the first of which is there already."""
    pending = list(events)

    async def receive() -> dict[str, Any]:
        if not pending:
            await asyncio.Event().wait()
        return pending.pop(0)

    named = {name.replace("_", "-").encode(): value.encode("latin-1") for name, value in headers.items()}
    req = PlainRequest(named, receive)
    req.first_event = pending.pop(0)
    return req


def chunk(body: bytes, *, more: bool = True) -> dict[str, Any]:
    return {"type": "http.request", "body": body, "more_body": more}


def body_of(req: PlainRequest, *, max_bytes: int = 10, timeout_s: float = 5.0, **options: Any) -> bytes | None:
    return asyncio.run(read_body(req, max_bytes=max_bytes, timeout_s=timeout_s, **options))


def test_a_body_is_read_whole_however_it_comes() -> None:
    assert body_of(request(chunk(b"abc", more=False))) == b"abc"
    assert body_of(request(chunk(b"ab"), chunk(b"c"), chunk(b"", more=False))) == b"abc"
    assert body_of(request({"type": "http.request"})) == b""


@pytest.mark.parametrize(
    "req",
    [
        pytest.param(request(chunk(b"x" * 11, more=False)), id="at-once"),
        pytest.param(request(chunk(b"x" * 6), chunk(b"x" * 6)), id="in-parts"),
    ],
)
def test_a_body_over_the_limit_is_refused_without_waiting_for_the_rest(req: PlainRequest) -> None:
    with pytest.raises(BadInputError, match="larger than the 10 bytes") as caught:
        body_of(req)
    assert caught.value.http_status == 413


def test_a_body_that_does_not_begin_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounds, "BODY_PACE_S", 0.01)

    async def never() -> Any:
        await asyncio.Event().wait()

    with pytest.raises(BadInputError, match=r"^The body almost stopped: for 0\.01 seconds") as caught:
        asyncio.run(first_event(never))
    assert caught.value.http_status == 408


def test_who_is_cancelled_while_a_body_begins_is_cancelled() -> None:
    async def never() -> Any:
        await asyncio.Event().wait()

    async def cancelled() -> bool:
        task = asyncio.create_task(first_event(never))
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait({task})
        return task.cancelled()

    assert asyncio.run(cancelled())


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
    assert len(list(waits)) == 5, "it was read on"


def test_half_of_a_body_is_never_taken_for_the_whole() -> None:
    with pytest.raises(ClientGoneError):
        body_of(request(chunk(b"[1, 2]"), {"type": "http.disconnect"}))


@pytest.mark.parametrize(
    ("sizes", "expected"),
    [
        pytest.param([0], "almost stopped", id="nothing"),
        pytest.param([1000, 1000], "almost stopped", id="nothing-after-the-beginning"),
        pytest.param([5], "almost stopped", id="byte-by-byte"),
        pytest.param([25, 50, 55], "almost stopped", id="almost-nothing-after-a-while"),
        pytest.param([25, 50, 75, 100, 125], None, id="slowly"),
        pytest.param([25, 50, 75, 100, 125, 150], "did not arrive within 30 seconds", id="too-long"),
        pytest.param([10**6 * n for n in range(1, 7)], "did not arrive within 30 seconds", id="too-much"),
    ],
)
def test_a_client_may_send_slowly_and_not_almost_nothing(
    sizes: list[int], expected: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What has arrived after 5, 10, … seconds."""
    monkeypatch.setattr(bounds, "BODY_PACE_S", 5.0)
    monkeypatch.setattr(bounds, "BODY_LEAST_RATE", 5)
    pace = Pace(100.0, 30.0)
    complaints = []
    for number, size in enumerate(sizes, start=1):
        now = 100.0 + 5.0 * number
        assert pace.next_look_s(now - 2.0) == 2.0
        assert pace.complaint(now - 2.0, 0) is None
        complaints.append(pace.complaint(now, size))
    assert complaints[:-1] == [None] * (len(sizes) - 1)
    assert complaints[-1] is None if expected is None else expected in (complaints[-1] or "")


def test_a_body_that_almost_stops_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounds, "BODY_PACE_S", 0.01)
    with pytest.raises(BadInputError, match="almost stopped") as caught:
        body_of(request(chunk(b"x")), timeout_s=60.0)
    assert caught.value.http_status == 408


def test_a_body_for_which_there_is_no_room_is_read_no_further() -> None:
    held: list[int] = []

    def hold(size: int) -> bool:
        held.append(size)
        return sum(held) <= 4

    parts = [chunk(b"ab"), chunk(b"cd"), chunk(b"e"), chunk(b"f"), chunk(b"", more=False)]
    assert body_of(request(*parts), hold=hold) is None
    assert held == [2, 2, 1]
    assert body_of(request(chunk(b"abcde", more=False)), hold=lambda size: size <= 4) is None


def test_what_is_on_its_way_is_counted_until_it_is_not() -> None:
    arrivals, asked = Arrivals(), []

    def lacks_room(**held: int) -> str | None:
        asked.append(tuple(held.values()))
        return "queue_bytes" if held["size_bytes"] > 12 else None

    batcher: Any = SimpleNamespace(lacks_room=lacks_room)
    with Arrival(arrivals, batcher) as one, Arrival(arrivals, batcher) as other:
        assert (one.take(5), other.take(7), other.take(1)) == (True, True, False)
        assert other.refusal().reason == "queue_bytes"
        with pytest.raises(RefusedError, match="queue_bytes"):
            one.wait_for_decoding()
        assert asked == [(2, 0, 5), (2, 0, 12), (2, 0, 13), (2, 0, 13), (2, 1, 13), (2, 1, 13)]
    assert (arrivals.count, arrivals.decoding, arrivals.size_bytes) == (0, 0, 0)
