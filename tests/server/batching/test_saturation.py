from __future__ import annotations

from math import inf

import pytest

from kappa.server.batching.estimator import Estimate
from kappa.server.batching.policy import Limits
from kappa.server.batching.saturation import Saturation, capacity

KNOWN = Estimate(slope_s=0.001, base_s=0.05, runs=100, largest=64)


def test_what_an_api_can_carry_is_what_its_largest_batches_do() -> None:
    assert capacity(KNOWN, Limits(50)) == pytest.approx(500)
    assert capacity(KNOWN, Limits(50, max_concurrency=3)) == pytest.approx(1500)
    assert capacity(Estimate(), Limits(50)) == inf


def test_a_latency_target_leaves_room_for_smaller_batches_only() -> None:
    # a request that has just missed a batch of 40 (90 ms) is answered with the next one after 180 ms, just in time
    assert capacity(KNOWN, Limits(1000, max_latency_s=0.181)) == pytest.approx(40 / 0.09)
    assert capacity(KNOWN, Limits(1000, max_latency_s=0.01)) == pytest.approx(1 / 0.051)


def test_the_ratio_settles_at_what_is_offered_over_what_can_be_done_and_forgets() -> None:
    saturation = Saturation(0.0)
    for second in range(1, 61):
        saturation.look(float(second), offered_items=second * 1000, capacity=500.0)
    assert saturation.ratio == pytest.approx(2.0, abs=0.01)
    for second in range(61, 121):
        saturation.look(float(second), offered_items=60_000, capacity=500.0)
    assert saturation.ratio == pytest.approx(0.0, abs=0.01)


def test_an_event_loop_that_has_no_time_left_is_saturation_too() -> None:
    saturation = Saturation(0.0)
    for second in range(1, 61):
        saturation.look(float(second), offered_items=second * 1000, capacity=1e6, least=0.9)
    assert saturation.ratio == pytest.approx(0.9, abs=0.01)


def test_looking_twice_at_once_divides_by_nothing() -> None:
    saturation = Saturation(1.0)
    assert saturation.look(1.0, offered_items=5, capacity=inf) == 0.0
