"""Atomic writes, and the digests by which a complete file or folder is recognised."""

from __future__ import annotations

import errno
import glob
import hashlib
import os
import secrets
import shutil
import stat
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from kappa.errors import DestinationExistsError

__all__ = [
    "IGNORED_NAMES",
    "copy_folder",
    "digest_of_lines",
    "entries_of",
    "in_use",
    "is_abandoned",
    "is_ignored",
    "say_taken_place",
    "sha256_of_bytes",
    "sha256_of_file",
    "staged_directory",
    "staged_file",
    "strangeness",
    "sync_folder",
    "walk_files",
    "write_atomically",
]

IGNORED_NAMES = frozenset(
    {"__pycache__", "build", "dist", ".DS_Store", ".git", ".mypy_cache", ".pytest_cache", ".ruff_cache"}
)
"""Names that pip, Python, an editor or the system may add to a bundle: no digest covers them, no copy takes them and
nothing reads them. `build` and `dist` count at the top of a bundle only, as do names that end in `.egg-info`."""

_ABANDONED_AFTER_S = 24 * 3600.0
_MADE_WITHIN_S = 5.0


def is_ignored(relative: Path) -> bool:
    """Return whether a path inside a bundle belongs to pip, Python or the system and not to the bundle."""
    top, *below = relative.parts or ("",)
    return top in IGNORED_NAMES or top.endswith(".egg-info") or any(part in _IGNORED_ANYWHERE for part in below)


_IGNORED_ANYWHERE = IGNORED_NAMES - {"build", "dist"}


def walk_files(root: Path, *, inside: str = "") -> Iterator[Path]:
    """Yield the files below ``root`` as relative paths, sorted by their POSIX form, ignored ones left out.

    So is what no bundle may hold; `entries_of` tells that too. ``inside`` is where ``root`` lies in the bundle, if it
    is not the whole of it.
    """
    yield from (path for path, strange in entries_of(root, inside=inside) if not strange)


def entries_of(root: Path, *, inside: str = "") -> list[tuple[Path, str]]:
    """Return whatever lies below ``root`` and is no folder, sorted, ignored names left out, with its strangeness.

    That is a word for what no bundle holds: links, special files, bytecode without its source.
    """
    return sorted(_entries(root, Path(inside)), key=lambda entry: entry[0].as_posix())


def copy_folder(source: Path, target: Path, *, inside: str = "") -> None:
    """Copy the files below ``source`` that a bundle may hold (`walk_files`) to below ``target``, which is not there."""
    target.mkdir()
    for path in walk_files(source, inside=inside):
        (target / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source / path, target / path)


def strangeness(path: Path) -> str:
    """Return the kind of a file that no bundle may hold: `a link`, `a named pipe`, …; empty for a plain file."""
    mode = path.lstat().st_mode
    if stat.S_ISREG(mode):
        return "bytecode without its source" if path.suffix == ".pyc" else ""
    return next((word for is_one, word in _STRANGE if is_one(mode)), "a special file")


_STRANGE: tuple[tuple[Callable[[int], bool], str], ...] = (
    (stat.S_ISDIR, ""),
    (stat.S_ISLNK, "a link"),
    (stat.S_ISFIFO, "a named pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)


def _entries(root: Path, inside: Path) -> Iterator[tuple[Path, str]]:
    """Yield everything but folders, each with its strangeness; links are never followed."""
    folders = [root]
    while folders:
        with os.scandir(folders.pop()) as entries:
            for entry in entries:
                path = Path(entry.path)
                relative, strange = path.relative_to(root), strangeness(path)
                if not strange and is_ignored(inside / relative):
                    continue
                if entry.is_dir(follow_symlinks=False):
                    folders.append(path)
                else:
                    yield relative, strange


def sha256_of_bytes(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def sha256_of_file(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def digest_of_lines(digests: Mapping[str, str], *, then: bytes = b"") -> str:
    """Hash sorted ``sha256␠␠path`` lines, followed by ``then``; the form that `sha256sum` prints."""
    digest = hashlib.sha256()
    for path in sorted(digests):
        digest.update(f"{digests[path]}  {path}\n".encode(errors="surrogateescape"))
    digest.update(then)
    return f"sha256:{digest.hexdigest()}"


def write_atomically(path: Path, data: bytes) -> None:
    """Write ``data`` beside ``path`` and move it there in one step; the old content stays if anything fails.

    A new file has the permissions that any new file of this user has, a replaced one keeps its own.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        with beside.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        with suppress(FileNotFoundError):
            shutil.copymode(path, beside)
        os.replace(beside, path)  # noqa: PTH105 - the one call whose atomicity this module is about
    except BaseException:
        with suppress(OSError):
            beside.unlink()
        raise


def sync_folder(folder: Path) -> None:
    """Wait until the names in a folder are on the disk; nothing where a system cannot say so. Raises `OSError`."""
    if os.name == "nt":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as exc:
        if exc.errno not in (errno.EINVAL, errno.ENOTSUP):  # a file system that knows no such thing
            raise
    finally:
        os.close(descriptor)


def say_taken_place(destination: Path) -> str:
    """Return the message for a destination that is taken."""
    problem = f"`{destination}` exists and is not an empty folder; nothing was written."
    return f"{problem} Name another folder, or remove this one."


@contextmanager
def staged_directory(destination: Path, *, is_replaced: bool = False) -> Iterator[Path]:
    """Yield an empty directory beside ``destination`` that takes its place when the block ends without an error.

    Unless what is there ``is_replaced``, ``destination`` must be absent or an empty directory then, otherwise
    `DestinationExistsError`. On an error what was there stays, and the staging directory is removed; one left by a
    killed process is named ``.<name>.staging-…``, never mistaken for the result, and removed by a later call.
    """
    destination.parent.mkdir(parents=True, exist_ok=True)
    _remove_abandoned(destination)
    staging = Path(tempfile.mkdtemp(prefix=f".{destination.name}.staging-", dir=destination.parent))
    try:
        with in_use(staging):
            yield staging
            staging.chmod(0o755)
            if is_replaced:
                _replace(destination, staging)
            else:
                _take_place(staging, destination)
    except BaseException:
        shutil.rmtree(staging, ignore_errors=True)
        raise


@contextmanager
def staged_file(destination: Path, *, is_replaced: bool = False) -> Iterator[Path]:
    """Yield a path beside ``destination``; the file written there takes its place when the block ends without an error.

    Unless a file that is there ``is_replaced``, it is a `DestinationExistsError`. On an error nothing is left.
    """
    destination.parent.mkdir(parents=True, exist_ok=True)
    beside = destination.with_name(f".{destination.name}.{secrets.token_hex(4)}")
    try:
        if destination.exists() and not is_replaced:
            raise DestinationExistsError(f"`{destination}` exists; nothing was written. Name another file.")
        yield beside
        os.replace(beside, destination)  # noqa: PTH105
    finally:
        with suppress(OSError):
            beside.unlink()


def _remove_abandoned(destination: Path) -> None:
    for path in destination.parent.glob(f".{glob.escape(destination.name)}.staging-*"):
        if is_abandoned(path):
            shutil.rmtree(path, ignore_errors=True)


@contextmanager
def in_use(directory: Path) -> Iterator[None]:
    """Keep `is_abandoned` from being true of a directory until the block ends, or the process."""
    lock = _lock(directory)
    try:
        yield
    finally:
        if lock is not None and lock >= 0:
            os.close(lock)


def is_abandoned(directory: Path) -> bool:
    """Return whether a process that made a directory for its own use has left it behind.

    Where directories cannot be locked, it is abandoned after a day.
    """
    try:
        age_s = time.time() - directory.stat().st_mtime
    except OSError:
        return False
    if age_s < _MADE_WITHIN_S:  # it may not be locked yet
        return False
    if (lock := _lock(directory)) is None:
        return age_s > _ABANDONED_AFTER_S
    if lock >= 0:
        os.close(lock)
    return lock >= 0


def _lock(directory: Path) -> int | None:
    """Lock a directory; return its open file, -1 if another process has locked it, ``None`` if none can be locked."""
    if sys.platform == "win32":
        return None
    import fcntl

    try:
        file = os.open(directory, os.O_RDONLY)
    except OSError:
        return None
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as exc:
        os.close(file)
        return -1 if exc.errno in (errno.EAGAIN, errno.EACCES) else None
    return file


def _replace(destination: Path, staging: Path) -> None:
    """Put ``staging`` in the place of a directory, which is moved aside first and back if that fails."""
    aside = Path(tempfile.mkdtemp(prefix=f".{destination.name}.staging-", dir=destination.parent))
    os.replace(destination, aside)  # noqa: PTH105
    try:
        os.replace(staging, destination)  # noqa: PTH105
    except BaseException:
        os.replace(aside, destination)  # noqa: PTH105
        raise
    shutil.rmtree(aside, ignore_errors=True)


def _take_place(staging: Path, destination: Path) -> None:
    if sys.platform == "win32" and destination.is_dir():
        destination.rmdir()  # POSIX replaces an empty directory in one step, Windows none
    try:
        os.replace(staging, destination)  # noqa: PTH105
    except OSError as exc:
        if exc.errno in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR):
            raise DestinationExistsError(say_taken_place(destination)) from exc
        raise
