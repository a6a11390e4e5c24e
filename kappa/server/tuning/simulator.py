"""One API under any load, in virtual time: the server's own dispatcher with a clock that only this module moves.

Every decision is that of `kappa.server.batching.dispatcher`. The rest is modelled: an event loop that handles one thing
after the other, a request before it waits and when it is answered, and a function in a thread that takes `T(n)` with
the noise that was measured.
"""

from __future__ import annotations

import random
from array import array
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from heapq import heappop, heappush
from itertools import count
from math import inf

from kappa.server.batching.constants import LOOK_EVERY_S
from kappa.server.batching.dispatcher import Dispatcher, observe_release
from kappa.server.batching.observer import Observer
from kappa.server.batching.outcomes import RefusedError
from kappa.server.batching.policy import Limits
from kappa.server.batching.regrouping import Regroup
from kappa.server.batching.runs import Request, Run

__all__ = ["Model", "Simulated", "simulate"]

_SHARE_OF_ARRIVING = 0.35  # of what a request costs the loop, until it waits; the rest is for its answer
_SHARE_OF_REFUSING = 0.1
_EXPONENTIAL_P95 = 3.0  # in means


@dataclass(frozen=True, slots=True)
class Model:
    """The costs of one worker: measured, or assumed."""

    base_s: float
    slope_s: float
    """`T(n) = slope·n + base`."""
    tail_s: float = 0.0
    """How far the slowest twentieth of the calls is above that."""
    request_s: float = 0.0
    """Seconds of the event loop per request."""
    items: int = 1
    """Items of one request."""

    def seconds(self, items: int, rng: random.Random) -> float:
        noise_s = self.tail_s / _EXPONENTIAL_P95
        noise = rng.expovariate(1 / noise_s) - noise_s if noise_s else 0.0
        line = self.base_s + self.slope_s * items
        return max(line + noise, 0.3 * line)


@dataclass
class Simulated:
    """The outcome of the requests that arrived after the settling time."""

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


class _Pending:
    """The future of a simulated request: outcomes are dropped, and no client leaves."""

    def done(self) -> bool:
        return False

    def set_result(self, _result: None) -> None:
        raise NotImplementedError

    def set_exception(self, error: Exception) -> None:
        raise error


class _Worker:
    """The event loop and the thread of one worker; drives a `Dispatcher` as `Batcher` does."""

    def __init__(
        self,
        model: Model,
        limits: Limits,
        rng: random.Random,
        *,
        settled_at: float,
        until: float,
        observer: Observer | None = None,
    ) -> None:
        self._model = model
        self._rng = rng
        self._settled_at = settled_at
        self._observer = observer
        self._dispatcher: Dispatcher[float, None] = Dispatcher(limits, wake=lambda: None, observer=observer)
        self._loop_free_at = 0.0
        self._events: list[tuple[float, int, Callable[[float], None]]] = []
        self._numbers = count()
        self.outcome = Simulated(until - settled_at)

    def run(self, arrivals: Iterator[float]) -> Simulated:
        first = next(arrivals, None)
        if first is not None:
            self._at(first, partial(self._arrive, arrivals))
            self._at(first, self._look)
        while self._events:
            now, _, handle = heappop(self._events)
            handle(now)
        return self.outcome

    def _at(self, when: float, handle: Callable[[float], None]) -> None:
        heappush(self._events, (when, next(self._numbers), handle))

    def _on_loop(self, now: float, share: float) -> float:
        """Have the loop handle something when it is free, and return when that is done."""
        self._loop_free_at = max(now, self._loop_free_at) + share * self._model.request_s
        return self._loop_free_at

    def _arrive(self, arrivals: Iterator[float], came: float) -> None:
        following = next(arrivals, None)
        if following is not None:
            self._at(following, partial(self._arrive, arrivals))
        self._at(self._on_loop(came, _SHARE_OF_ARRIVING), partial(self._put, came))

    def _put(self, came: float, now: float) -> None:
        is_counted = came >= self._settled_at
        self.outcome.offered += is_counted
        request: Request[float, None] = Request(now, None, self._model.items)
        request.item, request.outcome = came, _Pending()
        try:
            self._dispatcher.put(request, now)
        except RefusedError:
            self.outcome.refused += is_counted
            self._on_loop(now, _SHARE_OF_REFUSING)
            return
        if self._dispatcher.room:
            self._turn(now)

    def _turn(self, now: float) -> None:
        while self._dispatcher.room:
            decision = self._dispatcher.turn(now)
            if not isinstance(decision, Run):
                if isinstance(decision, Regroup) and decision.until < inf:
                    self._at(decision.until, self._turn)
                return
            if self._observer is not None:
                observe_release(self._observer, decision)
            self._at(now + self._model.seconds(decision.items, self._rng), partial(self._end, decision))

    def _end(self, run: Run[float, None], now: float) -> None:
        """Have the loop handle the end of a run, once it is free."""
        run.finished = now
        self._at(max(now, self._loop_free_at), partial(self._finish, run))

    def _finish(self, run: Run[float, None], now: float) -> None:
        dispatcher = self._dispatcher
        is_answered_first = dispatcher.finished(run, now)
        if not is_answered_first:
            self._turn(now)
        self._answer(run, now)
        if run.regroup is not None:
            self._at(self._loop_free_at, partial(self._answers_written, run))
        elif is_answered_first:
            self._at(self._loop_free_at, self._turn)

    def _answer(self, run: Run[float, None], now: float) -> None:
        for member in run.members:
            answered = self._on_loop(now, 1 - _SHARE_OF_ARRIVING)
            if member.item >= self._settled_at:
                self.outcome.latencies.append(answered - member.item)
        if now >= self._settled_at:
            self.outcome.batches += 1
            self.outcome.items += run.items
        arrived = self._dispatcher.to_learn_from(run)
        if arrived is not None:
            self._at(self._loop_free_at, partial(self._dispatcher.answered, arrived))

    def _answers_written(self, run: Run[float, None], now: float) -> None:
        if run.regroup is not None and self._dispatcher.answers_written(run.regroup, now):
            self._turn(now)

    def _look(self, now: float) -> None:
        self._dispatcher.look(now, lag_s=max(self._loop_free_at - now, 0.0))
        if self._events:
            self._at(now + LOOK_EVERY_S, self._look)


def simulate(
    model: Model,
    limits: Limits,
    arrivals: Iterator[float],
    *,
    seconds: float,
    seed: int = 1,
    settle_s: float = 2.0,
    observer: Observer | None = None,
) -> Simulated:
    """Answer ``arrivals`` (times below ``seconds``), and return what came of those after the first ``settle_s``."""
    rng = random.Random(seed)  # noqa: S311 - noise
    worker = _Worker(model, limits, rng, settled_at=settle_s, until=seconds, observer=observer)
    return worker.run(arrivals)
