"""When a batch is released, what joins it, who is refused: from clock, queue and estimate, and nothing else.

The server and the simulator of `kappa tune` run this code; it knows no event loop and no thread. Times are readings
of one clock in seconds.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from math import ceil, inf, sqrt
from typing import Generic, Literal, NamedTuple, TypeVar

from kappa.server.batching.estimator import Estimate
from kappa.server.batching.queue import WaitingQueue, WaitingRequest

__all__ = [
    "Admission",
    "Batch",
    "Candidate",
    "Limits",
    "Placement",
    "Refusal",
    "RefusalReason",
    "Regroup",
    "ReleaseReason",
    "Reunions",
    "compose",
    "regroup_after",
    "remaining_seconds",
]

ReleaseReason = Literal["idle", "regroup", "full", "target", "drain"]
"""Why a batch was not larger: nothing else waited (``idle``), its clients did not return in time (``regroup``), it
may not grow (``full``), more would miss a member's deadline (``target``), or the server stops (``drain``)."""

RefusalReason = Literal["queue_items", "queue_bytes", "target", "deadline", "closing", "unjudged", "stuck"]
"""Why a request was not run. ``unjudged``: its batch failed, and its own part in that was never found out. ``stuck``:
a call of the function does not end, and the process is about to be replaced."""

W = TypeVar("W", bound=WaitingRequest)


@dataclass(frozen=True, slots=True)
class Limits:
    """What one API may use; ``max_batch_size`` and ``max_queue_items`` count items (rows, else requests)."""

    max_batch_size: int
    max_latency_s: float | None = None
    """A target: who would be answered later is refused, unless the API is idle. None refuses nobody for it."""
    max_queue_items: int = 10_000
    max_queue_bytes: int = 256 * 2**20
    max_concurrency: int = 1
    """How many batches may run at once."""
    run_timeout_s: float = inf
    """How long a batch may run before it is given up."""


# Release


_CALLS_WORTH_A_RETURN = 4


class Regroup(NamedTuple):
    """The clients of the last batch have their answers and are about to return: wait for them, briefly.

    Without it, 4 to 16 closed-loop clients fall into a cycle of one and n - 1, and lose 1.3 to 2 times their rate.
    """

    items: int
    """How many make it worth running."""
    until: float
    patience_s: float = 0.0
    """How long to wait for the next one, from each that returns."""

    def is_over(self, now: float, waiting_items: int) -> bool:
        return waiting_items >= self.items or now >= self.until

    def returned(self, now: float) -> Regroup:
        """Take note that somebody has come."""
        return self._replace(until=max(self.until, now + self.patience_s)) if self.patience_s else self


def regroup_after(
    items: int,
    estimate: Estimate,
    answered_at: float,
    *,
    waiting_items: int,
    company: float = 0.0,
    return_s: float,
    max_batch_size: int,
) -> Regroup | None:
    """Return whom to wait for after a batch of ``items`` was answered; a lone item has no company to wait for.

    Usually that is half of them. It is all of them, beside the ``waiting_items`` that are there already, where their
    way back through HTTP takes less than a few calls of the function: ``return_s`` for each, one after the other. And
    it is the whole ``company``, which may have come apart into groups that take turns. Then everybody shares one call,
    and the calls do not fight with HTTP for Python's lock (measured: 1.2 times the rate at 16 connections; with 64,
    whose return takes ten calls, it would be a tenth less). The first of them takes longest, because whoever sends many
    requests sends them at the end of a turn of its own loop; it is waited for as long as a few calls take, which
    `Reunions` gives up when it is in vain.
    """
    wait = min(0.2 * estimate.base_s, 0.001)
    if items + waiting_items <= 1 or wait <= 0:
        return None
    if items * return_s < _CALLS_WORTH_A_RETURN * estimate.base_s:
        first = min(_CALLS_WORTH_A_RETURN * estimate.base_s, 0.002)
        everybody = min(max(waiting_items + items, round(company)), max_batch_size)
        return Regroup(everybody, answered_at + first, min(max(wait, 4 * return_s), first))
    return Regroup((items + 1) // 2, answered_at + wait) if items > 1 else None


class Reunions:
    """Knows whether the clients of a batch come back together, as those do that wait for an answer to ask again.

    Requests of many clients that come when they like have no reason to: waiting for them is tried once in a while only.
    """

    __slots__ = ("_batches", "_share", "company", "return_s")

    def __init__(self) -> None:
        self.return_s = 0.0001
        """How long each took to come back, one after the other."""
        self.company = 0.0
        """How many items were lately there at once: those of a batch, and those that waited when it was answered."""
        self._share = 1.0
        self._batches = 0

    def expected_return_s(self) -> float:
        """Return that time for the next batch, `inf` if nobody is expected."""
        self._batches += 1
        return self.return_s if self._share > 0.5 or self._batches % 16 == 0 else inf

    def seen_together(self, items: int) -> None:
        """Take note of how many there were at once; the most are remembered for about ten batches."""
        self.company = max(float(items), self.company + 0.1 * (items - self.company))

    def ended(self, *, expected_items: int, returned_items: int, seconds: float) -> None:
        """Take note of how a wait for all of them went."""
        self._share += 0.1 * (min(returned_items / expected_items, 1.0) - self._share)
        if 2 * returned_items >= expected_items:
            self.return_s += 0.1 * (seconds / returned_items - self.return_s)


@dataclass(frozen=True, slots=True)
class Batch(Generic[W]):
    """What leaves the queue together; ``bound_by`` is None when nobody else of its group waited."""

    members: list[W]
    items: int
    expired: list[W]
    """Requests whose deadline had passed; they are to be told, not run."""
    bound_by: Literal["full", "target"] | None


def compose(queue: WaitingQueue[W], *, estimate: Estimate, limits: Limits, now: float) -> Batch[W]:
    """Take the next batch out of ``queue``: the oldest request's group, in order of age.

    It holds up to ``max_batch_size`` items and twice the largest batch yet observed (slow start), and no more than
    lets every member meet its client's deadline that still can. A request is never split: one that is larger than the
    limit runs alone. The oldest group is never passed over.

    The latency target does not cut a batch: what is cut off starts the next batch late, and so do all after it
    (simulated at 2 to 10 times saturation with 20 % noise: 15 % less goodput, p99 past the target by a sixth).
    Admission keeps the target instead.
    """
    members: list[W] = []
    expired: list[W] = []
    while (request := queue.oldest()) is not None and request.deadline <= now:
        queue.remove(request)
        expired.append(request)
    if request is None:
        return Batch(members, 0, expired, None)
    group = request.group
    most = min(limits.max_batch_size, max(2 * estimate.largest, 1))
    total = 0
    due = inf
    while request is not None:
        if request.deadline <= now:
            expired.append(request)
        else:
            grown = total + request.items
            if members and grown > most:
                return Batch(members, total, expired, "full")
            if due < inf or request.deadline < inf:
                finish = now + estimate.seconds(grown) + estimate.tail_s
                if finish > due:
                    return Batch(members, total, expired, "target")
                if finish <= request.deadline:  # one that is late anyway holds nobody up
                    due = min(due, request.deadline)
            members.append(request)
            total = grown
        queue.remove(request)
        request = queue.head(group)
    return Batch(members, total, expired, "full" if total >= limits.max_batch_size else None)


# Admission

_MARGIN_STEP = 0.02
_LATE_BATCHES = 0.02
_MOST_MARGIN = 0.4


@dataclass(frozen=True, slots=True)
class Refusal:
    reason: RefusalReason
    retry_after_s: float
    """When the request is predicted to fit."""


class Candidate(NamedTuple):
    """A request that asks to be let in at ``now``."""

    now: float
    group: Hashable
    items: int
    size_bytes: int
    deadline: float


def remaining_seconds(items: int, *, elapsed: float, estimate: Estimate) -> float:
    """Predict how long a batch that has run for ``elapsed`` still takes.

    One that is overdue is expected to be late by as much again: a stall is not forgotten while it lasts.
    """
    left = estimate.seconds(items) - elapsed
    return left if left >= 0 else max(-left - estimate.tail_s, 0.0)


class Admission:
    """Decides who may join the queue.

    While requests are refused by prediction, one a second is let in all the same, so that a wrong estimate meets the
    truth and heals.

    Predictions know the function and the queue, and not what else keeps an answer: the event loop, the other processes
    of the machine. So a *margin* is kept free before the target, and learned: every batch whose oldest member was late
    widens it by a fiftieth of the target, every other one narrows it by as much less as a fiftieth of the batches may
    be late (stochastic approximation of a quantile: Robbins & Monro, 1951).
    """

    __slots__ = ("_limits", "_margin_s", "_next_probe", "_target", "is_target_unreachable")

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._target = inf if limits.max_latency_s is None else limits.max_latency_s
        self._margin_s = 0.0
        self._next_probe = -inf
        self.is_target_unreachable = False
        """Whether one item alone is predicted to take longer than the target: then it refuses nobody."""

    def refusal(
        self,
        queue: WaitingQueue[W],
        request: Candidate,
        *,
        busy_s: float,
        estimate: Estimate,
        is_probe_spent: bool = True,
    ) -> Refusal | None:
        """Return why ``request`` may not join the queue of a busy API now, or None.

        ``busy_s`` is what is left of the running batch plus how late the event loop is. One request may always wait,
        whatever its size, or it could never be served; while nothing is known of the API, any number may that the
        bounds allow. With ``is_probe_spent`` off, only look.
        """
        limits = self._limits
        if queue.requests:
            if (excess := queue.items + request.items - limits.max_queue_items) > 0:
                return Refusal("queue_items", self._until_gone(excess, busy_s, estimate))
            if queue.size_bytes + request.size_bytes > limits.max_queue_bytes:
                return Refusal("queue_bytes", self._until_gone(queue.items, busy_s, estimate))
        late = self._late(queue, request, busy_s, estimate)
        if late is None:
            return None
        if request.now >= self._next_probe:
            if is_probe_spent:
                self._next_probe = request.now + 1.0
            return None
        return late

    def observe(self, estimate: Estimate) -> bool:
        """Take note of a new estimate; return whether the target has just become unreachable."""
        was = self.is_target_unreachable
        self.is_target_unreachable = estimate.seconds(1) > self._target
        return self.is_target_unreachable and not was

    def answered(self, latency_s: float) -> None:
        """Take note of how long the oldest member of a batch waited for its answer."""
        step = _MARGIN_STEP * self._target
        if latency_s > self._target:
            self._margin_s = min(self._margin_s + step, _MOST_MARGIN * self._target)
        else:
            self._margin_s = max(self._margin_s - _LATE_BATCHES * step, 0.0)

    def _late(self, queue: WaitingQueue[W], request: Candidate, busy_s: float, estimate: Estimate) -> Refusal | None:
        """Return the refusal of a request that is predicted to finish too late, or to make its batch too late.

        A batch is as late as its oldest member, so the target counts from when that one arrived: a newcomer that
        fits its own target alone would push it out of time. And whoever would begin another batch behind a full one
        is let in only if that batch will be in time when it is full: with an older head it would have to stay small.
        (Simulated at 2 to 10 times saturation: goodput 0.97 of it; 0.8 without the second rule, 0.02 without both.)
        One client's deadline header never shuts the door to others.
        """
        now = request.now
        target = inf if self.is_target_unreachable else self._target - self._margin_s
        allowed = request.deadline - now
        items = queue.items + request.items
        # PERF: a bound on all the work there is, in 0.4 µs, spares most requests the walk over the groups.
        largest = self._limits.max_batch_size
        batches = queue.groups + 1 + items // largest
        rest = estimate.base_s * batches + estimate.tail_s * sqrt(batches + 1)
        most = busy_s + estimate.slope_s * (items if items <= largest else items + largest) + rest
        oldest = queue.oldest()
        waited = now - oldest.arrived if oldest is not None else 0.0
        if estimate.runs == 0 or (most + waited <= target and most <= allowed):
            return None
        ahead = queue.ahead(request.group, request.items)
        work = estimate.slope_s * ahead.items + estimate.base_s * ahead.batches
        if (at_once := self._limits.max_concurrency) > 1:
            own = work / ahead.batches
            work = (work - own) / at_once + own
        takes = busy_s + work
        single = estimate.seconds(request.items)
        tail = estimate.tail_s * sqrt(ahead.batches + 1)
        waited = max(now - ahead.since, 0.0)
        full = takes + estimate.slope_s * ahead.room
        excess = waited + full + _margin(tail, target - single) - target
        if excess > 0:
            return Refusal("target", excess)
        excess = takes + _margin(tail, allowed - single) - allowed
        return Refusal("deadline", excess) if excess > 0 else None

    def _until_gone(self, items: int, busy_s: float, estimate: Estimate) -> float:
        """Predict when ``items`` of the queue have left it: batches leave when they start."""
        if estimate.runs == 0:
            return 1.0
        batches = ceil(items / self._limits.max_batch_size)
        return busy_s + (batches - 1) * estimate.seconds(self._limits.max_batch_size)


def _margin(tail_s: float, slack_s: float) -> float:
    """Return the tail, but at most half of the slack that a run without a queue leaves: noise locks nobody out."""
    return max(min(tail_s, slack_s / 2), 0.0)


# Where it runs


class Placement:
    """Decides whether the next batch may run on the event loop, which saves the hand-over to a thread (42–65 µs).

    Only for a function that is known (50 runs), fast (p99 of the next batch under 1 ms) and steady (none of the last
    200 passed 5 ms); one slow run there sends it back to its thread for 10 s.
    """

    __slots__ = ("_banned_until", "_steady_runs")

    def __init__(self) -> None:
        self._banned_until = -inf
        self._steady_runs = 200  # nothing slow was seen yet

    def observe(self, seconds: float, *, was_on_loop: bool, now: float) -> None:
        """Take note of one run that took ``seconds``."""
        if seconds <= 0.005:
            self._steady_runs += 1
            return
        self._steady_runs = 0
        if was_on_loop:
            self._banned_until = now + 10.0

    def is_loop_fit(self, items: int, *, estimate: Estimate, now: float) -> bool:
        """Return whether a batch of ``items`` is sure enough to be gone before anybody notices."""
        return (
            estimate.runs >= 50
            and estimate.seconds(items) + estimate.far_tail_s < 0.001
            and self._steady_runs >= 200
            and now >= self._banned_until
        )
