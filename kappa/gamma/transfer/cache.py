"""Bundles that were fetched from a registry, by their digests: ``<root>/<digest>``, whole or absent.

A bundle is put there in one step and moved away in one step. Which digest an exact tag had is remembered, because a
version never changes. Above ``max_size_bytes`` those go that were not used for longest, but none that a process uses:
it holds a shared lock on the folder until it ends (`flock`; where the system has none, a folder in use is not removed
as long as its files are open).
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from kappa._files import digest_of_lines, write_atomically
from kappa.environment import home_directory
from kappa.gamma.storages.scratch import move_to_trash, staging_in
from kappa.spec.layout import MANIFEST_NAME
from kappa.tag import Tag

__all__ = ["BundleCache", "local_cache"]

_TAGS = ".tags"

_held: dict[Path, int] = {}
"""The folders that this process uses, with their open files: each is used until the process ends."""


def local_cache(environ: Mapping[str, str], *, max_size_bytes: int) -> BundleCache:
    """Return the cache of this machine, below ``$KAPPA_HOME``; nothing is read or made before it is used."""
    return BundleCache(home_directory(environ) / "cache", max_size_bytes=max_size_bytes)


@dataclass(frozen=True)
class BundleCache:
    """The bundles below ``root``, which need not exist."""

    root: Path
    max_size_bytes: int

    def path_of(self, digest: str) -> Path:
        """Return where the bundle of a digest is kept, whether or not it is there."""
        return self.root / digest.replace(":", "-")

    def find(self, digest: str) -> Path | None:
        """Return the folder of a bundle, which this process uses from now on; ``None`` if it is not there."""
        directory = self.path_of(digest)
        if not ((directory / MANIFEST_NAME).is_file() and _hold(directory)):
            return None
        with suppress(OSError):
            os.utime(directory)  # when it was last used
        return directory

    @contextmanager
    def staging(self) -> Iterator[Path]:
        """Yield an empty directory on the file system of the cache; what is left there is removed."""
        with staging_in(self.root) as staging:
            yield staging

    def put(self, staged: Path, digest: str) -> Path:
        """Take a complete and verified bundle from such a directory, which this process uses from now on.

        One of the same digest that is there stays.
        """
        directory = self.path_of(digest)
        with _locked(staged):  # where it is moved, no other process makes room with it
            with suppress(OSError):
                os.replace(staged, directory)  # noqa: PTH105 - one atomic step; it fails on a directory that is not empty
            if self.find(digest) is None:
                self.remove(digest)  # what is there is not whole
                os.replace(staged, directory)  # noqa: PTH105
                self.find(digest)
        self._make_room()
        return directory

    def remove(self, digest: str) -> bool:
        """Remove a bundle in one step, whoever uses it; return whether it was there."""
        directory = self.path_of(digest)
        if (file := _held.pop(directory, None)) is not None:
            os.close(file)
        try:
            trash = move_to_trash(directory, self.root)
        except OSError:
            return False
        shutil.rmtree(trash, ignore_errors=True)
        return True

    def remember(self, location: str, tag: Tag, digest: str) -> None:
        """Keep the digest that an exact tag has in the registry at ``location``."""
        entry = {"location": location, "tag": str(tag), "digest": digest}
        with suppress(OSError):  # it serves only when the registry is away
            write_atomically(self._entry(location, tag), json.dumps(entry).encode())

    def digest_of(self, location: str, tag: Tag) -> str | None:
        """Return the digest that was remembered for a tag."""
        try:
            entry = json.loads(self._entry(location, tag).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        is_same = isinstance(entry, dict) and (entry.get("location"), entry.get("tag")) == (location, str(tag))
        return str(entry["digest"]) if is_same and isinstance(entry.get("digest"), str) else None

    def size_bytes(self) -> int:
        """Return how much room all bundles take."""
        return sum(_size_of(directory) for directory in self._bundles())

    def _entry(self, location: str, tag: Tag) -> Path:
        return self.root / _TAGS / digest_of_lines({location: str(tag)}).removeprefix("sha256:")

    def _bundles(self) -> list[Path]:
        try:
            return [path for path in self.root.iterdir() if path.name.startswith("sha256-")]
        except FileNotFoundError:
            return []

    def _make_room(self) -> None:
        """Remove bundles that nobody uses, those first that were not used for longest, until the rest fits."""
        sizes = {directory: _size_of(directory) for directory in self._bundles()}
        excess = sum(sizes.values()) - self.max_size_bytes
        for directory in sorted(sizes, key=_last_use):
            if excess <= 0:
                return
            if directory not in _held and (trash := self._taken_away(directory)) is not None:
                shutil.rmtree(trash, ignore_errors=True)
                excess -= sizes[directory]

    def _taken_away(self, directory: Path) -> Path | None:
        """Move a bundle out of the way and return where it is now; ``None`` for one in use, or that cannot be moved."""
        with _alone(directory) as is_unused, suppress(OSError):
            if is_unused:
                return move_to_trash(directory, self.root)
        return None


def _size_of(directory: Path) -> int:
    total = 0
    for folder, _, names in os.walk(directory):
        for name in names:
            with suppress(OSError):
                total += os.lstat(os.path.join(folder, name)).st_size  # noqa: PTH118 - some 10,000 files
    return total


def _last_use(directory: Path) -> float:
    with suppress(OSError):
        return directory.stat().st_mtime
    return 0.0


def _hold(directory: Path) -> bool:
    """Keep other processes from removing a folder until this one ends; return whether it is there still."""
    if sys.platform == "win32":
        return directory.is_dir()
    import fcntl

    if directory in _held:
        if _is_still(directory, _held[directory]):
            return True
        os.close(_held.pop(directory))
    try:
        file = os.open(directory, os.O_RDONLY)
    except OSError:
        return False
    with suppress(OSError):  # not every file system has locks
        fcntl.flock(file, fcntl.LOCK_SH)
    if not _is_still(directory, file):  # it was removed between the two
        os.close(file)
        return False
    _held[directory] = file
    return True


@contextmanager
def _locked(directory: Path) -> Iterator[None]:
    """Let no other process remove a folder meanwhile, also where it is moved."""
    if sys.platform == "win32":
        yield
        return
    import fcntl

    file = os.open(directory, os.O_RDONLY)
    try:
        with suppress(OSError):  # not every file system has locks
            fcntl.flock(file, fcntl.LOCK_SH)
        yield
    finally:
        os.close(file)


def _is_still(directory: Path, file: int) -> bool:
    try:
        return os.path.samestat(directory.stat(), os.fstat(file))
    except OSError:
        return False


@contextmanager
def _alone(directory: Path) -> Iterator[bool]:
    """Lock a folder against those who would use it; yield whether nobody uses it now."""
    if sys.platform == "win32":
        yield True
        return
    import fcntl

    try:
        file = os.open(directory, os.O_RDONLY)
    except OSError:
        yield False
        return
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        is_unused = True
    except OSError:
        is_unused = False
    try:
        yield is_unused
    finally:
        os.close(file)
