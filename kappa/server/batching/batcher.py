"""One API's batcher: an asyncio front, and one thread that runs the batches.

Everything here happens on the event loop but `_Run.execute`. A request is one `_Waiter` and one future: no task and
no closure. What is decided, and why, is in `policy`, `queue` and `isolation`; this module only carries it out.

The life of a batch: `submit` puts a request in the queue and asks for a *turn* at the end of the loop's turn; `_turn`
decides what runs next; `_start` hands it to the thread; `_finished` answers and asks for the next turn.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Hashable, Iterable, Sequence
from contextvars import Context
from dataclasses import dataclass
from math import inf
from queue import SimpleQueue
from threading import Thread
from typing import Any, Generic, TypeVar

from kappa.errors import InferenceFailedError, ResultMismatchError
from kappa.server.batching.estimator import Estimate, Estimator
from kappa.server.batching.isolation import Isolation, Verdicts
from kappa.server.batching.observer import Observer, SilentObserver
from kappa.server.batching.policy import (
    Admission,
    Candidate,
    Limits,
    Placement,
    RefusalReason,
    Regroup,
    compose,
    regroup_after,
    remaining_seconds,
)
from kappa.server.batching.queue import WaitingQueue, WaitingRequest

__all__ = ["Batcher", "BatcherState", "ExpiredError", "RefusedError"]

T = TypeVar("T")
R = TypeVar("R")

_LAG_SHARE = 0.1
_SEARCHES_AT_ONCE = 2


class RefusedError(InferenceFailedError):
    """The request was not run, or never judged; HTTP 503 with ``Retry-After: ceil(retry_after_s)``, at least 1."""

    def __init__(self, reason: RefusalReason, *, retry_after_s: float) -> None:
        super().__init__(f"The request was refused (`{reason}`); try again in {retry_after_s:.3f} s.")
        self.reason: RefusalReason = reason
        self.retry_after_s = retry_after_s


class ExpiredError(InferenceFailedError):
    """The client's deadline passed before the request was run; HTTP 504."""

    def __init__(self) -> None:
        super().__init__("The request's deadline passed before it was run.")


@dataclass(frozen=True, slots=True)
class BatcherState:
    """One look at a batcher, for gauges."""

    queue_requests: int
    queue_items: int
    queue_bytes: int
    queue_groups: int
    running_items: int
    """0 when nothing runs."""
    loop_lag_s: float
    is_target_unreachable: bool
    """One item alone takes longer than the latency target, which therefore refuses nobody."""
    estimate: Estimate
    """The learned `T(n)`: ``slope_s``, ``base_s``, ``tail_s``, ``runs``, ``largest``."""


class _Waiter(WaitingRequest, Generic[T, R]):
    """A waiting request with what it carries and who waits for it."""

    __slots__ = ("future", "item")

    item: T
    future: asyncio.Future[R]


class _Run(Generic[T, R]):
    """One call of the function; written by whoever executes it, read on the loop when it is over."""

    __slots__ = ("error", "finished", "is_on_loop", "is_suspect", "items", "members", "results", "started")

    def __init__(self, members: Sequence[_Waiter[T, R]], *, items: int, is_suspect: bool, started: float) -> None:
        self.members = members
        self.items = items
        self.is_suspect = is_suspect
        self.is_on_loop = False
        self.started = started
        self.finished = started
        self.results: Sequence[R] = ()
        self.error: Exception | None = None

    def execute(self, function: Callable[[Sequence[T]], Sequence[R]], clock: Callable[[], float]) -> None:
        """Call ``function``; whatever it does, the run ends with results or an error."""
        members = self.members
        self.started = clock()
        try:
            results = list(function([member.item for member in members]))
            if (given := len(results)) != len(members):
                self.error = ResultMismatchError(
                    f"The function was given {len(members)} requests and returned {given} results: "
                    "return one for each, in their order."
                )
            self.results = results
        except Exception as exc:  # noqa: BLE001 - the user's code may raise anything; it goes to the caller
            self.error = exc if not isinstance(exc, StopIteration) else _as_error(exc)
        except BaseException as exc:  # noqa: BLE001 - sys.exit() in the user's code must not end the server
            self.error = _as_error(exc)
        self.finished = clock()


class Batcher(Generic[T, R]):
    """Collect requests of one API into batches and run them, one batch at a time, in a thread of their own.

    ``run`` takes the items of one group in order of arrival and returns one result for each, in order. With
    ``isolate_failures``, the parts of a failed batch are run again to find the request at fault; every item then goes
    through ``renew`` first, which returns it as fresh as it was submitted. Without, every member of a failed batch
    gets its exception (the same object). With ``may_run_on_loop``, a function that has proved itself fast and steady
    is called on the event loop, which saves the hand-over to the thread; leave it off for code that may need its
    thread or a loop of its own. Times are readings of ``clock``, in seconds.
    """

    def __init__(
        self,
        run: Callable[[Sequence[T]], Sequence[R]],
        *,
        limits: Limits,
        name: str,
        isolate_failures: bool = False,
        renew: Callable[[T], T] | None = None,
        may_run_on_loop: bool = False,
        clock: Callable[[], float] = time.monotonic,
        observer: Observer | None = None,
    ) -> None:
        self.name = name
        self.limits = limits
        self._has_target = limits.max_latency_s is not None
        self._most_items = limits.max_queue_items
        self._most_bytes = limits.max_queue_bytes
        self._run = run
        self._isolate_failures = isolate_failures
        self._renew = renew
        self._may_run_on_loop = may_run_on_loop
        self._clock = clock
        self._observer: Observer = observer if observer is not None else SilentObserver()

        self._queue: WaitingQueue[_Waiter[T, R]] = WaitingQueue(max_batch_size=limits.max_batch_size)
        self._estimator = Estimator()
        self._admission = Admission(limits)
        self._placement = Placement()
        self._verdicts = Verdicts()
        self._searches: deque[Isolation[_Waiter[T, R]]] = deque()
        self._is_suspects_turn = False

        self._running: _Run[T, R] | None = None
        self._regroup: Regroup | None = None
        self._is_turn_due = False
        self._lag_s = 0.0
        self._is_closing = False
        self._is_giving_up = False
        self._drained = asyncio.Event()

        self._loop: asyncio.AbstractEventLoop
        self._context = Context()  # the user's code must not see the context variables of whoever came first
        self._handover: SimpleQueue[_Run[T, R] | None] = SimpleQueue()
        self._thread = Thread(target=self._work, name=f"kappa-{name}", daemon=True)

    async def start(self) -> None:
        """Start the thread; the running event loop is the batcher's from here on."""
        self._loop = asyncio.get_running_loop()
        self._thread.start()

    async def submit(
        self, item: T, *, group: Hashable = None, items: int = 1, size_bytes: int = 0, deadline: float | None = None
    ) -> R:
        """Wait for the result of ``item``, which counts as ``items`` and joins only requests of equal ``group``.

        ``deadline`` is the reading of the clock after which the client no longer wants it. Raises `RefusedError`,
        `ExpiredError`, or what ``run`` raised. A cancelled caller leaves the queue at once.
        """
        now = self._clock()
        queue = self._queue
        until = inf if deadline is None else deadline
        # PERF: judging costs 1 to 2 µs, so it is left to requests that may be refused at all.
        if (
            self._is_closing
            or self._has_target
            or deadline is not None
            or queue.items + items > self._most_items
            or queue.size_bytes + size_bytes > self._most_bytes
        ) and (self._is_closing or self._is_busy()):
            refused = self._refusal(Candidate(now, group, items, size_bytes, until), is_probe_spent=True)
            if refused is not None:
                self._observer.request_refused(refused.reason)
                raise refused
        if until <= now:
            self._observer.request_dropped("expired")
            raise ExpiredError
        waiter: _Waiter[T, R] = _Waiter(now, group, items, size_bytes, until)
        waiter.item = item
        future: asyncio.Future[R] = self._loop.create_future()
        waiter.future = future
        queue.add(waiter)
        if self._running is None and not self._is_turn_due:
            self._ask_for_turn()
        try:
            return await future
        except asyncio.CancelledError:
            if waiter.is_waiting:
                queue.remove(waiter)
                self._observer.request_dropped("disconnected")
                self._end_if_drained()
            raise

    def refusal(
        self, *, group: Hashable = None, items: int = 1, size_bytes: int = 0, deadline: float | None = None
    ) -> RefusedError | None:
        """Return why such a request would not be admitted now, or None: a cheap question before reading a body.

        It promises nothing for later, and spends no probe.
        """
        if not (self._is_closing or self._is_busy()):
            return None
        until = inf if deadline is None else deadline
        return self._refusal(Candidate(self._clock(), group, items, size_bytes, until), is_probe_spent=False)

    async def close(self, *, drain: bool = True) -> None:
        """Accept nothing more, finish what was accepted (or refuse what still waits), and stop the thread.

        The batch that runs is always waited for; put a time limit around this call to give up on it.
        """
        self._is_closing = True
        if not drain:
            self._is_giving_up = True
            self._refuse_all(list(self._queue), "closing")
        if self._is_busy():
            self._ask_for_turn()
            await self._drained.wait()
        self._handover.put(None)
        if self._thread.is_alive():
            self._thread.join()

    @property
    def state(self) -> BatcherState:
        queue = self._queue
        return BatcherState(
            queue_requests=queue.requests,
            queue_items=queue.items,
            queue_bytes=queue.size_bytes,
            queue_groups=queue.groups,
            running_items=self._running.items if self._running is not None else 0,
            loop_lag_s=self._lag_s,
            is_target_unreachable=self._admission.is_target_unreachable,
            estimate=self._estimator.estimate,
        )

    # Admission

    def _refusal(self, request: Candidate, *, is_probe_spent: bool) -> RefusedError | None:
        if self._is_closing:
            return RefusedError("closing", retry_after_s=1.0)
        estimate = self._estimator.estimate
        busy = self._lag_s
        if (run := self._running) is not None:
            busy += remaining_seconds(run.items, elapsed=request.now - run.started, estimate=estimate)
        refusal = self._admission.refusal(
            self._queue, request, busy_s=busy, estimate=estimate, is_probe_spent=is_probe_spent
        )
        return None if refusal is None else RefusedError(refusal.reason, retry_after_s=refusal.retry_after_s)

    # Turns

    def _ask_for_turn(self) -> None:
        if not self._is_turn_due:
            self._is_turn_due = True
            self._loop.call_soon(self._turn, context=self._context)

    def _turn(self) -> None:
        """Start what is to run next, if anything is to run now."""
        self._is_turn_due = False
        if self._running is not None:
            return
        if self._searches and (self._is_suspects_turn or not self._queue.requests) and self._run_suspects():
            return
        if not self._queue.requests:
            self._end_if_drained()
            return
        now = self._clock()
        regroup = self._regroup
        if regroup is not None and not self._is_closing and not regroup.is_over(now, self._queue.items):
            if regroup.until < inf:  # else the answers are on their way out, and `_answered` follows them
                # PERF: timers round to a millisecond or more (uvloop: down to 0); a turn of the loop is a few µs.
                self._ask_for_turn()
            return
        self._release(now)

    def _release(self, now: float) -> None:
        self._is_suspects_turn = True
        regroup, self._regroup = self._regroup, None
        oldest = self._queue.oldest()
        is_regrouped = regroup is not None and oldest is not None and oldest.arrived < regroup.until
        batch = compose(self._queue, estimate=self._estimator.estimate, limits=self.limits, now=now)
        self._expire(batch.expired)
        members = batch.members
        if not members:
            self._ask_for_turn()
            return
        if self._isolate_failures and self._verdicts.is_broken and len(members) > 1:
            self._searches.append(Isolation.probing(members))
            self._run_suspects()
        else:
            self._start(_Run(members, items=batch.items, is_suspect=False, started=now))
        self._observer.batch_released(
            batch.bound_by or ("drain" if self._is_closing else "regroup" if is_regrouped else "idle"),
            requests=len(members),
            items=batch.items,
            queue_seconds=[now - member.arrived for member in members],
        )

    def _start(self, run: _Run[T, R]) -> None:
        self._running = run
        estimate = self._estimator.estimate
        if (
            self._may_run_on_loop
            and not run.is_suspect
            and self._placement.is_loop_fit(run.items, estimate=estimate, now=run.started)
        ):
            run.is_on_loop = True
            run.execute(self._run, self._clock)
            self._finished(run)
        else:
            self._handover.put(run)

    def _work(self) -> None:
        """Run what is handed over until the end; the thread's whole life."""
        while (run := self._handover.get()) is not None:
            run.execute(self._run, self._clock)
            try:
                self._loop.call_soon_threadsafe(self._finished, run)
            except RuntimeError:
                return  # the loop was closed under a running batch: nobody is left to tell
            del run  # the next wait must not keep the items and results alive

    def _finished(self, run: _Run[T, R]) -> None:
        """Answer, learn, and see to what comes next."""
        self._running = None
        now = self._clock()
        seconds = run.finished - run.started
        lag = now - run.finished
        self._lag_s += _LAG_SHARE * (lag - self._lag_s)
        if run.error is None:
            for member, result in zip(run.members, run.results, strict=True):
                if not member.future.done():
                    member.future.set_result(result)
            self._learn(run, seconds, now)
        else:
            self._failed(run, run.error)
        if run.is_suspect and self._searches:
            self._is_suspects_turn = len(self._searches) >= _SEARCHES_AT_ONCE or not self._queue.requests
        self._regroup = None
        if run.items > 1 and not run.is_on_loop and 2 * self._queue.items >= run.items:
            self._turn()  # the company is already here: run while the answers are written
        elif run.items > 1:
            self._regroup = Regroup(run.items, inf)
            self._loop.call_soon(self._answered, self._regroup, context=self._context)
        else:
            self._ask_for_turn()
        observer = self._observer
        observer.batch_finished(
            requests=len(run.members), items=run.items, service_seconds=seconds, failed=run.error is not None
        )
        observer.loop_lagged(lag)

    def _answered(self, regroup: Regroup) -> None:
        """Begin to wait for the clients to return, now that their answers are written."""
        if self._regroup is regroup:
            self._regroup = regroup_after(regroup.items, self._estimator.estimate, self._clock())
            self._turn()

    def _learn(self, run: _Run[T, R], seconds: float, now: float) -> None:
        self._verdicts.passed()
        if run.is_suspect:
            self._searches[0].passed()
        self._estimator.observe(run.items, seconds)
        self._placement.observe(seconds, was_on_loop=run.is_on_loop, now=now)
        if self._admission.observe(self._estimator.estimate):
            target = self.limits.max_latency_s
            if target is not None:
                self._observer.target_unreachable(
                    single_seconds=self._estimator.estimate.seconds(1), target_seconds=target
                )

    # Failures

    def _failed(self, run: _Run[T, R], error: Exception) -> None:
        members = run.members
        if len(members) > 1 and self._isolate_failures:
            if run.is_suspect:
                self._searches[0].failed()
            else:
                self._searches.append(Isolation(members))
            return
        for member in members:
            if not member.future.done():
                member.future.set_exception(error)
        if len(members) == 1:
            self._verdicts.failed_alone(error)
            if run.is_suspect and self._verdicts.is_broken:
                self._give_up(self._searches.popleft())

    def _run_suspects(self) -> bool:
        """Run the next part of the oldest search; False if there is none left to run."""
        now = self._clock()
        while self._searches:
            search = self._searches[0]
            part = None if self._is_giving_up else search.next_part(_is_wanted)
            if part is None:
                self._give_up(self._searches.popleft())
                continue
            expired = [member for member in part if member.deadline <= now]
            self._expire(expired)
            part = [member for member in part if member.deadline > now]
            if not part:
                continue
            if self._renew is not None:
                for member in part:
                    member.item = self._renew(member.item)
            items = sum(member.items for member in part)
            self._start(_Run(part, items=items, is_suspect=True, started=now))
            return True
        return False

    def _give_up(self, search: Isolation[_Waiter[T, R]]) -> None:
        self._refuse_all(search.unjudged(), "unjudged")

    def _refuse_all(self, waiters: Iterable[_Waiter[T, R]], reason: RefusalReason) -> None:
        for waiter in waiters:
            if waiter.is_waiting:
                self._queue.remove(waiter)
            if not waiter.future.done():
                waiter.future.set_exception(RefusedError(reason, retry_after_s=1.0))
                self._observer.request_refused(reason)

    def _expire(self, waiters: Iterable[_Waiter[T, R]]) -> None:
        for waiter in waiters:
            if not waiter.future.done():
                waiter.future.set_exception(ExpiredError())
                self._observer.request_dropped("expired")

    # The end

    def _is_busy(self) -> bool:
        return self._running is not None or self._queue.requests > 0 or bool(self._searches)

    def _end_if_drained(self) -> None:
        if self._is_closing and not self._is_busy():
            self._drained.set()


def _is_wanted(waiter: _Waiter[Any, Any]) -> bool:
    return not waiter.future.done()


def _as_error(exc: BaseException) -> InferenceFailedError:
    """Wrap what an asyncio future cannot carry, or what would end the server."""
    error = InferenceFailedError(f"The function raised `{type(exc).__name__}`, which ends a program or a loop.")
    error.__cause__ = exc
    return error
