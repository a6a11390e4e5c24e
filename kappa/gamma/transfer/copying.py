"""Whole bundles copied on this machine: into a store, or as a folder of the user's."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from kappa._files import staged_directory, walk_files
from kappa.environment import expanded
from kappa.services.bundle import Bundle, open_bundle
from kappa.spec.store import Store
from kappa.tag import DEFAULT_NAMESPACE

__all__ = ["copy_bundle", "put_copy", "retrieve"]


def retrieve(bundle: Bundle, target_dir: str | os.PathLike[str] | None = None) -> Path:
    """Copy a bundle as the folder ``target_dir``, by default its name in the current directory; return the folder.

    That must be absent or an empty folder, otherwise `DestinationExistsError`: nothing is overwritten. ``~`` in it is
    the home directory. The bundle is verified first.
    """
    destination = expanded(target_dir) if target_dir is not None else Path(bundle.manifest.name)
    destination = Path(os.path.abspath(destination))  # noqa: PTH100 - a link in it stays one
    bundle.verify()
    with staged_directory(destination) as staging:
        copy_bundle(bundle.directory, staging)
    return destination


def put_copy(store: Store, directory: Path, *, namespace: str = DEFAULT_NAMESPACE) -> Path:
    """Put a copy of the bundle in ``directory`` into a store, and return where it is; the copy is verified."""
    with store.staging() as staging:
        copy = staging / "bundle"
        copy.mkdir()
        copy_bundle(directory, copy)
        bundle = open_bundle(copy)
        bundle.verify()
        return store.put(copy, bundle.manifest, namespace=namespace)


def copy_bundle(source: Path, target: Path) -> None:
    """Copy the files that belong to a bundle to below ``target``, with their permissions."""
    for path in walk_files(source):
        (target / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(source / path, target / path)
