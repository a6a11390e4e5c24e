"""The command line: reads arguments, calls `kappa.actions`, shows results. Nothing is decided here."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kappa._facade import lazy_names

if TYPE_CHECKING:  # what `__getattr__` below resolves, for editors and type checkers
    from kappa.cli.results import Printer as Printer
    from kappa.cli.results import printer as printer

_HOMES = {
    "Printer": "kappa.cli.results",
    "printer": "kappa.cli.results",
}

__all__ = [
    "Printer",
    "printer",
]

__getattr__, __dir__ = lazy_names(__name__, _HOMES)
