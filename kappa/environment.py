"""Environment variables of Kappa itself."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

__all__ = ["home_directory", "is_in_environment"]


def home_directory(environ: Mapping[str, str] = os.environ) -> Path:
    """Return ``$KAPPA_HOME``, by default ``~/kappa``; it need not exist."""
    return Path(environ.get("KAPPA_HOME") or "~/kappa").expanduser()


def is_in_environment(section: str, key: str, environ: Mapping[str, str] = os.environ) -> bool:
    """Return whether an environment variable sets a setting, which then overrides the service's own."""
    return f"KAPPA_{section}__{key}".upper() in environ
