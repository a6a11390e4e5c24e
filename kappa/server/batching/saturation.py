"""How close an API is to the load that it can carry at all: the number to scale by.

The *saturation ratio* is the work that was offered, in seconds of the function's time, over the time there was. Work is
counted at the price of the largest batches that may be, since batches grow with the load: below 1 the queue empties
again and again, above 1 it cannot.
"""

from __future__ import annotations

from math import exp, inf

from kappa.server.batching.constants import SATURATION_MEMORY_S
from kappa.server.batching.estimator import Estimate
from kappa.server.batching.policy import Limits

__all__ = ["Saturation", "capacity"]


def capacity(estimate: Estimate, limits: Limits) -> float:
    """Return how many items a second the API can answer at most; `inf` while nothing is known of it.

    With a latency target, batches are no larger than lets a request that has just missed one wait for it and be in the
    next in time.
    """
    if estimate.runs == 0:
        return inf
    items = limits.max_batch_size
    if limits.max_latency_s is not None and estimate.slope_s > 0:
        in_time = (limits.max_latency_s / 2 - estimate.base_s) / estimate.slope_s
        items = max(1, min(items, int(in_time)))
    seconds = estimate.seconds(items)
    return limits.max_concurrency * items / seconds if seconds > 0 else inf


class Saturation:
    """The saturation ratio over the last seconds, older ones fading."""

    def __init__(self, now: float) -> None:
        self.ratio = 0.0
        self._seen_at = now
        self._offered = 0

    def look(self, now: float, *, offered_items: int, capacity: float, least: float = 0.0) -> float:
        """Record how many items were ever offered, and return the ratio, at least ``least``."""
        elapsed = now - self._seen_at
        if elapsed > 0:
            offered = max((offered_items - self._offered) / elapsed / capacity, least)
            self.ratio += (1 - exp(-elapsed / SATURATION_MEMORY_S)) * (offered - self.ratio)
            self._seen_at, self._offered = now, offered_items
        return self.ratio
