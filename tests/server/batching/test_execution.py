"""The threads that run batches, beside an event loop that has much to do."""

from __future__ import annotations

import asyncio
import sys
import time
from threading import Event
from typing import Any

import pytest

from kappa.server.batching.execution import Threads
from kappa.server.batching.runs import Request, Run
from tests.eventually import eventually


def run_of(item: Any) -> Any:
    request: Request[Any, Any] = Request(0.0)
    request.item = item
    return Run([request], items=1, released=0.0)


@pytest.fixture
def long_turns() -> Any:
    """Let no thread take Python's lock from another that goes on computing."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(10)
    yield
    sys.setswitchinterval(interval)


@pytest.mark.usefixtures("long_turns")
@pytest.mark.parametrize("count", [1, 2])
def test_a_run_begins_although_the_loop_has_much_to_do(count: Any) -> None:
    given, gate = [], Event()

    def function(items: Any) -> Any:
        given.append(items)
        assert gate.wait(60)
        return items

    async def scenario() -> None:
        ended = [asyncio.Event() for _ in range(count)]
        # A busy machine needs more than a millisecond at times.
        threads = Threads(function, count=count, name="test", clock=time.monotonic, handover_wait_s=10.0)
        threads.start(asyncio.get_running_loop(), lambda run: ended[run.members[0].item].set())
        for number in range(count):
            threads.put(run_of(number), is_loop_busy=True)
            busy_until = time.monotonic() + 0.05
            while time.monotonic() < busy_until:
                pass
            assert given == [[before] for before in range(number + 1)]
        gate.set()
        for event in ended:
            await asyncio.wait_for(event.wait(), 10)
        threads.stop()

    asyncio.run(scenario())


def test_a_run_that_no_thread_can_take_holds_nobody_up() -> None:
    given, gate = [], Event()

    def function(items: Any) -> Any:
        given.append(items[0])
        assert gate.wait(60)
        return items

    async def scenario() -> None:
        ended = asyncio.Event()
        threads = Threads(function, count=1, name="test", clock=time.monotonic, handover_wait_s=0.1)
        threads.start(asyncio.get_running_loop(), lambda run: ended.set() if run.members[0].item == 2 else None)
        for number in range(3):
            threads.put(run_of(number), is_loop_busy=True)
        eventually(lambda: given)
        assert given == [0]
        gate.set()
        await asyncio.wait_for(ended.wait(), 10)
        threads.stop()

    asyncio.run(scenario())
    assert given == [0, 1, 2]
