"""The load generator against a server that this test plays."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterator
from itertools import pairwise

import pytest

from kappa.server.tuning.load import Outcome, bursts, closed_loop, open_loop, poisson, request_bytes

REQUEST = request_bytes("x", "/double", b"21", media_type="application/json")


def test_arrivals_come_at_their_rate_in_order_and_in_time() -> None:
    for arrivals in (poisson, bursts):
        times = list(arrivals(200.0, seconds=100.0, rng=random.Random(1)))
        assert all(earlier <= later for earlier, later in pairwise(times))
        assert times[0] > 0
        assert times[-1] < 100.0
        assert len(times) == pytest.approx(20_000, rel=0.15)


def test_bursts_are_denser_than_chance() -> None:
    def spread(arrivals: Callable[..., Iterator[float]]) -> float:
        counts = [0] * 1000
        for at in arrivals(200.0, seconds=100.0, rng=random.Random(2)):
            counts[int(at * 10)] += 1
        mean = sum(counts) / len(counts)
        return sum((count - mean) ** 2 for count in counts) / len(counts) / mean

    assert spread(poisson) == pytest.approx(1.0, abs=0.2)
    assert spread(bursts) > 5


async def answering(answer: bytes, *, delay_s: float = 0.0, after: int = 0) -> asyncio.Server:
    """Serve answers, each ``delay_s`` after its request, but none before ``after`` requests have come."""
    requests, are_there = 0, asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal requests
        try:
            while True:
                await reader.readexactly(len(REQUEST))
                requests += 1
                if requests >= after:
                    are_there.set()
                await are_there.wait()
                if delay_s:
                    await asyncio.sleep(delay_s)
                writer.write(answer)
                if b"close" in answer:
                    break
        except asyncio.IncompleteReadError:
            pass
        finally:
            writer.close()

    return await asyncio.start_server(serve, "127.0.0.1", 0)


OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n42"
BUSY = b"HTTP/1.1 503 Busy\r\nRetry-After: 1\r\nContent-Length: 1\r\n\r\n."
CLOSING = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\n42"


def port_of(server: asyncio.Server) -> int:
    return int(server.sockets[0].getsockname()[1])


def test_an_open_loop_keeps_to_its_schedule_whatever_the_server_does() -> None:
    async def run() -> Outcome:
        async with await answering(OK, after=100) as server:
            schedule = iter([number / 200 for number in range(100)])
            return await open_loop(
                "127.0.0.1", port_of(server), REQUEST, schedule=schedule, connections=100, patience_s=60.0
            )

    outcome = asyncio.run(run())
    assert (outcome.statuses, outcome.lost, outcome.unsent) == ({200: 100}, 0, 0)
    assert max(outcome.latencies) >= 0.49, "the first was answered when the last had been sent"


def test_a_request_that_finds_no_connection_is_as_late_as_it_waited() -> None:
    async def run() -> Outcome:
        async with await answering(OK, delay_s=0.05) as server:
            return await open_loop(
                "127.0.0.1", port_of(server), REQUEST, schedule=iter([0.0, 0.0, 0.0, 0.0]), connections=1
            )

    outcome = asyncio.run(run())
    assert outcome.statuses == {200: 4}
    assert max(outcome.latencies) >= 0.2
    assert max(outcome.lateness) >= 0.15


def test_refusals_are_counted_with_what_they_say_of_coming_back() -> None:
    async def run() -> Outcome:
        async with await answering(BUSY) as server:
            schedule = iter([number / 1000 for number in range(50)])
            return await open_loop("127.0.0.1", port_of(server), REQUEST, schedule=schedule, connections=4)

    outcome = asyncio.run(run())
    assert (outcome.statuses, outcome.retry_after, len(outcome.latencies)) == ({503: 50}, 50, 0)
    assert outcome.within(10.0) == 0


def test_a_server_that_closes_each_connection_gets_a_new_one() -> None:
    async def run() -> Outcome:
        async with await answering(CLOSING) as server:
            schedule = iter([number / 100 for number in range(20)])
            return await open_loop("127.0.0.1", port_of(server), REQUEST, schedule=schedule, connections=2)

    assert asyncio.run(run()).statuses == {200: 20}


def test_a_connection_is_opened_when_all_others_are_busy() -> None:
    opened, are_three_open = 0, asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal opened
        opened += 1
        if opened == 3:
            are_three_open.set()
        while await reader.read(1000):
            await are_three_open.wait()
            writer.write(OK)
        writer.close()

    async def run() -> Outcome:
        async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
            schedule = iter([0.0, 0.0, 0.0, 1.0, 1.0])
            outcome = await open_loop("127.0.0.1", port_of(server), REQUEST, schedule=schedule, connections=50)
            await asyncio.sleep(0.1)  # until all are closed
            return outcome

    assert (asyncio.run(run()).statuses, opened) == ({200: 5}, 3)


def test_what_a_server_says_when_it_closes_an_idle_connection_is_no_answer() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(len(REQUEST))
        writer.write(OK)
        await asyncio.sleep(0.05)
        writer.write(b"HTTP/1.1 408 Request Timeout\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
        writer.close()

    async def run() -> Outcome:
        async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
            schedule = iter([0.0, 0.5, 1.0])
            outcome = await open_loop("127.0.0.1", port_of(server), REQUEST, schedule=schedule, connections=2)
            await asyncio.sleep(0.1)  # until the last one is closed
            return outcome

    outcome = asyncio.run(run())
    assert (outcome.statuses, outcome.lost) == ({200: 3}, 0)


def test_a_closed_loop_has_as_many_requests_under_way_as_connections() -> None:
    async def run() -> Outcome:
        async with await answering(OK, delay_s=0.02) as server:
            return await closed_loop("127.0.0.1", port_of(server), REQUEST, connections=5, seconds=0.5)

    outcome = asyncio.run(run())
    assert 50 <= outcome.answers <= 130
    assert outcome.within(10.0) == outcome.answers
