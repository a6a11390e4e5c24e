"""Whether the next batch waits until the clients of the last one have asked again, and until when.

Clients that wait for an answer before they ask again (a closed loop) return just after a batch was answered. Without a
wait, 4 to 16 of them fall into a cycle of one and `n - 1`, and lose 1.3 to 2 times their rate. Usually half of them is
waited for, briefly. Where their way back through HTTP takes less than a few calls of the function, it is all of them:
then all share one call, and the calls do not compete with HTTP for the GIL (measured: 1.2 times the rate at 16
connections; with 64, whose return takes ten calls, it would be a tenth less). Independent clients do not return
together, which is detected.

Pure: times are readings of one clock in seconds and come with each call.
"""

from __future__ import annotations

from math import inf
from typing import NamedTuple

from kappa.server.batching.constants import (
    COHORT_CAP_RUNS,
    COHORT_DECAY,
    FIRST_RETURN_S,
    FIRST_RETURN_WAIT_S,
    HALF_RETURN_SHARE,
    HALF_RETURN_WAIT_S,
    RETURN_CALLS,
    RETURN_TRIAL_RUNS,
    RETURN_WAIT_WAYS,
    SMOOTHING,
)
from kappa.server.batching.estimator import Estimate

__all__ = ["Regroup", "Regrouping", "Returns", "regroup_after"]


class Regroup(NamedTuple):
    """One wait for the clients of a batch that has been answered."""

    items: int
    """How many waiting items end it."""
    until: float
    """When it ends in any case; `inf` while the answers are still being written."""
    extension_s: float = 0.0
    """How long it lasts at least from each return on."""
    has_unread_input: bool = False
    """Whether sockets are still unread since the loop was blocked by the batch."""

    def is_over(self, now: float, waiting_items: int) -> bool:
        return not self.has_unread_input and (waiting_items >= self.items or now >= self.until)

    def extended(self, now: float) -> Regroup:
        """Return the wait after a client has returned at ``now``."""
        return self._replace(until=max(self.until, now + self.extension_s)) if self.extension_s else self


def regroup_after(
    items: int,
    estimate: Estimate,
    answered_at: float,
    *,
    waiting_items: int,
    cohort: float = 0.0,
    return_s: float,
    max_batch_size: int,
) -> Regroup | None:
    """Return the wait after a batch of ``items`` was answered, or None if there is no reason for one.

    A lone item has no company, and ``waiting_items``, which did not leave with the batch, may fill the next by
    themselves. ``return_s`` is how long each client takes to return, one after the other; `inf` if they do not.

    A wait for all of them is for the whole ``cohort``, which may have come apart into batches that take turns. The
    first to return takes longest, because a client of many connections sends at the end of a turn of its own event
    loop: it is waited for as long as a few calls take.
    """
    wait_s = min(HALF_RETURN_SHARE * estimate.base_s, HALF_RETURN_WAIT_S)
    if items + waiting_items <= 1 or wait_s <= 0:
        return None
    if items * return_s < RETURN_CALLS * estimate.base_s:
        all_items = min(max(waiting_items + items, round(cohort)), max_batch_size)
        if waiting_items >= all_items:
            return None
        first_s = min(RETURN_CALLS * estimate.base_s, FIRST_RETURN_WAIT_S)
        return Regroup(all_items, answered_at + first_s, min(max(wait_s, RETURN_WAIT_WAYS * return_s), first_s))
    return Regroup((items + 1) // 2, answered_at + wait_s) if items > 1 else None


class Returns:
    """Learns whether the clients of a batch return together, how quickly, and how many there are.

    The *cohort* is the items that were lately there at once: those of a batch, and those that waited when it was
    answered. The quickest of the batch may be back by then and are counted twice. So a wait that brings most of the
    cohort but not all of it caps the cohort, until the cap is tested again 32 batches later.
    """

    __slots__ = ("_batches", "_cap", "_cap_until", "_seen", "_share", "return_s")

    def __init__(self) -> None:
        self.return_s = FIRST_RETURN_S
        """How long each took to return, one after the other."""
        self._seen = 0.0
        self._cap = inf
        self._cap_until = 0
        self._share = 1.0
        self._batches = 0

    @property
    def cohort(self) -> float:
        """How many items were lately there at once."""
        return min(self._seen, self._cap)

    def expected_return_s(self) -> float:
        """Return `return_s` for the next batch, or `inf` if no client is expected; call it once for each batch."""
        self._batches += 1
        if self._batches >= self._cap_until:
            self._cap = inf
        return self.return_s if self._share > 0.5 or self._batches % RETURN_TRIAL_RUNS == 0 else inf

    def seen_together(self, items: int) -> None:
        """Record how many were there at once; the most are remembered for about ten batches."""
        self._seen = max(float(items), self._seen + COHORT_DECAY * (items - self._seen))

    def waited(self, *, expected_items: int, returned_items: int, waiting_items: int = 0, seconds: float) -> None:
        """Record a wait for all of them; ``waiting_items`` more were there from the beginning."""
        self._share += SMOOTHING * (min(returned_items / expected_items, 1.0) - self._share)
        if 2 * returned_items < expected_items:
            return
        self.return_s += SMOOTHING * (seconds / returned_items - self.return_s)
        if returned_items < expected_items:
            self._cap = returned_items + waiting_items
            self._cap_until = self._batches + COHORT_CAP_RUNS


class Regrouping:
    """The waits of one API, one after each batch at most.

    After a batch, `begin`; when its answers are written, `answers_written`; at each turn, `wait`, and `end` if the
    next batch is formed; when it leaves, `release`.
    """

    __slots__ = ("_answered_at", "_left_items", "_max_batch_size", "_return_s", "_returns", "_seen_items", "_wait")

    def __init__(self, max_batch_size: int) -> None:
        self._max_batch_size = max_batch_size
        self._returns = Returns()
        self._wait: Regroup | None = None
        self._return_s = inf
        self._answered_at = 0.0
        self._left_items = 0
        """How many items waited already when the batch ended."""
        self._seen_items = 0

    @property
    def waits_until(self) -> float:
        """When the wait ends without a return; `-inf` if there is none."""
        return -inf if self._wait is None else self._wait.until

    def begin(
        self,
        items: int,
        *,
        waiting_items: int,
        estimate: Estimate,
        now: float,
        has_blocked_loop: bool,
        has_unread_input: bool,
    ) -> Regroup | None:
        """Return the wait after a batch of ``items`` that has just ended, if its answers are to be written before the
        next batch starts; `answers_written` takes it back.

        A batch that ``has_blocked_loop`` is always answered first, because its clients could not even be read.
        """
        self._left_items = waiting_items
        self._wait = None
        if items + waiting_items <= 1:
            return None
        self._return_s = self._returns.expected_return_s()
        if not has_blocked_loop:
            expected = self._expected(items, estimate, now)
            if expected is None or expected.is_over(now, waiting_items):
                return None
        self._wait = Regroup(items, inf, has_unread_input=has_unread_input)
        return self._wait

    def answers_written(self, wait: Regroup, *, waiting_items: int, estimate: Estimate, now: float) -> bool:
        """Start the clock of ``wait``; False if something else has happened since `begin` returned it."""
        if self._wait is not wait:
            return False
        self._answered_at = now
        self._returns.seen_together(wait.items + waiting_items)
        self._wait = self._expected(wait.items, estimate, now)
        return True

    def wait(self, now: float, waiting_items: int) -> Regroup | None:
        """Return the wait; None if there is none, or it is over, and the next batch may be formed now."""
        wait, seen_items = self._wait, self._seen_items
        self._seen_items = waiting_items
        if wait is None:
            return None
        if waiting_items > seen_items:  # to read a few requests may take all of the wait
            wait = self._wait = wait.extended(now)
        return None if wait.is_over(now, waiting_items) else wait

    def end(self, now: float, waiting_items: int) -> None:
        """End the wait, and learn from it."""
        wait = self._wait
        if wait is not None and wait.extension_s:
            self._wait = wait._replace(extension_s=0.0)
            self._returns.waited(
                expected_items=wait.items - self._left_items,
                returned_items=waiting_items - self._left_items,
                waiting_items=self._left_items,
                seconds=now - self._answered_at,
            )

    def release(self, oldest_arrived: float) -> bool:
        """Return whether the batch that leaves, whose oldest member came at ``oldest_arrived``, has been waited for."""
        wait, self._wait = self._wait, None
        return wait is not None and oldest_arrived < wait.until

    def _expected(self, items: int, estimate: Estimate, answered_at: float) -> Regroup | None:
        return regroup_after(
            items,
            estimate,
            answered_at,
            waiting_items=self._left_items,
            cohort=self._returns.cohort,
            return_s=self._return_s,
            max_batch_size=self._max_batch_size,
        )
