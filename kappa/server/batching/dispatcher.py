"""The decisions of batching: what one API runs next, and who is refused. It has no event loop, thread or clock. A
driver reports events with their times, and carries out the decisions. The server's driver is `batcher`, that of `kappa
tune` is `kappa.server.tuning.simulator`. The order of events:

* `put` queues a request, or raises why it is refused; `abandon` when its client leaves.
* `turn`, while there is `room` for a further batch: it returns a `Run` to start, requests to `Renew` first, until
  when to wait (a `Regroup`), or None.
* `finished` when the run is over. Its answers are delivered by the driver, before the next turn or after it, as
  `finished` says; then `answers_written`, and `answered` if a latency target is to be learned from.
* `loop_paused` and `input_read` around a pause of the event loop and its unread input.
* `look` a few times a second, `close` at the end.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from math import inf
from typing import Any, Generic, Literal, NamedTuple, TypeVar, cast

from kappa.server.batching.admission import Admission, Candidate, Delays, Refusal, RefusalReason, remaining_seconds
from kappa.server.batching.constants import SLOT_PATIENCE_S
from kappa.server.batching.estimator import Estimate, Estimator
from kappa.server.batching.failure import BatchFailedError, forget_frames
from kappa.server.batching.isolation import Isolation, Suspects
from kappa.server.batching.observer import Observer, SilentObserver
from kappa.server.batching.outcomes import ExpiredError, OverdueError, RefusedError
from kappa.server.batching.placement import Placement, Placer
from kappa.server.batching.policy import Limits, ReleaseReason, compose
from kappa.server.batching.queue import WaitingQueue, WaitingRequest
from kappa.server.batching.regrouping import Regroup, Regrouping
from kappa.server.batching.runs import Request, Run
from kappa.server.batching.slots import Slots

__all__ = ["BatcherState", "Dispatcher", "Renew", "observe_release"]

T = TypeVar("T")
R = TypeVar("R")


class Renew(NamedTuple):
    """The items of ``part`` are to be renewed, and returned to `Dispatcher.renewed`."""

    part: Sequence[Request[Any, Any]]


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
    """The number of items of all requests so far, refused ones included."""
    loop_lag_s: float
    is_target_unreachable: bool
    """One item alone takes longer than the latency target, which therefore refuses none."""
    estimate: Estimate
    """The learned `T(n)`: ``slope_s``, ``base_s``, ``tail_s``, ``runs``, ``largest``."""
    placements: frozenset[Placement]
    """Where its batches may run."""
    waits_until: float
    """Until when the next batch waits for clients to return; `-inf` without a wait."""


class Dispatcher(Generic[T, R]):
    """Decides for one API; see `kappa.server.batching` for the words.

    With ``isolates_failures``, the parts of a failed batch are run again to find the request at fault, and with
    ``renews`` their items are made fresh before; without, all members of a failed batch get one `BatchFailedError`.
    ``slots`` are shared with the other APIs of the process. ``wake`` is called when a turn is due without an event of
    the driver: a slot became free. ``on_untold`` is called with an exception of the function that no request gets, and
    the number of requests of the run: its batch failed and none of its members alone, or all of them had left.
    """

    def __init__(
        self,
        limits: Limits,
        *,
        estimator: Estimator | None = None,
        admission: Admission | None = None,
        placer: Placer | None = None,
        slots: Slots | None = None,
        isolates_failures: bool = False,
        renews: bool = False,
        wake: Callable[[], None] = lambda: None,
        on_untold: Callable[[Exception, int], None] = lambda _, __: None,
        observer: Observer | None = None,
    ) -> None:
        self.limits = limits
        self._estimator = Estimator() if estimator is None else estimator
        self._admission = Admission(limits) if admission is None else admission
        self._placer = Placer() if placer is None else placer
        self._slots = slots
        self._isolates_failures = isolates_failures
        self._renews = renews
        self._wake = wake
        self._on_untold = on_untold
        self._observer: Observer = SilentObserver() if observer is None else observer
        self._queue: WaitingQueue[Request[T, R]] = WaitingQueue(max_batch_size=limits.max_batch_size)
        self._regrouping = Regrouping(limits.max_batch_size)
        self._suspects: Suspects[Request[T, R]] = Suspects()
        self._delays = Delays()
        self._running: list[Run[T, R]] = []
        self.room = limits.max_concurrency
        """How many further batches may start."""
        self._offered_items = 0
        self._last_offer: tuple[Hashable, int] = (None, 1)
        """The group and the items of the last request."""
        self._unread_since: float | None = None
        """Since when the loop has read nothing, until it has read that input, which may be as old."""
        self._ending: Literal["closing", "stuck"] | None = None
        """Why nothing more is accepted."""
        self._is_giving_up = False
        """Whether suspects are no longer run."""

    # What a driver may ask

    @property
    def is_busy(self) -> bool:
        """Whether some request is not answered yet."""
        suspects = self._suspects
        return bool(self._running) or self._queue.requests > 0 or bool(suspects.searches) or suspects.is_renewing

    @property
    def is_drained(self) -> bool:
        """Whether it accepts nothing more, and has answered everything."""
        return self._ending is not None and not self.is_busy

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
            placements=self._placer.placements,
            waits_until=self._regrouping.waits_until,
        )

    # Requests

    def put(self, request: Request[T, R], now: float) -> None:
        """Queue ``request``; raises `RefusedError` or `ExpiredError`; later errors go to its outcome."""
        queue, limits = self._queue, self.limits
        if self._unread_since is not None:
            request.arrived = min(request.arrived, self._unread_since)
        items = request.items
        self._offered_items += items
        self._last_offer = request.group, items
        # PERF: judging costs 1 to 2 µs, so it is skipped where no request can be refused.
        if (
            self._ending is not None
            or limits.max_latency_s is not None
            or request.deadline < inf
            or queue.items + items > limits.max_queue_items
            or queue.size_bytes + request.size_bytes > limits.max_queue_bytes
        ) and (self._ending is not None or self.is_busy):
            candidate = Candidate(now, request.group, items, request.size_bytes, request.deadline, request.arrived)
            refusal = self._refusal(candidate, is_probe_spent=True)
            if refusal is not None:
                raise RefusedError(refusal.reason, retry_after_s=refusal.retry_after_s)
            request.is_probe = self._admission.has_spent_probe
        if request.deadline <= now:
            self._observer.request_dropped("expired")
            raise ExpiredError
        queue.add(request)

    def abandon(self, request: WaitingRequest) -> None:
        """Drop a request whose client has left, if it is not running yet."""
        if request.is_waiting:
            self._queue.remove(cast("Request[T, R]", request))
            self._admission.changed()
            self._observer.request_dropped("disconnected")

    def refusal(self, clock: Callable[[], float], *, size_bytes: int = 0) -> Refusal | None:
        """Return why a request like the last would not be admitted now, or None: cheap enough to ask before reading.

        It promises nothing for later, and spends no probe. PERF: ``clock`` is read only where that matters.
        """
        queue, limits = self._queue, self.limits
        if not (
            self._ending is not None
            or limits.max_latency_s is not None
            or queue.items >= limits.max_queue_items
            or queue.size_bytes + size_bytes > limits.max_queue_bytes
        ) or not (self._ending is not None or self.is_busy):
            return None
        now = clock()
        refusal = self._admission.standing(now)
        group, items = self._last_offer
        if refusal is None:
            arrived = now if self._unread_since is None else self._unread_since
            refusal = self._refusal(Candidate(now, group, items, size_bytes, inf, arrived), is_probe_spent=False)
            if refusal is not None and not size_bytes:
                self._admission.stands(refusal, now)
        if refusal is not None:
            self._offered_items += items
        return refusal

    def lacks_room(self, *, arriving: int, decoding: int, size_bytes: int) -> RefusalReason | None:
        """Return the bound that waiting and arriving requests exceed together, or None. ``arriving`` is the number of
        the latter, ``decoding`` of those that have arrived in full. One may always come.
        """
        queue = self._queue
        if queue.requests + arriving > 1:
            if queue.items + decoding > self.limits.max_queue_items:
                return "queue_items"
            if queue.size_bytes + size_bytes > self.limits.max_queue_bytes:
                return "queue_bytes"
        return None

    def _refusal(self, request: Candidate, *, is_probe_spent: bool) -> Refusal | None:
        if self._ending is not None:
            return Refusal(self._ending, 1.0)
        estimate = self._estimator.estimate
        busy_s = self._delays.lag_s
        if not self.room:
            busy_s += min(
                remaining_seconds(run.items, elapsed=request.now - run.started, estimate=estimate)
                for run in self._running
            )
        return self._admission.refusal(
            self._queue,
            request,
            busy_s=busy_s,
            estimate=self._delays.added_to(estimate),
            is_probe_spent=is_probe_spent,
        )

    # Turns

    def turn(self, now: float) -> Run[T, R] | Renew | Regroup | None:
        """Return what is to be done now; None if there is nothing, or no slot is free.

        With a `Regroup`, nothing is to start: ask again when it ends, and when a request comes. If that is never,
        answers are still being written, and `answers_written` follows them.
        """
        queue, suspects, regrouping = self._queue, self._suspects, self._regrouping
        while queue.requests or (suspects.searches and suspects.is_ready):
            regroup = regrouping.wait(now, queue.items)
            is_suspects_turn = bool(suspects.searches) and suspects.has_turn(queue.requests)
            if regroup is not None and not is_suspects_turn and self._ending is None:
                if self._slots is not None:
                    self._withdraw_claim(self._slots)
                return regroup
            regrouping.end(now, queue.items)
            if is_suspects_turn and (renew := self._prepare_part(now)) is not None:
                return renew
            if not (suspects.part or queue.requests):
                continue
            if not self._take_slot(now):
                return None
            run = self._run_part(now) if is_suspects_turn else None
            if run is None:
                run = self._release(now)
            if run is not None:
                self._running.append(run)
                self.room -= 1
                return run
            self._give_slot_back()
        if self._slots is not None:
            self._withdraw_claim(self._slots)
        return None

    def _release(self, now: float) -> Run[T, R] | None:
        """Return the next batch; None if all waiting requests had expired, or it is only tried because the function is
        broken."""
        oldest = self._queue.oldest()
        if oldest is None:
            return None
        suspects = self._suspects
        suspects.healthy_released()
        self._admission.changed()
        is_regrouped = self._regrouping.release(oldest.arrived)
        batch = compose(self._queue, estimate=self._estimator.estimate, limits=self.limits, now=now)
        if batch.expired:
            self._expire(batch.expired)
        members = batch.members
        if not members:
            return None
        reason = batch.bound_by or ("drain" if self._ending is not None else "regroup" if is_regrouped else "idle")
        run = self._new_run(members, batch.items, now, reason)
        if self._isolates_failures and suspects.is_function_broken and len(members) > 1:
            suspects.add(Isolation.probing(members))
            observe_release(self._observer, run)
            return None
        return run

    def _new_run(
        self, members: Sequence[Request[T, R]], items: int, now: float, reason: ReleaseReason | None
    ) -> Run[T, R]:
        placer, estimate = self._placer, self._estimator.estimate
        placement, pause_s = placer.choose(items, is_suspect=reason is None, estimate=estimate, now=now)
        return Run(
            members,
            items=items,
            released=now,
            reason=reason,
            placement=placement,
            pause_s=pause_s,
            is_cpu_measured=placer.wants_cpu(items, estimate=estimate),
        )

    # Slots

    def due(self) -> float:
        """Return when the oldest waiting request should be answered."""
        oldest = self._queue.oldest()
        if oldest is None:
            return inf
        return min(oldest.deadline, oldest.arrived + (self.limits.max_latency_s or SLOT_PATIENCE_S))

    def slot_is_free(self) -> None:
        """Ask for a turn, in which the slot is taken."""
        self._wake()

    def _take_slot(self, now: float) -> bool:
        if self._slots is None:
            return True
        is_taken = self._slots.take(self)
        self._delays.asked_for_slot(now, is_taken=is_taken)
        return is_taken

    def _give_slot_back(self) -> None:
        if self._slots is not None:
            self._slots.give_back()

    def _withdraw_claim(self, slots: Slots) -> None:
        self._delays.withdrew_claim()
        slots.withdraw(self)

    # The end of a run

    def finished(self, run: Run[T, R], now: float) -> bool:
        """Learn from a finished run, and fail its failed requests; True if its answers go out before the next turn.

        If ``run.regroup`` is set then, the next turn is that of `answers_written`.
        """
        queue = self._queue
        self._running.remove(run)
        self.room += 1
        self._admission.changed()
        gap_s = self._delays.ran(run.started, run.finished, now, waiting_items=queue.items)
        if self._slots is not None:
            self._slots.give_back()
            gap_s = None
        elif gap_s is not None and self.limits.max_latency_s is not None:
            self._delays.between(gap_s)
        if run.error is None:
            self._learn(run, gap_s, now)
        else:
            self._failed(run, run.error)
        if run.is_suspect:
            self._suspects.ended(queue.requests)
        estimate = self._estimator.estimate
        run.regroup = self._regrouping.begin(
            run.items,
            waiting_items=queue.items,
            estimate=estimate,
            now=now,
            has_blocked_loop=run.placement in ("loop", "paused"),
            has_unread_input=self._unread_since is not None,
        )
        if run.regroup is not None:
            return True
        next_items = min(queue.items, self.limits.max_batch_size)
        return self._placer.blocks_loop(next_items, estimate=estimate, now=now)

    def _learn(self, run: Run[T, R], gap_s: float | None, now: float) -> None:
        self._suspects.passed(is_suspect=run.is_suspect)
        seconds = run.finished - run.started
        self._estimator.observe(run.items, seconds)
        estimate = self._estimator.estimate
        self._placer.observe(
            seconds,
            placement=run.placement,
            expected_s=estimate.seconds(run.items),
            cpu_s=run.cpu_s,
            gap_s=gap_s,
            now=now,
        )
        target = self.limits.max_latency_s
        if self._admission.observe(estimate) and target is not None:
            self._observer.target_unreachable(single_seconds=estimate.seconds(1), target_seconds=target)

    def to_learn_from(self, run: Run[T, R]) -> float | None:
        """Return the arrival for which `answered` is to be called once the answers to ``run`` are written, if any.

        It is that of the oldest member that was no probe.
        """
        if self.limits.max_latency_s is None or run.error is not None:
            return None
        return next((member.arrived for member in run.members if not member.is_probe), None)

    def answered(self, arrived: float, now: float) -> None:
        """Learn from an answer that was written just before ``now``."""
        self._admission.answered(now - arrived + self._delays.lag_s, arrived=arrived)

    def answers_written(self, regroup: Regroup, now: float) -> bool:
        """Begin to wait for clients to return: a turn is due then; False if something else has happened meanwhile."""
        return self._regrouping.answers_written(
            regroup, waiting_items=self._queue.items, estimate=self._estimator.estimate, now=now
        )

    def loop_paused(self, since: float) -> None:
        """Record that the event loop has read nothing ``since`` then."""
        self._unread_since = since

    def input_read(self) -> None:
        """Record that the event loop has read what came while it was paused."""
        self._unread_since = None
        self._admission.changed()

    # Failures

    def _failed(self, run: Run[T, R], error: Exception) -> None:
        suspects, members = self._suspects, run.members
        is_alone = len(members) == 1
        if not is_alone and self._isolates_failures:
            if not run.is_suspect:
                suspects.add(Isolation(members, error))
            elif not suspects.failed():
                self._refuse_all(members, "unjudged")
            forget_frames(error)
            return
        failure = error if is_alone else BatchFailedError(error, len(members))
        if not _tell(members, failure):
            self._report_untold(error, len(members))
        if is_alone:
            suspects.failed_alone(error, run.finished, is_suspect=run.is_suspect)
            if run.is_suspect and suspects.is_function_broken and suspects.searches:
                self._give_up_search()

    def _prepare_part(self, now: float) -> Renew | None:
        """Have the next suspects at hand, if there are any; returns those that are to be renewed first."""
        suspects = self._suspects
        while suspects.is_ready:
            if self._is_giving_up:
                self._give_up_search()
                continue
            self._expire([member for member in suspects.part if member.deadline <= now])
            if any(member.is_wanted for member in suspects.part):
                return None
            if not suspects.advance(_is_wanted):
                self._give_up_search()
            elif self._renews:
                suspects.is_renewing = True
                return Renew(suspects.part)
        return None

    def renewed(self, items: Sequence[T | Exception]) -> None:
        """Take the renewed items of the part, or for each the exception for its request."""
        suspects = self._suspects
        suspects.is_renewing = False
        if not suspects.part:
            return  # it was given up meanwhile
        for member, item in zip(suspects.part, items, strict=True):
            if not isinstance(item, Exception):
                member.item = item
            elif member.is_wanted:
                member.outcome.set_exception(item)

    def _run_part(self, now: float) -> Run[T, R] | None:
        part = self._suspects.take(_is_wanted)
        return self._new_run(part, sum(member.items for member in part), now, None) if part else None

    def _give_up_search(self) -> None:
        search, unjudged = self._suspects.abandon()
        self._refuse_all(unjudged, "unjudged")
        if search.error is not None and not search.is_explained:
            BaseException.with_traceback(search.error, search.traceback)
            self._report_untold(search.error, search.requests)

    def _report_untold(self, error: Exception, requests: int) -> None:
        """Report an error that no request gets."""
        self._on_untold(error, requests)
        forget_frames(error)

    def _refuse_all(self, requests: Iterable[Request[T, R]], reason: RefusalReason) -> None:
        for request in requests:
            if request.is_waiting:
                self._queue.remove(request)
            if request.is_wanted:
                request.outcome.set_exception(RefusedError(reason, retry_after_s=1.0))

    def _expire(self, requests: Iterable[Request[T, R]]) -> None:
        for request in requests:
            if request.is_wanted:
                request.outcome.set_exception(ExpiredError())
                self._observer.request_dropped("expired")

    # The end

    def look(self, now: float, *, lag_s: float) -> list[Run[T, R]]:
        """Record the lag of the event loop, and return the runs that take too long, for `give_up`. Batches record it
        too, but while requests are refused there may be none.
        """
        self._delays.lagged(lag_s)
        return [run for run in self._running if now - run.started > self.limits.run_timeout_s]

    def give_up(self, run: Run[T, R]) -> OverdueError:
        """Fail the requests of ``run``, which takes too long; return their error."""
        run.is_overdue = True
        self._running.remove(run)
        self.room += 1
        self._admission.changed()
        self._give_slot_back()
        error = OverdueError(self.limits.run_timeout_s)
        _tell(run.members, error)
        if run.is_suspect and self._suspects.searches:
            self._give_up_search()
        return error

    def close(self, *, drain: bool) -> None:
        """Accept nothing more; without ``drain``, refuse what still waits."""
        self._ending = self._ending or "closing"
        if not drain:
            self._is_giving_up = True
            self._refuse_all(list(self._queue), "closing")

    def be_stuck(self, members: Iterable[Request[T, R]] = ()) -> None:
        """Accept nothing more, and refuse all waiting requests and ``members``: nothing can be run any more."""
        self._ending = "stuck"
        self._is_giving_up = True
        self._refuse_all([*members, *self._queue], "stuck")
        while self._suspects.searches:
            self._give_up_search()


def observe_release(observer: Observer, run: Run[Any, Any]) -> None:
    """Report a batch that left the queue to ``observer``; a part of a failed batch did so before."""
    if run.reason is not None:
        observer.batch_released(
            run.reason,
            requests=len(run.members),
            items=run.items,
            queue_seconds=[run.released - member.arrived for member in run.members],
        )


def _tell(members: Iterable[Request[Any, Any]], error: Exception) -> bool:
    """Fail those who still wait with ``error``; False if there are none."""
    wanted = [member for member in members if member.is_wanted]
    for member in wanted:
        member.outcome.set_exception(error)
    return bool(wanted)


def _is_wanted(request: Request[Any, Any]) -> bool:
    return request.is_wanted
