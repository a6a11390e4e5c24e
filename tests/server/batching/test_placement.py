"""Where batches run: in a thread, on the event loop, or in the thread while the loop is paused."""

from __future__ import annotations

import random
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kappa.server.batching.estimator import Estimate
from kappa.server.batching.placement import Placement, Placer


def observe(
    placer: Placer,
    seconds: float,
    *,
    share: float = 1.0,
    gap_s: float | None = None,
    placement: Placement = "thread",
    now: float = 0.0,
) -> None:
    placer.observe(seconds, placement=placement, expected_s=0.01, cpu_s=share * seconds, gap_s=gap_s, now=now)


def test_only_a_known_fast_and_steady_function_runs_on_the_loop() -> None:
    placer = Placer()
    fast = Estimate(1e-6, 1e-4, 1e-5, 2e-5, 50, 10)
    assert placer.is_loop_fit(10, estimate=fast, now=0.0)
    assert not placer.is_loop_fit(10, estimate=fast._replace(runs=49), now=0.0)
    assert not placer.is_loop_fit(900, estimate=fast, now=0.0)
    assert not placer.is_loop_fit(10, estimate=fast._replace(far_tail_s=0.001), now=0.0)


FAST = Estimate(1e-6, 1e-4, 1e-5, 2e-5, 500, 10)


def test_a_slow_run_ends_it_for_two_hundred_runs() -> None:
    placer = Placer()
    observe(placer, 0.006, now=0.0)
    assert not placer.is_loop_fit(1, estimate=FAST, now=1.0)
    for _ in range(200):
        observe(placer, 0.0001, now=1.0)
    assert placer.is_loop_fit(1, estimate=FAST, now=1.0)


def ban_s(placer: Placer, now: float) -> float:
    """Return how long a slow run on the loop at ``now`` keeps the function from it, to an eighth of a second."""
    observe(placer, 0.006, placement="loop", now=now)
    for _ in range(200):
        observe(placer, 0.0001, now=now)
    return next(n / 8 for n in range(1, 1000) if placer.is_loop_fit(1, estimate=FAST, now=now + n / 8))


def test_a_function_that_is_slow_on_the_loop_again_and_again_stays_away_longer_each_time() -> None:
    placer, now, bans = Placer(), 100.0, []
    for _ in range(8):
        bans.append(ban_s(placer, now))
        now += 2 * bans[-1]
    assert bans == [0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 10.0, 10.0]


def test_a_function_that_is_slow_once_in_a_while_is_soon_on_the_loop_again() -> None:
    placer = Placer()
    assert [ban_s(placer, now) for now in (100.0, 100.5, 103.0, 105.0)] == [0.25, 0.5, 0.25, 0.25]


def test_what_a_thread_computes_is_measured_only_of_slow_functions_that_are_not_known_to_compute() -> None:
    fast, slow = Estimate(1e-6, 1e-4, 1e-5, 2e-5, 50, 10), Estimate(0.0, 5e-3, 1e-5, 2e-5, 50, 10)
    placer = Placer(may_pause=True)
    assert placer.wants_cpu(1, estimate=slow)
    assert placer.wants_cpu(1, estimate=fast._replace(far_tail_s=0.001))
    assert placer.wants_cpu(1000, estimate=fast)
    assert not placer.wants_cpu(1, estimate=fast)
    assert not Placer().wants_cpu(1, estimate=slow)
    observe(placer, 0.006)
    assert not placer.wants_cpu(1, estimate=slow)


class Machine:
    """Runs batches of a function one after the other, each where a placer says, on a clock of its own."""

    def __init__(self, *, beside: tuple[float, float], alone: tuple[float, float], share: float = 1.0) -> None:
        """``beside`` and ``alone``: how long a run and the gap after it take, beside the loop and with it paused."""
        self.placer = Placer(may_pause=True)
        self.beside, self.alone, self.share = beside, alone, share
        self.is_waited_for = True
        self.now = 0.0
        self.paused: list[tuple[float, bool]] = []
        self._gap_s: float | None = None

    def run(self, count: int, *, noise: Callable[[], float] = lambda: 1.0) -> list[bool]:
        """Return of each run whether it had the loop paused."""
        ways = []
        for _ in range(count):
            way = self.placer.pause_s(10, estimate=WORK, now=self.now) > 0
            ways.append(way)
            seconds, gap_s = self.alone if way else self.beside
            seconds *= noise()
            self.now += seconds
            self.paused.append((self.now, way))
            gap_s_before = self._gap_s if self.is_waited_for else None
            observe(
                self.placer,
                seconds,
                share=self.share,
                gap_s=gap_s_before,
                placement="paused" if way else "thread",
                now=self.now,
            )
            self._gap_s = gap_s * noise()
            self.now += self._gap_s
        return ways


WORK = Estimate(1e-4, 0.01, 0.002, 0.003, 100, 10)
COMPETING: dict[str, Any] = {"beside": (0.022, 0.001), "alone": (0.014, 0.003)}
"""A function that competes with the loop for the GIL."""
OVERLAPPED: dict[str, Any] = {"beside": (0.014, 0.0005), "alone": (0.014, 0.003)}
"""One that releases it: what the loop does meanwhile need not be done afterwards."""


@given(st.integers(0, 10_000))
def test_the_loop_usually_pauses_to_a_function_that_it_fights_with_and_to_no_other(seed: int) -> None:
    rng = random.Random(seed)

    def noise() -> Any:
        return 10.0 if rng.random() < 0.05 else rng.uniform(0.9, 1.1)

    competing, overlapped = Machine(**COMPETING), Machine(**OVERLAPPED)
    assert sum(competing.run(1000, noise=noise)[100:]) > 600
    assert sum(overlapped.run(1000, noise=noise)) < 300


def test_it_pauses_for_as_long_as_a_run_is_expected_to_take_within_reason() -> None:
    machine = Machine(**COMPETING)
    machine.run(50)
    assert machine.placer.pause_s(10, estimate=WORK, now=machine.now) == pytest.approx(0.013)
    assert machine.placer.pause_s(10_000, estimate=WORK, now=machine.now) == 0.05


@pytest.mark.parametrize(
    ("costs", "last_waits"),
    [
        pytest.param(COMPETING, [6, 10, 18, 18], id="competing"),  # a hundred runs are needed for each
        pytest.param(OVERLAPPED, [4, 8, 16, 16], id="overlapped"),
    ],
)
def test_what_does_not_change_is_tried_again_more_and_more_seldom(costs: Any, last_waits: Any) -> None:
    machine = Machine(**costs)
    machine.run(3500)
    usually = machine.placer.usually_pauses
    tried = [now for now, way in machine.paused if way is not usually]
    begun = [now for before, now in pairwise([-1.0, *tried]) if now - before > 0.5]
    waits = [round(after - before) for before, after in pairwise(begun)]
    assert waits[-4:] == last_waits


def test_a_difference_that_is_clear_is_seen_at_once() -> None:
    machine = Machine(beside=(0.13, 0.001), alone=(0.014, 0.003))
    assert machine.run(20) == [False] * 6 + [True] * 14


def test_what_is_slower_without_is_tried_one_run_at_a_time() -> None:
    machine = Machine(**COMPETING)
    ways = "".join("-" if way else "X" for way in machine.run(300)).lstrip("X")
    assert "X----X----X" in ways
    assert "XX" not in ways


def test_it_changes_its_mind_when_the_function_changes() -> None:
    machine = Machine(**COMPETING)
    machine.run(200)
    machine.beside = OVERLAPPED["beside"]
    machine.run(400)
    assert not machine.placer.usually_pauses
    machine.beside = COMPETING["beside"]
    machine.run(400)
    assert machine.placer.usually_pauses


def test_the_loop_does_not_pause_for_a_function_that_waits_itself() -> None:
    assert not any(Machine(**COMPETING, share=0.5).run(200))


def test_it_is_not_tried_while_nobody_waits_for_the_next_batch() -> None:
    machine = Machine(**COMPETING)
    machine.is_waited_for = False
    assert not any(machine.run(200))


def test_short_runs_and_those_on_the_loop_tell_nothing_of_it() -> None:
    placer = Placer()
    for _ in range(200):
        observe(placer, 0.02, share=1.0, gap_s=0.0, placement="loop")
        observe(placer, 0.0005, share=1.0, gap_s=0.0)
    assert placer.pause_s(10, estimate=WORK, now=0.0) == 0.0
