"""Names that a service cannot have: its bundle is a distribution and a package, and may be installed beside others.

One that is called like a distribution that it needs replaces it, and one that is called like a module of such a
distribution overwrites its files.
"""

from __future__ import annotations

import sys
from collections.abc import Collection, Iterable
from pathlib import Path

from packaging.utils import canonicalize_name

from kappa.build.packages.distributions import top_modules
from kappa.build.packages.installed import asked_for, with_needs
from kappa.build.packages.known_modules import modules_of

__all__ = ["needed_by", "say_taken", "taken_by"]


def taken_by(name: str, distributions: Collection[str]) -> str | None:
    """Return which of some distributions, by normalised names, has the name of a service, or a module of that name.

    Upper and lower case do not count, as on the disks of many systems.
    """
    if (same := canonicalize_name(name)) in distributions:
        return same
    for distribution in sorted(distributions):
        if name.lower() in {module.partition(".")[0].lower() for module in modules_of(distribution)}:
            return distribution
    if not any(_lies_in(Path(folder), name) for folder in sys.path if folder):
        return None
    owners = {
        canonicalize_name(owner)
        for module, names in top_modules().items()
        if module.lower() == name.lower()
        for owner in names
    }
    return next(iter(sorted(owners & set(distributions))), None)


def _lies_in(folder: Path, name: str) -> bool:
    """Return whether a folder has a module of a name; asking every distribution takes a quarter of a second."""
    try:
        return any(entry.name.partition(".")[0].lower() == name.lower() for entry in folder.iterdir())
    except OSError:
        return False


def needed_by(requirements: Iterable[str]) -> frozenset[str]:
    """Return the distributions that requirements ask for, with what those need in turn as far as it is installed."""
    return with_needs(asked_for(text.partition(" --hash=")[0] for text in requirements))


def say_taken(name: str, distribution: str) -> str:
    """Say why a service cannot be called so; a whole sentence."""
    if canonicalize_name(name) == distribution:
        return f"A service cannot be called `{name}`: it needs the distribution of that name, and would replace it."
    return (
        f"A service cannot be called `{name}`: it needs `{distribution}`, whose module of that name it would overwrite."
    )
