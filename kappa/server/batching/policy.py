"""When a batch is released, and what joins it: from clock, queue and estimate, and nothing else.

The server and the simulator of `kappa tune` run this code; it knows no event loop and no thread. Times are readings
of one clock in seconds.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf
from typing import Generic, Literal, NamedTuple, TypeVar

from kappa.server.batching.estimator import Estimate
from kappa.server.batching.queue import WaitingQueue, WaitingRequest

__all__ = [
    "Batch",
    "Limits",
    "Regroup",
    "ReleaseReason",
    "Reunions",
    "compose",
    "regroup_after",
]

ReleaseReason = Literal["idle", "regroup", "full", "target", "drain"]
"""Why a batch was not larger: nothing else waited (``idle``), its clients did not return in time (``regroup``), it
may not grow (``full``), more would miss a member's deadline (``target``), or the server stops (``drain``)."""

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


_CALLS_WORTH_A_RETURN = 4
_DOUBTED_AFTER = 32


class Regroup(NamedTuple):
    """The clients of the last batch have their answers and are about to return: wait for them, briefly.

    Without it, 4 to 16 closed-loop clients fall into a cycle of one and n - 1, and lose 1.3 to 2 times their rate.
    """

    items: int
    """How many make it worth running."""
    until: float
    patience_s: float = 0.0
    """How long to wait for the next one, from each that returns."""
    is_deaf: bool = False
    """Whether the loop has not yet read what came while it stood still for the batch."""

    def is_over(self, now: float, waiting_items: int) -> bool:
        return not self.is_deaf and (waiting_items >= self.items or now >= self.until)

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
    """Return whom to wait for after a batch of ``items`` was answered, if there is a reason to wait for anybody.

    A lone item has no company, and those who wait already may fill a batch by themselves.

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
        everybody = min(max(waiting_items + items, round(company)), max_batch_size)
        if waiting_items >= everybody:
            return None
        first = min(_CALLS_WORTH_A_RETURN * estimate.base_s, 0.002)
        return Regroup(everybody, answered_at + first, min(max(wait, 4 * return_s), first))
    return Regroup((items + 1) // 2, answered_at + wait) if items > 1 else None


class Reunions:
    """Knows whether the clients of a batch come back together, as those do that wait for an answer to ask again.

    Requests of many clients that come when they like have no reason to: waiting for them is tried once in a while only.
    """

    __slots__ = ("_batches", "_doubted_until", "_most", "_seen", "_share", "return_s")

    def __init__(self) -> None:
        self.return_s = 0.0001
        """How long each took to come back, one after the other."""
        self._seen = 0.0
        self._most = inf
        self._doubted_until = 0
        self._share = 1.0
        self._batches = 0

    @property
    def company(self) -> float:
        """How many items were lately there at once: those of a batch, and those that waited when it was answered.

        The quickest of the batch may be back by then, and are counted twice: so a wait that brings most of them but
        not all says how many there are, until that is doubted 32 batches later.
        """
        return min(self._seen, self._most)

    def expected_return_s(self) -> float:
        """Return that time for the next batch, `inf` if nobody is expected."""
        self._batches += 1
        if self._batches >= self._doubted_until:
            self._most = inf
        return self.return_s if self._share > 0.5 or self._batches % 16 == 0 else inf

    def seen_together(self, items: int) -> None:
        """Take note of how many there were at once; the most are remembered for about ten batches."""
        self._seen = max(float(items), self._seen + 0.1 * (items - self._seen))

    def ended(self, *, expected_items: int, returned_items: int, waited_items: int = 0, seconds: float) -> None:
        """Take note of how a wait for all of them went; ``waited_items`` more were there from the beginning."""
        self._share += 0.1 * (min(returned_items / expected_items, 1.0) - self._share)
        if 2 * returned_items < expected_items:
            return
        self.return_s += 0.1 * (seconds / returned_items - self.return_s)
        if returned_items < expected_items:
            self._most = returned_items + waited_items
            self._doubted_until = self._batches + _DOUBTED_AFTER


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
