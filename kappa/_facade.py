"""Packages whose names are imported when they are first used: importing such a package does no work.

A façade names what other parts of Kappa may use of a package. They write ``from kappa import build`` at the top, and
``build.read_project(…)`` where they need it. So help is quick, and a bundle runs where what only a build needs is not
installed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any

__all__ = ["lazy_names"]


def lazy_names(package: str, homes: Mapping[str, str]) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """Return `__getattr__` and `__dir__` of a package; ``homes`` has the module of each of its names."""

    def of_module(name: str) -> Any:
        if (home := homes.get(name)) is None:
            raise AttributeError(f"module `{package}` has no attribute `{name}`")
        return getattr(import_module(home), name)

    return of_module, lambda: sorted(homes)
