"""The threads in which bodies are decoded: each body has its time, and none keeps others from being decoded."""

from __future__ import annotations

import asyncio
import gc
import operator
import threading
import weakref
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import pytest

from kappa.errors import InferenceFailedError
from kappa.server.decoding import Decoders, DecodingOverdueError


def with_decoders(scenario: Callable[[Decoders], Awaitable[None]], **options: Any) -> None:
    async def main() -> None:
        decoders = Decoders(**options)
        try:
            await asyncio.wait_for(scenario(decoders), 20)
        finally:
            decoders.stop()

    asyncio.run(main())


class Poison:
    """A body that is decoded for as long as the test wants."""

    def __init__(self) -> None:
        self.begun = threading.Event()
        self.may_end = threading.Event()

    def __call__(self) -> str:
        self.begun.set()
        self.may_end.wait(20)
        self.thread = threading.current_thread()
        return "late"


def test_a_call_is_done_in_a_daemon_thread_and_its_result_is_that_of_the_call() -> None:
    async def scenario(decoders: Decoders) -> None:
        thread = await decoders.run(threading.current_thread)
        assert thread.daemon
        assert thread.name == "kappa-decode"
        assert await asyncio.gather(*(decoders.run(partial(operator.mul, n, 2)) for n in range(50))) == [
            2 * n for n in range(50)
        ]

    with_decoders(scenario)


def test_large_bodies_are_decoded_one_at_a_time_and_leave_a_thread_to_the_others() -> None:
    large = 20 << 20

    async def scenario(decoders: Decoders) -> None:
        first, second = Poison(), Poison()
        answers = [asyncio.ensure_future(decoders.run(body, size_bytes=large)) for body in (first, second)]
        await asyncio.to_thread(first.begun.wait, 20)
        assert await decoders.run(lambda: "small", size_bytes=1000) == "small"
        assert not second.begun.is_set()
        first.may_end.set()
        await asyncio.to_thread(second.begun.wait, 20)
        second.may_end.set()
        assert await asyncio.gather(*answers) == ["late", "late"]

    with_decoders(scenario)


def test_a_large_body_that_is_not_decoded_in_time_keeps_no_other_large_one_waiting() -> None:
    async def scenario(decoders: Decoders) -> None:
        poison = Poison()
        with pytest.raises(DecodingOverdueError):
            await decoders.run(poison, size_bytes=20 << 20)
        assert await decoders.run(lambda: "another", size_bytes=20 << 20) == "another"
        poison.may_end.set()

    with_decoders(scenario, limit_s=0.1)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (ValueError("bad"), ValueError),
        (StopIteration(), InferenceFailedError),
        (SystemExit(3), InferenceFailedError),
        (KeyboardInterrupt(), InferenceFailedError),
        (asyncio.CancelledError(), InferenceFailedError),
    ],
    ids=lambda value: getattr(value, "__name__", repr(value)),
)
def test_what_a_call_raises_is_raised_and_ends_no_thread(error: BaseException, expected: type[Exception]) -> None:
    def fail() -> None:
        raise error

    async def scenario(decoders: Decoders) -> None:
        for _ in range(5):
            with pytest.raises(expected):
                await decoders.run(fail)
        assert await decoders.run(lambda: 1) == 1

    with_decoders(scenario)


def test_poisonous_bodies_are_given_up_and_never_stop_the_others() -> None:
    poisons = [Poison() for _ in range(4)]
    left_behind: list[int] = []

    async def scenario(decoders: Decoders) -> None:
        given_up = [asyncio.ensure_future(decoders.run(poison)) for poison in poisons]
        harmless = asyncio.ensure_future(decoders.run(lambda: "in time"))
        for outcome in await asyncio.gather(*given_up, return_exceptions=True):
            assert isinstance(outcome, DecodingOverdueError)
            assert str(outcome) == "The body could not be decoded within 0.05 seconds."
        assert await harmless == "in time"
        assert left_behind == [1, 2, 3, 4]
        for poison in poisons:
            poison.may_end.set()
        for worker in decoders._abandoned:
            await asyncio.to_thread(worker.thread.join)
        late = Poison()
        with pytest.raises(DecodingOverdueError):
            await decoders.run(late)
        assert left_behind == [1, 2, 3, 4, 1], "threads that ended cost nobody anything"
        late.may_end.set()
        assert await decoders.run(lambda: "in time") == "in time"

    with_decoders(scenario, limit_s=0.05, on_abandoned=left_behind.append)


def test_a_body_has_its_time_from_when_it_is_begun() -> None:
    now, first = [0.0], Poison()

    async def scenario(decoders: Decoders) -> None:
        busy = asyncio.ensure_future(decoders.run(first))
        await asyncio.to_thread(first.begun.wait)
        waiting = asyncio.ensure_future(decoders.run(lambda: "soon"))
        await asyncio.sleep(0)
        now[0] = 9.0
        decoders._look()
        assert not busy.done()
        first.may_end.set()
        assert await busy == "late"
        now[0] = 15.0
        decoders._look()
        assert await waiting == "soon"

    with_decoders(scenario, count=1, limit_s=10.0, clock=lambda: now[0])


def test_a_body_whose_client_has_left_is_not_decoded() -> None:
    first, decoded = Poison(), []

    async def scenario(decoders: Decoders) -> None:
        busy = asyncio.ensure_future(decoders.run(first))
        await asyncio.to_thread(first.begun.wait)
        left = asyncio.ensure_future(decoders.run(lambda: decoded.append("left")))
        await asyncio.sleep(0)
        left.cancel()
        await asyncio.sleep(0)
        first.may_end.set()
        await busy
        await decoders.run(lambda: decoded.append("waits"))
        assert decoded == ["waits"]

    with_decoders(scenario, count=1)


def test_nobody_waits_for_what_is_left_behind() -> None:
    poison = Poison()

    async def scenario(decoders: Decoders) -> None:
        with pytest.raises(DecodingOverdueError):
            await decoders.run(poison)
        decoders.stop()

    with_decoders(scenario, limit_s=0.01)
    assert not poison.may_end.is_set()
    poison.may_end.set()


@pytest.mark.parametrize("is_failing", [True, False])
def test_what_a_body_was_decoded_to_is_not_kept(is_failing: bool) -> None:
    class Form:
        pass

    held: list[weakref.ref[Form]] = []

    def decode() -> Form:
        form = Form()
        held.append(weakref.ref(form))
        if is_failing:
            raise ValueError("bad")
        return form

    async def scenario(decoders: Decoders) -> None:
        await asyncio.gather(decoders.run(decode), return_exceptions=True)
        await decoders.run(lambda: None)  # so that the thread has turned to something else
        gc.collect()
        assert [form() for form in held] == [None]

    with_decoders(scenario, count=1)
