"""Bundles as plain directories: ``<root>/<name>/<version>``.

A bundle becomes visible by one rename of a complete tree, so a reader sees all of it or nothing. This class knows only
trees and their manifests; names that begin with a dot are work in progress and never bundles.
"""

from __future__ import annotations

import difflib
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from kappa.errors import BundleError, BundleNotFoundError, DestinationExistsError
from kappa.spec.manifest import MANIFEST_NAME, read_manifest
from kappa.tag import BundleReference, Tag

__all__ = ["DirectoryStorage"]

_ABANDONED_AFTER_S = 24 * 3600.0
_SHOWN = 5


class DirectoryStorage:
    """The bundles below ``root``, which need not exist."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def path_of(self, tag: Tag) -> Path:
        """Return where the bundle of ``tag`` is kept, whether or not it is there."""
        return self.root / tag.name / tag.version

    def tags(self, name: str | None = None) -> list[Tag]:
        """Return the tags of all bundles, or of one service's, newest first."""
        folders = [self.root / name] if name else _directories(self.root)
        found = [path for folder in folders for path in _directories(folder) if (path / MANIFEST_NAME).is_file()]
        found.sort(key=lambda path: (_top_level(path, "created_at"), path.name), reverse=True)
        return [Tag(path.parent.name, path.name) for path in found]

    def find(self, reference: BundleReference) -> Path:
        """Return the directory that ``reference`` means; raises `BundleNotFoundError` that says what there is."""
        if reference.version is not None:
            path = self.path_of(Tag(reference.name, reference.version))
            if (path / MANIFEST_NAME).is_file():
                return path
            raise BundleNotFoundError(self._absence(f"{reference.name}:{reference.version}", reference.name))
        tags = self.tags(reference.name)
        if (digest := reference.digest) is not None:
            asked = f"{reference.name}@{digest}"
            tags = [tag for tag in tags if _top_level(self.path_of(tag), "bundle_digest").startswith(digest)]
            if len(tags) > 1:
                raise BundleError(f"`{asked}` is short for more than one bundle: {_enumerate(tags)}. Give more digits.")
        else:
            asked = f"{reference.name}:latest"
        if not tags:
            raise BundleNotFoundError(self._absence(asked, reference.name))
        return self.path_of(tags[0])

    @contextmanager
    def staging(self) -> Iterator[Path]:
        """Yield an empty directory on the store's file system, to build in; what is left there is removed."""
        self.root.mkdir(parents=True, exist_ok=True)
        self._remove_abandoned()
        staging = Path(tempfile.mkdtemp(prefix=".staging-", dir=self.root))
        try:
            yield staging
        finally:
            shutil.rmtree(staging, ignore_errors=True)

    def put(self, staged: Path) -> Path:
        """Move the complete bundle ``staged``, on the same file system, to its place and return that.

        A bundle of the same tag stays as it is: fine if it has the same bytes, `DestinationExistsError` if not.
        """
        manifest = read_manifest(staged)
        destination = self.path_of(manifest.tag)
        destination.parent.mkdir(parents=True, exist_ok=True)
        try:
            os.replace(staged, destination)  # noqa: PTH105 - one atomic step; it fails on a directory that is not empty
        except OSError:
            if not (destination / MANIFEST_NAME).is_file():
                raise
            if read_manifest(destination).bundle_digest != manifest.bundle_digest:
                raise DestinationExistsError(
                    f"`{manifest.tag}` is already in the store, and this bundle is not identical to it; a version "
                    "never changes. Give another `--version`, or none to get one made from the time and the content."
                ) from None
        return destination

    def _remove_abandoned(self) -> None:
        """Remove what killed builds left behind; a day is longer than any build."""
        for path in self.root.glob(".staging-*"):
            with suppress(FileNotFoundError):
                if time.time() - path.stat().st_mtime > _ABANDONED_AFTER_S:
                    shutil.rmtree(path, ignore_errors=True)

    def _absence(self, asked: str, name: str) -> str:
        if versions := self.tags(name):
            return f"There is no bundle `{asked}` in the store. Of `{name}` it holds {_enumerate(versions)}."
        names = [path.name for path in _directories(self.root) if self.tags(path.name)]
        if not names:
            return f"There is no bundle `{asked}`: the store `{self.root}` is empty. `kappa build` puts bundles there."
        if near := difflib.get_close_matches(name, names, n=1, cutoff=0.5):
            return f"There is no bundle `{asked}` in the store. Did you mean `{near[0]}`?"
        return f"There is no bundle `{asked}` in the store. It holds {_enumerate(sorted(names))}."


def _directories(folder: Path) -> list[Path]:
    try:
        return [path for path in sorted(folder.iterdir()) if path.is_dir() and not path.name.startswith(".")]
    except (FileNotFoundError, NotADirectoryError):
        return []


def _top_level(directory: Path, key: str) -> str:
    """Return a text at the top level of a manifest, or ``""``.

    PERF: the YAML parser reads 0.1 MB/s; a store of a hundred bundles would take seconds to sort by age.
    """
    with (directory / MANIFEST_NAME).open(encoding="utf-8", errors="replace") as lines:
        for line in lines:
            if line.startswith(f"{key}:"):
                return line.partition(":")[2].strip().strip("'\"")
    return ""


def _enumerate(items: list[Tag] | list[str]) -> str:
    shown = ", ".join(f"`{item}`" for item in items[:_SHOWN])
    return f"{shown} and {len(items) - _SHOWN} more" if len(items) > _SHOWN else shown
