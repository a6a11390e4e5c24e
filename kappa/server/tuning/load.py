"""An HTTP load generator that costs less than the server it measures; it speaks just enough HTTP/1.1.

*Closed loop*: each of a number of connections sends its next request when its answer has arrived, as a fixed number of
clients do. It can never offer more than the server takes, so it cannot show overload.

*Open loop*: requests are sent at times decided before, whatever the server does, as the world outside does. A latency
counts from the planned time, not from when the request was at last sent: a slow server must not hide its own queue
(Tene, 2013: coordinated omission). How late the generator itself was is part of the outcome.
"""

from __future__ import annotations

import asyncio
import random
from array import array
from collections import Counter, deque
from collections.abc import Coroutine, Iterator, Sequence
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any

__all__ = ["Outcome", "bursts", "closed_loop", "open_loop", "poisson", "request_bytes", "run_loop"]

_LEAST_WAIT_S = 0.0005
_POLL_S = 0.002


@dataclass
class Outcome:
    """The outcome of one run."""

    seconds: float = 0.0
    latencies: array[float] = field(default_factory=lambda: array("d"))
    """Of answers with status 200, in seconds."""
    statuses: Counter[int] = field(default_factory=Counter)
    lost: int = 0
    """Connections that the server closed in the middle."""
    unsent: int = 0
    """Requests for which no connection was free in time."""
    lateness: array[float] = field(default_factory=lambda: array("d"))
    """How long after its planned time each request was sent."""
    retry_after: int = 0
    """Refusals that said when to come back."""

    @property
    def answers(self) -> int:
        return self.statuses.total()

    def within(self, target_s: float) -> int:
        """Return how many good answers came within ``target_s``."""
        return sum(latency <= target_s for latency in self.latencies)

    def quantile_ms(self, share: float) -> float:
        return round(1000 * _quantile(self.latencies, share), 3)

    def summary(self) -> dict[str, Any]:
        return {
            "requests": self.answers,
            "seconds": round(self.seconds, 3),
            "rate": round(self.answers / self.seconds, 1) if self.seconds else 0,
            "p50_ms": self.quantile_ms(0.5),
            "p99_ms": self.quantile_ms(0.99),
            "statuses": {str(status): count for status, count in sorted(self.statuses.items())},
            "lost": self.lost,
            "unsent": self.unsent,
            "late_p99_ms": round(1000 * _quantile(self.lateness, 0.99), 3),
        }


def _quantile(values: Sequence[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0


# When to send


def poisson(rate: float, *, seconds: float, rng: random.Random) -> Iterator[float]:
    """Yield the times of independent arrivals, ``rate`` a second on average."""
    at = rng.expovariate(rate)
    while at < seconds:
        yield at
        at += rng.expovariate(rate)


def bursts(rate: float, *, seconds: float, rng: random.Random, factor: float = 4.0) -> Iterator[float]:
    """Yield arrivals that come ``factor`` times as densely for a tenth of the time, and ``rate`` a second on average.

    Dense and sparse times follow each other at random (a Markov-modulated Poisson process), a burst lasts 0.2 s.
    """
    sparse = rate * (1 - 0.1 * factor) / 0.9
    at, is_dense, until = 0.0, False, rng.expovariate(1 / 1.8)
    while at < seconds:
        gap = rng.expovariate(rate * factor if is_dense else sparse)
        if at + gap < until:
            at += gap
            if at < seconds:
                yield at
            continue
        at = until  # without memory, what is left of the gap is drawn anew
        is_dense = not is_dense
        until = at + rng.expovariate(1 / (0.2 if is_dense else 1.8))


# How to send


def request_bytes(host: str, path: str, body: bytes, *, media_type: str, method: str = "POST") -> bytes:
    """Return a whole request."""
    head = (
        f"{method} {path} HTTP/1.1\r\nHost: {host}\r\nAccept: */*\r\nUser-Agent: kappa-load\r\n"
        f"Content-Type: {media_type}\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


class _Connection(asyncio.Protocol):
    """One keep-alive connection; ``load`` gets every answer."""

    def __init__(self, load: _Load) -> None:
        self._load = load
        self._received = b""
        self.is_waiting = False
        self.planned = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport: Any = transport

    def send(self, planned: float) -> None:
        self.planned = planned
        self.is_waiting = True
        self.transport.write(self._load.request)

    def data_received(self, data: bytes) -> None:
        self._received = data = self._received + data if self._received else data
        head_end = data.find(b"\r\n\r\n")
        if head_end < 0:
            return
        head = data[:head_end].lower()
        if (at := head.find(b"content-length:")) >= 0:
            if len(data) < head_end + 4 + int(head[at + 15 :].partition(b"\r")[0]):
                return
        elif not data.endswith(b"0\r\n\r\n"):  # chunked
            return
        self._received = b""
        if self.is_waiting:
            self.is_waiting = False
            self._load.answered(self, int(data[9:12]), head)
        else:  # a server may say why it closes a connection that asks nothing
            self._load.open.discard(self)
            self.transport.close()

    def connection_lost(self, _exc: Exception | None) -> None:
        self._load.gone(self)


class _Load:
    """The common part of both loops."""

    def __init__(self, host: str, port: int, request: bytes) -> None:
        self.request = request
        self.outcome = Outcome()
        self.open: set[_Connection] = set()
        self._address = host, port
        self._loop = asyncio.get_running_loop()
        self._is_over = False

    async def connect(self) -> _Connection:
        _, connection = await self._loop.create_connection(lambda: _Connection(self), *self._address)
        self.open.add(connection)
        return connection

    def answered(self, connection: _Connection, status: int, head: bytes) -> None:
        outcome = self.outcome
        outcome.statuses[status] += 1
        if status == 200:
            outcome.latencies.append(perf_counter() - connection.planned)
        elif b"retry-after:" in head:
            outcome.retry_after += 1
        if b"connection: close" in head:
            self.open.discard(connection)
            connection.transport.close()
        else:
            self.is_free(connection)

    def is_free(self, connection: _Connection) -> None:
        raise NotImplementedError

    def gone(self, connection: _Connection) -> None:
        self.open.discard(connection)
        if connection.is_waiting and not self._is_over:
            self.outcome.lost += 1

    def is_waiting(self) -> bool:
        """Return whether an answer is still to come."""
        return any(connection.is_waiting for connection in self.open)

    async def last_answers(self, *, patience_s: float) -> None:
        patience = perf_counter() + patience_s
        while self.is_waiting() and perf_counter() < patience:  # noqa: ASYNC110 - PERF: no event, to keep requests cheap
            await asyncio.sleep(_POLL_S)

    def close(self) -> None:
        self._is_over = True
        for connection in list(self.open):
            connection.transport.close()


class _ClosedLoop(_Load):
    deadline = 0.0

    def is_free(self, connection: _Connection) -> None:
        if (now := perf_counter()) < self.deadline:
            connection.send(now)


async def closed_loop(host: str, port: int, request: bytes, *, connections: int, seconds: float) -> Outcome:
    """Send ``request`` over ``connections`` again and again for ``seconds``, and wait for the last answers."""
    load = _ClosedLoop(host, port, request)
    opened = [await load.connect() for _ in range(connections)]
    began = perf_counter()
    load.deadline = began + seconds
    for connection in opened:
        connection.send(began)
    await asyncio.sleep(seconds)
    await load.last_answers(patience_s=max(5.0, seconds))
    load.outcome.seconds = perf_counter() - began
    load.close()
    return load.outcome


async def _until(when: float) -> None:
    """Sleep until ``when``, and turn with the loop at the end: its timers are no finer than a millisecond."""
    while (wait := when - perf_counter()) > 0:  # noqa: ASYNC110 - time is what is waited for
        await asyncio.sleep(wait if wait > _LEAST_WAIT_S else 0)


class _OpenLoop(_Load):
    def __init__(self, host: str, port: int, request: bytes) -> None:
        super().__init__(host, port, request)
        self.free: deque[_Connection] = deque()
        self.overdue: deque[float] = deque()
        """Planned times of requests that found no free connection."""

    def is_free(self, connection: _Connection) -> None:
        if self.overdue:
            self.send(connection, self.overdue.popleft())
        else:
            self.free.append(connection)

    def is_waiting(self) -> bool:
        return bool(self.overdue) or super().is_waiting()

    def send(self, connection: _Connection, planned: float) -> None:
        self.outcome.lateness.append(perf_counter() - planned)
        connection.send(planned)

    def take_free(self) -> _Connection | None:
        while self.free:
            if not (connection := self.free.pop()).transport.is_closing():
                return connection
        return None


async def open_loop(
    host: str, port: int, request: bytes, *, schedule: Iterator[float], connections: int, patience_s: float = 5.0
) -> Outcome:
    """Send ``request`` at the times of ``schedule`` and wait for the last answers.

    Up to ``connections`` are open, each since the others were all busy, and the last that became free is used first: a
    server closes those that stay idle.
    """
    load = _OpenLoop(host, port, request)
    began = perf_counter()
    for at in schedule:
        await _until(began + at)
        connection = load.take_free()
        if connection is None and len(load.open) < connections:
            connection = await load.connect()
        if connection is None:
            load.overdue.append(began + at)
        else:
            load.send(connection, began + at)
    load.outcome.seconds = perf_counter() - began
    await load.last_answers(patience_s=patience_s)
    load.outcome.unsent = len(load.overdue)
    load.close()
    return load.outcome


def run_loop(loading: Coroutine[Any, Any, Outcome]) -> Outcome:
    """Run a load to its end, on uvloop where there is one."""
    try:
        import uvloop
    except ModuleNotFoundError:  # Windows
        return asyncio.run(loading)
    return uvloop.run(loading)
