"""Registries on other machines: each client carries the operations of `Registry` over one protocol."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kappa._facade import lazy_names

if TYPE_CHECKING:  # what `__getattr__` below resolves, for editors and type checkers
    from kappa.gamma.clients.grpc_registry import GrpcRegistry as GrpcRegistry
    from kappa.gamma.clients.http_registry import HttpRegistry as HttpRegistry

_HOMES = {
    "GrpcRegistry": "kappa.gamma.clients.grpc_registry",
    "HttpRegistry": "kappa.gamma.clients.http_registry",
}

__all__ = [
    "GrpcRegistry",
    "HttpRegistry",
]

__getattr__, __dir__ = lazy_names(__name__, _HOMES)
