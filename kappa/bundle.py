"""Bundles loaded into a program; the package of every bundle calls `kappa.bundle.load`, so this name stays."""

from __future__ import annotations

import os

from kappa.environment import expanded
from kappa.errors import BundleNotFoundError
from kappa.services.bundle import open_bundle
from kappa.services.declared import DeclaredService
from kappa.services.service import load_service
from kappa.services.source import ServiceSource

__all__ = ["load"]


def load(path: str | os.PathLike[str]) -> DeclaredService:
    """Load the bundle in a directory; each API is a method of what is returned and takes the function's own argument.

    Several versions of a service can be loaded in one process, each with its own code and models. That a bundle has
    just the files it was built with, and its code, is checked; ``kappa verify`` compares every byte.

    >>> kappa.load("bundles/iris").predict([[5.1, 3.5, 1.4, 0.2]])  # doctest: +SKIP
    """
    directory = expanded(path)
    if not directory.exists() and ":" in str(path):
        raise BundleNotFoundError(
            f"There is no bundle in `{path}`: `load` takes a folder. "
            f"`kappa get {path} --print-location` prints the one of a tag."
        )
    return load_service(ServiceSource.of_bundle(open_bundle(directory), on_path=False)).as_object()
