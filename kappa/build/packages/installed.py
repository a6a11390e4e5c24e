"""What is installed here: in which version, and what it needs in turn."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from importlib import metadata

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

__all__ = ["asked_for", "installed_version", "with_needs"]


def installed_version(distribution: str) -> str | None:
    """Return the version of a distribution that is installed here."""
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


def with_needs(names: Iterable[str]) -> frozenset[str]:
    """Return distributions with everything that they need in turn, as far as it is installed here."""
    waiting = deque(names)
    found = set(waiting)
    while waiting:
        for needed in _direct_needs(waiting.popleft()):
            if needed not in found:
                found.add(needed)
                waiting.append(needed)
    return frozenset(found)


def _direct_needs(name: str) -> list[str]:
    try:
        return [*asked_for(metadata.requires(name) or ())]
    except metadata.PackageNotFoundError:
        return []


def asked_for(requirements: Iterable[str]) -> Iterator[str]:
    """Yield the normalised names of the distributions that requirements ask for here."""
    for text in requirements:
        try:
            one = Requirement(text)
        except InvalidRequirement:
            continue
        if one.marker is None or one.marker.evaluate({"extra": ""}):
            yield canonicalize_name(one.name)
