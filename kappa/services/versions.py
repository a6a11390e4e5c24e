"""The versions that a service runs on here, and those that its lock pins: for tests of what runs elsewhere."""

from __future__ import annotations

import platform
import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from importlib import metadata
from typing import NamedTuple

from kappa.spec.pins import pins_of

__all__ = [
    "InstalledVersion",
    "differing",
    "names_asked_for",
    "say_differences",
    "say_saved",
    "say_versions",
    "versions_here",
    "versions_pinned",
]

_ASKED = re.compile(
    r"^# kappa-input: (?:user|plugin|model|import) (?:.* -> )?(?:user )?([A-Za-z0-9][A-Za-z0-9._-]*)", re.MULTILINE
)
_ENDS = re.compile(r"[-_.]+")


class InstalledVersion(NamedTuple):
    """One distribution here, and what a lock pins it to; empty if it does not."""

    name: str
    installed: str
    pinned: str

    @property
    def differs(self) -> bool:
        return bool(self.pinned) and self.installed.partition("+")[0] != self.pinned.partition("+")[0]


def names_asked_for(lock: str) -> list[str]:
    """Return the distributions that a lock's record says were asked for, but for those that Kappa itself needs."""
    return sorted({_ENDS.sub("-", name.rstrip("-_.")).lower() for name in _ASKED.findall(lock)} - {"none"})


def versions_pinned(lock: str) -> dict[str, str]:
    """Return the version of each distribution that a lock pins, by its normalised name."""
    return {pin.name: pin.version for pin in pins_of(lock)}


def versions_here(names: Iterable[str], pinned: Mapping[str, str]) -> list[InstalledVersion]:
    """Return the distributions of ``names`` that are installed, with the versions that are ``pinned``."""
    versions = []
    for name in names:
        with suppress(metadata.PackageNotFoundError):
            versions.append(InstalledVersion(name, metadata.version(name), pinned.get(name, "")))
    return versions


def say_saved(versions: Mapping[str, str]) -> str:
    """Say with which versions something was saved, each with the one that is installed here."""
    here = {version.name: f" ({version.installed} here)" for version in versions_here(versions, versions)}
    return ", ".join(f"{name} {version}{here.get(name, '')}" for name, version in versions.items())


def differing(versions: Mapping[str, str]) -> dict[str, str]:
    """Return those of ``versions``, by distribution, in place of which others are installed here."""
    names = {version.name for version in versions_here(versions, versions) if version.differs}
    return {name: version for name, version in versions.items() if name in names}


def say_versions(versions: Iterable[InstalledVersion]) -> str:
    """Say on what something ran here, as a sentence."""
    listed = ", ".join(f"{version.name} {version.installed}" for version in versions)
    return f"Ran on Python {platform.python_version()}{f' with {listed}' if listed else ''}."


def say_differences(versions: Iterable[InstalledVersion]) -> str:
    """Say which versions here are not those of the bundle, as sentences; empty if all are."""
    listed = ", ".join(
        f"{version.name} {version.installed} ({version.pinned} there)" for version in versions if version.differs
    )
    return f"The bundle has other versions than run here, so it may answer otherwise: {listed}." if listed else ""
