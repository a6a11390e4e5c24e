"""HTTP at the doors of the server: connections, requests, answers, pages."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kappa._facade import lazy_names

if TYPE_CHECKING:  # what `__getattr__` below resolves, for editors and type checkers
    from kappa.server.http.uvicorn_server import KappaUvicorn as KappaUvicorn

_HOMES = {
    "KappaUvicorn": "kappa.server.http.uvicorn_server",
}

__all__ = [
    "KappaUvicorn",
]

__getattr__, __dir__ = lazy_names(__name__, _HOMES)
