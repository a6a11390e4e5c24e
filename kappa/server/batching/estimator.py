"""Learn how long a batch of `n` items takes, from the batches that were run: `T(n) = a·n + b`.

Words: `a` is the *slope* (seconds per item), `b` the *base* (seconds per batch), a *residual* what a run took beyond
`T(n)`, the *tail* the 95th percentile of the recent residuals.

The line is an exponentially weighted least-squares fit under `a ≥ 0, b ≥ 0`, kept as running moments (West, 1979,
"Updating mean and variance estimates"). A run far outside the recent residuals enters with Huber's weight (Huber,
1964), so one stall moves the line by next to nothing, while a lasting change widens the residuals within ten runs and
then counts in full. Weights need residuals to compare with, so the first runs are fitted by Theil and Sen's median of
slopes (Sen, 1968) instead, which one outlier cannot move once there are four.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import deque
from collections.abc import Sequence
from itertools import combinations
from statistics import median
from typing import NamedTuple

from kappa.server.batching.constants import EARLY_RUNS, HALF_LIFE_RUNS, HUBER_SPREADS, LEAST_SPREAD

__all__ = ["Estimate", "Estimator"]

_DECAY = 0.5 ** (1 / HALF_LIFE_RUNS)


class Estimate(NamedTuple):
    """The estimate of one API's service time; all zero before the first run."""

    slope_s: float = 0.0
    base_s: float = 0.0
    tail_s: float = 0.0
    """p95 of the recent residuals."""
    far_tail_s: float = 0.0
    """p99 of the recent residuals."""
    runs: int = 0
    """How many runs the line was learned from; 0 means that nothing is known."""
    largest: int = 0
    """The largest number of items that was ever run successfully, the first call included."""

    def seconds(self, items: int) -> float:
        """Predict `T(items)`, without the tail."""
        return self.base_s + self.slope_s * items


class Estimator:
    """Turns runs into an `Estimate`; knows no clock.

    The first call of a worker pays for lazy imports, page faults and compilers: it is never learned from.
    """

    __slots__ = ("_calls", "_early", "_moments", "_residuals", "estimate")

    def __init__(self) -> None:
        self.estimate = Estimate()
        self._calls = 0
        self._early: list[tuple[int, float]] = []
        self._moments = _Moments()
        self._residuals = _Window()

    def observe(self, items: int, seconds: float) -> None:
        """Learn from one successful run of ``items`` items."""
        before = self.estimate
        largest = max(items, before.largest)
        self._calls += 1
        if self._calls == 1:
            self.estimate = before._replace(largest=largest)
            return
        if self._calls <= EARLY_RUNS + 1:
            slope, base = self._fit_early(items, seconds)
        else:
            slope, base = self._fit(items, seconds)
        window = self._residuals
        self.estimate = Estimate(slope, base, max(window.p95, 0.0), max(window.p99, 0.0), before.runs + 1, largest)

    def _fit_early(self, items: int, seconds: float) -> tuple[float, float]:
        self._early.append((items, seconds))
        slope, base = _theil_sen(self._early)
        self._residuals = _Window()
        for n, took in self._early:
            self._residuals.add(took - slope * n - base)
        if len(self._early) == EARLY_RUNS:
            for n, took in self._early:
                self._moments.add(n, took, self._weight(took, slope * n + base))
            self._early.clear()
        return slope, base

    def _fit(self, items: int, seconds: float) -> tuple[float, float]:
        predicted = self.estimate.seconds(items)
        self._moments.add(items, seconds, self._weight(seconds, predicted))
        self._residuals.add(seconds - predicted)
        return self._moments.line(self.estimate.slope_s)

    def _weight(self, seconds: float, predicted: float) -> float:
        residual = abs(seconds - predicted)
        if residual <= 0.1 * predicted:  # PERF: as most are
            return 1.0
        spread = max(self._residuals.p95, -self._residuals.p05)
        limit = max(HUBER_SPREADS * spread, 0.1 * predicted, 1e-6)
        return 1.0 if residual <= limit else limit / residual


class _Moments:
    """Decaying weighted means and centred sums of squares of (items, seconds)."""

    __slots__ = ("cross", "mean_n", "mean_t", "square", "weight")

    def __init__(self) -> None:
        self.weight = self.mean_n = self.mean_t = self.square = self.cross = 0.0

    def add(self, items: int, seconds: float, weight: float) -> None:
        self.weight = self.weight * _DECAY + weight
        off_n = items - self.mean_n
        share = weight / self.weight
        self.mean_n += share * off_n
        self.mean_t += share * (seconds - self.mean_t)
        self.square = self.square * _DECAY + weight * off_n * (items - self.mean_n)
        self.cross = self.cross * _DECAY + weight * off_n * (seconds - self.mean_t)

    def line(self, known_slope: float) -> tuple[float, float]:
        """Return slope and base of the best line with neither below zero; ``known_slope`` if all sizes are one."""
        whole_square = self.weight * self.mean_n * self.mean_n
        slope = self.cross / self.square if self.square > LEAST_SPREAD * whole_square else known_slope
        if slope <= 0:
            return 0.0, self.mean_t
        if (base := self.mean_t - slope * self.mean_n) >= 0:
            return slope, base
        return max((self.cross + self.weight * self.mean_n * self.mean_t) / (self.square + whole_square), 0.0), 0.0


class _Window:
    """The last residuals, and their quantiles, rounded towards the middle: of a few they are never the outermost."""

    __slots__ = ("_arrived", "_sorted", "p05", "p95", "p99")

    def __init__(self) -> None:
        self._arrived: deque[float] = deque()
        self._sorted: list[float] = []

    def add(self, value: float) -> None:
        arrived, ordered = self._arrived, self._sorted
        arrived.append(value)
        insort(ordered, value)
        last = len(arrived) - 1
        if last >= HALF_LIFE_RUNS:
            del ordered[bisect_left(ordered, arrived.popleft())]
            last -= 1
        inner = int(0.95 * last)
        self.p05, self.p95, self.p99 = ordered[last - inner], ordered[inner], ordered[int(0.99 * last)]


def _theil_sen(runs: Sequence[tuple[int, float]]) -> tuple[float, float]:
    slopes = [(t2 - t1) / (n2 - n1) for (n1, t1), (n2, t2) in combinations(runs, 2) if n1 != n2]
    slope = max(median(slopes), 0.0) if slopes else 0.0
    base = median(took - slope * n for n, took in runs)
    if base >= 0:
        return slope, base
    return median(took / n for n, took in runs), 0.0
