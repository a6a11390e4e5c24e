"""What both directions of a transfer share: how progress is counted, and how often and how soon a break is mended."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from uuid import uuid4

from kappa.errors import GammaUnreachableError

__all__ = ["CHUNK_BYTES", "Meter", "Patience", "Progress", "TransferEndedError", "in_streams", "new_operation"]

CHUNK_BYTES = 1 << 20
_ATTEMPTS = 6
_FIRST_WAIT_S, _LONGEST_WAIT_S = 0.25, 8.0

Progress = Callable[[int, int], None]
"""Called with the bytes that have moved and those that have to; from several threads, one at a time."""


class TransferEndedError(Exception):
    """Ends a stream whose transfer has failed elsewhere, or was interrupted; never leaves this side."""


def new_operation() -> str:
    """Return the id of a write: a repeat with the same one changes nothing more."""
    return uuid4().hex


@dataclass
class Meter:
    """Counts the bytes of a transfer for whoever watches it, and says whether it has ended early."""

    total: int
    watch: Progress | None = None
    _ended: threading.Event = field(default_factory=threading.Event, repr=False)
    _positions: dict[str, int] = field(default_factory=dict, repr=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def at(self, digest: str, position: int) -> None:
        """Note how much of a blob has moved; raises `TransferEndedError` where the rest is of no use."""
        self.check()
        with self._lock:
            self._positions[digest] = position
            if self.watch is not None:
                self.watch(sum(self._positions.values()), self.total)

    def check(self) -> None:
        """Raise `TransferEndedError` where the rest is of no use."""
        if self._ended.is_set():
            raise TransferEndedError

    def pause(self, seconds: float) -> None:
        """Wait, unless the transfer ends meanwhile."""
        self._ended.wait(seconds)
        self.check()

    def end(self) -> None:
        """Let everything that is still on its way stop."""
        self._ended.set()


@dataclass
class Patience:
    """Waits longer after each break without progress, and gives up after some.

    The wait is exponential with full jitter (Marc Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog,
    2015).
    """

    pause: Callable[[float], None]
    breaks: int = 0

    def after(self, exc: GammaUnreachableError) -> None:
        """Wait before another attempt; raises ``exc`` where there were enough."""
        self.breaks += 1
        if self.breaks >= _ATTEMPTS:
            raise exc
        longest = min(_LONGEST_WAIT_S, _FIRST_WAIT_S * 2**self.breaks)
        self.pause(random.uniform(0, longest))  # noqa: S311 - not a secret

    def renew(self) -> None:
        """Begin again: there was progress."""
        self.breaks = 0


def in_streams(calls: Sequence[Callable[[], None]], meter: Meter, *, streams: int) -> None:
    """Make all calls, ``streams`` at once; the first failure ends the others and is raised."""
    if not calls:
        return
    pool = ThreadPoolExecutor(max(1, min(streams, len(calls))), thread_name_prefix="kappa-transfer")
    futures = [pool.submit(call) for call in calls]
    try:
        finished, _ = wait(futures, return_when=FIRST_EXCEPTION)
        failures = [exc for future in finished if (exc := future.exception()) is not None]
        if failures:
            raise failures[0]
    finally:
        meter.end()
        pool.shutdown(cancel_futures=True)
