"""Wrong tokens, counted by the address that they come from.

Each process counts for itself. A valid token is never counted nor withheld, so nobody can lock others out.
"""

from __future__ import annotations

import math
import time
from collections import OrderedDict, deque
from collections.abc import Callable
from threading import Lock

from kappa.gamma.wire.failures import TooManyFailuresError

__all__ = ["FailedLogins"]

_LIMIT = 10
_WINDOW_S = 60.0
_ADDRESSES = 10_000


class FailedLogins:
    """The last failures of each address, of the addresses that failed last; safe for threads."""

    def __init__(self, *, limit: int = _LIMIT, clock: Callable[[], float] = time.monotonic) -> None:
        self._limit = limit
        self._clock = clock
        self._moments: OrderedDict[str, deque[float]] = OrderedDict()
        self._lock = Lock()

    def note(self, address: str) -> None:
        """Count a failure; raises `TooManyFailuresError` where there were more than the limit within a minute."""
        now = self._clock()
        with self._lock:
            moments = self._moments.pop(address, None) or deque(maxlen=self._limit + 1)
            moments.append(now)
            self._moments[address] = moments
            while len(self._moments) > _ADDRESSES:
                self._moments.popitem(last=False)
            oldest = moments[0]
            is_excessive = len(moments) > self._limit and now - oldest < _WINDOW_S
        if is_excessive:
            wait_s = math.ceil(oldest + _WINDOW_S - now)
            raise TooManyFailuresError(
                f"More than {self._limit} wrong tokens came from `{address}` within a minute: wait {wait_s} s before "
                "another try. A valid token is let in at once.",
                retry_after_s=wait_s,
            )
