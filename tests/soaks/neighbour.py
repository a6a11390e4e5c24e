"""Somebody who asks a server for something small, fifty times a second, while others attack it.

    python tests/soaks/neighbour.py PORT

A process of its own, so that nothing that the attackers compute delays it. Now and then it asks with a larger body,
which the server decodes in another thread. For each line on stdin, it waits for what it has asked, says on stdout what
came since the last one, and goes on. A latency counts from when the request was due.
"""

from __future__ import annotations

import asyncio
import json
import sys
from contextlib import suppress
from typing import Any

EVERY_S = 0.02
LARGER_EVERY = 50
NEW_EVERY = 10
"""So many requests come on one connection."""
STALE_S = 20.0
"""A connection that was idle for so long is not used again: the server closes it some time."""
PATIENCE_S = 20.0
LARGER = [1.5] * 20_000


class Neighbour:
    """The requests, and what came of them since somebody asked."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._number = 0
        self._idle: list[tuple[asyncio.StreamReader, asyncio.StreamWriter, int, float]] = []
        self._asking: set[asyncio.Task[None]] = set()
        self._forget()

    def _forget(self) -> None:
        self._small: list[float] = []
        self._larger: list[float] = []
        self._refused = 0
        self._wrong: list[str] = []

    async def ask_on(self) -> None:
        """Ask without end."""
        loop = asyncio.get_running_loop()
        due = loop.time()
        while True:
            self._number += 1
            task = asyncio.create_task(self._ask(self._number, due))
            self._asking.add(task)
            task.add_done_callback(self._asking.discard)
            due += EVERY_S
            await asyncio.sleep(due - loop.time())

    async def told(self) -> dict[str, Any]:
        """Wait for the answers to come; return what came since the last time."""
        if self._asking:
            await asyncio.wait(self._asking)
        small = sorted(self._small)
        found = {
            "answers": len(small) + len(self._larger),
            "refused": self._refused,
            "wrong": self._wrong[:10],
            "median_ms": 1000 * small[len(small) // 2] if small else None,
            "p99_ms": 1000 * small[len(small) * 99 // 100] if small else None,
            "max_ms": 1000 * small[-1] if small else None,
            "larger_ms": 1000 * max(self._larger) if self._larger else None,
        }
        self._forget()
        return found

    async def _ask(self, number: int, due: float) -> None:
        is_larger = number % LARGER_EVERY == 0
        path, value, expected = ("/length", LARGER, len(LARGER)) if is_larger else ("/double", number, 2 * number)
        try:
            status, headers, body = await asyncio.wait_for(self._answer(path, json.dumps(value).encode()), PATIENCE_S)
        except (OSError, EOFError) as exc:
            self._wrong.append(f"{path} {number}: {exc!r}")
            return
        except asyncio.TimeoutError:
            self._wrong.append(f"{path} {number} was not answered within {PATIENCE_S:g} s")
            return
        latency_s = asyncio.get_running_loop().time() - due
        if status == 503 and b"\r\nretry-after:" in headers:
            self._refused += 1
        elif status != 200 or json.loads(body) != expected:
            self._wrong.append(f"{path} {number}: {status} {body[:200]!r}")
        else:
            (self._larger if is_larger else self._small).append(latency_s)

    async def _answer(self, path: str, body: bytes) -> tuple[int, bytes, bytes]:
        now = asyncio.get_running_loop().time()
        reader, writer, uses, since = self._idle.pop() if self._idle else (None, None, 0, 0.0)
        if writer is not None and now - since > STALE_S:
            writer.close()
            reader = writer = None
        if reader is None or writer is None:
            reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
            uses = 0
        try:
            head = f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {len(body)}"
            writer.write(f"{head}\r\n\r\n".encode() + body)
            headers = (await reader.readuntil(b"\r\n\r\n")).lower()
            length = int(headers.partition(b"\r\ncontent-length:")[2].partition(b"\r\n")[0])
            found = int(headers.split()[1]), headers, await reader.readexactly(length)
        except BaseException:
            writer.close()
            raise
        if uses + 1 < NEW_EVERY and b"\r\nconnection: close" not in headers:
            self._idle.append((reader, writer, uses + 1, asyncio.get_running_loop().time()))
        else:
            writer.close()
        return found


async def main(port: int) -> None:
    """Ask, and tell for each line what came."""
    neighbour = Neighbour(port)
    while True:
        asking = asyncio.create_task(neighbour.ask_on())
        line = await asyncio.to_thread(sys.stdin.readline)
        asking.cancel()
        with suppress(asyncio.CancelledError):
            await asking
        print(json.dumps(await neighbour.told()), flush=True)
        if not line:
            return


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))
