"""Find the request that made a batch fail, so that its neighbours get their answers.

A failed batch is halved; a *part* is a stretch of it that is run again as one. When one half of a part that is known
to fail passes, the other half is known to fail without a run and is halved in turn. Only a request that fails *alone*
is at fault. One bad request among `n` is found within `2·log2(n) + 1` runs, and any number of them in fewer than `2·n`:
no part is run twice, and everybody is judged unless the function is broken.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Generic, TypeVar

from kappa.errors import BadInputError

__all__ = ["Isolation", "Verdicts"]

M = TypeVar("M")

_FAILURES = 3
_BROKEN_AFTER_S = 10.0


class _Part(Generic[M]):
    __slots__ = ("is_bad", "members", "sibling")

    def __init__(self, members: Sequence[M]) -> None:
        self.members = members
        self.is_bad = False
        self.sibling: _Part[M] | None = None


class Isolation(Generic[M]):
    """The search through one batch of at least two members, which failed with ``error``.

    Ask `next_part` what to run, then report `passed` or `failed`, until there is no next part. Who gives up before
    finds those that no run has judged in `unjudged`.
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
        self.is_broken = self._failures >= _FAILURES and now - self._since >= _BROKEN_AFTER_S
