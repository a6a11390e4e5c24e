from __future__ import annotations

import math
import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kappa.server.batching.estimator import Estimate, Estimator

times = st.floats(min_value=1e-6, max_value=1.0)


def feed(estimator: Estimator, curve: Any, sizes: Any, *, noise: Any = lambda: 1.0) -> None:
    for items in sizes:
        estimator.observe(items, curve(items) * noise())


def test_nothing_is_known_at_first_and_the_first_call_teaches_only_its_size() -> None:
    estimator = Estimator()
    assert estimator.estimate == Estimate()
    estimator.observe(8, 30.0)
    assert estimator.estimate == Estimate(largest=8)


@settings(max_examples=50)
@given(slope=times, base=times, seed=st.integers(0, 1000))
def test_an_exact_line_is_found_exactly(slope: float, base: float, seed: int) -> None:
    sizes = random.Random(seed).choices(range(1, 65), k=100)
    estimator = Estimator()
    feed(estimator, lambda n: slope * n + base, [1, 1, 2, 4, *sizes])
    learned = estimator.estimate
    assert learned.seconds(1) == pytest.approx(slope + base, rel=1e-6)
    assert learned.seconds(64) == pytest.approx(64 * slope + base, rel=1e-6)
    assert learned.tail_s == pytest.approx(0, abs=1e-6 * (slope + base))


@settings(max_examples=25)
@given(slope=times, base=times, seed=st.integers(0, 1000))
def test_noise_moves_predictions_by_little_and_shows_in_the_tail(slope: float, base: float, seed: int) -> None:
    rng = random.Random(seed)
    estimator = Estimator()
    sizes = [rng.randint(1, 64) for _ in range(600)]
    feed(estimator, lambda n: slope * n + base, sizes, noise=lambda: rng.uniform(0.8, 1.2))
    learned = estimator.estimate
    assert learned.seconds(32) == pytest.approx(32 * slope + base, rel=0.1)
    assert 0 < learned.tail_s <= learned.far_tail_s <= 0.4 * (64 * slope + base)


@given(st.lists(st.tuples(st.integers(1, 1000), st.floats(0, 1e3)), max_size=80))
@settings(max_examples=100)
def test_no_run_makes_a_figure_negative_or_infinite(runs: list[tuple[int, float]]) -> None:
    estimator = Estimator()
    for items, seconds in runs:
        estimator.observe(items, seconds)
        assert all(math.isfinite(value) and value >= 0 for value in estimator.estimate)
    assert estimator.estimate.runs == max(len(runs) - 1, 0)
    assert estimator.estimate.largest == max((items for items, _ in runs), default=0)


@pytest.mark.parametrize("before", [3, 10, 17, 100, 500])
def test_one_outlier_hardly_moves_the_line_whenever_it_comes(before: int) -> None:
    rng = random.Random(before)
    estimator = Estimator()
    feed(estimator, lambda n: 1e-4 * n + 1e-3, (rng.randint(1, 32) for _ in range(before)))
    estimator.observe(16, 10.0)
    feed(estimator, lambda n: 1e-4 * n + 1e-3, (rng.randint(1, 32) for _ in range(4)))
    assert estimator.estimate.seconds(16) == pytest.approx(2.6e-3, rel=0.1)
    assert estimator.estimate.tail_s < 1e-4


def test_an_outlier_as_the_first_thing_learned_is_forgotten_after_two_more_runs() -> None:
    estimator = Estimator()
    for seconds in (1.0, 10.0, 0.001, 0.001):
        estimator.observe(1, seconds)
    assert estimator.estimate.seconds(1) == pytest.approx(0.001)


@pytest.mark.parametrize("factor", [0.1, 0.5, 2.0, 10.0], ids=str)
def test_a_lasting_change_is_half_learned_within_a_half_life_and_a_little(factor: float) -> None:
    rng = random.Random(1)
    estimator = Estimator()

    def curve(n: int) -> float:
        return 1e-4 * n + 1e-3

    feed(estimator, curve, (rng.randint(1, 32) for _ in range(600)))
    feed(estimator, lambda n: factor * curve(n), (rng.randint(1, 32) for _ in range(230)))
    moved = (estimator.estimate.seconds(16) - curve(16)) / (factor * curve(16) - curve(16))
    assert 0.45 < moved < 0.75
    feed(estimator, lambda n: factor * curve(n), (rng.randint(1, 32) for _ in range(1500)))
    assert estimator.estimate.seconds(16) == pytest.approx(factor * curve(16), rel=0.1)


def test_a_slow_drift_is_followed() -> None:
    rng = random.Random(2)
    estimator = Estimator()
    for step in range(2000):
        items = rng.randint(1, 32)
        estimator.observe(items, (1e-4 * items + 1e-3) * (1 + step / 1000))
    assert estimator.estimate.seconds(16) == pytest.approx(2.6e-3 * 3, rel=0.15)


def test_larger_batches_that_run_faster_are_a_base_alone() -> None:
    estimator = Estimator()
    feed(estimator, lambda n: 1e-2 - 1e-4 * n, [1, 16, 32] * 30)
    assert estimator.estimate.slope_s == 0.0
    assert estimator.estimate.base_s == pytest.approx(1e-2 - 1e-4 * 49 / 3, rel=0.02)


def test_batches_that_grow_faster_than_their_size_are_a_slope_alone() -> None:
    estimator = Estimator()
    feed(estimator, lambda n: 1e-4 * n * n, [8, 16, 32] * 30)
    assert estimator.estimate.base_s == 0.0
    assert estimator.estimate.seconds(32) == pytest.approx(1e-4 * 32 * 32, rel=0.2)


def test_one_size_alone_is_predicted_and_keeps_what_was_known_of_the_slope() -> None:
    estimator = Estimator()
    feed(estimator, lambda n: 1e-3, [1] * 100)
    assert estimator.estimate.seconds(1) == pytest.approx(1e-3)
    assert estimator.estimate.slope_s == 0.0

    feed(estimator, lambda n: 1e-4 * n + 9e-4, [1, 2, 4, 8, 16, 32] * 20)
    known = estimator.estimate.slope_s
    feed(estimator, lambda n: 1e-3, [1] * 20_000)
    assert estimator.estimate.slope_s == pytest.approx(known, rel=0.2)
    assert estimator.estimate.seconds(1) == pytest.approx(1e-3, rel=1e-3)
