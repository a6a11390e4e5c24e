"""Bundles loaded into a program, by their folders or by their tags."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from kappa import bundle as bundles
from kappa.actions.targets import find_bundle, names_path

if TYPE_CHECKING:
    from kappa.services.declared import DeclaredService

__all__ = ["load"]


def load(bundle: str | os.PathLike[str]) -> DeclaredService:
    """Load a bundle; each API is a method of what is returned and takes the function's own argument.

    It is named by its folder, or as on the command line: `Name`, `Name:version`, `Name:alias`, of the store of this
    machine or of the Gamma server that is configured, which it is fetched from once. Several versions of a service can
    be loaded in one process, each with its own code and models. That a bundle has just the files it was built with, and
    its code, is checked; ``kappa verify`` compares every byte.

    >>> kappa.load("bundles/iris").predict([[5.1, 3.5, 1.4, 0.2]])  # doctest: +SKIP
    >>> kappa.load("IrisClassifier:production")  # doctest: +SKIP
    """
    if not isinstance(bundle, str) or names_path(bundle):
        return bundles.load(Path(bundle))
    return bundles.load(find_bundle(bundle).bundle.directory)
