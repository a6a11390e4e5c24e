"""One waiting request, and one call of the function: what the dispatcher, its drivers and the executors share."""

from __future__ import annotations

from collections.abc import Sequence
from threading import Event
from typing import Generic, TypeVar

from kappa.server.batching.outcomes import Outcome
from kappa.server.batching.placement import Placement
from kappa.server.batching.policy import ReleaseReason
from kappa.server.batching.queue import WaitingRequest
from kappa.server.batching.regrouping import Regroup

__all__ = ["Request", "Run"]

T = TypeVar("T")
R = TypeVar("R")


class Request(WaitingRequest, Generic[T, R]):
    """A waiting request with its item, which the function is called with, and where its outcome goes.

    PERF: both are set after it is made; an ``__init__`` of its own would cost 0.2 µs.
    """

    __slots__ = ("item", "outcome")

    item: T
    outcome: Outcome[R]

    @property
    def is_wanted(self) -> bool:
        """Whether its client still waits."""
        return not self.outcome.done()


class Run(Generic[T, R]):
    """One call of the function, for ``members``; times are readings of the dispatcher's clock."""

    __slots__ = (
        "cpu_s",
        "error",
        "finished",
        "is_awaited",
        "is_cpu_measured",
        "is_overdue",
        "is_settled",
        "is_suspect",
        "items",
        "members",
        "over",
        "pause_s",
        "placement",
        "reason",
        "regroup",
        "released",
        "results",
        "started",
    )

    def __init__(
        self,
        members: Sequence[Request[T, R]],
        *,
        items: int,
        released: float,
        reason: ReleaseReason | None = None,
        placement: Placement = "thread",
        pause_s: float = 0.0,
        is_cpu_measured: bool = True,
    ) -> None:
        self.members = members
        self.items = items
        self.reason = reason
        """Why the batch left the queue; None for a part of a failed batch, whose requests left it before."""
        self.is_suspect = reason is None
        """Whether it is a part of a failed batch."""
        self.placement: Placement = placement
        self.pause_s = pause_s
        """With the placement `paused`: how long the event loop waits for it at most."""
        self.released = self.started = self.finished = released
        self.results: Sequence[R] = ()
        self.error: Exception | None = None
        self.is_cpu_measured = is_cpu_measured
        self.cpu_s = 0.0
        """How long its thread computed; 0 if unknown."""
        self.is_overdue = False
        """Whether it was given up; its results are ignored."""
        self.is_settled = False
        """Whether its end has been handled."""
        self.regroup: Regroup | None = None
        """The wait that begins when its answers are written."""
        self.is_awaited = False
        """Whether the event loop waits until a thread has taken it."""
        self.over: Event | None = None
        """Set at its end, if the event loop waits for that."""
