"""The batcher on a real event loop, with functions that the tests hold and let go."""

from __future__ import annotations

import asyncio
import gc
import math
import random
import socket
import threading
import time
import weakref
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kappa.errors import InferenceFailedError, ResultMismatchError
from kappa.server.batching.admission import Admission
from kappa.server.batching.batcher import Batcher
from kappa.server.batching.estimator import Estimate
from kappa.server.batching.failure import BatchFailedError
from kappa.server.batching.observer import SilentObserver
from kappa.server.batching.outcomes import ExpiredError, OverdueError, RefusedError
from kappa.server.batching.placement import Placer
from kappa.server.batching.policy import Limits
from kappa.server.batching.slots import Slots
from tests.eventually import eventually_in_loop


class Recorder(SilentObserver):
    def __init__(self) -> None:
        self.released: list[tuple[str, int, int]] = []
        self.finished: list[tuple[int, bool]] = []
        self.placements: list[str] = []
        self.paused_s = 0.0
        self.dropped: list[str] = []
        self.unreachable: list[float] = []

    def batch_released(self, reason: Any, *, requests: Any, items: Any, queue_seconds: Any) -> None:
        assert len(queue_seconds) == requests
        self.released.append((reason, requests, items))

    def batch_finished(self, *, requests: Any, items: Any, service_seconds: Any, failed: Any, placement: Any) -> None:
        self.finished.append((requests, failed))
        self.placements.append(placement)

    def loop_paused(self, seconds: Any) -> None:
        self.paused_s += seconds

    def request_dropped(self, reason: Any) -> None:
        self.dropped.append(reason)

    def target_unreachable(self, *, single_seconds: Any, target_seconds: Any) -> None:
        self.unreachable.append(target_seconds)


class Held:
    """A function that answers `item * 10` when the test lets it, and remembers its batches."""

    def __init__(self, *, is_open: bool = True) -> None:
        self.batches: list[list[Any]] = []
        self.threads: set[str] = set()
        self.gate = threading.Event()
        if is_open:
            self.gate.set()

    def __call__(self, items: Sequence[Any]) -> list[Any]:
        self.batches.append(list(items))
        self.threads.add(threading.current_thread().name)
        assert self.gate.wait(60)
        return [item * 10 for item in items]


UNBOUNDED = Estimate(largest=1000)


class Settled:
    """An estimator that has made up its mind: by default that it has seen large batches, which cost nothing."""

    def __init__(self, estimate: Estimate = UNBOUNDED) -> None:
        self.estimate = estimate

    def observe(self, items: int, seconds: float) -> None:
        pass


def with_batcher(
    scenario: Callable[[Batcher[Any, Any]], Awaitable[None]], run: Any, *, runner: Any = asyncio.run, **options: Any
) -> None:
    async def main() -> None:
        limits = options.pop("limits", Limits(1000))
        batcher: Batcher[Any, Any] = Batcher(run, limits=limits, name="test", **options)
        await batcher.start()
        try:
            await asyncio.wait_for(scenario(batcher), 20)
        finally:
            if isinstance(run, Held):
                run.gate.set()
            await asyncio.wait_for(batcher.close(), 20)

    runner(main())


def submit_all(batcher: Batcher[Any, Any], items: Sequence[Any], **options: Any) -> list[asyncio.Task[Any]]:
    return [asyncio.ensure_future(batcher.submit(item, **options)) for item in items]


async def outcomes(tasks: Sequence[asyncio.Task[Any]]) -> list[Any]:
    return await asyncio.gather(*tasks, return_exceptions=True)


# Answers


@settings(max_examples=25)
@given(
    st.lists(
        st.tuples(st.integers(0, 1000), st.sampled_from("abc"), st.integers(1, 5), st.integers(0, 4)), max_size=60
    ),
    st.booleans(),
)
def test_every_reply_goes_to_its_own_caller_and_groups_never_mix(requests: Any, may_run_on_loop: Any) -> None:
    batches = []

    def run(items: Any) -> Any:
        batches.append([group for group, _ in items])
        return [f"{group}{value}" for group, value in items]

    async def caller(batcher: Batcher[Any, Any], value: Any, group: Any, items: Any, turns: Any) -> Any:
        for _ in range(turns):
            await asyncio.sleep(0)
        return await batcher.submit((group, value), group=group, items=items)

    async def scenario(batcher: Batcher[Any, Any]) -> None:
        replies = await asyncio.gather(*(caller(batcher, *request) for request in requests))
        assert replies == [f"{group}{value}" for value, group, _, _ in requests]

    with_batcher(scenario, run, limits=Limits(8), placer=Placer(may_run_on_loop=may_run_on_loop))
    assert all(len(set(groups)) == 1 for groups in batches)
    assert sum(map(len, batches)) == len(requests)


def test_what_is_read_in_one_turn_of_the_loop_runs_in_one_batch() -> None:
    run, seen = Held(), Recorder()

    async def scenario(batcher: Batcher[Any, Any]) -> None:
        assert await outcomes(submit_all(batcher, [1, 2, 3])) == [10, 20, 30]

    with_batcher(scenario, run, observer=seen, estimator=Settled())
    assert run.batches == [[1, 2, 3]]
    assert seen.released == [("idle", 3, 3)]
    assert seen.finished == [(3, False)]


def test_what_arrives_during_a_batch_runs_together_after_it() -> None:
    run = Held(is_open=False)

    async def scenario(batcher: Batcher[Any, Any]) -> None:
        first = submit_all(batcher, [1])
        await eventually_in_loop(lambda: run.batches == [[1]])
        rest = submit_all(batcher, [2, 3, 4])
        await asyncio.sleep(0)
        assert (batcher.state.queue_requests, batcher.state.running_items) == (3, 1)
        run.gate.set()
        assert await outcomes(first + rest) == [10, 20, 30, 40]

    with_batcher(scenario, run, estimator=Settled())
    assert run.batches == [[1], [2, 3, 4]]


def test_batches_start_at_one_and_double() -> None:
    run = Held(is_open=False)

    async def scenario(batcher: Batcher[Any, Any]) -> None:
        tasks = submit_all(batcher, range(15))
        run.gate.set()
        await outcomes(tasks)

    with_batcher(scenario, run)
    assert [len(batch) for batch in run.batches] == [1, 2, 4, 8]


def test_with_a_batch_size_of_one_requests_run_one_at_a_time_in_order() -> None:
    run = Held()

    async def scenario(batcher: Batcher[Any, Any]) -> None:
        await outcomes(submit_all(batcher, [1, 2, 3]))

    with_batcher(scenario, run, limits=Limits(1), estimator=Settled())
    assert run.batches == [[1], [2], [3]]


def test_all_batches_run_in_one_thread_of_the_apis_name() -> None:
    run = Held()

    async def scenario(batcher: Batcher[Any, Any]) -> None:
        for item in range(5):
            await batcher.submit(item)

    with_batcher(scenario, run)
    assert run.threads == {"kappa-test"}


def test_a_proven_fast_function_moves_to_the_loop_when_it_may() -> None:
    run, seen, estimator = Held(), Recorder(), Settled()

    async def scenario(batcher: Batcher[Any, Any]) -> None:
        await batcher.submit(0)
        assert run.threads == {"kappa-test"}
        estimator.estimate = Estimate(0.0, 1e-5, 1e-5, 1e-5, 50, 10)
        run.threads.clear()
        assert await outcomes(submit_all(batcher, [1, 2])) == [10, 20]

    with_batcher(scenario, run, placer=Placer(may_run_on_loop=True), estimator=estimator, observer=seen)
    assert run.threads == {threading.current_thread().name}
    assert seen.placements == ["thread", "loop"]


# Regrouping


STEADY = Estimate(slope_s=0.0, base_s=0.01, runs=50, largest=1000)
QUICK = STEADY._replace(base_s=0.0001)
"""Calls so quick that the way of four clients through HTTP takes as long as several."""


class Pausing(Placer):
    """Has the loop pause for every batch, if it may, for as long as it is told."""

    def __init__(self, seconds: float, *, may_pause: bool = True) -> None:
        super().__init__(may_pause=may_pause)
        self._seconds = seconds
        self.used: list[str] = []
        self.usually_pauses = may_pause

    def observe(self, seconds: Any, *, placement: Any, **seen: Any) -> None:
        self.used.append(placement)

    def pause_s(self, items: Any, *, estimate: Any, now: Any) -> Any:
        return self._seconds


@pytest.mark.parametrize("pause_s", [5.0, 0.001], ids=["long-enough", "too-short"])
def test_a_batch_for_which_the_loop_pauses_is_answered_once_and_in_its_thread(pause_s: Any) -> None:
    seen, threads, placer = Recorder(), [], Pausing(pause_s)

    def run(items: Any) -> Any:
        threads.append(threading.current_thread().name)
        time.sleep(0.02)
        return [item * 10 for item in items]

    async def scenario(batcher: Batcher[Any, Any]) -> None:
        for _ in range(3):
            assert await outcomes(submit_all(batcher, [1, 2])) == [10, 20]
        await turns()
        assert placer.used == ["paused"] * 3

    with_batcher(scenario, run, placer=placer, observer=seen, estimator=Settled())
    assert seen.finished == [(2, False)] * 3
    assert seen.placements == ["paused"] * 3
    assert seen.paused_s >= (0.06 if pause_s == 5.0 else 0.0)
    assert set(threads) == {"kappa-test"}


def runners() -> dict[str, Any]:
    try:
        import uvloop
    except ModuleNotFoundError:  # Windows
        return {"asyncio": asyncio.run}
    return {"asyncio": asyncio.run, "uvloop": uvloop.run}


@pytest.mark.parametrize("runner", runners().values(), ids=runners())
def test_what_came_while_the_loop_was_paused_is_read_before_the_next_batch(runner: Any) -> None:
    ours, theirs = socket.socketpair()
    seen = []

    def run(items: Any) -> Any:
        seen.append("run")
        theirs.send(b"x")  # somebody asks while the loop is paused
        return items

    async def scenario(batcher: Batcher[Any, Any]) -> None:
        loop = asyncio.get_running_loop()

        def read() -> None:
            ours.recv(1)
            seen.append("read")
            if len(seen) < 20:
                batcher.put(0, loop.create_future())

        loop.add_reader(ours, read)
        await outcomes(submit_all(batcher, range(4)))

    with ours, theirs:
        with_batcher(scenario, run, runner=runner, placer=Pausing(5.0), limits=Limits(1), estimator=Settled())
    assert seen[:10] == ["run", "read"] * 5


def test_the_loop_does_not_pause_where_it_may_not() -> None:
    placer = Pausing(5.0, may_pause=False)

    async def scenario(batcher: Batcher[Any, Any]) -> None:
        assert await batcher.submit(1) == 10

    with_batcher(scenario, Held(), placer=placer)
    assert placer.used == ["thread"]


def test_who_may_have_come_while_the_loop_was_paused_is_counted_as_waiting_since_then() -> None:
    now, latencies, judged = [0.0], [], []

    class Listening(Admission):
        def answered(self, latency_s: Any, *, arrived: Any) -> None:
            latencies.append(round(latency_s, 3))

        def refusal(self, queue: Any, request: Any, **seen: Any) -> None:
            judged.append(round(request.now - request.arrived, 3))

    def run(items: Any) -> Any:
        now[0] += 0.06
        return items

    async def scenario(batcher: Batcher[Any, Any]) -> None:
        loop = asyncio.get_running_loop()
        for waits in (0, 10):  # turns of the loop since it was paused for the first
            answers = [loop.create_future() for _ in range(3)]
            batcher.put(1, answers[0])
            await asyncio.sleep(0)  # the turn in which it is run
            await turns(waits)
            batcher.put(2, answers[1])
            batcher.refusal()
            batcher.put(3, answers[2])
            await asyncio.gather(*answers)
            await turns()

    limits = Limits(10, max_latency_s=1.0)
    with_batcher(
        scenario,
        run,
        placer=Pausing(5.0),
        admission=Listening(limits),
        limits=limits,
        clock=lambda: now[0],
        estimator=Settled(),
    )
    assert latencies == [0.06, 0.12, 0.06, 0.06]
    assert judged == [0.06, 0.06, 0.0, 0.0]


def test_the_next_batch_has_begun_when_an_answer_is_written() -> None:
    run, running_items = Held(is_open=False), []

    async def scenario(batcher: Batcher[Any, Any]) -> None:
        class Outcome:
            def done(self) -> Any:
                return False

            def set_result(self, _result: Any) -> None:
                running_items.append(batcher.state.running_items)

        outcome: Any = Outcome()
        batcher.put(1, outcome)
        await eventually_in_loop(lambda: len(run.batches) == 1)
        tasks = submit_all(batcher, [2, 3])
        await turns()
        run.gate.set()
        assert await outcomes(tasks) == [20, 30]

    with_batcher(scenario, run, estimator=Settled())
    assert running_items == [2]


def test_what_fails_while_the_loop_is_paused_is_told() -> None:
    def run(items: Any) -> None:
        raise OSError("broken")

    async def scenario(batcher: Batcher[Any, Any]) -> None:
        with pytest.raises(OSError, match="broken"):
            await batcher.submit(1)

    with_batcher(scenario, run, placer=Pausing(5.0))


async def turns(count: int = 20) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


def test_after_a_batch_it_waits_until_all_of_its_clients_are_back() -> None:
    run, seen = Held(), Recorder()

    async def scenario(batcher: Batcher[Any, Any]) -> None:
        await outcomes(submit_all(batcher, range(4)))  # the clock stands, so nothing else ends the wait
        most = submit_all(batcher, [7, 8, 9])
        await turns()
        assert run.batches[1:] == []
        last = submit_all(batcher, [10])
        assert await outcomes(most + last) == [70, 80, 90, 100]
        assert run.batches[1:] == [[7, 8, 9, 10]]

    with_batcher(scenario, run, observer=seen, clock=lambda: 0.0, estimator=Settled(STEADY))
    assert [reason for reason, _, _ in seen.released] == ["idle", "regroup"]


def test_after_a_batch_of_quick_calls_it_waits_until_half_of_its_clients_are_back() -> None:
    run, seen = Held(), Recorder()

    async def scenario(batcher: Batcher[Any, Any]) -> None:
        await outcomes(submit_all(batcher, range(4)))
        one = submit_all(batcher, [7])
        await turns()
        assert run.batches[1:] == []
        two = submit_all(batcher, [8])
        assert await outcomes(one + two) == [70, 80]
        assert run.batches[1:] == [[7, 8]]

    with_batcher(scenario, run, observer=seen, clock=lambda: 0.0, estimator=Settled(QUICK))
    assert [reason for reason, _, _ in seen.released] == ["idle", "regroup"]


def test_after_a_batch_it_waits_no_longer_than_its_time() -> None:
    run, seen, now = Held(), Recorder(), [0.0]

    async def scenario(batcher: Batcher[Any, Any]) -> None:
        await outcomes(submit_all(batcher, range(4)))
        lone = submit_all(batcher, [7])
        await turns()
        assert run.batches[1:] == []
        now[0] = 0.002
        assert await outcomes(lone) == [70]
        now[0] = 0.003
        assert await outcomes(submit_all(batcher, [8])) == [80]

    with_batcher(scenario, run, observer=seen, clock=lambda: now[0], estimator=Settled(STEADY))
    assert [reason for reason, _, _ in seen.released] == ["idle", "regroup", "idle"]


def test_groups_that_take_turns_come_together() -> None:
    run, now = Held(is_open=False), [0.0]

    async def scenario(batcher: Batcher[Any, Any]) -> None:
        tasks = submit_all(batcher, range(9))
        await eventually_in_loop(lambda: len(run.batches) == 1)
        tasks += submit_all(batcher, range(9, 16))
        await turns()
        run.gate.set()
        assert len(await outcomes(tasks[:9])) == 9
        await eventually_in_loop(lambda: len(run.batches) == 2 or now.__setitem__(0, now[0] + 0.0001))
        assert await outcomes(tasks[9:]) == [10 * item for item in range(9, 16)]
        back = submit_all(batcher, range(9))
        await turns()
        assert len(run.batches) == 2  # seven are still to come
        back += submit_all(batcher, range(9, 16))
        assert len(await outcomes(back)) == 16

    with_batcher(scenario, run, clock=lambda: now[0], estimator=Settled(STEADY))
    assert [len(batch) for batch in run.batches] == [9, 7, 16]


def test_clients_that_are_back_before_all_are_answered_are_not_waited_for_twice() -> None:
    run, now, rounds = Held(), [0.0], 64

    class Client:
        """Asks again as soon as it is answered."""

        def __init__(self, batcher: Batcher[Any, Any]) -> None:
            self.batcher = batcher
            self.answers = 0

        def done(self) -> Any:
            return False

        def set_result(self, _result: Any) -> None:
            self.answers += 1
            if self.answers < rounds:
                put: Any = self.batcher.put
                asyncio.get_running_loop().call_soon(put, 1, self)

    async def scenario(batcher: Batcher[Any, Any]) -> None:
        clients: list[Any] = [Client(batcher) for _ in range(4)]
        for client in clients:
            batcher.put(1, client)
        await eventually_in_loop(
            lambda: now.__setitem__(0, now[0] + 0.00001) or all(client.answers == rounds for client in clients)
        )

    with_batcher(
        scenario,
        run,
        placer=Placer(may_run_on_loop=True),
        clock=lambda: now[0],
        estimator=Settled(STEADY._replace(base_s=0.0005)),
    )
    assert [len(batch) for batch in run.batches] == [4] * rounds
    assert now[0] < 0.002 * rounds / 4, "most rounds waited for nobody"


class Everywhere(Placer):
    """Runs a batch in any placement: on the loop, in the thread, or in the thread while the loop is paused."""

    __slots__ = ("_rng",)

    def __init__(self, rng: random.Random) -> None:
        super().__init__(may_run_on_loop=True, may_pause=True)
        self._rng = rng

    def is_loop_fit(self, items: Any, *, estimate: Any, now: Any) -> Any:
        return self._rng.random() < 0.3

    def pause_s(self, items: Any, *, estimate: Any, now: Any) -> Any:
        self.usually_pauses = self._rng.random() < 0.5
        return self._rng.choice([0.0, 0.0, 5.0])


@given(
    st.integers(0, 10_000),
    st.integers(1, 12),
    st.integers(1, 6),
    st.sampled_from([0.0, 0.0001, 0.0005, 0.01]),
)
def test_clients_that_ask_again_and_again_are_always_answered(
    seed: int, clients: Any, max_batch_size: Any, base_s: Any
) -> None:
    rng = random.Random(seed)

    async def client(batcher: Batcher[Any, Any], number: Any) -> None:
        for turn in range(12):
            for _ in range(rng.randint(0, 3)):
                await asyncio.sleep(0)
            assert await batcher.submit(100 * number + turn) == 1000 * number + 10 * turn

    async def scenario(batcher: Batcher[Any, Any]) -> None:
        await asyncio.gather(*(client(batcher, number) for number in range(clients)))

    with_batcher(
        scenario,
        Held(),
        limits=Limits(max_batch_size),
        placer=Everywhere(rng),
        estimator=Settled(STEADY._replace(base_s=base_s)),
    )


def test_each_client_that_returns_extends_the_wait() -> None:
    run, now = Held(), [0.0]

    async def scenario(batcher: Batcher[Any, Any]) -> None:
        await outcomes(submit_all(batcher, range(4)))
        tasks = []
        for item in range(4, 8):
            assert run.batches[1:] == []
            tasks += submit_all(batcher, [item])
            await turns()
            now[0] += 0.0009
        assert await outcomes(tasks) == [40, 50, 60, 70]
        assert run.batches[1:] == [[4, 5, 6, 7]]

    with_batcher(scenario, run, clock=lambda: now[0], estimator=Settled(STEADY))


def test_two_clients_share_a_call_though_they_come_one_after_the_other() -> None:
    run = Held(is_open=False)

    async def scenario(batcher: Batcher[Any, Any]) -> None:
        first = submit_all(batcher, [1])
        await eventually_in_loop(lambda: bool(run.batches))
        second = submit_all(batcher, [2])
        await asyncio.sleep(0)
        run.gate.set()
        await outcomes(first)
        again = submit_all(batcher, [3])
        assert await outcomes(second + again) == [20, 30]

    with_batcher(scenario, run, clock=lambda: 0.0, estimator=Settled(STEADY))
    assert run.batches == [[1], [2, 3]]


def test_a_batch_that_has_its_company_waiting_starts_at_once() -> None:
    run, seen = Held(is_open=False), Recorder()

    async def scenario(batcher: Batcher[Any, Any]) -> None:
        first = submit_all(batcher, range(4))
        await eventually_in_loop(lambda: bool(run.batches))
        rest = submit_all(batcher, range(4, 6))
        await asyncio.sleep(0)
        run.gate.set()
        await outcomes(first + rest)

    with_batcher(scenario, run, observer=seen, clock=lambda: 0.0, estimator=Settled(QUICK))
    assert [requests for _, requests, _ in seen.released] == [4, 2]


# Refusals


def test_a_full_queue_refuses_at_once_and_says_when_to_return() -> None:
    run = Held(is_open=False)

    async def scenario(batcher: Batcher[Any, Any]) -> None:
        first = submit_all(batcher, [1])
        await eventually_in_loop(lambda: bool(run.batches))
        waiting = submit_all(batcher, [2, 3])
        await asyncio.sleep(0)
        assert batcher.refusal() is not None
        with pytest.raises(RefusedError) as refused:
            await batcher.submit(4)
        assert (refused.value.reason, refused.value.retry_after_s) == ("queue_items", 1.0)
        run.gate.set()
        assert await outcomes(first + waiting) == [10, 20, 30]
        assert batcher.refusal() is None
        assert await batcher.submit(5) == 50

    with_batcher(scenario, run, limits=Limits(10, max_queue_items=2))


def test_an_idle_api_serves_whatever_it_believes() -> None:
    async def scenario(batcher: Batcher[Any, Any]) -> None:
        for item in range(20):
            assert await batcher.submit(item) == item * 10

    with_batcher(
        scenario,
        Held(),
        limits=Limits(10, max_latency_s=0.001),
        estimator=Settled(Estimate(60.0, 0.0, 0.0, 0.0, 500, 10)),
    )


def test_one_refusal_stands_for_others_until_a_batch_ends() -> None:
    run = Held(is_open=False)

    async def scenario(batcher: Batcher[Any, Any]) -> None:
        assert batcher.refusal() is None, "an idle API refuses nobody"
        tasks = submit_all(batcher, [1])
        await eventually_in_loop(lambda: len(run.batches) == 1)
        assert batcher.refusal() is None
        tasks += submit_all(batcher, [2])
        await turns()
        refusal = batcher.refusal()
        assert refusal is not None
        assert refusal.reason == "queue_items"
        assert batcher.refusal() is refusal
        assert batcher.state.offered_items == 4
        run.gate.set()
        assert await outcomes(tasks) == [10, 20]
        assert batcher.refusal() is None

    with_batcher(
        scenario, run, limits=Limits(1, max_queue_items=1), estimator=Settled(Estimate(0.0, 60.0, 0.0, 0.0, 500, 10))
    )


def test_one_refusal_stands_for_others_until_somebody_leaves() -> None:
    run = Held(is_open=False)

    async def scenario(batcher: Batcher[Any, Any]) -> None:
        tasks = submit_all(batcher, [1])
        await eventually_in_loop(lambda: len(run.batches) == 1)
        tasks += submit_all(batcher, [2])
        await turns()
        assert batcher.refusal() is not None
        assert batcher.refusal(size_bytes=1) is not None
        tasks[1].cancel()
        await turns()
        assert batcher.refusal() is None
        run.gate.set()
        assert await tasks[0] == 10

    with_batcher(
        scenario, run, limits=Limits(1, max_queue_items=1), estimator=Settled(Estimate(0.0, 60.0, 0.0, 0.0, 500, 10))
    )


def test_an_early_refusal_is_judged_as_one_of_the_last_group() -> None:
    run = Held(is_open=False)

    async def scenario(batcher: Batcher[Any, Any]) -> None:
        tasks = submit_all(batcher, [1])
        await eventually_in_loop(lambda: len(run.batches) == 1)
        tasks.append(asyncio.create_task(batcher.submit(2, group="wide")))
        await turns()
        assert batcher.refusal() is None, "it would join the batch that waits"
        with pytest.raises(RefusedError):
            await batcher.submit(3, group="another")
        run.gate.set()
        assert await outcomes(tasks) == [10, 20]

    limits = Limits(10, max_latency_s=0.1)
    admission, estimator = Admission(limits), Settled(Estimate(0.0, 0.04, 0.0, 0.0, 500, 10))
    admission.next_probe = math.inf
    with_batcher(scenario, run, limits=limits, admission=admission, estimator=estimator)


def test_past_the_target_a_busy_api_refuses_and_lets_one_probe_in() -> None:
    run, now = Held(is_open=False), [0.0]

    async def scenario(batcher: Batcher[Any, Any]) -> None:
        first = submit_all(batcher, [1])
        await eventually_in_loop(lambda: bool(run.batches))
        probe = submit_all(batcher, [2])
        refused = submit_all(batcher, [3])
        await asyncio.wait(refused)
        error = refused[0].exception()
        assert isinstance(error, RefusedError)
        assert (error.reason, error.retry_after_s) == ("target", pytest.approx(0.03))
        run.gate.set()
        await outcomes(first)
        await turns()
        now[0] = 1.0  # nobody returns meanwhile
        assert await outcomes(first + probe) == [10, 20]

    with_batcher(
        scenario,
        run,
        limits=Limits(10, max_latency_s=0.1),
        clock=lambda: now[0],
        estimator=Settled(Estimate(0.0, 0.06, 0.0, 0.0, 500, 10)),
    )


def test_others_may_join_the_batch_of_a_probe() -> None:
    run, now = Held(is_open=False), [0.0]

    async def scenario(batcher: Batcher[Any, Any]) -> None:
        tasks = submit_all(batcher, [1])
        await eventually_in_loop(lambda: bool(run.batches))
        tasks += submit_all(batcher, [2])
        await turns()
        now[0] = 0.03  # from now on it would be in time, and the probe is late anyway
        tasks += submit_all(batcher, [3])
        await turns()
        run.gate.set()
        await outcomes(tasks[:1])
        await turns()
        now[0] = 1.0  # nobody returns meanwhile
        assert await outcomes(tasks) == [10, 20, 30]

    with_batcher(
        scenario,
        run,
        limits=Limits(10, max_latency_s=0.1),
        clock=lambda: now[0],
        estimator=Settled(Estimate(0.0, 0.06, 0.0, 0.0, 500, 10)),
    )
    assert run.batches == [[1], [2, 3]]


def test_a_target_that_cannot_be_met_is_told_once() -> None:
    seen, now = Recorder(), [0.0]

    def run(items: Any) -> Any:
        now[0] += 0.15
        return items

    async def scenario(batcher: Batcher[Any, Any]) -> None:
        for item in range(5):
            await batcher.submit(item)
        assert batcher.state.is_target_unreachable

    with_batcher(scenario, run, limits=Limits(10, max_latency_s=0.1), clock=lambda: now[0], observer=seen)
    assert seen.unreachable == [0.1]


# Leaving


def test_a_caller_that_goes_away_is_never_run() -> None:
    run, seen = Held(is_open=False), Recorder()

    async def scenario(batcher: Batcher[Any, Any]) -> None:
        first = submit_all(batcher, [1])
        await eventually_in_loop(lambda: bool(run.batches))
        gone, kept = submit_all(batcher, [2, 3])
        await asyncio.sleep(0)
        gone.cancel()
        await asyncio.wait([gone])
        assert batcher.state.queue_requests == 1
        run.gate.set()
        assert await outcomes([*first, kept]) == [10, 30]

    with_batcher(scenario, run, observer=seen)
    assert run.batches == [[1], [3]]
    assert seen.dropped == ["disconnected"]


def test_a_caller_that_goes_away_while_it_runs_disturbs_nobody() -> None:
    run = Held(is_open=False)

    async def scenario(batcher: Batcher[Any, Any]) -> None:
        tasks = submit_all(batcher, [1, 2, 3])
        await eventually_in_loop(lambda: bool(run.batches))
        tasks[1].cancel()
        await asyncio.wait([tasks[1]])
        run.gate.set()
        assert await outcomes([tasks[0], tasks[2]]) == [10, 30]

    with_batcher(scenario, run, estimator=Settled())


class Large:
    """What must be gone when nobody waits for it any more."""


def test_nothing_is_kept_of_requests_and_results_that_nobody_waits_for() -> None:
    gate, began = threading.Event(), threading.Event()
    alive: list[weakref.ref[Large]] = []

    def large() -> Large:
        value = Large()
        alive.append(weakref.ref(value))
        return value

    def run(items: Sequence[Any]) -> list[Any]:
        began.set()
        assert gate.wait(60)
        return [large() for _ in items]

    def is_empty() -> bool:
        gc.collect()
        return not any(value() is not None for value in alive)

    async def scenario(batcher: Batcher[Any, Any]) -> None:
        running = submit_all(batcher, [large(), large()])
        await eventually_in_loop(began.is_set)
        waiting = submit_all(batcher, [large(), large()])
        await asyncio.sleep(0)
        for task in (running[0], waiting[0]):
            task.cancel()
        gate.set()
        assert sum(type(outcome) is Large for outcome in await outcomes(running + waiting)) == 2
        del running, waiting, task
        assert len(alive) >= 7
        await eventually_in_loop(is_empty)

    with_batcher(scenario, run, estimator=Settled())


def test_an_expired_request_is_told_and_not_run() -> None:
    run, seen, now = Held(is_open=False), Recorder(), [0.0]

    async def scenario(batcher: Batcher[Any, Any]) -> None:
        with pytest.raises(ExpiredError):
            await batcher.submit(0, deadline=0.0)
        first = submit_all(batcher, [1])
        await eventually_in_loop(lambda: bool(run.batches))
        late, kept = submit_all(batcher, [2], deadline=5.0) + submit_all(batcher, [3])
        await asyncio.sleep(0)
        now[0] = 5.0
        run.gate.set()
        one, two, three = await outcomes([*first, late, kept])
        assert (one, three) == (10, 30)
        assert isinstance(two, ExpiredError)

    with_batcher(scenario, run, observer=seen, clock=lambda: now[0])
    assert run.batches == [[1], [3]]
    assert seen.dropped == ["expired", "expired"]


# Failures


class PoisonError(Exception):
    pass


def poisoned(items: Sequence[int]) -> list[int]:
    if any(item < 0 for item in items):
        raise PoisonError(min(items))
    return [item * 10 for item in items]


def test_without_isolation_every_member_gets_the_exception() -> None:
    seen = Recorder()

    async def scenario(batcher: Batcher[Any, Any]) -> None:
        results = await outcomes(submit_all(batcher, [1, -2, 3]))
        assert len({id(error) for error in results}) == 1
        assert isinstance(results[0], BatchFailedError)
        assert (type(results[0].error), results[0].requests) == (PoisonError, 3)
        assert await batcher.submit(4) == 40
        with pytest.raises(PoisonError):
            await batcher.submit(-5)

    with_batcher(scenario, poisoned, observer=seen, estimator=Settled())
    assert seen.finished == [(3, True), (1, False), (1, True)]


def renewed_at_once(items: Any) -> Any:
    return [[item[0]] for item in items]


async def renewed_later(items: Any) -> Any:
    await asyncio.sleep(0)
    return renewed_at_once(items)


@pytest.mark.parametrize("renew", [renewed_at_once, renewed_later])
@settings(max_examples=25)
@given(st.lists(st.integers(1, 100), min_size=1, max_size=40), st.data())
def test_with_isolation_only_the_poison_fails_and_each_run_gets_what_was_sent(
    renew: Any, items: list[int], data: st.DataObject
) -> None:
    bad = data.draw(st.sets(st.integers(0, len(items) - 1), min_size=1))
    sent = [[-item] if place in bad else [item] for place, item in enumerate(items)]

    def run(given: Any) -> Any:
        assert all(len(item) == 1 for item in given)
        values = [item[0] for item in given]
        for item in given:
            item.append("spoilt")
        return poisoned(values)

    async def scenario(batcher: Batcher[Any, Any]) -> None:
        for place, outcome in enumerate(await outcomes(submit_all(batcher, sent))):
            assert isinstance(outcome, PoisonError) if place in bad else outcome == items[place] * 10

    with_batcher(scenario, run, isolate_failures=True, renew=renew, estimator=Settled())


def test_a_request_that_cannot_be_renewed_is_told_why_and_the_others_go_on() -> None:
    async def renew(items: Any) -> Any:
        return [ValueError("it cannot be decoded any more") if item == 2 else item for item in items]

    async def scenario(batcher: Batcher[Any, Any]) -> None:
        results = await outcomes(submit_all(batcher, [1, 2, 3, -4]))
        assert [type(result) for result in results] == [int, ValueError, int, PoisonError]

    with_batcher(scenario, poisoned, isolate_failures=True, renew=renew, estimator=Settled())


@pytest.mark.parametrize("is_awaited", [True, False])
def test_a_mistake_in_renewing_leaves_nobody_waiting(is_awaited: bool) -> None:
    stuck: list[Any] = []

    def fail(_items: Any) -> None:
        raise MistakenError

    async def fail_later(_items: Any) -> None:
        raise MistakenError

    async def scenario(batcher: Batcher[Any, Any]) -> None:
        for outcome in await outcomes(submit_all(batcher, [1, -2, 3])):
            assert isinstance(outcome, RefusedError)

    renew = fail_later if is_awaited else fail
    with_batcher(scenario, poisoned, isolate_failures=True, renew=renew, on_stuck=stuck.append, estimator=Settled())
    assert [type(error) for error in stuck] == [MistakenError]


class Renewing:
    """Renews requests when the test lets it."""

    def __init__(self) -> None:
        self.begun, self.may_end = asyncio.Event(), asyncio.Event()

    async def __call__(self, items: Any) -> Any:
        self.begun.set()
        await self.may_end.wait()
        return items


@pytest.mark.parametrize("is_drained", [True, False])
def test_a_stop_while_requests_are_renewed_answers_all(is_drained: bool) -> None:
    renew = Renewing()

    async def scenario(batcher: Batcher[Any, Any]) -> None:
        tasks = submit_all(batcher, [1, -2, 3])
        await renew.begun.wait()
        closing = asyncio.ensure_future(batcher.close(drain=is_drained))
        await asyncio.sleep(0)
        renew.may_end.set()
        await closing
        kinds = [type(outcome) for outcome in await outcomes(tasks)]
        assert kinds == ([int, PoisonError, int] if is_drained else [RefusedError] * 3)

    with_batcher(scenario, poisoned, isolate_failures=True, renew=renew, estimator=Settled())


def test_healthy_batches_run_while_suspects_are_renewed() -> None:
    renew = Renewing()

    async def scenario(batcher: Batcher[Any, Any]) -> None:
        suspects = submit_all(batcher, [1, -2])
        await renew.begun.wait()
        assert await batcher.submit(3) == 30
        renew.may_end.set()
        assert [type(outcome) for outcome in await outcomes(suspects)] == [int, PoisonError]

    with_batcher(scenario, poisoned, isolate_failures=True, renew=renew, estimator=Settled())


def test_an_overdue_batch_is_not_run_again() -> None:
    run, now = Held(is_open=False), [0.0]

    async def scenario(batcher: Batcher[Any, Any]) -> None:
        tasks = submit_all(batcher, [1, 2, 3])
        await eventually_in_loop(lambda: bool(run.batches))
        now[0] = 61.0
        batcher.look()
        assert [type(outcome) for outcome in await outcomes(tasks)] == [OverdueError] * 3

    options = {"limits": Limits(10, run_timeout_s=60.0), "clock": lambda: now[0]}
    with_batcher(scenario, run, isolate_failures=True, **options, estimator=Settled())
    assert run.batches == [[1, 2, 3]]


def test_a_failure_that_no_request_is_told_is_told_to_somebody() -> None:
    untold, is_left = [], [False]

    def run(items: Any) -> Any:
        if len(items) > 1 or is_left[0]:
            raise PoisonError
        return items

    async def scenario(batcher: Batcher[Any, Any]) -> None:
        assert await outcomes(submit_all(batcher, [1, 2, 3])) == [1, 2, 3]
        is_left[0] = True
        (task,) = submit_all(batcher, [4])
        await eventually_in_loop(lambda: batcher.state.running_items > 0)
        task.cancel()

    with_batcher(
        scenario,
        run,
        isolate_failures=True,
        on_untold=lambda error, requests: untold.append((type(error), requests)),
        estimator=Settled(),
    )
    assert untold == [(PoisonError, 3), (PoisonError, 1)]


def test_healthy_batches_run_between_suspects() -> None:
    run, batches = Held(is_open=False), []

    def function(items: Any) -> Any:
        batches.append(list(items))
        run(items)
        return poisoned(items)

    async def scenario(batcher: Batcher[Any, Any]) -> None:
        suspects = submit_all(batcher, [1, 2, 3, -4])
        await eventually_in_loop(lambda: bool(batches))
        healthy = submit_all(batcher, [5], group="other") + submit_all(batcher, [6])
        await asyncio.sleep(0)
        run.gate.set()
        results = await outcomes(suspects + healthy)
        assert [type(result) for result in results] == [int, int, int, PoisonError, int, int]

    with_batcher(scenario, function, isolate_failures=True, estimator=Settled())
    assert batches == [[1, 2, 3, -4], [1, 2], [5], [3], [6], [-4]]


@pytest.mark.parametrize("isolate_failures", [True, False])
@pytest.mark.parametrize(
    "results",
    [pytest.param([], id="none"), pytest.param([1] * 50, id="too many"), pytest.param(None, id="not a sequence")],
)
def test_a_wrong_number_of_results_answers_nobody_wrongly(results: Any, isolate_failures: bool) -> None:
    async def scenario(batcher: Batcher[Any, Any]) -> None:
        for outcome in await outcomes(submit_all(batcher, [1, 2, 3])):
            error = outcome.error if isinstance(outcome, BatchFailedError) else outcome
            assert isinstance(error, ResultMismatchError | TypeError)

    with_batcher(scenario, lambda items: results, isolate_failures=isolate_failures, estimator=Settled())


def test_a_function_that_fails_for_ten_seconds_is_found_out_and_then_probed_until_it_recovers() -> None:
    calls, is_broken, now = [], [True], [0.0]

    def run(items: Any) -> Any:
        calls.append(len(items))
        if len(items) == 1:
            now[0] += 4.0
        if is_broken[0]:
            raise PoisonError
        return items

    async def scenario(batcher: Batcher[Any, Any]) -> None:
        results = await outcomes(submit_all(batcher, range(32)))
        kinds = [type(result) for result in results]
        assert (kinds.count(PoisonError), kinds.count(RefusedError)) == (4, 28)
        assert {result.reason for result in results if isinstance(result, RefusedError)} == {"unjudged"}

        calls.clear()
        results = await outcomes(submit_all(batcher, range(8)))
        assert calls == [1]
        assert [type(result) for result in results] == [PoisonError] + [RefusedError] * 7

        calls.clear()
        results = await outcomes(submit_all(batcher, range(2)))
        assert (calls, [type(result) for result in results]) == ([1], [PoisonError, RefusedError])

        is_broken[0] = False
        calls.clear()
        assert await outcomes(submit_all(batcher, range(8))) == list(range(8))
        assert calls == [1, 7]

    with_batcher(scenario, run, isolate_failures=True, clock=lambda: now[0], estimator=Settled())


@pytest.mark.parametrize(
    "error", [SystemExit(3), KeyboardInterrupt(), StopIteration(), asyncio.CancelledError(), GeneratorExit()], ids=repr
)
def test_what_would_end_a_program_or_a_loop_is_one_failed_request(error: BaseException) -> None:
    errors = [error]

    def run(items: Any) -> Any:
        if errors:
            raise errors.pop()
        return items

    async def scenario(batcher: Batcher[Any, Any]) -> None:
        with pytest.raises(InferenceFailedError, match=type(error).__name__):
            await batcher.submit(1)
        assert await batcher.submit(2) == 2

    with_batcher(scenario, run)


def test_failed_runs_teach_nothing() -> None:
    async def scenario(batcher: Batcher[Any, Any]) -> None:
        for _ in range(3):
            await outcomes(submit_all(batcher, [-1]))
        assert batcher.state.estimate == Estimate()

    with_batcher(scenario, poisoned)


# The end


def test_closing_finishes_what_was_accepted_and_accepts_nothing_more() -> None:
    run, seen = Held(is_open=False), Recorder()

    async def scenario(batcher: Batcher[Any, Any]) -> None:
        first = submit_all(batcher, [1])
        await eventually_in_loop(lambda: bool(run.batches))
        rest = submit_all(batcher, [2, 3, 4, 5, 6])
        await asyncio.sleep(0)
        closing = asyncio.ensure_future(batcher.close())
        await asyncio.sleep(0)
        with pytest.raises(RefusedError, match="closing"):
            await batcher.submit(7)
        run.gate.set()
        await closing
        assert await outcomes(first + rest) == [10, 20, 30, 40, 50, 60]

    with_batcher(scenario, run, observer=seen)
    assert seen.released == [("idle", 1, 1), ("full", 2, 2), ("drain", 3, 3)]


def test_closing_without_draining_refuses_what_still_waits() -> None:
    run = Held(is_open=False)

    async def scenario(batcher: Batcher[Any, Any]) -> None:
        first = submit_all(batcher, [1])
        await eventually_in_loop(lambda: bool(run.batches))
        rest = submit_all(batcher, [2, 3])
        await asyncio.sleep(0)
        closing = asyncio.ensure_future(batcher.close(drain=False))
        results = await outcomes(rest)
        assert [type(result) for result in results] == [RefusedError, RefusedError]
        run.gate.set()
        await closing
        assert await outcomes(first) == [10]

    with_batcher(scenario, run)


def test_closing_without_draining_ends_a_search_and_answers_all() -> None:
    entered, gate = threading.Event(), threading.Event()
    calls = []

    def run(items: Any) -> Any:
        calls.append(len(items))
        if len(calls) == 2:
            entered.set()
            assert gate.wait(60)
        return poisoned(items)

    async def scenario(batcher: Batcher[Any, Any]) -> None:
        tasks = submit_all(batcher, [-1, -2, 3, 4, 5, 6, 7, 8])
        await eventually_in_loop(entered.is_set)
        closing = asyncio.ensure_future(batcher.close(drain=False))
        await asyncio.sleep(0)
        gate.set()
        await closing
        assert {type(result) for result in await outcomes(tasks)} == {RefusedError}

    with_batcher(scenario, run, isolate_failures=True, estimator=Settled())
    assert calls == [8, 4]


def test_callers_that_leave_while_it_closes_do_not_hold_it_up() -> None:
    run = Held(is_open=False)

    async def scenario(batcher: Batcher[Any, Any]) -> None:
        first = submit_all(batcher, [1])
        await eventually_in_loop(lambda: bool(run.batches))
        (gone,) = submit_all(batcher, [2])
        await asyncio.sleep(0)
        closing = asyncio.ensure_future(batcher.close())
        await asyncio.sleep(0)
        gone.cancel()
        run.gate.set()
        await closing
        assert await outcomes(first) == [10]

    with_batcher(scenario, run)


def test_giving_up_on_closing_leaves_others_to_wait_for_it() -> None:
    run = Held(is_open=False)

    async def scenario(batcher: Batcher[Any, Any]) -> None:
        first = submit_all(batcher, [1])
        await eventually_in_loop(lambda: bool(run.batches))
        impatient, patient = (asyncio.ensure_future(batcher.close()) for _ in range(2))
        await asyncio.sleep(0)
        impatient.cancel()
        await asyncio.wait([impatient])
        run.gate.set()
        await patient
        assert await outcomes(first) == [10]

    with_batcher(scenario, run)


async def renewed_after_a_while(items: Any) -> Any:
    await asyncio.sleep(0)
    return items


@settings(max_examples=20)
@given(st.integers(0, 10_000), st.sampled_from([None, renewed_after_a_while]))
def test_a_storm_of_arrivals_departures_and_poison_leaves_nobody_without_the_right_outcome(
    seed: int, renew: Any
) -> None:
    rng = random.Random(seed)

    async def caller(batcher: Batcher[Any, Any], number: Any) -> Any:
        for _ in range(rng.randint(0, 10)):
            await asyncio.sleep(0)
        item = -number if rng.random() < 0.05 else number
        return item, await batcher.submit(item, group=rng.randint(0, 2), items=rng.randint(1, 3))

    async def scenario(batcher: Batcher[Any, Any]) -> None:
        tasks = [asyncio.ensure_future(caller(batcher, number)) for number in range(1, 80)]
        for _ in range(15):
            await asyncio.sleep(0)
            rng.choice(tasks).cancel()
        for number, outcome in zip(range(1, 80), await outcomes(tasks), strict=True):
            if isinstance(outcome, tuple):
                assert outcome == (number, number * 10)
            elif isinstance(outcome, PoisonError):
                assert -number in outcome.args
            else:
                assert isinstance(outcome, asyncio.CancelledError | RefusedError)
        assert (batcher.state.queue_requests, batcher.state.queue_items) == (0, 0)

    with_batcher(scenario, poisoned, limits=Limits(16), isolate_failures=True, renew=renew)


# More than one at once


def test_as_many_batches_run_at_once_as_may() -> None:
    run = Held(is_open=False)

    async def scenario(batcher: Batcher[Any, Any]) -> None:
        tasks = submit_all(batcher, range(5))
        await eventually_in_loop(lambda: len(run.batches) == 3)
        await turns()
        assert (len(run.batches), batcher.state.running_items) == (3, 3)
        run.gate.set()
        assert await outcomes(tasks) == [0, 10, 20, 30, 40]

    with_batcher(scenario, run, limits=Limits(1, max_concurrency=3))
    assert run.threads == {"kappa-test-0", "kappa-test-1", "kappa-test-2"}


def test_a_request_that_finds_a_thread_free_is_never_refused() -> None:
    run = Held(is_open=False)

    async def scenario(batcher: Batcher[Any, Any]) -> None:
        tasks = submit_all(batcher, [1])
        await eventually_in_loop(lambda: len(run.batches) == 1)
        tasks += submit_all(batcher, [2])
        await eventually_in_loop(lambda: len(run.batches) == 2)
        run.gate.set()
        assert await outcomes(tasks) == [10, 20]

    with_batcher(
        scenario,
        run,
        limits=Limits(1, max_latency_s=100.0, max_concurrency=2),
        estimator=Settled(Estimate(0.0, 60.0, 0.0, 0.0, 500, 10)),
    )


@settings(max_examples=20)
@given(st.integers(0, 10_000))
def test_with_several_at_once_every_reply_goes_to_its_own_caller(seed: int) -> None:
    rng = random.Random(seed)

    async def caller(batcher: Batcher[Any, Any], number: Any) -> Any:
        for _ in range(rng.randint(0, 10)):
            await asyncio.sleep(0)
        item = -number if rng.random() < 0.05 else number
        return item, await batcher.submit(item, group=rng.randint(0, 2), items=rng.randint(1, 3))

    async def scenario(batcher: Batcher[Any, Any]) -> None:
        tasks = [asyncio.ensure_future(caller(batcher, number)) for number in range(1, 80)]
        for number, outcome in zip(range(1, 80), await outcomes(tasks), strict=True):
            if isinstance(outcome, tuple):
                assert outcome == (number, number * 10)
            else:
                assert (isinstance(outcome, PoisonError) and -number in outcome.args) or isinstance(
                    outcome, RefusedError
                )
        assert (batcher.state.queue_requests, batcher.state.running_items) == (0, 0)

    with_batcher(scenario, poisoned, limits=Limits(8, max_concurrency=4), isolate_failures=True)


# Functions that are awaited


def test_an_async_function_is_awaited_on_the_loop_as_often_at_once_as_may() -> None:
    gate, batches = asyncio.Event(), []

    async def run(items: Any) -> Any:
        batches.append(list(items))
        await gate.wait()
        assert threading.current_thread() is threading.main_thread()
        return [item * 10 for item in items]

    async def scenario(batcher: Batcher[Any, Any]) -> None:
        tasks = submit_all(batcher, [1, 2, 3])
        await eventually_in_loop(lambda: len(batches) == 2)
        await turns()
        assert batches == [[1], [2]]
        gate.set()
        assert await outcomes(tasks) == [10, 20, 30]

    with_batcher(scenario, run, limits=Limits(1, max_concurrency=2))


def test_an_async_function_that_fails_fails_its_request_alone() -> None:
    async def run(items: Any) -> Any:
        await asyncio.sleep(0)
        return poisoned(items)

    async def scenario(batcher: Batcher[Any, Any]) -> None:
        results = await outcomes(submit_all(batcher, [1, -2, 3]))
        assert [type(result) for result in results] == [int, PoisonError, int]

    with_batcher(scenario, run, isolate_failures=True, estimator=Settled())


def test_an_async_function_that_takes_too_long_is_cancelled_and_the_next_one_runs() -> None:
    stuck: list[Any] = []
    began, ended, now = [], [], [0.0]

    async def run(items: Any) -> Any:
        if items == [1]:
            try:
                began.append(1)
                await asyncio.Event().wait()
            finally:
                ended.append(items[0])
        return items

    async def scenario(batcher: Batcher[Any, Any]) -> None:
        (slow,) = submit_all(batcher, [1])
        await eventually_in_loop(lambda: bool(began))
        now[0] = 5.0
        batcher.look()
        assert not slow.done()
        now[0] = 5.1
        batcher.look()
        with pytest.raises(OverdueError, match="did not return within 5 seconds"):
            await slow
        assert await batcher.submit(2) == 2

    limits = Limits(1, run_timeout_s=5.0)
    with_batcher(scenario, run, limits=limits, clock=lambda: now[0], on_stuck=stuck.append)
    assert (ended, stuck) == ([1], [])


# A call that does not end


def test_a_call_that_does_not_end_is_given_up_and_nobody_waits_for_it() -> None:
    stuck: list[Any] = []
    run, seen, now = Held(is_open=False), Recorder(), [0.0]

    async def scenario(batcher: Batcher[Any, Any]) -> None:
        first = submit_all(batcher, [1])
        await eventually_in_loop(lambda: bool(run.batches))
        waiting = submit_all(batcher, [2, 3])
        await asyncio.sleep(0)
        now[0] = 61.0
        batcher.look()
        one, two, three = await outcomes(first + waiting)
        assert (type(one), two.reason, three.reason) == (OverdueError, "stuck", "stuck")
        with pytest.raises(RefusedError, match="stuck"):
            await batcher.submit(4)
        await batcher.close()  # which does not wait for it either

    with_batcher(
        scenario,
        run,
        observer=seen,
        limits=Limits(10, run_timeout_s=60.0),
        clock=lambda: now[0],
        on_stuck=stuck.append,
    )
    assert [type(error) for error in stuck] == [OverdueError]
    assert seen.finished == [(1, True)]


class MistakenError(Exception):
    """Stands for a mistake in the batcher."""


class Mistaken(Admission):
    """Fails when it is told for the ``fails_at``-th time that a batch began or ended."""

    __slots__ = ("fails_at",)

    def __init__(self, limits: Limits) -> None:
        super().__init__(limits)
        self.fails_at = 0

    def changed(self) -> None:
        self.fails_at -= 1
        if self.fails_at == 0:
            raise MistakenError


@pytest.mark.parametrize("fails_at", [1, 2], ids=["in-a-turn", "at-the-end-of-a-run"])
def test_a_mistake_of_the_batcher_leaves_nobody_waiting(fails_at: Any) -> None:
    stuck: list[Any] = []
    admission = Mistaken(Limits(1000))

    async def scenario(batcher: Batcher[Any, Any]) -> None:
        assert await batcher.submit(1) == 10
        admission.fails_at = fails_at
        assert [error.reason for error in await outcomes(submit_all(batcher, [2, 3]))] == ["stuck", "stuck"]
        with pytest.raises(RefusedError, match="stuck"):
            await batcher.submit(4)

    with_batcher(scenario, Held(), on_stuck=stuck.append, admission=admission, estimator=Settled())
    assert [type(error) for error in stuck] == [MistakenError]


def test_what_a_given_up_call_returns_after_all_is_nobodys() -> None:
    run, now = Held(is_open=False), [0.0]

    async def scenario(batcher: Batcher[Any, Any]) -> None:
        first = submit_all(batcher, [1])
        await eventually_in_loop(lambda: bool(run.batches))
        now[0] = 61.0
        batcher.look()
        run.gate.set()
        await batcher.close()
        await eventually_in_loop(lambda: "kappa-test" not in [thread.name for thread in threading.enumerate()])
        await turns()
        assert isinstance((await outcomes(first))[0], OverdueError)
        assert batcher.state.estimate == Estimate()

    with_batcher(scenario, run, limits=Limits(10, run_timeout_s=60.0), clock=lambda: now[0])


# Slots


def test_apis_of_one_worker_take_turns_by_deadline() -> None:
    slots, order, gate = Slots(1), [], threading.Event()

    def function_of(name: Any) -> Any:
        def run(items: Any) -> Any:
            order.append(name)
            assert gate.wait(60)
            return items

        return run

    async def main() -> None:
        limits = {"a": Limits(1), "b": Limits(1, max_latency_s=0.5), "c": Limits(1, max_latency_s=100.0)}
        batchers = {
            name: Batcher(function_of(name), limits=limits[name], name=name, slots=slots, clock=lambda: 0.0)
            for name in "abc"
        }
        for batcher in batchers.values():
            await batcher.start()
        tasks = submit_all(batchers["a"], [1, 2])
        await eventually_in_loop(lambda: order == ["a"])
        tasks += submit_all(batchers["c"], [3, 4]) + submit_all(batchers["b"], [5, 6, 7])
        await turns()
        gate.set()
        assert await outcomes(tasks) == [1, 2, 3, 4, 5, 6, 7]
        for batcher in batchers.values():
            await batcher.close()

    asyncio.run(main())
    assert order == ["a", "b", "a", "b", "c", "b", "c"]


def test_a_slot_is_not_kept_by_an_api_whose_callers_left() -> None:
    slots, first, second = Slots(1), Held(is_open=False), Held()

    async def main() -> None:
        one, two, three = (Batcher(run, limits=Limits(1), name="x", slots=slots) for run in (first, second, second))
        for batcher in (one, two, three):
            await batcher.start()
        tasks = submit_all(one, [1])
        await eventually_in_loop(lambda: bool(first.batches))
        (gone,) = submit_all(two, [2])
        await turns()
        gone.cancel()
        tasks += submit_all(three, [3])
        await turns()
        first.gate.set()
        assert await asyncio.wait_for(outcomes(tasks), 10) == [10, 30]
        for batcher in (one, two, three):
            await asyncio.wait_for(batcher.close(), 10)

    asyncio.run(main())


class Nobody:
    """Somebody who takes a slot, to see that there is one."""


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 3))
def test_a_storm_over_several_apis_loses_no_slot_and_no_request(seed: int, count: int) -> None:
    rng, slots = random.Random(seed), Slots(count)
    running = [0]
    most = [0]
    lock = threading.Lock()

    def run(items: Any) -> Any:
        with lock:
            running[0] += 1
            most[0] = max(most[0], running[0])
        try:
            return poisoned(items)
        finally:
            with lock:
                running[0] -= 1

    async def caller(batchers: Any, number: Any) -> Any:
        for _ in range(rng.randint(0, 10)):
            await asyncio.sleep(0)
        item = -number if rng.random() < 0.05 else number
        return await rng.choice(batchers).submit(item, group=rng.randint(0, 1))

    async def main() -> None:
        batchers = [Batcher(run, limits=Limits(4), name="x", slots=slots, isolate_failures=True) for _ in range(4)]
        for batcher in batchers:
            await batcher.start()
        tasks = [asyncio.ensure_future(caller(batchers, number)) for number in range(1, 60)]
        for _ in range(10):
            await asyncio.sleep(0)
            rng.choice(tasks).cancel()
        await asyncio.wait_for(outcomes(tasks), 20)
        for batcher in batchers:
            await asyncio.wait_for(batcher.close(), 20)

    asyncio.run(main())
    nobody: Any = Nobody()
    assert [slots.take(nobody) for _ in range(count + 1)] == [True] * count + [False]
    assert most[0] <= count
