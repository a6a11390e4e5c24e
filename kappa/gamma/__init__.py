"""Gamma, the model store: where bundles are kept, and how a team shares them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kappa._facade import lazy_names

if TYPE_CHECKING:  # what `__getattr__` below resolves, for editors and type checkers
    from kappa.gamma.service import local_service as local_service

_HOMES = {
    "local_service": "kappa.gamma.service",
}

__all__ = [
    "local_service",
]

__getattr__, __dir__ = lazy_names(__name__, _HOMES)
