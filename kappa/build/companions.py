"""Which installed versions say nothing of a model: those of what stands beside a package of another version.

A model that scikit-learn 1.3 wrote does not fit the numpy of today, although nobody asks for one of another version.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from importlib import metadata

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

__all__ = ["are_bound", "needs_of_installed"]


def are_bound(name: str, others: Iterable[str]) -> bool:
    """Return whether a distribution is one of the ``others``, or needs what they need; names are normalised."""
    names = set(others)
    if not names or name in names:
        return name in names
    return not needs_of_installed(name).isdisjoint(names.union(*map(needs_of_installed, names)))


def needs_of_installed(name: str) -> frozenset[str]:
    """Return everything that an installed distribution needs in turn; nothing for one that is not installed."""
    found: set[str] = set()
    waiting = deque([name])
    while waiting:
        for needed in _direct_needs(waiting.popleft()):
            if needed not in found:
                found.add(needed)
                waiting.append(needed)
    return frozenset(found - {name})


def _direct_needs(name: str) -> list[str]:
    try:
        requires = [Requirement(text) for text in metadata.distribution(name).requires or ()]
    except (metadata.PackageNotFoundError, InvalidRequirement):
        return []
    return [canonicalize_name(one.name) for one in requires if one.marker is None or one.marker.evaluate({"extra": ""})]
