"""Installed distributions: their versions, and their requirements in turn."""

from __future__ import annotations

import re
import sys
from collections import deque
from collections.abc import Iterable, Iterator
from functools import lru_cache
from importlib import metadata
from importlib.metadata import Distribution
from pathlib import Path

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

from kappa.build.packages.known_modules import is_usual, siblings_of

__all__ = [
    "InstalledState",
    "asked_for",
    "installed_sibling",
    "installed_state",
    "installed_version",
    "is_same_version",
    "metadata_field",
    "with_needs",
]

InstalledState = tuple[tuple[str, int], ...]


def installed_version(distribution: str) -> str | None:
    """Return the version of a distribution that is installed here."""
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


def installed_sibling(distribution: str) -> str:
    """Return the distribution that is installed here in the place of one: that itself, or one that brings the same
    module, such as `tensorflow-cpu`. Nothing stands in for one that is not the usual, such as `onnxruntime-gpu`."""
    name = canonicalize_name(distribution)
    if not is_usual(name) or installed_version(name) is not None:
        return distribution
    others = sorted(siblings_of(name) - {name})
    return next((other for other in others if installed_version(other) is not None), distribution)


def is_same_version(installed: str | None, version: str) -> bool:
    """Return whether an installed version is one that a file names; local parts such as `+cpu` say nothing."""
    try:
        return installed is not None and Version(installed).public == Version(version).public
    except InvalidVersion:
        return installed == version


def installed_state() -> InstalledState:
    """Return a key for caches of metadata: it changes when something is installed here."""
    return tuple((folder, _changed_at(folder)) for folder in sys.path)


def _changed_at(folder: str) -> int:
    try:
        return Path(folder).stat().st_mtime_ns
    except OSError:
        return 0


def metadata_field(distribution: Distribution, key: str) -> str:
    """Return the first value of a field of a distribution's metadata.

    PERF: `Distribution.metadata` parses all of it, the description too, in a millisecond.
    """
    text = distribution.read_text("METADATA") or distribution.read_text("PKG-INFO") or ""
    match = re.search(rf"^{key}: *(.+)$", text, re.MULTILINE)
    return match[1].strip() if match is not None else str(distribution.metadata[key])


def with_needs(names: Iterable[str]) -> frozenset[str]:
    """Return distributions with everything that they need in turn, as far as it is installed here."""
    waiting, state = deque(names), installed_state()
    needs = set(waiting)
    while waiting:
        for needed in _direct_needs(waiting.popleft(), state):
            if needed not in needs:
                needs.add(needed)
                waiting.append(needed)
    return frozenset(needs)


@lru_cache(maxsize=1024)
def _direct_needs(name: str, state: InstalledState) -> list[str]:  # noqa: ARG001 - what the answer depends on
    try:
        return [*asked_for(metadata.requires(name) or ())]
    except metadata.PackageNotFoundError:
        return []


def asked_for(requirements: Iterable[str]) -> Iterator[str]:
    """Yield the normalised names of the distributions that requirements ask for here."""
    for text in requirements:
        try:
            requirement = Requirement(text)
        except InvalidRequirement:
            continue
        if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
            yield canonicalize_name(requirement.name)
