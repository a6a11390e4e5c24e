"""Find the request that made a batch fail, so that its neighbours get their answers.

A failed batch is halved; a *part* is a stretch of it that is run again as one. When one half of a part that is known to
fail passes, the other half is known to fail without a run and is halved in turn. Only a request that fails *alone* is
at fault. One bad request among `n` is found within `2·log2(n) + 1` runs, and any number of them in fewer than `2·n`: no
part is run twice, and every request is judged unless the function is broken.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Generic, TypeVar

from kappa.errors import BadInputError
from kappa.server.batching.constants import BROKEN_AFTER_S, BROKEN_FAILURES, SEARCHES_AT_ONCE

__all__ = ["Isolation", "Suspects", "Verdicts"]

M = TypeVar("M")


class _Part(Generic[M]):
    __slots__ = ("is_bad", "members", "sibling")

    def __init__(self, members: Sequence[M]) -> None:
        self.members = members
        self.is_bad = False
        self.sibling: _Part[M] | None = None


class Isolation(Generic[M]):
    """The search through one batch of at least two members, which failed with ``error``.

    Ask `next_part` what to run, then report `passed` or `failed`, until there is no next part. After an early end,
    `unjudged` holds those that no run has judged.
    """

    def __init__(self, members: Sequence[M], error: Exception | None = None) -> None:
        self.error = error
        self.traceback = error.__traceback__ if error is not None else None
        """The batch's own: a part may raise the same object again."""
        self.requests = len(members)
        self.is_explained = error is None
        """Whether some request was found at fault."""
        self._pending: list[_Part[M]] = []
        self._current: _Part[M] | None = None
        self._halve(members)

    @classmethod
    def probing(cls, members: Sequence[M]) -> Isolation[M]:
        """Start from a batch that was not run, of a function that is thought broken: its first request goes alone."""
        search = cls(members)
        search._pending = [_Part(members[1:]), _Part(members[:1])]
        return search

    def next_part(self, is_wanted: Callable[[M], bool] = lambda _: True) -> list[M] | None:
        """Return the part to run now, without members that are no longer wanted; None when the search is over.

        Depth first: a function that fails always is seen to fail alone after `log2(n)` runs, not after all of them.
        """
        while self._pending:
            part = self._pending.pop()
            part.members = [member for member in part.members if is_wanted(member)]
            if part.is_bad and len(part.members) > 1:
                self._halve(part.members)
            elif part.members:
                self._current = part
                return part.members
        return None

    def passed(self) -> None:
        """Report that the part succeeded: what its parent failed for is in the other half."""
        if self._current is not None and self._current.sibling in self._pending:
            self._current.sibling.is_bad = True

    def failed(self) -> None:
        """Report that the part failed; a part of one is thereby judged."""
        if self._current is not None and len(self._current.members) > 1:
            self._halve(self._current.members)

    def unjudged(self) -> Iterator[M]:
        """Give up: hand over every member that no run has judged."""
        while self._pending:
            yield from self._pending.pop().members

    def _halve(self, members: Sequence[M]) -> None:
        middle = (len(members) + 1) // 2
        left, right = _Part(members[:middle]), _Part(members[middle:])
        left.sibling, right.sibling = right, left
        self._pending += (right, left)


class Verdicts:
    """Tell a broken function from bad requests, by when it failed.

    It is broken when for ten seconds every request that was run alone has failed, at least three of them, and nothing
    passed meanwhile. Bad requests among good ones never look so, however many they are. A function that refuses its
    input (`BadInputError`) does what it should.
    """

    __slots__ = ("_failures", "_since", "is_broken")

    def __init__(self) -> None:
        self.is_broken = False
        self._failures = 0
        self._since = 0.0

    def passed(self) -> None:
        self.is_broken = False
        self._failures = 0

    def failed_alone(self, error: BaseException, now: float) -> None:
        if isinstance(error, BadInputError):
            self.passed()
            return
        if not self._failures:
            self._since = now
        self._failures += 1
        self.is_broken = self._failures >= BROKEN_FAILURES and now - self._since >= BROKEN_AFTER_S


class Suspects(Generic[M]):
    """The requests of failed batches, until each is judged.

    One part runs at a time, since its outcome tells which is next; healthy batches take turns with the parts. A part is
    first prepared (`advance`), because its requests may have to be made as fresh as they were sent, then taken to be
    run (`take`), and then `passed`, `failed` or `failed_alone` before it has `ended`.
    """

    __slots__ = ("_is_turn", "_running", "_verdicts", "is_renewing", "part", "searches")

    def __init__(self) -> None:
        self.part: list[M] = []
        """The prepared part."""
        self.is_renewing = False
        """Whether its requests are being made fresh."""
        self._verdicts = Verdicts()
        self.searches: deque[Isolation[M]] = deque()
        """One for each batch with requests that are not judged yet, the oldest first."""
        self._running: Isolation[M] | None = None
        """The search whose part runs: the oldest, if any."""
        self._is_turn = False

    @property
    def is_ready(self) -> bool:
        """Whether the oldest search may go on now."""
        return bool(self.searches) and self._running is None and not self.is_renewing

    @property
    def is_function_broken(self) -> bool:
        """Whether the function fails whatever it is given: then one request of each batch is tried."""
        return self._verdicts.is_broken

    def has_turn(self, waiting_requests: int) -> bool:
        """Return whether a part goes before the next healthy batch, for which ``waiting_requests`` wait."""
        return self.is_ready and (self._is_turn or not waiting_requests)

    def add(self, search: Isolation[M]) -> None:
        """Begin a search, after those that are under way."""
        self.searches.append(search)

    def healthy_released(self) -> None:
        """Record that a healthy batch leaves the queue, so that a part is next."""
        self._is_turn = True

    def advance(self, is_wanted: Callable[[M], bool]) -> bool:
        """Prepare the next part of the oldest search; False if that is over."""
        self.part = self.searches[0].next_part(is_wanted) or []
        return bool(self.part)

    def take(self, is_wanted: Callable[[M], bool]) -> list[M]:
        """Return the prepared part, which runs from now on, without members that are no longer wanted."""
        part, self.part = list(filter(is_wanted, self.part)), []
        if part:
            self._running = self.searches[0]
        return part

    def passed(self, *, is_suspect: bool) -> None:
        """Record that a run succeeded: the part that runs if it ``is_suspect``, else a healthy batch."""
        self._verdicts.passed()
        if is_suspect and self._running is not None:
            self._running.passed()

    def failed(self) -> bool:
        """Record that the part that runs failed; False if its search was given up meanwhile."""
        if self._running is None:
            return False
        self._running.failed()
        return True

    def failed_alone(self, error: Exception, now: float, *, is_suspect: bool) -> None:
        """Record that a request failed which was run alone: as the part that runs, or as a batch of one."""
        self._verdicts.failed_alone(error, now)
        if is_suspect and self._running is not None:
            self._running.is_explained = True

    def ended(self, waiting_requests: int) -> None:
        """Record that no part runs any more; while one search is under way, the next healthy batch goes first."""
        self._running = None
        self._is_turn = len(self.searches) >= SEARCHES_AT_ONCE or not waiting_requests

    def abandon(self) -> tuple[Isolation[M], list[M]]:
        """Give up the oldest search, and return it with those of its members that no run has judged."""
        search = self.searches.popleft()
        unjudged = [*self.part, *search.unjudged()]
        self.part, self._running = [], None
        return search, unjudged
