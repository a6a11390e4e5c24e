"""One API's batcher: an asyncio front, one thread that runs the batches."""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from kappa.errors import InferenceFailedError
from kappa.server.batching.observer import Observer, SilentObserver
from kappa.server.batching.policy import Limits, RefusalReason

__all__ = ["Batcher", "BatcherState", "ExpiredError", "RefusedError"]

T = TypeVar("T")
R = TypeVar("R")


class RefusedError(InferenceFailedError):
    """The request was not run; HTTP 503 with ``Retry-After: ceil(retry_after_s)``, at least 1."""

    def __init__(self, reason: RefusalReason, *, retry_after_s: float) -> None:
        super().__init__(f"The request was refused (`{reason}`); try again in {retry_after_s:.3f} s.")
        self.reason: RefusalReason = reason
        self.retry_after_s = retry_after_s


class ExpiredError(InferenceFailedError):
    """The client's deadline passed before the request was run; HTTP 504."""


@dataclass(frozen=True, slots=True)
class BatcherState:
    """One look at a batcher, for gauges."""

    queue_requests: int
    queue_items: int
    queue_bytes: int
    queue_groups: int
    running_items: int
    """0 when the API is idle."""
    loop_lag_s: float
    slope_s: float
    """Learned seconds per item (`a` of `T(n) = a·n + b`)."""
    base_s: float
    """Learned seconds per batch (`b`)."""
    tail_s: float
    """p95 of what batches took beyond `T(n)`."""


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
    ) -> None: ...

    async def start(self) -> None:
        """Start the thread; the running event loop is the batcher's from here on."""

    async def submit(
        self, item: T, *, group: Hashable = None, items: int = 1, size_bytes: int = 0, deadline: float | None = None
    ) -> R:
        """Wait for the result of ``item``, which counts as ``items`` and joins only requests of equal ``group``.

        ``deadline`` is the reading of the clock after which the client no longer wants it. Raises `RefusedError`,
        `ExpiredError`, or what ``run`` raised. A cancelled caller leaves the queue at once.
        """

    def refusal(self, *, items: int = 1, size_bytes: int = 0, deadline: float | None = None) -> RefusedError | None:
        """Return why such a request would not be admitted now, or None; cheap enough to ask before reading a body."""

    async def close(self, *, drain: bool = True) -> None:
        """Accept nothing more, finish what was accepted (or refuse what still waits), and stop the thread."""

    @property
    def state(self) -> BatcherState: ...
