"""Decides who is refused, by the queue and the estimate.

Pure: times are readings of one clock in seconds and come with each call.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from math import ceil, inf, sqrt
from typing import Literal, NamedTuple, TypeVar

from kappa.server.batching.constants import (
    EARLY,
    EARLY_BATCHES,
    EARLY_RUNS,
    EARLY_SPEED_UP,
    FIRST_MARGIN,
    LATE,
    LATE_BATCHES,
    LEAST_MARGIN,
    MARGIN_STEP,
    MOST_MARGIN,
    PROBE_EVERY_S,
    SMOOTHING,
)
from kappa.server.batching.estimator import Estimate
from kappa.server.batching.policy import Limits
from kappa.server.batching.queue import WaitingQueue, WaitingRequest

__all__ = ["Admission", "Candidate", "Delays", "Refusal", "RefusalReason", "remaining_seconds"]

RefusalReason = Literal["queue_items", "queue_bytes", "target", "deadline", "closing", "unjudged", "stuck"]
"""Why a request was not run. ``unjudged``: its batch failed, and its own part in that was not determined. ``stuck``: a
call of the function does not end, and the process is about to be replaced."""

W = TypeVar("W", bound=WaitingRequest)


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
    arrived: float
    """When it arrived; a busy event loop reads it later."""


class Delays:
    """Delays of an answer besides the function: moving averages in seconds."""

    __slots__ = ("_ended_at", "_had_waiting", "_wanted_slot_at", "between_s", "lag_s", "slot_s")

    def __init__(self) -> None:
        self.lag_s = 0.0
        """How late the event loop is."""
        self.between_s = 0.0
        """The gap between batches while requests wait: the loop's other work."""
        self.slot_s = 0.0
        """How long a batch waits for its slot beside those of other APIs."""
        self._ended_at = 0.0
        self._had_waiting = False
        self._wanted_slot_at: float | None = None

    def lagged(self, seconds: float) -> None:
        """Record how late the loop was."""
        self.lag_s += SMOOTHING * (seconds - self.lag_s)

    def ran(self, started: float, finished: float, now: float, *, waiting_items: int) -> float | None:
        """Record a run that the loop heard of ``now``.

        Return how long nothing ran before it; None if no request waited all that time.
        """
        self.lagged(now - finished)
        gap_s = max(started - self._ended_at, 0.0) if self._had_waiting else None
        self._ended_at, self._had_waiting = finished, waiting_items > 0
        return gap_s

    def between(self, seconds: float) -> None:
        """Record how long nothing ran although requests waited."""
        self.between_s += SMOOTHING * (seconds - self.between_s)

    def asked_for_slot(self, now: float, *, is_taken: bool) -> None:
        """Record that a slot was asked for, and how long it took to get one."""
        if self._wanted_slot_at is None:
            self._wanted_slot_at = now
        if is_taken:
            self.slot_s += SMOOTHING * (now - self._wanted_slot_at - self.slot_s)
            self._wanted_slot_at = None

    def withdrew_claim(self) -> None:
        """Record that no slot is wanted any more."""
        self._wanted_slot_at = None

    def added_to(self, estimate: Estimate) -> Estimate:
        """Return what a batch takes with what it waits for: every one ahead does as the last ones did."""
        return estimate._replace(base_s=estimate.base_s + self.between_s + self.slot_s)


def remaining_seconds(items: int, *, elapsed: float, estimate: Estimate) -> float:
    """Predict how long a batch that has run for ``elapsed`` still takes.

    One that is overdue is expected to be late by as much again: a stall is not forgotten while it lasts.
    """
    left = estimate.seconds(items) - elapsed
    return left if left >= 0 else max(-left - estimate.tail_s, 0.0)


class Admission:
    """Decides who may join the queue.

    While requests are refused by prediction, one a second is let in all the same, a *probe*, so that a wrong estimate
    meets the truth and heals. It does not count as a member of its batch that others may make late, or no request could
    join it: a batch of one each second would cost an API of 50 ms a twentieth of what it can do.

    Predictions know the function and the queue, but not what else delays an answer: the event loop, the other processes
    of the machine. So a *margin* is kept free before the target, and learned from the oldest member of each batch by
    stochastic approximation of a quantile (Robbins & Monro, 1951):

    * late: the margin grows by a fiftieth of the target.
    * in time, while requests are refused: it shrinks by a two-hundredth of that, as many as one batch in 200 may be
      late.
    * after a hundred in a row with 30 % of the target to spare: it shrinks twenty times as fast. Fast and slow times of
      a machine last for dozens of batches, so a few good ones promise nothing.
    * not counted: probes, requests admitted before 16 runs were learned from, and times when the target is out of
      reach.

    The margin stays between a twentieth and two fifths of the target.
    """

    __slots__ = (
        "_early_batches",
        "_guessed_at",
        "_has_refused",
        "_limits",
        "_margin_s",
        "_standing",
        "_stands_until",
        "_target",
        "has_spent_probe",
        "is_target_unreachable",
        "next_probe",
    )

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._target = inf if limits.max_latency_s is None else limits.max_latency_s
        self._margin_s = 0.0 if self._target == inf else FIRST_MARGIN * self._target
        self._has_refused = False
        self._early_batches = 0
        self._guessed_at = -inf
        """When a request was last judged by an early estimate."""
        self.next_probe = -inf
        """When the next request is let in that is predicted to be late."""
        self.has_spent_probe = False
        """Whether the last request that was judged was one."""
        self._standing: Refusal | None = None
        self._stands_until = -inf
        self.is_target_unreachable = False
        """Whether one item alone is predicted to take longer than the target: then it refuses none."""

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
        self.has_spent_probe = False
        if queue.requests:
            if (excess := queue.items + request.items - limits.max_queue_items) > 0:
                return Refusal("queue_items", self._until_gone(excess, busy_s, estimate))
            if queue.size_bytes + request.size_bytes > limits.max_queue_bytes:
                return Refusal("queue_bytes", self._until_gone(queue.items, busy_s, estimate))
        late = self._late(queue, request, busy_s, estimate)
        if late is None:
            return None
        self._has_refused = True
        if request.now >= self.next_probe:
            if is_probe_spent:
                self.next_probe = request.now + PROBE_EVERY_S
                self.has_spent_probe = True
            return None
        return late

    def standing(self, now: float) -> Refusal | None:
        """Return a refusal that holds for all requests like the one that got it, until `changed` is called.

        PERF: until then nothing changes but the time, so one judgement serves for all (0.5 µs instead of 10).
        """
        return self._standing if now < self._stands_until else None

    def stands(self, refusal: Refusal, now: float) -> None:
        """Have ``refusal`` stand for others until the request would fit, or the next probe is due."""
        self._standing = refusal
        self._stands_until = now + refusal.retry_after_s
        if refusal.reason == "target":
            self._stands_until = min(self._stands_until, self.next_probe)

    def changed(self) -> None:
        """Record that a batch began or ended, or that a client left."""
        self._stands_until = -inf

    def observe(self, estimate: Estimate) -> bool:
        """Record a new estimate; return whether the target has just become unreachable."""
        was = self.is_target_unreachable
        self.is_target_unreachable = estimate.seconds(1) > self._target
        return self.is_target_unreachable and not was

    def answered(self, latency_s: float, *, arrived: float) -> None:
        """Record how long the oldest member of a batch that was no probe waited for its answer."""
        if arrived <= self._guessed_at or self.is_target_unreachable:
            return
        step = MARGIN_STEP * self._target
        self._early_batches = self._early_batches + 1 if latency_s < EARLY * self._target else 0
        if latency_s > LATE * self._target:
            self._margin_s = min(self._margin_s + step, MOST_MARGIN * self._target)
        elif self._has_refused:
            narrower = (EARLY_SPEED_UP if self._early_batches >= EARLY_BATCHES else 1) * LATE_BATCHES * step
            self._margin_s = max(self._margin_s - narrower, LEAST_MARGIN * self._target)
        self._has_refused = False

    def _late(self, queue: WaitingQueue[W], request: Candidate, busy_s: float, estimate: Estimate) -> Refusal | None:
        """Return the refusal of a request that is predicted to finish too late, or to make its batch too late.

        A batch is as late as its oldest member, so the target counts from when that one arrived: a newcomer that fits
        its own target alone would push it out of time. And a request that would begin another batch behind a full one
        is let in only if that batch will be in time when it is full: with an older head it would have to stay small.
        (Simulated at 2 to 10 times saturation: goodput 0.97 of it; 0.8 without the second rule, 0.02 without both.) One
        client's deadline header never shuts the door to others.
        """
        now = request.now
        if estimate.runs < EARLY_RUNS:
            self._guessed_at = now
        target = inf if self.is_target_unreachable else self._target - self._margin_s
        allowed = request.deadline - now
        items = queue.items + request.items
        # PERF: a bound on all the work there is, in 0.4 µs, spares most requests the walk over the groups.
        largest = self._limits.max_batch_size
        batches = queue.groups + 1 + items // largest
        rest = estimate.base_s * batches + estimate.tail_s * sqrt(batches + 1)
        most = busy_s + estimate.slope_s * (items if items <= largest else items + largest) + rest
        oldest = queue.oldest()
        waited = now - (oldest.arrived if oldest is not None else request.arrived)
        if estimate.runs == 0 or (most + waited <= target and most <= allowed):
            return None
        ahead = queue.ahead(request.group, request.items)
        work = estimate.slope_s * ahead.items + estimate.base_s * ahead.batches
        if (at_once := self._limits.max_concurrency) > 1:
            last = work / ahead.batches
            work = (work - last) / at_once + last
        takes = busy_s + work
        single = estimate.seconds(request.items)
        tail = estimate.tail_s * sqrt(ahead.batches + 1)
        waited = now - min(ahead.since, request.arrived)
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
    """Return the tail, but at most half of the slack that a run without a queue leaves: noise locks no request out."""
    return max(min(tail_s, slack_s / 2), 0.0)
