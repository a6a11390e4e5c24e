"""One API under any load, in no time: the server's own policy against a clock that only this module moves.

Release, admission, estimate and queue are the code that serves (`kappa.server.batching`). What is modelled is the rest:
an event loop that handles one request after the other, before it waits and when it is answered, and a function that
takes `T(n)` with the noise that was measured.
"""

from __future__ import annotations

import random
from array import array
from collections.abc import Iterator
from dataclasses import dataclass, field
from heapq import heappop, heappush
from itertools import count
from math import inf
from typing import Literal

from kappa.server.batching.admission import Admission, Candidate, remaining_seconds
from kappa.server.batching.estimator import Estimator
from kappa.server.batching.policy import Batch, Limits, Regroup, compose, regroup_after
from kappa.server.batching.queue import WaitingQueue, WaitingRequest

__all__ = ["Model", "Simulated", "simulate"]

_SHARE_OF_ARRIVING = 0.35  # of what a request costs the loop, until it waits; the rest is for its answer
_SHARE_OF_REFUSING = 0.1
_NEWS_SHARE = 0.1  # as in the batcher
_LOOK_EVERY_S = 0.25  # as in the host
_EXPONENTIAL_P95 = 3.0  # in means


@dataclass(frozen=True, slots=True)
class Model:
    """What one worker costs: measured, or assumed."""

    base_s: float
    slope_s: float
    """`T(n) = slope·n + base`."""
    tail_s: float = 0.0
    """How far the slowest twentieth of the calls is above that."""
    request_s: float = 0.0
    """What a request costs the event loop."""
    items: int = 1
    """Items of one request."""

    def seconds(self, items: int, rng: random.Random) -> float:
        noise_s = self.tail_s / _EXPONENTIAL_P95
        noise = rng.expovariate(1 / noise_s) - noise_s if noise_s else 0.0
        line = self.base_s + self.slope_s * items
        return max(line + noise, 0.3 * line)


@dataclass
class Simulated:
    """What came of the requests that arrived after the beginning was over."""

    seconds: float
    offered: int = 0
    latencies: array[float] = field(default_factory=lambda: array("d"))
    refused: int = 0
    batches: int = 0
    items: int = 0

    def quantile_s(self, share: float) -> float:
        ordered = sorted(self.latencies)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else inf

    def within(self, target_s: float) -> int:
        return sum(latency <= target_s for latency in self.latencies)


Event = Literal["arrive", "submit", "finish", "turn", "look"]


class _Worker:
    def __init__(self, model: Model, limits: Limits, rng: random.Random, *, settled_at: float, until: float) -> None:
        self._model = model
        self._limits = limits
        self._rng = rng
        self._settled_at = settled_at
        self._queue: WaitingQueue[WaitingRequest] = WaitingQueue(max_batch_size=limits.max_batch_size)
        self._estimator = Estimator()
        self._admission = Admission(limits)
        self._regroup: Regroup | None = None
        self._running: Batch[WaitingRequest] | None = None
        self._started = 0.0
        self._loop_free_at = 0.0
        self._lag_s = 0.0
        self._came: dict[int, float] = {}
        """When each waiting request arrived at the server."""
        self._events: list[tuple[float, int, Event, float]] = []
        self._numbers = count()
        self.outcome = Simulated(until - settled_at)

    def run(self, arrivals: Iterator[float]) -> Simulated:
        first = next(arrivals, None)
        if first is not None:
            self._at(first, "arrive", first)
            self._at(first, "look")
        while self._events:
            now, _, event, came = heappop(self._events)
            if event == "arrive":
                following = next(arrivals, None)
                if following is not None:
                    self._at(following, "arrive", following)
                self._at(self._on_loop(now, _SHARE_OF_ARRIVING), "submit", came)
            elif event == "submit":
                self._submit(now, came)
            elif event == "finish":
                self._finish(now)
            elif event == "turn":
                self._turn(now)
            elif self._events:
                self._lag_s += _NEWS_SHARE * (max(self._loop_free_at - now, 0.0) - self._lag_s)
                self._at(now + _LOOK_EVERY_S, "look")
        return self.outcome

    def _at(self, when: float, event: Event, came: float = 0.0) -> None:
        heappush(self._events, (when, next(self._numbers), event, came))

    def _on_loop(self, now: float, share: float) -> float:
        """Have the loop handle something when it is free, and return when that is done."""
        self._loop_free_at = max(now, self._loop_free_at) + share * self._model.request_s
        return self._loop_free_at

    def _submit(self, now: float, came: float) -> None:
        is_counted = came >= self._settled_at
        self.outcome.offered += is_counted
        estimate = self._estimator.estimate
        if self._running is not None:
            left_s = remaining_seconds(self._running.items, elapsed=now - self._started, estimate=estimate)
            candidate = Candidate(now, None, self._model.items, 0, inf, now)
            if (
                self._admission.refusal(self._queue, candidate, busy_s=self._lag_s + left_s, estimate=estimate)
                is not None
            ):
                self.outcome.refused += is_counted
                self._on_loop(now, _SHARE_OF_REFUSING)
                return
        request = WaitingRequest(now, None, self._model.items)
        request.is_probe = self._running is not None and self._admission.has_spent_probe
        self._came[id(request)] = came
        self._queue.add(request)
        if self._regroup is not None:
            self._regroup = self._regroup.returned(now)
        if self._running is None:
            self._turn(now)

    def _turn(self, now: float) -> None:
        if self._running is not None or not self._queue.requests:
            return
        if self._regroup is not None and not self._regroup.is_over(now, self._queue.items):
            if self._regroup.until < inf:
                self._at(self._regroup.until, "turn")
            return
        self._regroup = None
        batch = compose(self._queue, estimate=self._estimator.estimate, limits=self._limits, now=now)
        self._running, self._started = batch, now
        self._at(now + self._model.seconds(batch.items, self._rng), "finish")

    def _finish(self, now: float) -> None:
        batch, self._running = self._running, None
        assert batch is not None  # noqa: S101 - it was started
        self._lag_s += _NEWS_SHARE * (max(self._loop_free_at - now, 0.0) - self._lag_s)
        self._estimator.observe(batch.items, now - self._started)
        self._admission.observe(self._estimator.estimate)
        expected = self._expected(batch, max(now, self._loop_free_at))
        if expected is None or expected.is_over(now, self._queue.items):
            self._turn(max(now, self._loop_free_at))
        for member in batch.members:
            answered = self._on_loop(now, 1 - _SHARE_OF_ARRIVING)
            came = self._came.pop(id(member))
            if came >= self._settled_at:
                self.outcome.latencies.append(answered - came)
        if (oldest := next((member for member in batch.members if not member.is_probe), None)) is not None:
            latency_s = self._loop_free_at - oldest.arrived + self._lag_s
            self._admission.answered(latency_s, arrived=oldest.arrived)
        if now >= self._settled_at:
            self.outcome.batches += 1
            self.outcome.items += batch.items
        if self._running is None:
            self._regroup = self._expected(batch, self._loop_free_at)
            self._at(self._loop_free_at, "turn")

    def _expected(self, batch: Batch[WaitingRequest], answered_at: float) -> Regroup | None:
        return regroup_after(
            batch.items,
            self._estimator.estimate,
            answered_at,
            waiting_items=self._queue.items,
            return_s=inf,  # clients that come when they like do not return together
            max_batch_size=self._limits.max_batch_size,
        )


def simulate(
    model: Model, limits: Limits, arrivals: Iterator[float], *, seconds: float, seed: int = 1, settle_s: float = 2.0
) -> Simulated:
    """Answer ``arrivals`` (times below ``seconds``), and return what came of those after the first ``settle_s``."""
    rng = random.Random(seed)  # noqa: S311 - noise
    worker = _Worker(model, limits, rng, settled_at=settle_s, until=seconds)
    return worker.run(arrivals)
