"""Events of a batcher: the seam between batching and metrics."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Protocol

from kappa.server.batching.placement import Placement
from kappa.server.batching.policy import ReleaseReason

__all__ = ["DropReason", "Observer", "SilentObserver"]

DropReason = Literal["expired", "disconnected"]
"""Why a queued request left before it cost anything: its client's deadline passed, or its client went away."""


class Observer(Protocol):
    """Callbacks of one batcher, all on its event loop, each in a few microseconds and never raising."""

    def batch_released(
        self, reason: ReleaseReason, *, requests: int, items: int, queue_seconds: Sequence[float]
    ) -> None:
        """A batch left the queue; ``queue_seconds`` holds how long each of its requests waited there."""

    def batch_finished(
        self, *, requests: int, items: int, service_seconds: float, failed: bool, placement: Placement
    ) -> None:
        """The function returned or failed. Re-runs that look for the request at fault are counted here too."""

    def loop_paused(self, seconds: float) -> None:
        """The event loop was paused for a batch."""

    def request_dropped(self, reason: DropReason) -> None:
        """A request left the queue unanswered."""

    def loop_lagged(self, seconds: float) -> None:
        """The lag of the event loop: how long ready work waited."""

    def target_unreachable(self, *, single_seconds: float, target_seconds: float) -> None:
        """One item alone is predicted to take longer than the latency target, so nothing is refused for it.

        Called once each time this becomes true.
        """


class SilentObserver:
    """An observer that counts nothing."""

    def batch_released(
        self, reason: ReleaseReason, *, requests: int, items: int, queue_seconds: Sequence[float]
    ) -> None:
        pass

    def batch_finished(
        self, *, requests: int, items: int, service_seconds: float, failed: bool, placement: Placement
    ) -> None:
        pass

    def loop_paused(self, seconds: float) -> None:
        pass

    def request_dropped(self, reason: DropReason) -> None:
        pass

    def loop_lagged(self, seconds: float) -> None:
        pass

    def target_unreachable(self, *, single_seconds: float, target_seconds: float) -> None:
        pass
