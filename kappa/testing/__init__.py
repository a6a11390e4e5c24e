"""For the tests of services: ask one over HTTP without a server."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kappa._facade import lazy_names

if TYPE_CHECKING:  # what `__getattr__` below resolves, for editors and type checkers
    from kappa.testing.in_process import Client as Client
    from kappa.testing.in_process import client as client

_HOMES = {
    "Client": "kappa.testing.in_process",
    "client": "kappa.testing.in_process",
}

__all__ = [
    "Client",
    "client",
]

__getattr__, __dir__ = lazy_names(__name__, _HOMES)
