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
    from kappa.bento import BentoService as BentoService
    from kappa.bundle import load as load
    from kappa.remote.client import async_client as async_client
    from kappa.remote.client import client as client
    from kappa.services.declaring import api as api
    from kappa.services.declaring import artifact as artifact
    from kappa.services.declaring import artifacts as artifacts
    from kappa.services.declaring import env as env
    from kappa.services.declaring import example as example
    from kappa.services.declaring import files as files
    from kappa.services.declaring import label as label
    from kappa.services.declaring import name as name
    from kappa.services.declaring import security as security
    from kappa.services.declaring import serving as serving
    from kappa.services.declaring import setup as setup
    from kappa.services.declaring import teardown as teardown
    from kappa.services.declaring import ver as ver
    from kappa.services.declaring import web_static_content as web_static_content

_HOMES = {
    "BentoService": "kappa.bento",
    "api": "kappa.services.declaring",
    "artifact": "kappa.services.declaring",
    "artifacts": "kappa.services.declaring",
    "async_client": "kappa.remote.client",
    "client": "kappa.remote.client",
    "env": "kappa.services.declaring",
    "example": "kappa.services.declaring",
    "files": "kappa.services.declaring",
    "label": "kappa.services.declaring",
    "load": "kappa.bundle",
    "name": "kappa.services.declaring",
    "security": "kappa.services.declaring",
    "serving": "kappa.services.declaring",
    "setup": "kappa.services.declaring",
    "teardown": "kappa.services.declaring",
    "ver": "kappa.services.declaring",
    "web_static_content": "kappa.services.declaring",
}
_PACKAGES = frozenset({"adapters", "errors", "frameworks", "testing", "types"})
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
    if (home := _HOMES.get(name)) is None:
        raise AttributeError(f"module `kappa` has no attribute `{name}`")
    return getattr(import_module(home), name)


def __dir__() -> list[str]:
    return sorted(__all__)
