"""Executors of runs: in a thread of the API, in a task on the event loop, or on the loop at once. The executor writes
the outcome into the `Run`, and the batcher reads it on the event loop when the run is over.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import Future, wait
from contextlib import suppress
from contextvars import Context
from queue import Empty, SimpleQueue
from time import thread_time
from typing import Any, Generic, Protocol, TypeVar

from kappa.errors import ResultMismatchError
from kappa.server.batching.constants import HANDOVER_WAIT_S
from kappa.server.batching.runs import Run
from kappa.services.threads import ServiceThread, carried

__all__ = ["Executor", "Tasks", "Threads", "execute", "execute_async"]

T = TypeVar("T")
R = TypeVar("R")

Function = Callable[[Sequence[T]], Sequence[R]]
AsyncFunction = Callable[[Sequence[T]], Awaitable[Sequence[R]]]


def execute(run: Run[T, R], function: Function[T, R], clock: Callable[[], float]) -> None:
    """Call ``function``; the run ends with results or an error in any case."""
    items = [member.item for member in run.members]
    run.started = clock()
    cpu_s = thread_time() if run.is_cpu_measured else 0.0
    try:
        _take_results(run, function(items))
    except BaseException as exc:  # noqa: BLE001 - the user's code may raise anything; it goes to the caller
        run.error = carried(exc)
    if run.is_cpu_measured:
        run.cpu_s = thread_time() - cpu_s
    run.finished = clock()


async def execute_async(run: Run[T, R], function: AsyncFunction[T, R], clock: Callable[[], float]) -> None:
    """Await ``function``, as `execute` calls it."""
    items = [member.item for member in run.members]
    run.started = clock()
    try:
        _take_results(run, await function(items))
    except BaseException as exc:  # noqa: BLE001 - the same; a cancellation is that of an overdue run
        run.error = carried(exc)
    run.finished = clock()


def _take_results(run: Run[T, R], results: Sequence[R]) -> None:
    run.results = list(results)
    if (count := len(run.results)) != len(run.members):
        run.error = ResultMismatchError(
            f"The function was given {len(run.members)} requests and returned {count} results: "
            "return one for each, in their order."
        )


class Executor(Protocol):
    """Runs the batches of one API; everything but the runs themselves happens on the event loop."""

    def start(self, loop: asyncio.AbstractEventLoop, finished: Callable[[Any], None]) -> None:
        """Get ready; ``finished(run)`` is to be called on ``loop`` after every run."""

    def put(self, run: Any, *, is_loop_busy: bool = False) -> None:
        """Run it as soon as possible. The batcher never has more runs here than the API's concurrency.

        With ``is_loop_busy``, the loop has much to do now: release the GIL until the run has started. PERF: else its
        thread has to ask for the GIL first (measured at 256 connections: 3 % fewer requests).
        """

    def cancel(self, run: Any) -> bool:
        """Try to end a run that takes too long; return whether that is possible at all."""

    def stop(self) -> None:
        """Release the threads or tasks; a run that cannot be ended is left behind."""


class Threads(Generic[T, R]):
    """A fixed number of threads: one keeps code that must always run in the same thread correct.

    They are made for this, each with a copy of ``context``; or one ``thread`` is lent, which is free again at the end.

    PERF: `SimpleQueue` and `call_soon_threadsafe` cost 42 to 65 µs for both ways, which waiting requests share.
    """

    def __init__(
        self,
        function: Function[T, R],
        *,
        count: int,
        name: str,
        clock: Callable[[], float],
        context: Context | None = None,
        thread: ServiceThread | None = None,
        handover_wait_s: float = HANDOVER_WAIT_S,
    ) -> None:
        self._handover_wait_s = handover_wait_s
        self._function = function
        self._clock = clock
        self._context = Context() if context is None else context
        self._handover: SimpleQueue[Run[T, R] | None] = SimpleQueue()
        self._names = [f"kappa-{name}"] if count == 1 else [f"kappa-{name}-{number}" for number in range(count)]
        self._threads: list[ServiceThread] = []
        self._lent = thread
        self._working: list[Future[None]] = []
        self._is_abandoned = False
        self._taken: SimpleQueue[None] = SimpleQueue()

    def start(self, loop: asyncio.AbstractEventLoop, finished: Callable[[Any], None]) -> None:
        self._loop = loop
        self._finished = finished
        if self._lent is None:
            self._threads = [ServiceThread(name, self._context.copy()) for name in self._names]
        threads = self._threads if self._lent is None else [self._lent]
        self._working = [thread.submit(self._work) for thread in threads]

    def put(self, run: Run[T, R], *, is_loop_busy: bool = False) -> None:
        if not is_loop_busy:
            self._handover.put(run)
            return
        while not self._taken.empty():  # some were taken too late to be waited for
            self._taken.get()
        run.is_awaited = True
        self._handover.put(run)
        with suppress(Empty):
            self._taken.get(timeout=self._handover_wait_s)

    def cancel(self, _run: Run[T, R]) -> bool:
        """Nothing ends a thread from outside."""
        self._is_abandoned = True
        return False

    def stop(self) -> None:
        for _ in self._working:
            self._handover.put(None)
        for thread in self._threads:
            thread.end()
        if not self._is_abandoned:
            wait(self._working)

    def _work(self) -> None:
        """Run the queued runs until the end."""
        while (run := self._handover.get()) is not None:
            if run.is_awaited:
                self._taken.put(None)
            execute(run, self._function, self._clock)
            if run.over is not None:
                run.over.set()
            try:
                self._loop.call_soon_threadsafe(self._finished, run)
            except RuntimeError:
                return  # the loop was closed under a running batch: there is nothing to deliver
            del run  # the next wait must not keep the items and results alive


class Tasks(Generic[T, R]):
    """Tasks on the event loop, for functions that are `async def`; a cancellation ends one that takes too long."""

    def __init__(
        self, function: AsyncFunction[T, R], *, clock: Callable[[], float], context: Context | None = None
    ) -> None:
        self._function = function
        self._clock = clock
        self._context = Context() if context is None else context
        self._tasks: dict[Run[T, R], asyncio.Task[None]] = {}

    def start(self, loop: asyncio.AbstractEventLoop, finished: Callable[[Any], None]) -> None:
        self._loop = loop
        self._finished = finished

    def put(self, run: Run[T, R], *, is_loop_busy: bool = False) -> None:  # noqa: ARG002 - it is the loop's
        run.placement = "task"
        running = execute_async(run, self._function, self._clock)
        # The user's code must not see the context variables of the first caller.
        task = self._context.copy().run(self._loop.create_task, running)
        self._tasks[run] = task
        task.add_done_callback(lambda _: self._end(run))

    def cancel(self, run: Run[T, R]) -> bool:
        return self._tasks[run].cancel()

    def stop(self) -> None:
        for task in self._tasks.values():
            task.cancel()

    def _end(self, run: Run[T, R]) -> None:
        del self._tasks[run]
        self._finished(run)
