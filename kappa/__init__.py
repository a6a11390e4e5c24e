"""Kappa turns a trained model into a production prediction service.

    >>> import kappa
    >>> service = kappa.load("path/to/bundle")        # doctest: +SKIP

The names below are imported when they are first used: importing this package does no work.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from kappa._version import __version__

if TYPE_CHECKING:  # what `__getattr__` below resolves, for editors and type checkers
    from kappa.bundle import load as load
    from kappa.declaring import BentoService as BentoService
    from kappa.declaring import api as api
    from kappa.declaring import artifacts as artifacts
    from kappa.declaring import env as env
    from kappa.declaring import web_static_content as web_static_content

_HOMES = {
    "BentoService": "kappa.declaring",
    "api": "kappa.declaring",
    "artifacts": "kappa.declaring",
    "env": "kappa.declaring",
    "load": "kappa.bundle",
    "web_static_content": "kappa.declaring",
}

__all__ = ["BentoService", "__version__", "api", "artifacts", "env", "load", "web_static_content"]


def __getattr__(name: str) -> Any:
    if (home := _HOMES.get(name)) is None:
        raise AttributeError(f"module `kappa` has no attribute `{name}`")
    return getattr(import_module(home), name)


def __dir__() -> list[str]:
    return sorted(__all__)
