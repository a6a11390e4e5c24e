"""Which API of a worker runs next, when more of them have a batch than there are processors.

Batches that run at the same time on one processor only delay each other. So each needs a *slot*, of which there are as
many as the worker has processors. The API whose oldest request is due first gets the next free one (Liu & Layland,
1973: earliest deadline first), but not twice in a row while another waits. A request without a latency target is due
a second after it arrived, so a target, however short, delays it by no more than that.

Functions that wait for something other than a processor (`async def`, APIs that are not batched, those with a
`max_concurrency` of their own) need no slot.
"""

from __future__ import annotations

from typing import Protocol

__all__ = ["Claimant", "Slots"]


class Claimant(Protocol):
    """An API that may want a slot."""

    def due(self) -> float:
        """Return when its oldest waiting request should be answered."""

    def slot_is_free(self) -> None:
        """`take` the slot that is reserved for it from now on."""


class Slots:
    """The slots of one worker; knows no clock and no thread."""

    def __init__(self, count: int) -> None:
        self._free = count
        self._waiting: dict[Claimant, None] = {}
        self._kept: set[Claimant] = set()
        self._last: Claimant | None = None

    def take(self, claimant: Claimant) -> bool:
        """Take a slot for one batch of ``claimant``, or record that it waits for one."""
        if claimant in self._kept:
            self._kept.remove(claimant)
            return True
        if self._free and not self._waiting:
            self._free -= 1
            self._last = claimant
            return True
        self._waiting[claimant] = None
        return False

    def give_back(self) -> None:
        """Return the slot of a batch that has ended."""
        self._free += 1
        while self._free and self._waiting:
            rivals = [claimant for claimant in self._waiting if claimant is not self._last] or list(self._waiting)
            chosen = min(rivals, key=lambda claimant: claimant.due())
            del self._waiting[chosen]
            self._kept.add(chosen)
            self._last = chosen
            self._free -= 1
            chosen.slot_is_free()

    def withdraw(self, claimant: Claimant) -> None:
        """Withdraw the claim of ``claimant``, which has nothing to run after all."""
        self._waiting.pop(claimant, None)
        if claimant in self._kept:
            self._kept.remove(claimant)
            self.give_back()
