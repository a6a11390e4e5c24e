"""The end of transfers that stand still: their deadline is how long no byte may move."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from types import TracebackType

__all__ = ["IDLE_S", "IdleWatch"]

IDLE_S = 30.0
"""How long a transfer may stand still."""


class IdleWatch:
    """Calls ``stop`` once if `touch` was not called for ``limit_s``: what ends a transfer that stands still."""

    def __init__(self, stop: Callable[[], object], *, limit_s: float = IDLE_S) -> None:
        self._stop = stop
        self._limit_s = limit_s
        self._moved_at = time.monotonic()
        self._is_over = threading.Event()
        self.has_expired = False

    def touch(self, *, limit_s: float | None = None) -> None:
        """Note that something moved; ``limit_s`` is how long it may stand still from now on."""
        self._moved_at = time.monotonic()
        if limit_s is not None:
            self._limit_s = limit_s

    def __enter__(self) -> IdleWatch:
        threading.Thread(target=self._watch, name="kappa-idle-watch", daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._is_over.set()

    def _watch(self) -> None:
        while not self._is_over.wait(max(0.01, min(1.0, self._left_s()))):
            if self._left_s() <= 0:
                self.has_expired = True
                self._stop()
                return

    def _left_s(self) -> float:
        return self._moved_at + self._limit_s - time.monotonic()
