"""One API's batcher: drives a `Dispatcher` on an asyncio event loop.

Everything here happens on the event loop. What runs next, and who is refused, is decided by `dispatcher`; how it is run
by `execution`. A request is one `Request` and one outcome: no task and no closure.

The life of a batch: `put` queues a request and asks for a *turn* at the end of the loop's turn, so that everything that
has been read is in. `_turn` asks what runs next, `_begin` has it run, `_finished` delivers the answers and asks for the
next turn.
"""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable, Hashable, Sequence
from contextvars import Context
from functools import partial
from math import inf
from threading import Event
from typing import Any, Generic, Protocol, TypeVar, cast

from kappa.server.batching.admission import Admission, Refusal, RefusalReason
from kappa.server.batching.dispatcher import BatcherState, Dispatcher, observe_release
from kappa.server.batching.estimator import Estimator
from kappa.server.batching.execution import Executor, Tasks, Threads, execute
from kappa.server.batching.failure import forget_frames
from kappa.server.batching.observer import Observer, SilentObserver
from kappa.server.batching.outcomes import Outcome
from kappa.server.batching.placement import Placer
from kappa.server.batching.policy import Limits
from kappa.server.batching.queue import WaitingRequest
from kappa.server.batching.regrouping import Regroup
from kappa.server.batching.runs import Request, Run
from kappa.server.batching.slots import Slots
from kappa.services.threads import ServiceThread

__all__ = ["Batcher", "Refusing", "Renewing"]

T = TypeVar("T")
R = TypeVar("R")

Renewing = Callable[[Sequence[T]], "Sequence[T | Exception] | Awaitable[Sequence[T | Exception]]"]
"""Returns items as fresh as they were submitted, or for each the exception for its request."""


class Refusing(Protocol):
    def __call__(self, *, size_bytes: int = 0) -> Refusal | None: ...


class Batcher(Generic[T, R]):
    """Collect requests of one API into batches and run them, as many at a time as its limits allow.

    ``run`` takes the items of one group in order of arrival and returns one result for each, in order; it is called in
    threads of the API's own, or awaited on the event loop if it is `async def`; ``placer`` may choose other placements.
    With ``isolate_failures``, the parts of a failed batch are run again to find the request at fault; their items go
    through ``renew`` first. ``on_untold`` is called with errors that no request gets (see `Dispatcher`), and
    ``on_stuck`` when nothing can be run any more: a call does not end in time and cannot be ended (with an
    `OverdueError`), or the batcher itself failed. With ``thread``, one call at a time is made there, and not in a
    thread of the API's own. All see the variables of ``context``, which stays as it is. ``slots`` are shared with the
    other APIs of the process. Times are readings of ``clock``, in seconds.
    """

    def __init__(
        self,
        run: Callable[[Sequence[T]], Sequence[R]] | Callable[[Sequence[T]], Awaitable[Sequence[R]]],
        *,
        limits: Limits,
        name: str,
        isolate_failures: bool = False,
        renew: Renewing[T] | None = None,
        estimator: Estimator | None = None,
        admission: Admission | None = None,
        placer: Placer | None = None,
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
        self._function = cast("Callable[[Sequence[T]], Sequence[R]]", run)
        self._renew = renew
        self._on_stuck = on_stuck
        self._clock = clock
        self._observer: Observer = SilentObserver() if observer is None else observer
        self._dispatcher: Dispatcher[T, R] = Dispatcher(
            limits,
            estimator=estimator,
            admission=admission,
            placer=placer,
            slots=slots,
            isolates_failures=isolate_failures,
            renews=renew is not None,
            wake=self._ask_for_turn,
            on_untold=on_untold,
            observer=self._observer,
        )
        self.refusal: Refusing = partial(self._dispatcher.refusal, clock)
        """Return why a request like the last would not be admitted now, or None (see `Dispatcher.refusal`)."""
        self._is_turn_due = False
        self._has_answers = False
        """Whether answers wait to be written while a turn begins the next batch."""
        self._renewing: asyncio.Future[None] | None = None
        self._drained = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop
        # The user's code must not see the context variables of the first caller.
        self._context = Context() if context is None else context.copy()
        self._executor: Executor = (
            Tasks(run, clock=clock, context=self._context)
            if inspect.iscoroutinefunction(run)
            else Threads(
                self._function,
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

    async def submit(
        self,
        item: T,
        *,
        group: Hashable = None,
        items: int = 1,
        size_bytes: int = 0,
        deadline: float | None = None,
    ) -> R:
        """Wait for the result of ``item``, with the arguments of `put`; raises what `put` does or `run` did.

        A cancelled caller leaves the queue at once.
        """
        future: asyncio.Future[R] = self._loop.create_future()
        waiting = self.put(item, future, group=group, items=items, size_bytes=size_bytes, deadline=deadline)
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
        """Queue ``item``, which counts as ``items`` and joins only requests of equal ``group``, and resolve
        ``outcome``. ``arrived`` is the reading of the clock at its arrival, if that is not now, and ``deadline`` the
        one after which the client no longer wants it. Raises `RefusedError` or `ExpiredError`; ``outcome`` is told
        those that come later, besides `OverdueError`.
        """
        now = self._clock()
        request: Request[T, R] = Request(
            now if arrived is None else arrived, group, items, size_bytes, inf if deadline is None else deadline
        )
        request.item = item
        request.outcome = outcome
        dispatcher = self._dispatcher
        dispatcher.put(request, now)
        if not self._is_turn_due and dispatcher.room:
            self._ask_for_turn()
        return request

    def abandon(self, waiting: WaitingRequest) -> None:
        """Drop what `put` returned, whose client has left, if it is not running yet."""
        self._dispatcher.abandon(waiting)
        self._end_if_drained()

    def lacks_room(self, *, arriving: int, decoding: int, size_bytes: int) -> RefusalReason | None:
        """Return the bound that waiting and arriving requests exceed together, or None. ``arriving`` is the number of
        the latter, ``decoding`` of those that have arrived in full. One may always come.
        """
        return self._dispatcher.lacks_room(arriving=arriving, decoding=decoding, size_bytes=size_bytes)

    def look(self, lag_s: float = 0.0) -> None:
        """Give up the runs that take too long; call it a few times a second with the lag of the event loop."""
        dispatcher, now = self._dispatcher, self._clock()
        for run in dispatcher.look(now, lag_s=lag_s):
            error = dispatcher.give_up(run)
            self._observer.batch_finished(
                requests=len(run.members),
                items=run.items,
                service_seconds=now - run.started,
                failed=True,
                placement=run.placement,
            )
            if self._executor.cancel(run):
                self._ask_for_turn()
            else:  # this was the last one
                self._be_stuck(error)

    async def close(self, *, drain: bool = True) -> None:
        """Accept nothing more, finish what was accepted (or refuse what still waits), and stop the threads.

        The batches that run are always waited for; put a time limit around this call to give up on them.
        """
        self._dispatcher.close(drain=drain)
        if self._dispatcher.is_busy:
            self._ask_for_turn()
            await self._drained.wait()
        self._executor.stop()

    @property
    def state(self) -> BatcherState:
        return self._dispatcher.state

    # Turns

    def _ask_for_turn(self) -> None:
        if not self._is_turn_due:
            self._is_turn_due = True
            self._loop.call_soon(self._turn, context=self._context)

    def _turn(self) -> None:
        """Start the next run, if there is one."""
        self._is_turn_due = False
        dispatcher = self._dispatcher
        try:
            while dispatcher.room:
                decision = dispatcher.turn(self._clock())
                if decision is None:
                    self._end_if_drained()
                    break
                if isinstance(decision, Run):
                    is_handed_over = self._begin(decision)
                    observe_release(self._observer, decision)
                    if not is_handed_over:
                        break
                elif isinstance(decision, Regroup):
                    if decision.until < inf:
                        # PERF: timers round to a millisecond or more (uvloop: down to 0), a turn takes a few µs.
                        self._ask_for_turn()
                    break
                else:
                    self._begin_renewing([request.item for request in decision.part])
        except Exception as exc:  # noqa: BLE001 - a mistake here must not leave all requests waiting for ever
            self._be_stuck(exc)

    def _begin(self, run: Run[T, R]) -> bool:
        """Run it, or have it run; False if it is over already, so that the loop can handle other events first."""
        if run.placement == "loop":
            execute(run, self._function, self._clock)
            self._finished(run)
            return False
        if run.placement == "thread":
            self._executor.put(run, is_loop_busy=self._has_answers)
            return True
        run.over = over = Event()
        self._executor.put(run)
        is_over = over.wait(run.pause_s)
        self._observer.loop_paused(self._clock() - run.released)
        self._dispatcher.loop_paused(run.started)
        self._call_after_reading(self._dispatcher.input_read)
        if is_over:
            self._finished(run)
        return not is_over

    def _call_after_reading(self, then: Callable[..., None], *args: Any) -> None:
        """Call ``then`` when the loop has read the input of its pause: one turn later, two of asyncio's own."""
        self._loop.call_soon(partial(self._loop.call_soon, then, *args, context=self._context), context=self._context)

    def _finished(self, run: Run[T, R]) -> None:
        """Handle the end of a run, unless that has been done."""
        if run.is_overdue or run.is_settled:
            if run.is_overdue and run.error is not None:
                forget_frames(run.error)
            return
        run.is_settled = True
        try:
            self._settle(run)
        except Exception as exc:  # noqa: BLE001 - a mistake here must not leave all requests waiting for ever
            self._be_stuck(exc, run)

    def _settle(self, run: Run[T, R]) -> None:
        """Deliver the answers, and start what comes next."""
        dispatcher, now = self._dispatcher, self._clock()
        is_answered_first = dispatcher.finished(run, now)
        if not is_answered_first:
            self._has_answers = True
            self._turn()  # the next batch runs while the answers to this one are written
            self._has_answers = False
        self._answer(run)
        if run.regroup is None:
            if is_answered_first:
                self._ask_for_turn()
        elif run.regroup.has_unread_input:
            self._call_after_reading(self._answers_written, run.regroup)
        else:
            self._loop.call_soon(self._answers_written, run.regroup, context=self._context)
        observer = self._observer
        observer.batch_finished(
            requests=len(run.members),
            items=run.items,
            service_seconds=run.finished - run.started,
            failed=run.error is not None,
            placement=run.placement,
        )
        observer.loop_lagged(now - run.finished)

    def _answer(self, run: Run[T, R]) -> None:
        if run.error is not None:
            return  # they have been told, or their parts are run again
        for member, result in zip(run.members, run.results, strict=True):
            outcome = member.outcome
            if not outcome.done():
                outcome.set_result(result)
        if self.limits.max_latency_s is None:
            return
        arrived = self._dispatcher.to_learn_from(run)
        if arrived is not None:
            self._loop.call_soon(self._answered, arrived, context=self._context)

    def _answered(self, arrived: float) -> None:
        self._dispatcher.answered(arrived, self._clock())

    def _answers_written(self, regroup: Regroup) -> None:
        if self._dispatcher.answers_written(regroup, self._clock()):
            self._turn()

    # Failures

    def _begin_renewing(self, items: Sequence[T]) -> None:
        assert self._renew is not None  # noqa: S101 - else nothing is to be renewed
        try:
            renewed = self._renew(items)
            if inspect.isawaitable(renewed):
                self._renewing = asyncio.ensure_future(self._await_renewed(renewed))
            else:
                self._dispatcher.renewed(renewed)
        except Exception as exc:  # noqa: BLE001 - a mistake there must not leave all requests waiting for ever
            self._fail_renewing(exc)

    async def _await_renewed(self, renewed: Awaitable[Sequence[T | Exception]]) -> None:
        try:
            self._dispatcher.renewed(await renewed)
        except Exception as exc:  # noqa: BLE001 - the same
            self._fail_renewing(exc)
        self._ask_for_turn()

    def _fail_renewing(self, error: Exception) -> None:
        self._be_stuck(error)
        self._dispatcher.renewed(())

    def _be_stuck(self, error: Exception, run: Run[T, R] | None = None) -> None:
        """Accept nothing more, refuse waiting requests, and report that this batcher must be replaced."""
        self._dispatcher.be_stuck(() if run is None else run.members)
        self._end_if_drained()
        self._on_stuck(error)

    def _end_if_drained(self) -> None:
        if self._dispatcher.is_drained:
            self._drained.set()
