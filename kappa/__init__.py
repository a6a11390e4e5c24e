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
    from kappa.declaring import api as api
    from kappa.declaring import artifact as artifact
    from kappa.declaring import artifacts as artifacts
    from kappa.declaring import env as env
    from kappa.declaring import example as example
    from kappa.declaring import files as files
    from kappa.declaring import label as label
    from kappa.declaring import name as name
    from kappa.declaring import security as security
    from kappa.declaring import serving as serving
    from kappa.declaring import setup as setup
    from kappa.declaring import teardown as teardown
    from kappa.declaring import ver as ver
    from kappa.declaring import web_static_content as web_static_content
    from kappa.remote import async_client as async_client
    from kappa.remote import client as client

_HOMES = {
    "BentoService": "kappa.bento",
    "api": "kappa.declaring",
    "artifact": "kappa.declaring",
    "artifacts": "kappa.declaring",
    "async_client": "kappa.remote",
    "client": "kappa.remote",
    "env": "kappa.declaring",
    "example": "kappa.declaring",
    "files": "kappa.declaring",
    "label": "kappa.declaring",
    "load": "kappa.bundle",
    "name": "kappa.declaring",
    "security": "kappa.declaring",
    "serving": "kappa.declaring",
    "setup": "kappa.declaring",
    "teardown": "kappa.declaring",
    "ver": "kappa.declaring",
    "web_static_content": "kappa.declaring",
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
