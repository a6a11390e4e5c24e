"""From measurements to simulations and recommendations."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import takewhile

from kappa.server.batching.policy import Limits
from kappa.server.tuning.load import bursts, poisson
from kappa.server.tuning.simulator import Model, Simulated, simulate

__all__ = ["Advice", "Point", "advise", "curve", "saturation_of"]

Arrivals = Callable[..., Iterator[float]]

_LOADS = (0.1, 0.25, 0.5, 0.7, 0.8, 0.9, 1.0, 1.2, 1.5, 2.0, 3.0, 5.0)
_SECONDS = 22.0
_MOST_REQUESTS = 20_000
_GOOD_ENOUGH = 0.95
_REFUSED = 0.005


@dataclass(frozen=True, slots=True)
class Point:
    """The performance of one worker under one load."""

    load: float
    """Offered, as a share of what it can carry."""
    offered: float
    """Requests a second."""
    throughput: float
    goodput: float
    """Answers within the target, a second."""
    refused: float
    """As a share of those that were offered."""
    p50_ms: float
    p99_ms: float
    batch: float
    """Mean items."""


@dataclass(frozen=True, slots=True)
class Advice:
    max_batch_size: int
    saturation: float
    """Requests a second that one worker can carry at all, with these batches."""
    sustainable: float
    """Requests a second at which 99 % of the answers come within the target and none is refused."""
    sustainable_bursty: float
    is_target_reachable: bool


def saturation_of(model: Model, limits: Limits) -> float:
    """Return how many requests a second a worker answers at most: the function's limit, or the event loop's."""
    requests = max(1, limits.max_batch_size // model.items)
    of_function = requests / (model.base_s + model.slope_s * requests * model.items)
    return min(of_function, 1 / model.request_s) if model.request_s > 0 else of_function


def curve(model: Model, limits: Limits, arrivals: Arrivals, *, target_s: float) -> list[Point]:
    """Simulate one worker from a tenth of what it can carry to five times as much."""
    saturation = saturation_of(model, limits)
    return [_point(model, limits, arrivals, load * saturation, saturation, target_s) for load in _LOADS]


def _point(model: Model, limits: Limits, arrivals: Arrivals, rate: float, saturation: float, target_s: float) -> Point:
    seen = _run(model, limits, arrivals, rate)
    return Point(
        load=rate / saturation,
        offered=seen.offered / seen.seconds,
        throughput=len(seen.latencies) / seen.seconds,
        goodput=seen.within(target_s) / seen.seconds,
        refused=seen.refused / seen.offered if seen.offered else 0.0,
        p50_ms=1000 * seen.quantile_s(0.5) if seen.latencies else 0.0,
        p99_ms=1000 * seen.quantile_s(0.99) if seen.latencies else 0.0,
        batch=seen.items / seen.batches if seen.batches else 0.0,
    )


def _run(model: Model, limits: Limits, arrivals: Arrivals, rate: float) -> Simulated:
    """Simulate long enough to be steady and short enough to be quick."""
    settle_s = min(2.0, _MOST_REQUESTS / rate / 10)
    seconds = settle_s + min(_SECONDS, _MOST_REQUESTS / rate)
    schedule = arrivals(rate, seconds=seconds, rng=random.Random(1))  # noqa: S311 - arrivals, no secrets
    return simulate(model, limits, schedule, seconds=seconds, settle_s=settle_s)


def advise(model: Model, limits: Limits, *, target_s: float, most_items: int) -> Advice:
    """Recommend settings for one worker, with batches of up to ``most_items``."""
    sizes = [*takewhile(lambda size: size < most_items, (2**power for power in range(21))), most_items]
    in_time = [size for size in sizes if 2 * (model.base_s + model.slope_s * size) + model.tail_s <= target_s]
    sizes = in_time or sizes[:1]
    best = max(saturation_of(model, replace(limits, max_batch_size=size)) for size in sizes)
    size = next(
        size for size in sizes if saturation_of(model, replace(limits, max_batch_size=size)) >= _GOOD_ENOUGH * best
    )
    chosen = replace(limits, max_batch_size=max(size, model.items), max_latency_s=target_s)
    return Advice(
        max_batch_size=chosen.max_batch_size,
        saturation=saturation_of(model, chosen),
        sustainable=_sustainable(model, chosen, poisson, target_s),
        sustainable_bursty=_sustainable(model, chosen, bursts, target_s),
        is_target_reachable=bool(in_time),
    )


def _sustainable(model: Model, limits: Limits, arrivals: Arrivals, target_s: float) -> float:
    """Return the highest load that is answered in time, found by halving between nothing and saturation."""
    low, high = 0.0, saturation_of(model, limits)
    for _ in range(7):
        rate = (low + high) / 2
        seen = _run(model, limits, arrivals, rate)
        is_carried = seen.refused <= _REFUSED * seen.offered and seen.quantile_s(0.99) <= target_s
        low, high = (rate, high) if is_carried else (low, rate)
    return low
