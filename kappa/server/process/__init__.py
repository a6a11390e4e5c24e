"""The processes of a server: who starts, watches, exchanges and ends them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kappa._facade import lazy_names

if TYPE_CHECKING:  # what `__getattr__` below resolves, for editors and type checkers
    from kappa.server.process.arbiter import run_arbiter as run_arbiter

_HOMES = {
    "run_arbiter": "kappa.server.process.arbiter",
}

__all__ = [
    "run_arbiter",
]

__getattr__, __dir__ = lazy_names(__name__, _HOMES)
