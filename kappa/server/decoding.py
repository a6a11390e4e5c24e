"""The threads that decode large or slow bodies, each within a time limit.

Nothing ends a thread from outside. One whose body is not decoded in time is *abandoned*: its request is answered, and
another thread takes its place, so that no body blocks others. It goes on computing, and competes with the others for
the GIL; so the process should be replaced when there are several.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from queue import SimpleQueue
from threading import Lock, Thread
from typing import Any, Generic, TypeVar

from kappa.errors import InferenceFailedError
from kappa.services.threads import carried

__all__ = ["DECODING_TIMEOUT_S", "Decoders", "DecodingOverdueError"]

T = TypeVar("T")

DECODING_TIMEOUT_S = 10.0
"""How long it may take to decode one body."""
_LOOKS_PER_LIMIT = 20
_LARGE_BYTES = 3 << 20
"""PERF: from this size on, two bodies at once starve the others of the GIL and of memory: a client that asks beside
bodies of 20 MB waited up to 0.4 s with two, 0.2 s with one."""


class DecodingOverdueError(InferenceFailedError):
    """A body was not decoded in time; HTTP 504."""

    def __init__(self, limit_s: float) -> None:
        super().__init__(f"The body could not be decoded within {limit_s:g} seconds.")


class _Job(Generic[T]):
    """One call, and the future of its result."""

    __slots__ = ("call", "future", "started")

    def __init__(self, call: Callable[[], T], future: asyncio.Future[T]) -> None:
        self.call = call
        self.future = future
        self.started: float | None = None

    def tell(self, result: T | None, error: Exception | None) -> None:
        if self.future.done():
            return  # it was too late, or the client has left
        if error is not None:
            self.future.set_exception(error)
        else:
            self.future.set_result(result)  # type: ignore[arg-type] # without an error, the result is there


class _Worker:
    """One thread, with the job that it is at."""

    __slots__ = ("is_abandoned", "job", "thread")

    def __init__(self) -> None:
        self.job: _Job[Any] | None = None
        self.is_abandoned = False
        self.thread: Thread


class Decoders:
    """A fixed number of daemon threads with one queue; everything but the jobs happens on the event loop.

    ``on_abandoned`` is called when a thread is left behind, with how many such threads compute on.
    """

    def __init__(
        self,
        *,
        count: int = 2,
        limit_s: float = DECODING_TIMEOUT_S,
        clock: Callable[[], float] = time.monotonic,
        on_abandoned: Callable[[int], None] = lambda _: None,
    ) -> None:
        self.limit_s = limit_s
        self._count = count
        self._clock = clock
        self._on_abandoned = on_abandoned
        self._line: SimpleQueue[_Job[Any] | None] = SimpleQueue()
        self._workers: set[_Worker] = set()
        self._abandoned: set[_Worker] = set()
        self._lock = Lock()
        self._large = asyncio.Lock()
        self._unanswered = 0
        self._looking: asyncio.TimerHandle | None = None
        self._loop: asyncio.AbstractEventLoop

    async def run(self, call: Callable[[], T], *, size_bytes: int = 0) -> T:
        """Await ``call``, which decodes a body of ``size_bytes``, in one of the threads.

        Large bodies are decoded one at a time, so that there is a thread for the others. Raises what ``call`` does, or
        `DecodingOverdueError`.
        """
        if size_bytes < _LARGE_BYTES:
            return await self._run(call)
        async with self._large:
            return await self._run(call)

    async def _run(self, call: Callable[[], T]) -> T:
        if not self._workers:
            self._loop = asyncio.get_running_loop()
            for _ in range(self._count):
                self._start_thread()
        future: asyncio.Future[T] = self._loop.create_future()
        self._unanswered += 1
        self._line.put(_Job(call, future))
        if self._looking is None:
            self._look_later()
        try:
            return await future
        finally:
            self._unanswered -= 1
            del future  # which holds its exception, which holds this frame

    def stop(self) -> None:
        """Let the threads end after their current jobs, without waiting for them."""
        for _ in self._workers:
            self._line.put(None)
        self._workers.clear()
        if self._looking is not None:
            self._looking.cancel()
            self._looking = None

    def _start_thread(self) -> None:
        worker = _Worker()
        worker.thread = Thread(target=self._work, args=(worker,), name="kappa-decode", daemon=True)
        self._workers.add(worker)
        worker.thread.start()

    def _look_later(self) -> None:
        self._looking = self._loop.call_later(self.limit_s / _LOOKS_PER_LIMIT, self._look)

    def _look(self) -> None:
        """Abandon the threads that take too long."""
        now = self._clock()
        for worker in list(self._workers):
            with self._lock:
                job = worker.job
                if job is None or job.started is None or now - job.started <= self.limit_s:
                    continue
                worker.is_abandoned = True
            job.tell(None, DecodingOverdueError(self.limit_s))
            self._workers.discard(worker)
            self._abandoned.add(worker)
            self._start_thread()
            self._abandoned = {worker for worker in self._abandoned if worker.thread.is_alive()}
            self._on_abandoned(len(self._abandoned))
        self._looking = None
        if self._unanswered:
            self._look_later()

    def _work(self, worker: _Worker) -> None:
        """Run jobs until the end: the target of each thread."""
        while (job := self._line.get()) is not None:
            if not job.future.done():  # else the client has left
                job.started = self._clock()
                worker.job = job
                self._do(job)
            with self._lock:
                worker.job = None
                if worker.is_abandoned:
                    return
            del job  # the next wait must not keep a body alive

    def _do(self, job: _Job[Any]) -> None:
        result: Any = None
        error: Exception | None = None
        try:
            result = job.call()
        except BaseException as exc:  # noqa: BLE001 - adapters of others may raise anything
            error = carried(exc)
        try:
            self._loop.call_soon_threadsafe(job.tell, result, error)
        except RuntimeError:
            return  # the loop was closed: there is nothing to deliver
        finally:
            del error  # which holds this frame
