"""Environment variables of Kappa itself."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

__all__ = ["expanded", "home_directory", "is_in_environment"]


def expanded(path: str | os.PathLike[str]) -> Path:
    """Return a path with the folder of its user for ``~`` or ``~name``; as in a shell, a name of nobody stays."""
    return Path(os.path.expanduser(path))  # noqa: PTH111 - that of `Path` raises for a name of nobody


def home_directory(environ: Mapping[str, str] = os.environ) -> Path:
    """Return ``$KAPPA_HOME``, by default ``~/kappa``; it need not exist."""
    return expanded(environ.get("KAPPA_HOME") or "~/kappa")


def is_in_environment(section: str, key: str, environ: Mapping[str, str] = os.environ) -> bool:
    """Return whether an environment variable sets a setting, which then overrides the service's own."""
    return f"KAPPA_{section}__{key}".upper() in environ
