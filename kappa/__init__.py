"""Kappa turns a trained model into a production prediction service.

    >>> import kappa
    >>> service = kappa.load("path/to/bundle")        # doctest: +SKIP

The names below are imported when they are first used: importing this package does no work. `make generate` writes the
names of the decorators here, and their signatures into `__init__.pyi`.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

from kappa._version import __version__

_MODULES = {
    "BentoService": "kappa.bento",
    "async_client": "kappa.remote.client",
    "client": "kappa.remote.client",
    "load": "kappa.actions.loading",
}
"""Where the names are that no decorator has."""
_PACKAGES = frozenset({"adapters", "errors", "frameworks", "gamma", "testing", "types"})
"""Parts of Kappa that `import kappa` alone makes usable, as `kappa.types.InferenceResult`."""

__all__ = [
    "BentoService",
    "__version__",
    "api",
    "artifact",
    "artifacts",
    "async_client",
    "client",
    "env",
    "example",
    "files",
    "label",
    "load",
    "name",
    "security",
    "serving",
    "setup",
    "teardown",
    "ver",
    "web_static_content",
]


def __getattr__(name: str) -> Any:
    if name in _PACKAGES:
        return import_module(f"kappa.{name}")
    if name in _MODULES:
        return getattr(import_module(_MODULES[name]), name)
    if name in __all__:
        return import_module("kappa.services.declaring").DECORATORS[name]
    raise AttributeError(f"module `kappa` has no attribute `{name}`")


def __dir__() -> list[str]:
    return sorted(__all__)
