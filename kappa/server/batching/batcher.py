"""One API's batcher: an asyncio front for whoever runs the batches.

Everything here happens on the event loop. A request is one `_Waiter` and one future: no task and no closure. What is
decided, and why, is in `policy`, `queue`, `sharing` and `isolation`, and where it runs in `execution`; this module only
carries it out.

The life of a batch: `submit` puts a request in the queue and asks for a *turn* at the end of the loop's turn; `_turn`
decides what runs next; `_start` hands it over; `_finished` answers and asks for the next turn.
"""

from __future__ import annotations

import asyncio
import inspect
import time
from collections import deque
from collections.abc import Awaitable, Callable, Hashable, Iterable, Sequence
from contextvars import Context
from dataclasses import dataclass
from functools import partial
from math import inf
from threading import Event
from typing import Any, Generic, TypeVar, cast

from kappa.server.batching.admission import Admission, Candidate, Delays, Refusal, RefusalReason, remaining_seconds
from kappa.server.batching.estimator import Estimate, Estimator
from kappa.server.batching.execution import Executor, Run, Tasks, Threads
from kappa.server.batching.failure import BatchFailedError, forget_frames
from kappa.server.batching.isolation import Isolation, Verdicts
from kappa.server.batching.observer import Observer, SilentObserver
from kappa.server.batching.outcomes import ExpiredError, Outcome, OverdueError, RefusedError
from kappa.server.batching.placement import Placement
from kappa.server.batching.policy import Limits, Regroup, Reunions, compose, regroup_after
from kappa.server.batching.queue import WaitingQueue, WaitingRequest
from kappa.server.batching.slots import PATIENCE_S, Slots
from kappa.services.threads import ServiceThread

__all__ = ["Batcher", "BatcherState"]

T = TypeVar("T")
R = TypeVar("R")

_SEARCHES_AT_ONCE = 2


@dataclass(frozen=True, slots=True)
class BatcherState:
    """One look at a batcher, for gauges."""

    queue_requests: int
    queue_items: int
    queue_bytes: int
    queue_groups: int
    running_items: int
    """0 when nothing runs."""
    offered_items: int
    """How many items were ever asked for, those of refused requests included."""
    loop_lag_s: float
    is_target_unreachable: bool
    """One item alone takes longer than the latency target, which therefore refuses nobody."""
    estimate: Estimate
    """The learned `T(n)`: ``slope_s``, ``base_s``, ``tail_s``, ``runs``, ``largest``."""


class _Waiter(WaitingRequest, Generic[T, R]):
    """A waiting request with what it carries and who waits for it."""

    __slots__ = ("future", "item")

    item: T
    future: Outcome[R]


_Run = Run[_Waiter[T, R], T, R]
Renew = Callable[[Sequence[T]], "Sequence[T | Exception] | Awaitable[Sequence[T | Exception]]"]


class Batcher(Generic[T, R]):
    """Collect requests of one API into batches and run them, as many at a time as its limits allow.

    ``run`` takes the items of one group in order of arrival and returns one result for each, in order; it is called in
    threads of the API's own, or awaited on the event loop if it is `async def`. With ``isolate_failures``, the parts of
    a failed batch are run again to find the request at fault; the items of each go through ``renew`` first, which
    returns them as fresh as they were submitted, or in place of one an exception that it is refused with; or an
    awaitable of that. Without, all members of a failed batch get one `BatchFailedError`. ``on_untold`` is called with
    an exception of the function that no request was told, and how many the run was of: its batch failed and none of
    its members alone, or all of them had left. With ``may_run_on_loop``, a function that has proved itself fast and
    steady is called on the event loop,
    which saves the hand-over to the thread; leave it off for code that may need its thread or a loop of its own. With
    ``may_give_way``, the event loop stands still while a function computes that would fight with it for Python's lock.
    ``slots`` are shared with the other APIs of the process. ``on_stuck`` is called when nothing can be run any more:
    a call does not end in time and cannot be ended (with an `OverdueError`), or the batcher itself failed. With
    ``thread``, one call at a time is made there, and not in a thread of the API's own. All see the variables of
    ``context``, which stays as it is. Times are readings of ``clock``, in seconds.
    """

    def __init__(
        self,
        run: Callable[[Sequence[T]], Sequence[R]] | Callable[[Sequence[T]], Awaitable[Sequence[R]]],
        *,
        limits: Limits,
        name: str,
        isolate_failures: bool = False,
        renew: Renew[T] | None = None,
        may_run_on_loop: bool = False,
        may_give_way: bool = False,
        slots: Slots | None = None,
        on_stuck: Callable[[Exception], None] = lambda _: None,
        on_untold: Callable[[Exception, int], None] = lambda _, __: None,
        thread: ServiceThread | None = None,
        context: Context | None = None,
        clock: Callable[[], float] = time.monotonic,
        observer: Observer | None = None,
    ) -> None:
        self.name = name
        self.limits = limits
        self._most_at_once = limits.max_concurrency
        self._has_target = limits.max_latency_s is not None
        self._most_items = limits.max_queue_items
        self._most_bytes = limits.max_queue_bytes
        self._run = cast("Callable[[Sequence[T]], Sequence[R]]", run)
        self._isolate_failures = isolate_failures
        self._renew = renew
        self._may_run_on_loop = may_run_on_loop
        self._may_give_way = may_give_way and limits.max_concurrency == 1
        self._slots = slots
        self._on_stuck = on_stuck
        self._on_untold = on_untold
        self._clock = clock
        self._observer: Observer = observer if observer is not None else SilentObserver()

        self._queue: WaitingQueue[_Waiter[T, R]] = WaitingQueue(max_batch_size=limits.max_batch_size)
        self._estimator = Estimator()
        self._admission = Admission(limits)
        self._placement = Placement()
        self._verdicts = Verdicts()
        self._searches: deque[Isolation[_Waiter[T, R]]] = deque()
        self._is_suspects_turn = False
        self._part: list[_Waiter[T, R]] = []
        """The part of a failed batch that is to be run next."""
        self._renewing: asyncio.Future[None] | None = None
        """What makes it as fresh as it was submitted."""

        self._running: list[_Run[T, R]] = []
        self._regroup: Regroup | None = None
        self._answered_at = 0.0
        self._were_waiting = 0
        self._seen_items = 0
        self._reunions = Reunions()
        self._return_s = inf
        self._is_turn_due = False
        self._has_answers = False
        self._deaf_since: float | None = None
        """Since when the loop has read nothing, while it reads what came meanwhile; any of it may be as old as that."""
        self._delays = Delays()
        self._wanted_slot_at: float | None = None
        self._ended_at = 0.0
        self._offered_items = 0
        self._last_group: Hashable = None
        self._last_items = 1
        self._is_closing = False
        self._is_stuck = False
        self._is_giving_up = False
        self._drained = asyncio.Event()

        self._loop: asyncio.AbstractEventLoop
        # The user's code must not see the context variables of whoever came first.
        self._context = Context() if context is None else context.copy()
        self._executor: Executor = (
            Tasks(run, clock=clock, context=self._context)
            if inspect.iscoroutinefunction(run)
            else Threads(
                self._run,
                count=limits.max_concurrency,
                name=name,
                clock=clock,
                context=self._context,
                thread=thread if limits.max_concurrency == 1 else None,
            )
        )

    async def start(self) -> None:
        """Get ready to run; the running event loop is the batcher's from here on."""
        self._loop = asyncio.get_running_loop()
        self._executor.start(self._loop, self._finished)

    async def submit(self, item: T, **place: Any) -> R:
        """Wait for the result of ``item``, with the arguments of `put`; raises what `put` does or `run` did.

        A cancelled caller leaves the queue at once.
        """
        future: asyncio.Future[R] = self._loop.create_future()
        waiting = self.put(item, future, **place)
        try:
            return await future
        except asyncio.CancelledError:
            self.abandon(waiting)
            raise
        finally:
            del future  # which holds its exception, which holds this frame

    def put(
        self,
        item: T,
        outcome: Outcome[R],
        *,
        group: Hashable = None,
        items: int = 1,
        size_bytes: int = 0,
        arrived: float | None = None,
        deadline: float | None = None,
    ) -> WaitingRequest:
        """Queue ``item``, which counts as ``items`` and joins only requests of equal ``group``, and tell ``outcome``.

        ``arrived`` is the reading of the clock when it came, if that is not now, and ``deadline`` the one after which
        the client no longer wants it. Raises `RefusedError` or `ExpiredError`; ``outcome`` is told those that come
        later, besides `OverdueError`.
        """
        now = self._clock()
        queue = self._queue
        if arrived is None:
            arrived = now
        if self._deaf_since is not None:
            arrived = min(arrived, self._deaf_since)
        self._offered_items += items
        self._last_group, self._last_items = group, items
        until = inf if deadline is None else deadline
        is_probe = False
        # PERF: judging costs 1 to 2 µs, so it is left to requests that may be refused at all.
        if (
            self._is_closing
            or self._has_target
            or deadline is not None
            or queue.items + items > self._most_items
            or queue.size_bytes + size_bytes > self._most_bytes
        ) and (self._is_closing or self._is_busy()):
            candidate = Candidate(now, group, items, size_bytes, until, arrived)
            refused = self._refusal(candidate, is_probe_spent=True)
            if refused is not None:
                self._observer.request_refused(refused.reason)
                raise RefusedError(refused.reason, retry_after_s=refused.retry_after_s)
            is_probe = self._admission.has_spent_probe
        if until <= now:
            self._observer.request_dropped("expired")
            raise ExpiredError
        waiter: _Waiter[T, R] = _Waiter(arrived, group, items, size_bytes, until)
        waiter.is_probe = is_probe
        waiter.item = item
        waiter.future = outcome
        queue.add(waiter)
        if len(self._running) < self._most_at_once and not self._is_turn_due:
            self._ask_for_turn()
        return waiter

    def abandon(self, waiting: WaitingRequest) -> None:
        """Drop what `put` returned, whose client has left, if it is not running yet."""
        if waiting.is_waiting:
            self._queue.remove(cast("_Waiter[T, R]", waiting))
            self._admission.changed()
            self._observer.request_dropped("disconnected")
            self._end_if_drained()

    def refusal(self, *, size_bytes: int = 0) -> Refusal | None:
        """Return why a request like the last would not be admitted now, or None: cheap enough to ask before reading.

        It promises nothing for later, and spends no probe.
        """
        queue = self._queue
        if not (
            self._is_closing
            or self._has_target
            or queue.items >= self._most_items
            or queue.size_bytes + size_bytes > self._most_bytes
        ) or not (self._is_closing or self._is_busy()):
            return None
        now = self._clock()
        refused = self._admission.standing(now)
        if refused is None:
            arrived = now if self._deaf_since is None else self._deaf_since
            candidate = Candidate(now, self._last_group, self._last_items, size_bytes, inf, arrived)
            refused = self._refusal(candidate, is_probe_spent=False)
            if refused is not None and not size_bytes:
                self._admission.stands(refused, now)
        if refused is not None:
            self._offered_items += self._last_items
        return refused

    def lacks_room(self, *, arriving: int, decoding: int, size_bytes: int) -> RefusalReason | None:
        """Return which bound is passed by what waits together with the requests that are on their way, or None.

        ``arriving`` is how many these are, ``decoding`` how many of them are all there. One may always come.
        """
        queue = self._queue
        if queue.requests + arriving > 1:
            if queue.items + decoding > self._most_items:
                return "queue_items"
            if queue.size_bytes + size_bytes > self._most_bytes:
                return "queue_bytes"
        return None

    def look(self, lag_s: float = 0.0) -> None:
        """Give up the runs that take too long; call it a few times a second, and say how late the event loop is.

        Batches tell that too, but while requests are refused there may be none.
        """
        self._delays.lagged(lag_s)
        now = self._clock()
        for run in [run for run in self._running if now - run.started > self.limits.run_timeout_s]:
            self._give_up_run(run)

    async def close(self, *, drain: bool = True) -> None:
        """Accept nothing more, finish what was accepted (or refuse what still waits), and stop the threads.

        The batches that run are always waited for; put a time limit around this call to give up on them.
        """
        self._is_closing = True
        if not drain:
            self._is_giving_up = True
            self._refuse_all(list(self._queue), "closing")
        if self._is_busy():
            self._ask_for_turn()
            await self._drained.wait()
        self._executor.stop()

    @property
    def state(self) -> BatcherState:
        queue = self._queue
        return BatcherState(
            queue_requests=queue.requests,
            queue_items=queue.items,
            queue_bytes=queue.size_bytes,
            queue_groups=queue.groups,
            running_items=sum(run.items for run in self._running),
            offered_items=self._offered_items,
            loop_lag_s=self._delays.lag_s,
            is_target_unreachable=self._admission.is_target_unreachable,
            estimate=self._estimator.estimate,
        )

    # Admission

    def _refusal(self, request: Candidate, *, is_probe_spent: bool) -> Refusal | None:
        if self._is_closing:
            return Refusal("stuck" if self._is_stuck else "closing", 1.0)
        estimate = self._estimator.estimate
        busy = self._delays.lag_s
        if len(self._running) >= self._most_at_once:
            busy += min(
                remaining_seconds(run.items, elapsed=request.now - run.started, estimate=estimate)
                for run in self._running
            )
        return self._admission.refusal(
            self._queue,
            request,
            busy_s=busy,
            estimate=self._delays.added_to(estimate),
            is_probe_spent=is_probe_spent,
        )

    # Turns

    def _ask_for_turn(self) -> None:
        if not self._is_turn_due:
            self._is_turn_due = True
            self._loop.call_soon(self._turn, context=self._context)

    def _turn(self) -> None:
        """Start what is to run next, as far as anything is to run now."""
        self._is_turn_due = False
        try:
            while len(self._running) < self._most_at_once and self._run_next():
                pass
        except Exception as exc:  # noqa: BLE001 - a mistake here must not leave everybody waiting for ever
            self._be_stuck(exc)

    def _run_next(self) -> bool:
        """Start one batch, or a part of a failed one; False if nothing more is to be started now."""
        slots = self._slots
        if not (self._queue.requests or self._has_suspects()):
            if slots is not None:
                self._withdraw_claim(slots)
            self._end_if_drained()
            return False
        now = self._clock()
        regroup = self._regroup = self._see_returns(now)
        is_suspects_turn = self._has_suspects() and (self._is_suspects_turn or not self._queue.requests)
        if regroup is not None and not (
            is_suspects_turn or self._is_closing or regroup.is_over(now, self._queue.items)
        ):
            if slots is not None:
                self._withdraw_claim(slots)
            self._go_on_waiting(regroup)
            return False
        if regroup is not None and regroup.patience_s:
            self._reunions.ended(
                expected_items=regroup.items - self._were_waiting,
                returned_items=self._queue.items - self._were_waiting,
                waited_items=self._were_waiting,
                seconds=now - self._answered_at,
            )
        if slots is not None and not self._take_slot(slots, now):
            return False
        if is_suspects_turn and self._run_suspects():
            return True  # a suspect never runs on the loop
        return self._release(now)

    def _has_suspects(self) -> bool:
        """Return whether parts of a failed batch wait; one is run at a time, since its outcome tells what is next."""
        return bool(self._searches) and self._renewing is None and not any(run.is_suspect for run in self._running)

    # The slot to run in

    def due(self) -> float:
        """Return when the oldest waiting request should be answered."""
        oldest = self._queue.oldest()
        if oldest is None:
            return inf
        return min(oldest.deadline, oldest.arrived + (self.limits.max_latency_s or PATIENCE_S))

    def slot_is_free(self) -> None:
        """Come for the slot at the next turn."""
        self._ask_for_turn()

    def _take_slot(self, slots: Slots, now: float) -> bool:
        if not slots.take(self):
            if self._wanted_slot_at is None:
                self._wanted_slot_at = now
            return False
        waited = 0.0 if self._wanted_slot_at is None else now - self._wanted_slot_at
        self._wanted_slot_at = None
        self._delays.waited_for_slot(waited)
        return True

    def _withdraw_claim(self, slots: Slots) -> None:
        self._wanted_slot_at = None
        slots.withdraw(self)

    def _release(self, now: float) -> bool:
        self._is_suspects_turn = True
        self._admission.changed()
        regroup, self._regroup = self._regroup, None
        oldest = self._queue.oldest()
        is_regrouped = regroup is not None and oldest is not None and oldest.arrived < regroup.until
        batch = compose(self._queue, estimate=self._estimator.estimate, limits=self.limits, now=now)
        self._expire(batch.expired)
        members = batch.members
        if not members:
            self._give_slot_back()
            return True
        is_handed_over = True
        if self._isolate_failures and self._verdicts.is_broken and len(members) > 1:
            self._searches.append(Isolation.probing(members))
            if not (self._has_suspects() and self._run_suspects()):
                self._give_slot_back()
        else:
            is_handed_over = self._start(self._new_run(members, items=batch.items, is_suspect=False, now=now))
        self._observer.batch_released(
            batch.bound_by or ("drain" if self._is_closing else "regroup" if is_regrouped else "idle"),
            requests=len(members),
            items=batch.items,
            queue_seconds=[now - member.arrived for member in members],
        )
        return is_handed_over

    def _new_run(self, members: Sequence[_Waiter[T, R]], *, items: int, is_suspect: bool, now: float) -> _Run[T, R]:
        given = [member.item for member in members]
        return Run(members, given, items=items, is_suspect=is_suspect, started=now)

    def _start(self, run: _Run[T, R]) -> bool:
        """Run it, or have it run; False if it is over already, so that the loop may see to others first."""
        self._running.append(run)
        estimate = self._estimator.estimate
        if (
            self._may_run_on_loop
            and not run.is_suspect
            and self._placement.is_loop_fit(run.items, estimate=estimate, now=run.started)
        ):
            run.is_on_loop = True
            run.execute(self._run, self._clock)
            self._finished(run)
            return False
        patience_s = 0.0
        if self._may_give_way:
            patience_s = self._placement.patience_s(run.items, estimate=estimate, now=run.started)
        if not patience_s:
            self._executor.put(run, is_loop_busy=self._has_answers)
            return True
        run.over = over = Event()
        self._executor.put(run)
        is_over = over.wait(patience_s)
        self._deaf_since = run.started
        self._listen(self._hear)
        if is_over:
            self._finished(run)
        return not is_over

    def _give_slot_back(self) -> None:
        if self._slots is not None:
            self._slots.give_back()

    def _finished(self, run: _Run[T, R]) -> None:
        """See to a run that is over, unless that has been done."""
        if run.is_overdue or run.is_settled:
            if run.is_overdue and run.error is not None:
                forget_frames(run.error)
            return
        run.is_settled = True
        try:
            self._settle(run)
        except Exception as exc:  # noqa: BLE001 - a mistake here must not leave everybody waiting for ever
            self._refuse_all(run.members, "stuck")
            self._be_stuck(exc)

    def _settle(self, run: _Run[T, R]) -> None:
        """Answer, learn, and see to what comes next."""
        self._running.remove(run)
        self._admission.changed()
        self._give_slot_back()
        now = self._clock()
        seconds = run.finished - run.started
        lag = now - run.finished
        pause_s = max(run.started - self._ended_at, 0.0) if self._were_waiting and self._slots is None else None
        if self._has_target and pause_s is not None:
            self._delays.paused(pause_s)
        self._ended_at = run.finished
        self._delays.lagged(lag)
        if run.error is None:
            self._learn(run, seconds, pause_s, now)
        else:
            self._failed(run, run.error)
        if run.is_suspect and self._searches:
            self._is_suspects_turn = len(self._searches) >= _SEARCHES_AT_ONCE or not self._queue.requests
        self._regroup = None
        self._were_waiting = self._queue.items
        wait = self._wait_after(run, now)
        if wait is not None:
            self._answer(run)
            self._regroup = wait
            if wait.is_deaf:
                self._listen(self._answered, wait)
            else:
                self._loop.call_soon(self._answered, wait, context=self._context)
        elif self._will_stand_still(now):
            self._answer(run)
            self._ask_for_turn()
        else:
            self._has_answers = True
            self._turn()  # the next batch runs while the answers to this one are written
            self._has_answers = False
            self._answer(run)
        observer = self._observer
        observer.batch_finished(
            requests=len(run.members), items=run.items, service_seconds=seconds, failed=run.error is not None
        )
        observer.loop_lagged(lag)

    def _answer(self, run: _Run[T, R]) -> None:
        if run.error is not None:
            return  # they have been told, or their parts are run again
        for member, result in zip(run.members, run.results, strict=True):
            if not member.future.done():
                member.future.set_result(result)
        oldest = next((member for member in run.members if not member.is_probe), None)
        if self._has_target and oldest is not None:
            self._loop.call_soon(self._written, oldest.arrived, context=self._context)

    def _wait_after(self, run: _Run[T, R], now: float) -> Regroup | None:
        """Return what to wait for before the next batch, at first that the answers to ``run`` are written."""
        if run.items + self._were_waiting <= 1:
            return None
        self._return_s = self._reunions.expected_return_s()
        expected = self._expected(run.items, now)
        if not (run.is_on_loop or run.over) and (expected is None or expected.is_over(now, self._queue.items)):
            return None
        return Regroup(run.items, inf, is_deaf=self._deaf_since is not None)

    def _will_stand_still(self, now: float) -> bool:
        """Return whether the event loop will do nothing else while the next batch runs."""
        items = min(self._queue.items, self.limits.max_batch_size)
        estimate = self._estimator.estimate
        return (self._may_run_on_loop and self._placement.is_loop_fit(items, estimate=estimate, now=now)) or (
            self._may_give_way and self._placement.gives_way
        )

    def _listen(self, then: Callable[..., None], *args: Any) -> None:
        """Call ``then`` when the loop has read what came while it stood still: one turn later, two of asyncio's own."""
        self._loop.call_soon(partial(self._loop.call_soon, then, *args, context=self._context), context=self._context)

    def _hear(self) -> None:
        """Take note that everything has been read that came while the loop stood still."""
        self._deaf_since = None
        self._admission.changed()

    def _answered(self, regroup: Regroup) -> None:
        """Begin to wait for the clients to return, now that their answers are written."""
        if self._regroup is regroup:
            self._answered_at = now = self._clock()
            self._reunions.seen_together(regroup.items + self._queue.items)
            self._regroup = self._expected(regroup.items, now)
            self._turn()

    def _written(self, arrived: float) -> None:
        """Learn from how long the oldest member of a batch waited for its answer, which is written by now."""
        self._admission.answered(self._clock() - arrived + self._delays.lag_s, arrived=arrived)

    def _expected(self, items: int, answered_at: float) -> Regroup | None:
        return regroup_after(
            items,
            self._estimator.estimate,
            answered_at,
            waiting_items=self._were_waiting,
            company=self._reunions.company,
            return_s=self._return_s,
            max_batch_size=self.limits.max_batch_size,
        )

    def _see_returns(self, now: float) -> Regroup | None:
        """Return the present wait, longer if somebody has come: to read a few requests may take all of it."""
        regroup = self._regroup
        if regroup is not None and self._queue.items > self._seen_items:
            regroup = regroup.returned(now)
        self._seen_items = self._queue.items
        return regroup

    def _go_on_waiting(self, regroup: Regroup) -> None:
        if regroup.until < inf:  # else the answers are on their way out, and `_answered` follows them
            # PERF: timers round to a millisecond or more (uvloop: down to 0); a turn of the loop is a few µs.
            self._ask_for_turn()

    def _learn(self, run: _Run[T, R], seconds: float, pause_s: float | None, now: float) -> None:
        self._verdicts.passed()
        if run.is_suspect and self._searches:
            self._searches[0].passed()
        self._estimator.observe(run.items, seconds)
        self._placement.observe(
            seconds,
            expected_s=self._estimator.estimate.seconds(run.items),
            cpu_s=run.cpu_s,
            pause_s=pause_s,
            was_on_loop=run.is_on_loop,
            was_given_way=run.over is not None,
            now=now,
        )
        if self._admission.observe(self._estimator.estimate):
            target = self.limits.max_latency_s
            if target is not None:
                self._observer.target_unreachable(
                    single_seconds=self._estimator.estimate.seconds(1), target_seconds=target
                )

    # Failures

    def _failed(self, run: _Run[T, R], error: Exception) -> None:
        members = run.members
        is_alone = len(members) == 1
        if not is_alone and self._isolate_failures:
            if not run.is_suspect:
                self._searches.append(Isolation(members, error))
            elif self._searches:
                self._searches[0].failed()
            forget_frames(error)
            return
        told = error if is_alone else BatchFailedError(error, len(members))
        waiting = [member for member in members if not member.future.done()]
        for member in waiting:
            member.future.set_exception(told)
        if not waiting:
            self._tell_others(error, len(members))
        if is_alone:
            self._verdicts.failed_alone(error, run.finished)
            if run.is_suspect and self._searches:
                self._searches[0].is_explained = True
                if self._verdicts.is_broken:
                    self._give_up(self._searches.popleft())

    def _run_suspects(self) -> bool:
        """Run the next part of the oldest search; False if there is none left to run, or it is being renewed."""
        while self._searches:
            if self._is_giving_up:
                self._give_up(self._searches.popleft())
                continue
            now = self._clock()
            self._expire([member for member in self._part if member.deadline <= now])
            part, self._part = list(filter(_is_wanted, self._part)), []
            if part:
                items = sum(member.items for member in part)
                self._start(self._new_run(part, items=items, is_suspect=True, now=now))
                return True
            if (found := self._searches[0].next_part(_is_wanted)) is None:
                self._give_up(self._searches.popleft())
                continue
            self._part = found
            if self._renew is None:
                continue
            renewed = self._renew([member.item for member in found])
            if inspect.isawaitable(renewed):
                self._renewing = asyncio.ensure_future(self._await_renewed(renewed))
                return False
            self._take_renewed(renewed)
        return False

    async def _await_renewed(self, renewed: Awaitable[Sequence[T | Exception]]) -> None:
        try:
            items = await renewed
            if self._part:  # else it was given up meanwhile
                self._take_renewed(items)
        except Exception as exc:  # noqa: BLE001 - a mistake there must not leave everybody waiting for ever
            self._be_stuck(exc)
        self._renewing = None
        self._ask_for_turn()

    def _take_renewed(self, renewed: Sequence[T | Exception]) -> None:
        """Give the next part its new items, and tell who has none."""
        for member, item in zip(self._part, renewed, strict=True):
            if not isinstance(item, Exception):
                member.item = item
            elif not member.future.done():
                member.future.set_exception(item)

    def _give_up(self, search: Isolation[_Waiter[T, R]]) -> None:
        part, self._part = self._part, []
        self._refuse_all([*part, *search.unjudged()], "unjudged")
        if search.error is not None and not search.is_explained:
            BaseException.with_traceback(search.error, search.traceback)
            self._tell_others(search.error, search.requests)

    def _tell_others(self, error: Exception, requests: int) -> None:
        """Say what no request is told."""
        self._on_untold(error, requests)
        forget_frames(error)

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

    def _give_up_run(self, run: _Run[T, R]) -> None:
        """Tell those who wait for ``run`` that it takes too long; without a way to end it, this was the last one."""
        run.is_overdue = True
        self._running.remove(run)
        self._admission.changed()
        self._give_slot_back()
        error = OverdueError(self.limits.run_timeout_s)
        for member in run.members:
            if not member.future.done():
                member.future.set_exception(error)
        self._observer.batch_finished(
            requests=len(run.members), items=run.items, service_seconds=self._clock() - run.started, failed=True
        )
        if run.is_suspect and self._searches:
            self._give_up(self._searches.popleft())
        if self._executor.cancel(run):
            self._ask_for_turn()
            return
        self._be_stuck(error)

    def _be_stuck(self, error: Exception) -> None:
        """Accept nothing more, and tell who waits and whoever can replace this batcher."""
        self._is_stuck = self._is_closing = self._is_giving_up = True
        self._refuse_all(list(self._queue), "stuck")
        while self._searches:
            self._give_up(self._searches.popleft())
        self._end_if_drained()
        self._on_stuck(error)

    # The end

    def _is_busy(self) -> bool:
        return bool(self._running) or self._queue.requests > 0 or bool(self._searches) or self._renewing is not None

    def _end_if_drained(self) -> None:
        if self._is_closing and not self._is_busy():
            self._drained.set()


def _is_wanted(waiter: _Waiter[Any, Any]) -> bool:
    return not waiter.future.done()
