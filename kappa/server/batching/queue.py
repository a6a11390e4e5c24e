"""The requests that wait for one API, by age and by group.

A *group* is the requests that may be merged into one call (same columns and dtypes). A request is in two lines, that of
all and that of its group; one that left is only marked, and dropped when it comes to the front of a line or when the
marked ones outnumber the others, so every operation costs constant time on average.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable, Iterator
from math import inf
from typing import Generic, NamedTuple, TypeVar

from kappa.server.batching.constants import GROUPS_COMPARED, MARKED_REQUESTS

__all__ = ["Ahead", "WaitingQueue", "WaitingRequest"]


class WaitingRequest:
    """One request in the queue; times are readings of one clock, `inf` for never."""

    __slots__ = ("arrived", "deadline", "group", "is_probe", "is_waiting", "items", "size_bytes")

    def __init__(
        self,
        arrived: float,
        group: Hashable = None,
        items: int = 1,
        size_bytes: int = 0,
        deadline: float = inf,
    ) -> None:
        self.arrived = arrived
        self.group = group
        self.items = items
        self.size_bytes = size_bytes
        self.deadline = deadline
        """The deadline of its client: it is not run after this."""
        self.is_waiting = False
        self.is_probe = False
        """Whether it is a probe, admitted though it will be late: it limits no other request."""


W = TypeVar("W", bound=WaitingRequest)


class Ahead(NamedTuple):
    """The work up to and including a request that would join the queue now, in full batches."""

    items: int
    batches: int
    since: float = inf
    """When the oldest request of the batch that it would join arrived, probes aside; `inf` if there is none."""
    room: int = 0
    """If it would open another batch behind a full one of its group: how many more items that batch takes."""


class _Group(Generic[W]):
    __slots__ = ("items", "line", "requests")

    def __init__(self) -> None:
        self.line: deque[W] = deque()
        self.items = 0
        self.requests = 0


class WaitingQueue(Generic[W]):
    """Waiting requests in order of arrival; ``max_batch_size`` is what turns items into batches ahead."""

    __slots__ = ("_groups", "_line", "_max_batch_size", "items", "requests", "size_bytes")

    def __init__(self, *, max_batch_size: int) -> None:
        self.requests = 0
        self.items = 0
        self.size_bytes = 0
        self._max_batch_size = max_batch_size
        self._line: deque[W] = deque()
        self._groups: dict[Hashable, _Group[W]] = {}

    @property
    def groups(self) -> int:
        """How many groups have waiting requests."""
        return len(self._groups)

    def add(self, request: W) -> None:
        """Put ``request`` at the end."""
        group = self._groups.get(request.group)
        if group is None:
            group = self._groups[request.group] = _Group()
        request.is_waiting = True
        self._line.append(request)
        group.line.append(request)
        group.items += request.items
        group.requests += 1
        self.items += request.items
        self.size_bytes += request.size_bytes
        self.requests += 1

    def remove(self, request: W) -> None:
        """Remove the waiting ``request`` from the queue."""
        request.is_waiting = False
        self.items -= request.items
        self.size_bytes -= request.size_bytes
        self.requests -= 1
        group = self._groups[request.group]
        group.items -= request.items
        group.requests -= 1
        if group.requests == 0:
            del self._groups[request.group]
        for line, waiting in ((group.line, group.requests), (self._line, self.requests)):
            while line and not line[0].is_waiting:
                line.popleft()
            if len(line) > 2 * waiting + MARKED_REQUESTS:
                _tidy(line)

    def oldest(self) -> W | None:
        """Return the request that has waited longest."""
        return self._line[0] if self._line else None

    def head(self, group: Hashable) -> W | None:
        """Return the oldest request of ``group``."""
        queued = self._groups.get(group)
        return queued.line[0] if queued else None

    def __iter__(self) -> Iterator[W]:
        return (request for request in self._line if request.is_waiting)

    def ahead(self, group: Hashable, items: int) -> Ahead:
        """Return what would run until a new request of ``group`` is answered, itself included.

        Groups are served by the age of their oldest request; one that fills more than a batch is counted behind all
        others, because what is left of it grows older between them.
        """
        queued = self._groups.get(group)
        own_items = items + (queued.items if queued else 0)
        own_batches = self._batches(own_items)
        since = self._since(queued, items) if queued else inf
        room = max(self._max_batch_size - items, 0) if queued and since == inf else 0
        if len(self._groups) <= (1 if queued else 0):
            return Ahead(own_items, own_batches, since, room)
        if len(self._groups) > GROUPS_COMPARED:
            batches = max(len(self._groups), self._batches(self.items + items))
            return Ahead(self.items + items, batches, since, room)
        before = inf if queued is None or own_batches > 1 else queued.line[0].arrived
        others = [g.items for key, g in self._groups.items() if key != group and g.line[0].arrived <= before]
        return Ahead(own_items + sum(others), own_batches + sum(map(self._batches, others)), since, room)

    def _since(self, group: _Group[W], items: int) -> float:
        """Return the arrival of the oldest request in the batch at the end of ``group``'s line.

        Which that is follows from the number of items in the last batch, as if all requests were of one size.
        """
        first = 0
        if group.items + items > self._max_batch_size:
            if (in_last_batch := group.items % self._max_batch_size) == 0:
                return inf
            first = len(group.line) - max(in_last_batch * group.requests // group.items, 1)
        for position in range(first, len(group.line)):
            if not (request := group.line[position]).is_probe:
                return request.arrived
        return inf

    def _batches(self, items: int) -> int:
        return -(-items // self._max_batch_size)


def _tidy(line: deque[W]) -> None:
    """Drop the requests that left."""
    waiting = [request for request in line if request.is_waiting]
    line.clear()
    line.extend(waiting)
