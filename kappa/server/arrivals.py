"""Accounting of the requests that are arriving at an API: their number, and the bytes held of them.

An announced length does not count, or a few idle clients could block all others. Bytes that have arrived count here
until their request is in the queue, where they count from then on.
"""

from __future__ import annotations

from types import TracebackType
from typing import Any

from kappa.server.batching.admission import RefusalReason
from kappa.server.batching.batcher import Batcher
from kappa.server.batching.outcomes import RefusedError

__all__ = ["Arrival", "Arrivals"]


class Arrivals:
    """The arriving requests of one API."""

    __slots__ = ("count", "decoding", "size_bytes")

    def __init__(self) -> None:
        self.count = 0
        self.size_bytes = 0
        """Of bodies that arrive or are decoded."""
        self.decoding = 0
        """How many requests have arrived and are not decoded yet."""


class Arrival:
    """One arriving request, until it is decoded or refused; its reader asks here whether there is room for it."""

    __slots__ = ("_all", "_batcher", "_is_decoding", "_size_bytes")

    def __init__(self, arrivals: Arrivals, batcher: Batcher[Any, Any]) -> None:
        self._all = arrivals
        self._batcher = batcher
        self._size_bytes = 0
        self._is_decoding = False

    def __enter__(self) -> Arrival:
        self._all.count += 1
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._all.count -= 1
        self._all.size_bytes -= self._size_bytes
        self._all.decoding -= self._is_decoding

    def go_on(self) -> None:
        """Raise `RefusedError` if a request of which more is to be read would be refused now."""
        if (refusal := self._batcher.refusal(size_bytes=self._all.size_bytes)) is not None:
            raise RefusedError(refusal.reason, retry_after_s=refusal.retry_after_s)

    def take(self, size_bytes: int) -> bool:
        """Record that more of it has arrived; return whether there is room for it."""
        self._size_bytes += size_bytes
        self._all.size_bytes += size_bytes
        return self._lacking() is None

    def refusal(self) -> RefusedError:
        """Return the refusal of a request for which there is no room."""
        return RefusedError(self._lacking() or "queue_bytes", retry_after_s=1.0)

    def wait_for_decoding(self) -> None:
        """Record that it has arrived in full; raises `RefusedError` if there is no room."""
        self._is_decoding = True
        self._all.decoding += 1
        if self._lacking() is not None:
            raise self.refusal()

    def _lacking(self) -> RefusalReason | None:
        """Return the bound that the bytes held of all requests exceed."""
        held = self._all
        return self._batcher.lacks_room(arriving=held.count, decoding=held.decoding, size_bytes=held.size_bytes)
