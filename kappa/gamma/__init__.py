"""Gamma, the model store: where bundles are kept, and how a team shares them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kappa._facade import lazy_names

if TYPE_CHECKING:  # what `__getattr__` below resolves, for editors and type checkers
    from kappa.gamma.local_store import local_store as local_store

_HOMES = {
    "local_store": "kappa.gamma.local_store",
}

__all__ = [
    "local_store",
]

__getattr__, __dir__ = lazy_names(__name__, _HOMES)
