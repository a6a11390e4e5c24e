"""The limits of one API, and the choice of requests that leave the queue together.

Pure: times are readings of one clock in seconds and come with each call.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf
from typing import Generic, Literal, TypeVar

from kappa.server.batching.estimator import Estimate
from kappa.server.batching.queue import WaitingQueue, WaitingRequest

__all__ = ["Batch", "Limits", "ReleaseReason", "compose"]

ReleaseReason = Literal["idle", "regroup", "full", "target", "drain"]
"""Why a batch was not larger: nothing else waited (``idle``), its clients did not return in time (``regroup``), it
may not grow (``full``), more would miss a member's deadline (``target``), or the server stops (``drain``)."""

W = TypeVar("W", bound=WaitingRequest)


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits of one API; ``max_batch_size`` and ``max_queue_items`` count items (rows, else requests)."""

    max_batch_size: int
    max_latency_s: float | None = None
    """The latency target: requests predicted to miss it are refused, unless the API is idle. None refuses none for
    it."""
    max_queue_items: int = 10_000
    max_queue_bytes: int = 128 * 2**20
    max_concurrency: int = 1
    """How many batches may run at once."""
    run_timeout_s: float = inf
    """How long a batch may run before it is given up."""


@dataclass(slots=True)  # PERF: frozen, it would take 0.5 µs more to make
class Batch(Generic[W]):
    """Requests that leave the queue together; ``bound_by`` is None when no other of its group waited."""

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
                if finish <= request.deadline:  # a request that cannot meet its deadline does not limit the batch
                    due = min(due, request.deadline)
            members.append(request)
            total = grown
        queue.remove(request)
        request = queue.head(group)
    return Batch(members, total, expired, "full" if total >= limits.max_batch_size else None)
