"""The code of a service, read without running it: modules, imports, functions, classes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kappa._facade import lazy_names

if TYPE_CHECKING:  # what `__getattr__` below resolves, for editors and type checkers
    from kappa.build.code.classes import Values as Values
    from kappa.build.code.classes import import_class as import_class
    from kappa.build.code.classes import read_class as read_class

_HOMES = {
    "Values": "kappa.build.code.classes",
    "import_class": "kappa.build.code.classes",
    "read_class": "kappa.build.code.classes",
}

__all__ = [
    "Values",
    "import_class",
    "read_class",
]

__getattr__, __dir__ = lazy_names(__name__, _HOMES)
