from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from itertools import takewhile

import pytest

from kappa.server.batching.policy import Limits
from kappa.server.tuning.load import bursts, poisson
from kappa.server.tuning.simulator import Model, Simulated, simulate

SLOW = Model(base_s=0.05, slope_s=0.001, tail_s=0.004, request_s=0.0001)
SATURATION = 64 / (0.05 + 0.064)


Arrivals = Callable[..., Iterator[float]]


def offered(
    load: float, *, arrivals: Arrivals = poisson, model: Model = SLOW, target_s: float | None = 0.3
) -> Simulated:
    schedule = arrivals(load * SATURATION, seconds=22.0, rng=random.Random(5))
    return simulate(model, Limits(64, max_latency_s=target_s), schedule, seconds=22.0)


def test_below_saturation_everybody_is_answered_in_time() -> None:
    found = offered(0.7)
    assert (found.refused, len(found.latencies)) == (0, found.offered)
    assert found.quantile_s(0.99) < 0.2


@pytest.mark.parametrize("load", [2, 5, 10])
def test_under_overload_the_answers_are_in_time_and_as_many_as_can_be(load: int) -> None:
    found = offered(load, model=Model(0.05, 0.001, 0.004, 0.00002))
    assert found.within(0.3) / found.seconds >= 0.95 * SATURATION
    assert found.quantile_s(0.99) <= 0.31
    assert found.refused + len(found.latencies) == pytest.approx(found.offered, abs=200)


def test_bursts_are_refused_where_the_same_load_spread_evenly_is_not() -> None:
    assert offered(0.8).refused == 0
    assert offered(0.8, arrivals=bursts).refused > 0


def test_without_a_target_everybody_waits_and_the_batches_are_full() -> None:
    found = offered(1.5, target_s=None)
    assert found.refused == 0
    assert found.items / found.batches == pytest.approx(64, abs=1)
    assert found.quantile_s(0.5) > 1.0


def test_an_event_loop_without_time_is_a_limit_of_its_own() -> None:
    quick = Model(base_s=0.0001, slope_s=0.0, request_s=0.001)
    schedule = poisson(800.0, seconds=22.0, rng=random.Random(5))
    assert simulate(quick, Limits(64), schedule, seconds=22.0).quantile_s(0.5) == pytest.approx(0.003, abs=0.002)


def test_a_lone_client_is_answered_in_the_time_of_one_call() -> None:
    schedule = iter([*takewhile(lambda at: at < 22.0, (n * 0.5 for n in range(100)))])
    found = simulate(Model(0.05, 0.001), Limits(64), schedule, seconds=22.0)
    assert found.quantile_s(1.0) == pytest.approx(0.051)
