"""Installed versions that do not apply to a model: they belong to a package of another version.

A model that scikit-learn 1.3 wrote does not fit the numpy of today, although no requirement names one.
"""

from __future__ import annotations

from collections.abc import Iterable

from kappa.build.packages.installed import with_needs

__all__ = ["are_bound"]


def are_bound(name: str, others: Iterable[str]) -> bool:
    """Return whether a distribution is one of the ``others``, or needs what they need; names are normalised."""
    names = set(others)
    if not names or name in names:
        return name in names
    return not (with_needs([name]) - {name}).isdisjoint(with_needs(names))
