"""Specifications of a service: declared (`service`), as written in a kappafile (`document`), resolved (`manifest`).

These types touch no disk, no network and no subprocess.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kappa._facade import lazy_names

if TYPE_CHECKING:  # what `__getattr__` below resolves, for editors and type checkers
    from kappa.spec.schema import DocumentName as DocumentName
    from kappa.spec.schema import schema_text as schema_text

_HOMES = {
    "DocumentName": "kappa.spec.schema",
    "schema_text": "kappa.spec.schema",
}

__all__ = [
    "DocumentName",
    "schema_text",
]

__getattr__, __dir__ = lazy_names(__name__, _HOMES)
