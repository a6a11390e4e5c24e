"""Bundles as plain trees: ``<root>/<name>/<version>``, complete or absent, never half.

A bundle is visible by its tree: it is staged beside the others and moved to its place in one step, and moved away in
one step before it is deleted. Names that begin with a dot are work in progress and never bundles.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from functools import cached_property, partial
from pathlib import Path

from kappa._files import in_use, is_abandoned
from kappa.environment import home_directory
from kappa.errors import DestinationExistsError, GammaError
from kappa.spec.layout import MANIFEST_NAME
from kappa.spec.manifest import BundleManifest, read_manifest
from kappa.tag import Tag

__all__ = ["DirectoryStorage", "local_storage"]

_STAGING, _TRASH = ".staging-", ".trash-"
_COARSEST_NS = 2_000_000_000
"""FAT keeps times by two seconds: for so long a folder may change without another time of change."""


def local_storage(environ: Mapping[str, str]) -> DirectoryStorage:
    """Return the bundles of this machine, below ``$KAPPA_HOME``; nothing is read or made before it is used."""
    return DirectoryStorage(home_directory(environ) / "repository")


class DirectoryStorage:
    """The bundles below ``root``, which need not exist; a `BundleStorage` whose URIs are paths relative to it."""

    def __init__(self, root: Path, *, clock: Callable[[], int] = time.time_ns) -> None:
        self.root = root
        self._clock = clock
        self._listings: dict[Path, tuple[tuple[int, ...], list[str]]] = {}
        """Of each folder, its state when it was read, and what it held."""

    @property
    def location(self) -> str:
        return str(self.root)

    @cached_property
    def why_read_only(self) -> str:
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            with self._lock():
                return ""
        except OSError as exc:
            return str(exc.strerror)

    def exists(self) -> bool:
        return self.root.is_dir()

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        """Keep other processes from changing bundles; the lock of a killed process is free again."""
        if self.why_read_only:
            raise GammaError(f"The store `{self.root}` cannot be changed: {self.why_read_only}.")
        with self._lock():
            yield

    def _lock(self) -> AbstractContextManager[object]:
        from filelock import FileLock  # which a bundle's own packages do not have

        return FileLock(self.root.with_name(f".{self.root.name}.lock"))

    def path_of(self, tag: Tag) -> Path:
        """Return where the bundle of ``tag`` is kept, whether or not it is there."""
        return self.root / tag.name / tag.version

    def has(self, tag: Tag) -> bool:
        """Return whether the bundle of ``tag`` is there."""
        return (self.path_of(tag) / MANIFEST_NAME).is_file()

    def tags(self) -> set[Tag]:
        """Return the tags of all bundles that are there now.

        A folder is read again when it has changed. It is read each time while its clock may not yet tell the next
        change apart, or a bundle is being copied into it.
        """
        names = self._listing(self.root, lambda _: True)
        return {Tag(name, version) for name in names for version in self._listing(self.root / name, _is_bundle)}

    def _listing(self, folder: Path, is_whole: Callable[[Path], bool]) -> list[str]:
        """Return the names of the folders below ``folder`` that are whole."""
        try:
            stat = folder.stat()
            state = stat.st_ino, stat.st_mtime_ns, stat.st_ctime_ns
            remembered = self._listings.get(folder)
            if remembered is not None and remembered[0] == state:
                return remembered[1]
            now, names = self._clock(), list(_directories(folder))
        except (FileNotFoundError, NotADirectoryError):
            return []
        whole = [name for name in names if is_whole(folder / name)]
        if now - max(state[1:]) > _COARSEST_NS and len(whole) == len(names):
            self._listings[folder] = state, whole
        return whole

    @contextmanager
    def staging(self) -> Iterator[Path]:
        """Yield an empty directory on the file system of the trees, to build in; what is left there is removed."""
        self.root.mkdir(parents=True, exist_ok=True)
        self._remove_abandoned()
        staging = Path(tempfile.mkdtemp(prefix=_STAGING, dir=self.root))
        try:
            with in_use(staging):
                yield staging
        finally:
            shutil.rmtree(staging, ignore_errors=True)

    def put(self, staged: Path, manifest: BundleManifest) -> str:
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
        return self.uri_of(manifest.tag)

    def uri_of(self, tag: Tag) -> str:
        """Return the URI of the bundle of ``tag``, whether or not it is there."""
        return self.path_of(tag).relative_to(self.root).as_posix()

    def fetch(self, uri: str) -> Path:
        return self.root / uri

    def remove(self, tag: Tag) -> Callable[[], None] | None:
        directory = self.path_of(tag)
        trash = Path(tempfile.mkdtemp(prefix=_TRASH, dir=self.root)) if self.root.is_dir() else None
        if trash is None:
            return None
        try:
            os.replace(directory, trash)  # noqa: PTH105
        except OSError:
            trash.rmdir()
            if directory.exists():
                raise
            return None
        with suppress(OSError):
            directory.parent.rmdir()  # unless it holds other versions
        return partial(shutil.rmtree, trash, ignore_errors=True)

    def _remove_abandoned(self) -> None:
        """Remove what killed processes left behind."""
        left = [path for path in self.root.glob(f"{_STAGING}*") if is_abandoned(path)]
        for path in (*left, *self.root.glob(f"{_TRASH}*")):
            shutil.rmtree(path, ignore_errors=True)


def _is_bundle(directory: Path) -> bool:
    return (directory / MANIFEST_NAME).is_file()


def _directories(folder: Path) -> Iterator[str]:
    with os.scandir(folder) as entries:
        yield from (entry.name for entry in entries if not entry.name.startswith(".") and entry.is_dir())
