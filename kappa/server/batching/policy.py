"""When a batch is released, what joins it, and who is refused: pure functions of clock, queue and estimate."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = ["Limits", "RefusalReason", "ReleaseReason"]

ReleaseReason = Literal["idle", "regroup", "full", "target", "drain"]
RefusalReason = Literal["queue_items", "queue_bytes", "target", "deadline", "closing", "unjudged"]


@dataclass(frozen=True, slots=True)
class Limits:
    """What one API may use; ``max_batch_size`` and ``max_queue_items`` count items, times are seconds."""

    max_batch_size: int
    max_latency_s: float | None = None
    max_queue_items: int = 10_000
    max_queue_bytes: int = 256 * 2**20
