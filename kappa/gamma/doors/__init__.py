"""The doors of a Gamma server: the operations of `Registry` for other machines, over gRPC and over HTTP."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kappa._facade import lazy_names

if TYPE_CHECKING:  # what `__getattr__` below resolves, for editors and type checkers
    from kappa.gamma.doors.running import GammaServer as GammaServer

_HOMES = {
    "GammaServer": "kappa.gamma.doors.running",
}

__all__ = [
    "GammaServer",
]

__getattr__, __dir__ = lazy_names(__name__, _HOMES)
