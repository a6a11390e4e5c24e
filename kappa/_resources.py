"""Finds Kappa's data files (templates, schemas) in a wheel, an editable install, a checkout, or a wheel run unpacked.

Only `importlib.resources` traversables are used: inside a bundle Kappa runs from a zip, where there is no path.
"""

from __future__ import annotations

import sys
from importlib.resources import files
from pathlib import Path

if sys.version_info >= (3, 11):
    from importlib.resources.abc import Traversable
else:
    from importlib.abc import Traversable

__all__ = ["Traversable", "resource"]


def resource(*parts: str) -> Traversable:
    """Return the data file or folder ``parts``, e.g. ``resource("templates", "bundle")``.

    Inside a wheel they lie in the package; in a checkout and an editable install, beside it.
    """
    package = files("kappa")
    path = package.joinpath(*parts)
    if path.is_file() or path.is_dir():
        return path
    if isinstance(package, Path):
        beside = package.parent.joinpath(*parts)
        if beside.exists():
            return beside
    raise FileNotFoundError(f"Kappa's own data file `{'/'.join(parts)}` is missing: this installation is damaged.")
