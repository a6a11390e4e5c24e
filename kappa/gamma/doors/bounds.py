"""What the web server lends to an application: clients that take nothing or are gone do not keep it busy."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from contextlib import suppress
from typing import Any

from kappa.gamma.doors.exchanges import ClientGoneError
from kappa.gamma.wire.idle import IDLE_S

__all__ = ["within_bounds"]

Event = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Event]]
Send = Callable[[Event], Awaitable[None]]
Asgi = Callable[[MutableMapping[str, Any], Receive, Send], Awaitable[None]]


def within_bounds(app: Asgi, *, idle_s: float = IDLE_S) -> Asgi:
    """Wrap an ASGI application: its answer ends where the client is gone, or takes no byte for ``idle_s``."""

    async def bounded(scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await app(scope, receive, send)
            return
        body_ended = False
        watch: asyncio.Task[Event] | None = None

        async def receive_noting() -> Event:
            nonlocal body_ended
            event = await receive()
            body_ended = event["type"] == "http.disconnect" or not event.get("more_body", False)
            return event

        async def send_in_time(event: Event) -> None:
            nonlocal watch
            if watch is None and body_ended:
                watch = asyncio.ensure_future(receive())  # which returns when the client goes
            if watch is not None and watch.done():
                raise ClientGoneError
            async with _limit(idle_s):
                await send(event)

        try:
            with suppress(ClientGoneError):
                await app(scope, receive_noting, send_in_time)
        finally:
            if watch is not None:
                watch.cancel()

    return bounded


class _limit:  # noqa: N801 - reads as a statement; `asyncio.timeout` is of Python 3.11
    """A block that raises `ClientGoneError` if it takes too long."""

    __slots__ = ("_handle", "_is_over", "_seconds", "_task")

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._is_over = False

    async def __aenter__(self) -> None:
        self._task = asyncio.current_task()
        self._handle = asyncio.get_running_loop().call_later(self._seconds, self._end)

    async def __aexit__(self, kind: type[BaseException] | None, exc: BaseException | None, _: object) -> None:
        self._handle.cancel()
        if self._is_over and kind is asyncio.CancelledError:
            raise ClientGoneError from None

    def _end(self) -> None:
        self._is_over = True
        if self._task is not None:
            self._task.cancel()
