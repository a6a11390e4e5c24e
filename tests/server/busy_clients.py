"""Many clients that ask a server without a pause, and see whether any of them is reset."""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import suppress
from typing import Any

__all__ = ["REQUEST", "Busy", "asking"]

REQUEST = b"POST /double HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\n4"


class Busy:
    """Clients that ask on connections that they keep, until they are refused a new one."""

    def __init__(self, port: int) -> None:
        self._port = port
        self.seen: Counter[str] = Counter()
        self.is_over = False

    async def have_answers(self, count: int) -> None:
        while self.seen["answered"] < count:  # noqa: ASYNC110 - those who ask have no time to tell
            await asyncio.sleep(0)

    async def ask_on(self, pause_s: float) -> None:
        while not self.is_over:
            try:
                reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
            except ConnectionError:  # refused, or reset when nobody listens any more: nothing was asked
                self.seen["not connected"] += 1
                return
            try:
                while not self.is_over:
                    writer.write(REQUEST)
                    head = await reader.readuntil(b"\r\n\r\n")
                    assert head.startswith(b"HTTP/1.1 200 "), head
                    assert await reader.readexactly(1) == b"8"
                    self.seen["answered"] += 1
                    if b"connection: close" in head.lower():
                        self.seen["told to close"] += 1
                        break
                    await asyncio.sleep(pause_s)
            except (ConnectionError, asyncio.IncompleteReadError) as exc:
                self.seen[f"reset: {exc!r}"] += 1
                return
            finally:
                writer.close()
                with suppress(ConnectionError):
                    await writer.wait_closed()


async def asking(busy: Busy, clients: int, until: Any) -> None:
    """Ask with many clients, of which some pause, until ``until()`` returns and all are through."""
    tasks = [asyncio.create_task(busy.ask_on(0.0 if number % 2 else 0.003 * number)) for number in range(clients)]
    await until()
    await asyncio.wait_for(asyncio.gather(*tasks), 30)
