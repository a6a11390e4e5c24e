"""Which worker leaves for another that is ready: one at a time, and one a minute.

A worker whose threads are lost to bodies that cannot be decoded still answers. So it stays until its successor does,
and clients that send such bodies cannot make the server start workers all the time.
"""

from __future__ import annotations

from collections.abc import Callable, Set
from time import monotonic

__all__ = ["Succession"]

_PAUSE_S = 60.0


class Succession:
    """Decides for the master process of ``count`` workers, which asks regularly."""

    def __init__(self, count: int, *, clock: Callable[[], float] = monotonic) -> None:
        self._count = count
        self._clock = clock
        self._leaver: int | None = None
        self._next_at = 0.0

    @property
    def is_awaited(self) -> bool:
        """Whether there should be one worker more than usual."""
        return self._leaver is not None

    def look(self, worn: Set[int], serving: Set[int]) -> int | None:
        """Return the worker that is to leave now, if one is.

        ``worn`` are those that asked to be replaced, ``serving`` those that are ready and do not leave yet.
        """
        now = self._clock()
        if self._leaver not in serving:
            self._leaver = None
        if self._leaver is None and now >= self._next_at and (candidates := worn & serving):
            self._leaver = min(candidates)
            self._next_at = now + _PAUSE_S
        if self._leaver is None or len(serving) <= self._count:
            return None
        leaver, self._leaver = self._leaver, None
        return leaver
