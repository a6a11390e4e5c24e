"""The dispatcher in virtual time: what it decides is the same for every driver, and nobody is forgotten."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Sequence
from functools import partial
from math import inf
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from kappa.server.batching.batcher import Batcher
from kappa.server.batching.dispatcher import Dispatcher
from kappa.server.batching.estimator import Estimator
from kappa.server.batching.observer import SilentObserver
from kappa.server.batching.outcomes import ExpiredError, OverdueError, RefusedError
from kappa.server.batching.placement import Placer
from kappa.server.batching.policy import Limits
from kappa.server.batching.runs import Request
from kappa.server.batching.slots import Slots
from kappa.server.tuning.advice import saturation_of
from kappa.server.tuning.load import bursts, poisson
from kappa.server.tuning.simulator import Model, simulate
from tests.server.batching.virtual import Clock, Driver, Outcome, VirtualLoop


class Recorder(SilentObserver):
    """Writes down who left in which batch, when and why."""

    def __init__(self) -> None:
        self.decisions: list[Any] = []
        self.waited: list[float] = []

    def batch_released(self, reason: Any, *, requests: Any, items: Any, queue_seconds: Any) -> None:
        self.decisions.append((reason, requests, items))
        self.waited += queue_seconds


def served(model: Model, limits: Limits, arrivals: Sequence[float]) -> tuple[Recorder, int]:
    """Return the batches of the server's batcher on an event loop in virtual time, and how many it refused."""
    refused = [0]
    seen, rng, loop = Recorder(), random.Random(1), VirtualLoop()

    async def function(items: Any) -> Any:
        await asyncio.sleep(model.seconds(len(items) * model.items, rng))
        return items

    async def main() -> None:
        batcher: Batcher[float, float] = Batcher(function, limits=limits, name="test", clock=loop.time, observer=seen)
        loop.until = lambda: batcher.state.waits_until
        await batcher.start()

        def ask(at: float) -> None:
            try:
                batcher.put(at, Outcome(), items=model.items)
            except RefusedError:
                refused[0] += 1

        for at in arrivals:
            loop.call_at(at, ask, at)
        await asyncio.sleep(arrivals[-1] + 60)
        await batcher.close()

    loop.run_until_complete(main())
    loop.close()
    return seen, refused[0]


def simulated(model: Model, limits: Limits, arrivals: Sequence[float]) -> tuple[Recorder, int]:
    """Return those of the simulator of `kappa tune`."""
    seen = Recorder()
    outcome = simulate(model, limits, iter(arrivals), seconds=arrivals[-1], settle_s=0.0, observer=seen)
    return seen, outcome.refused


@settings(max_examples=40)
@example(2299, poisson, 0.5, Model(0.0004, 0.0001), None)
@given(
    st.integers(0, 10_000),
    st.sampled_from([poisson, bursts]),
    st.floats(0.1, 5.0),
    st.sampled_from([Model(0.005, 0.0005, 0.001), Model(0.0004, 0.0001), Model(0.02, 0.0, 0.004, items=3)]),
    st.sampled_from([None, 0.03, 0.1]),
)
def test_the_same_arrivals_give_the_same_batches_in_the_server_and_in_the_simulator(
    seed: int, kind: Any, load: float, model: Model, target_s: float | None
) -> None:
    limits = Limits(16, max_latency_s=target_s, max_queue_items=100)
    rate = load * saturation_of(model, limits)
    arrivals = [*kind(rate, seconds=200 / rate, rng=random.Random(seed))]
    if arrivals:
        (real, refused), (virtual, virtually_refused) = (
            served(model, limits, arrivals),
            simulated(model, limits, arrivals),
        )
        assert (real.decisions, refused) == (virtual.decisions, virtually_refused)
        assert real.waited == pytest.approx(virtual.waited, abs=1e-7)  # the sums of the two are rounded apart


class PoisonError(Exception):
    pass


def tenfold(items: Sequence[int]) -> list[int]:
    if any(item < 0 for item in items):
        raise PoisonError(min(items))
    return [item * 10 for item in items]


class Anywhere(Placer):
    """Runs a batch with any placement."""

    __slots__ = ("_rng",)

    def __init__(self, rng: random.Random) -> None:
        super().__init__(may_run_on_loop=True, may_pause=True)
        self._rng = rng

    def is_loop_fit(self, items: Any, *, estimate: Any, now: Any) -> Any:
        return self._rng.random() < 0.2

    def pause_s(self, items: Any, *, estimate: Any, now: Any) -> Any:
        self.usually_pauses = self._rng.random() < 0.5
        return self._rng.choice([0.0, 0.0, 0.001, 1.0])


def assert_is_right(item: int, outcome: Outcome) -> None:
    """Every request has ended once, as it should, or its client had left."""
    if outcome.has_left and not outcome.ends:
        return
    (end,) = outcome.ends
    if isinstance(end, PoisonError):
        assert end.args == (item,)
    else:
        assert isinstance(end, RefusedError | ExpiredError) or end == item * 10


@settings(max_examples=150)
@given(
    seed=st.integers(0, 10_000),
    max_batch_size=st.integers(1, 16),
    poison=st.sampled_from([0.0, 0.02, 0.5, 1.0]),
    target_s=st.sampled_from([None, 0.02]),
    isolates_failures=st.booleans(),
    max_concurrency=st.sampled_from([1, 1, 3]),
)
def test_in_a_storm_every_request_ends_once_and_as_it_should(
    seed: int, max_batch_size: Any, poison: Any, target_s: Any, isolates_failures: Any, max_concurrency: Any
) -> None:
    rng, clock = random.Random(seed), Clock()
    limits = Limits(max_batch_size, max_latency_s=target_s, max_queue_items=40, max_concurrency=max_concurrency)
    driver = Driver(
        clock,
        tenfold,
        lambda items: 0.001 + 0.0005 * items * rng.random(),
        limits=limits,
        placer=Anywhere(rng),
        isolates_failures=isolates_failures,
    )
    asked = []

    def ask(item: int) -> None:
        deadline = clock.now + rng.choice([0.0, 0.005, 0.05, inf, inf])
        request, outcome = driver.put(item, deadline=deadline, group=rng.randint(0, 2), items=rng.randint(1, 3))
        asked.append((item, outcome))
        if rng.random() < 0.1:
            clock.at(clock.now + 0.003 * rng.random(), partial(leave, request, outcome))

    def leave(request: Any, outcome: Outcome) -> None:
        outcome.has_left = True
        driver.dispatcher.abandon(request)

    for number in range(1, 120):
        clock.at(rng.uniform(0, 0.05), partial(ask, -number if rng.random() < poison else number))
    clock.run()
    for item, outcome in asked:
        if isolates_failures:
            assert_is_right(item, outcome)
        else:
            assert outcome.has_left or len(outcome.ends) == 1
    for run in driver.runs:
        assert len({member.group for member in run.members}) == 1
        assert run.items <= max_batch_size or len(run.members) == 1
    assert not driver.dispatcher.is_busy


@settings(max_examples=50)
@given(seed=st.integers(0, 10_000), count=st.integers(1, 3))
def test_in_a_storm_over_several_apis_no_slot_is_lost_and_none_is_used_twice(seed: int, count: Any) -> None:
    rng, clock, slots = random.Random(seed), Clock(), Slots(count)
    most = [0]

    def function(items: Any) -> Any:
        most[0] = max(most[0], sum(driver.running for driver in drivers))
        return tenfold(items)

    drivers = [
        Driver(clock, function, lambda items: 0.001 * items, limits=Limits(4), slots=slots, isolates_failures=True)
        for _ in range(4)
    ]
    asked: list[tuple[int, Any]] = []

    def ask(item: int, put: Callable[[], Any]) -> None:
        asked.append((item, put()[1]))

    for number in range(1, 80):
        item = -number if rng.random() < 0.05 else number
        put = partial(rng.choice(drivers).put, item, group=rng.randint(0, 1))
        clock.at(rng.uniform(0, 0.05), partial(ask, item, put))
    clock.run()
    for item, outcome in asked:
        assert_is_right(item, outcome)
    assert most[0] <= count
    assert [slots.take(driver.dispatcher) for driver in drivers[: count + 1]] == [True] * count + [False]


@settings(max_examples=50)
@given(seed=st.integers(0, 10_000), drain=st.booleans(), is_stuck=st.booleans())
def test_a_stop_in_the_middle_of_a_storm_leaves_nobody_waiting(seed: int, drain: Any, is_stuck: Any) -> None:
    rng, clock = random.Random(seed), Clock()
    driver = Driver(clock, tenfold, lambda items: 0.001 * items, limits=Limits(8), isolates_failures=True)
    asked = []

    def ask(item: int) -> None:
        asked.append((item, driver.put(item)[1]))

    def stop() -> None:
        if is_stuck:
            driver.dispatcher.be_stuck()
        else:
            driver.dispatcher.close(drain=drain)
        driver.turn()

    for number in range(1, 60):
        clock.at(rng.uniform(0, 0.05), partial(ask, -number if rng.random() < 0.2 else number))
    clock.at(rng.uniform(0, 0.05), stop)
    clock.run()
    for item, outcome in asked:
        assert_is_right(item, outcome)
    assert driver.dispatcher.is_drained


def test_when_a_part_of_a_failed_batch_is_overdue_the_rest_is_refused_and_not_run() -> None:
    clock, estimator = Clock(), Estimator()
    estimator.observe(1000, 0.001)

    def fail(items: Sequence[Any]) -> Any:
        raise ValueError(items)

    driver = Driver(
        clock,
        fail,
        lambda items: 0.1 if items == 4 else 1000.0,
        limits=Limits(8, run_timeout_s=5.0),
        isolates_failures=True,
        estimator=estimator,
    )

    def look() -> None:
        for run in driver.dispatcher.look(clock.now, lag_s=0.0):
            driver.dispatcher.give_up(run)
        driver.turn()

    asked = [driver.put(number)[1] for number in range(4)]
    clock.at(10.0, look)
    clock.run()
    assert [[type(end) for end in outcome.ends] for outcome in asked] == [[OverdueError]] * 2 + [[RefusedError]] * 2
    assert [run.items for run in driver.runs] == [4, 2]


def test_what_was_not_read_during_a_pause_may_be_as_old_as_the_pause() -> None:
    dispatcher: Dispatcher[int, int] = Dispatcher(Limits(8))
    requests: list[Request[int, int]] = [Request(arrived) for arrived in (1.5, 1.6)]
    dispatcher.loop_paused(1.0)
    dispatcher.put(requests[0], 1.5)
    dispatcher.input_read()
    dispatcher.put(requests[1], 1.6)
    assert [request.arrived for request in requests] == [1.0, 1.6]
