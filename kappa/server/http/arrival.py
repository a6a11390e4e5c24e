"""Bodies on their way to an API: read for as long as their clients keep going, and there is room for them."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

from falcon.asgi_spec import AsgiEvent

from kappa.errors import BadInputError
from kappa.server.failures import ClientGoneError, too_large
from kappa.server.http import bounds
from kappa.server.http.exchange import AnyRequest

__all__ = ["Pace", "first_event", "read_body"]


async def first_event(receive: Callable[[], Awaitable[AsgiEvent]]) -> AsgiEvent:
    """Return what comes first of a request; raises `BadInputError` with 408 where a body does not begin.

    PERF: a timer costs 2 µs, and a task to wait for 15; nearly always, the event is there.
    """
    task: asyncio.Task[Any] = asyncio.current_task()  # type: ignore[assignment] # a coroutine runs in one
    is_late = False

    def give_up() -> None:
        nonlocal is_late
        is_late = True
        task.cancel()

    timer = asyncio.get_running_loop().call_later(bounds.BODY_PACE_S, give_up)
    try:
        return await receive()
    except asyncio.CancelledError:
        if not is_late:
            raise
        if sys.version_info >= (3, 11):
            task.uncancel()
        raise BadInputError(_almost_stopped(), http_status=408) from None
    finally:
        timer.cancel()


async def read_body(
    req: AnyRequest, *, max_bytes: int, timeout_s: float, hold: Callable[[int], bool] = lambda _: True
) -> bytes | None:
    """Return the whole body, whose first event is there.

    ``hold`` gets the number of new bytes, and returns whether there is room for them; without, this returns ``None``.
    Raises `BadInputError` with 413 for a body over ``max_bytes``, and with 408 for one that takes longer than
    ``timeout_s`` or almost stops; `ClientGoneError` for one that its client does not send to the end.
    """
    first = req.first_event or {}
    if not first.get("more_body"):
        body: bytes = first.get("body", b"")
        if len(body) > max_bytes:
            raise too_large(max_bytes)
        return body if hold(len(body)) else None
    reading = _Reading(req, first.get("body", b""), max_bytes, hold)
    await _finish(reading, timeout_s)
    if reading.is_client_gone:
        raise ClientGoneError
    if len(reading.body) > max_bytes:
        raise too_large(max_bytes)
    return bytes(reading.body) if reading.is_held else None


class _Reading:
    """One body that comes in parts."""

    def __init__(self, req: AnyRequest, first: bytes, max_bytes: int, hold: Callable[[int], bool]) -> None:
        self.body = bytearray()
        self.is_held = True
        self.is_client_gone = False
        self.is_given_up = False
        self._req = req
        self._max_bytes = max_bytes
        self._hold = hold
        self._take(first)

    def _take(self, part: bytes) -> None:
        self.body += part
        self.is_held = self._hold(len(part))

    async def read(self) -> None:
        """Read to the end, or until it is too much.

        Nothing is raised here: this runs in a task that may be cancelled together with its waiter. Before Python 3.12 a
        `wait_for` in ``receive`` loses a cancellation if data comes in the same turn of the loop
        (https://github.com/python/cpython/issues/86296); then the next part ends it.
        """
        is_more = True
        while is_more and self.is_held and len(self.body) <= self._max_bytes and not self.is_given_up:
            event = await self._req.receive()
            if event["type"] == "http.disconnect":
                self.is_client_gone = True
                return
            self._take(event.get("body", b""))
            is_more = event.get("more_body", False)


class Pace:
    """Judges how a client goes on sending, from when it began at ``now``."""

    def __init__(self, now: float, timeout_s: float) -> None:
        self._timeout_s = timeout_s
        self._until = now + timeout_s
        self._size_bytes = 0
        self._seen_at = now

    def next_look_s(self, now: float) -> float:
        """Return in how many seconds to look again."""
        return max(min(self._seen_at + bounds.BODY_PACE_S, self._until) - now, 0.0)

    def complaint(self, now: float, size_bytes: int) -> str | None:
        """Return what is wrong when ``size_bytes`` have arrived, if anything is."""
        if now >= self._until:
            return f"The body did not arrive within {self._timeout_s:g} seconds."
        if now - self._seen_at < bounds.BODY_PACE_S:
            return None
        if size_bytes - self._size_bytes < bounds.BODY_LEAST_RATE * bounds.BODY_PACE_S:
            return _almost_stopped()
        self._size_bytes, self._seen_at = size_bytes, now
        return None


def _almost_stopped() -> str:
    return (
        f"The body almost stopped: for {bounds.BODY_PACE_S:g} seconds, fewer than {bounds.BODY_LEAST_RATE} "
        "bytes a second arrived."
    )


async def _finish(reading: _Reading, timeout_s: float) -> None:
    """Read on for as long as the client keeps going."""
    loop = asyncio.get_running_loop()
    pace = Pace(loop.time(), timeout_s)
    task = asyncio.ensure_future(reading.read())
    try:
        while True:
            await asyncio.wait({task}, timeout=pace.next_look_s(loop.time()))
            if task.done():
                task.result()
                return
            if (complaint := pace.complaint(loop.time(), len(reading.body))) is not None:
                raise BadInputError(complaint, http_status=408)
    finally:
        reading.is_given_up = True
        task.cancel()
        task.add_done_callback(_forget)


def _forget(task: asyncio.Task[None]) -> None:
    """Retrieve the exception of an abandoned task, so that asyncio does not log it."""
    with suppress(asyncio.CancelledError):
        task.exception()
