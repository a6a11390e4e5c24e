"""A small closed-loop HTTP load generator: each connection sends its next request when its answer has arrived.

It speaks just enough HTTP/1.1 over raw sockets to be cheaper than the server it measures, and runs in a process of
its own. Prints one JSON object: requests, seconds, statuses, and latencies in milliseconds.

    python benchmarks/load.py 127.0.0.1:5000/predict --connections 16 --seconds 2 --body '[[5.1, 3.5, 1.4, 0.2]]'
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from array import array
from collections import Counter
from dataclasses import dataclass, field
from time import perf_counter

__all__ = ["Outcome", "measure"]


@dataclass
class Outcome:
    """What one run saw."""

    seconds: float = 0.0
    latencies: array[float] = field(default_factory=lambda: array("d"))
    statuses: Counter[int] = field(default_factory=Counter)
    lost: int = 0
    """Connections that the server closed in the middle."""

    def summary(self) -> dict[str, object]:
        ordered = sorted(self.latencies)

        def quantile(share: float) -> float:
            return round(1000 * ordered[min(len(ordered) - 1, int(share * len(ordered)))], 3) if ordered else 0.0

        return {
            "requests": len(ordered),
            "seconds": round(self.seconds, 3),
            "rate": round(len(ordered) / self.seconds) if self.seconds else 0,
            "p50_ms": quantile(0.5),
            "p99_ms": quantile(0.99),
            "statuses": {str(status): count for status, count in sorted(self.statuses.items())},
            "lost": self.lost,
        }


class Client(asyncio.Protocol):
    """One keep-alive connection."""

    def __init__(self, request: bytes, outcome: Outcome, deadline: float) -> None:
        self.request = request
        self.outcome = outcome
        self.deadline = deadline
        self.received = b""
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self.send()

    def send(self) -> None:
        self.sent_at = perf_counter()
        self.transport.write(self.request)  # type: ignore[attr-defined]

    def data_received(self, data: bytes) -> None:
        self.received = data = self.received + data if self.received else data
        head_end = data.find(b"\r\n\r\n")
        if head_end < 0:
            return
        at = data.lower().find(b"content-length:", 0, head_end)
        length = int(data[at + 15 : data.index(b"\r", at)])
        if len(data) < head_end + 4 + length:
            return
        now = perf_counter()
        self.received = b""
        self.outcome.latencies.append(now - self.sent_at)
        self.outcome.statuses[int(data[9:12])] += 1
        if now < self.deadline:
            self.send()
        else:
            self.transport.close()

    def connection_lost(self, _exc: Exception | None) -> None:
        if perf_counter() < self.deadline:
            self.outcome.lost += 1
        if not self.ended.done():
            self.ended.set_result(None)


async def measure(host: str, port: int, request: bytes, *, connections: int, seconds: float) -> Outcome:
    """Send ``request`` over and over for ``seconds``."""
    outcome = Outcome()
    loop = asyncio.get_running_loop()
    start = perf_counter()
    clients = [
        (await loop.create_connection(lambda: Client(request, outcome, start + seconds), host, port))[1]
        for _ in range(connections)
    ]
    await asyncio.gather(*(client.ended for client in clients))
    outcome.seconds = perf_counter() - start
    return outcome


def request_bytes(host: str, path: str, body: bytes, *, media_type: str, method: str) -> bytes:
    head = (
        f"{method} {path} HTTP/1.1\r\nHost: {host}\r\nAccept: */*\r\nUser-Agent: kappa-load\r\n"
        f"Content-Type: {media_type}\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("address", help="host:port/path")
    parser.add_argument("--connections", type=int, default=16)
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--body", default="[[5.1, 3.5, 1.4, 0.2]]")
    parser.add_argument("--media-type", default="application/json")
    parser.add_argument("--method", default="POST")
    options = parser.parse_args(arguments)
    address, _, path = options.address.removeprefix("http://").partition("/")
    host, _, port = address.rpartition(":")
    body = options.body.encode()
    request = request_bytes(host, f"/{path}", body, media_type=options.media_type, method=options.method)
    run = measure(host, int(port), request, connections=options.connections, seconds=options.seconds)
    try:
        import uvloop
    except ModuleNotFoundError:  # Windows
        outcome = asyncio.run(run)
    else:
        outcome = uvloop.run(run)
    print(json.dumps(outcome.summary()))


if __name__ == "__main__":
    main(sys.argv[1:])
