"""Writing so that nobody ever sees half a file, and hashing so that everybody can tell a whole one."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

__all__ = [
    "IGNORED_NAMES",
    "digest_of_lines",
    "is_ignored",
    "sha256_of_bytes",
    "sha256_of_file",
    "staged_directory",
    "walk_files",
    "write_atomically",
]

IGNORED_NAMES = frozenset({"__pycache__", "build", ".DS_Store", ".git", ".mypy_cache", ".pytest_cache", ".ruff_cache"})
"""Names that pip, Python, an editor or the system may add to a bundle: no digest covers them and no copy takes them.
`build` counts at the top of a bundle only."""


def is_ignored(relative: Path) -> bool:
    """Return whether a path inside a bundle belongs to pip, Python or the system and not to the bundle."""
    for depth, part in enumerate(relative.parts):
        if part == "build" and depth > 0:
            continue
        if part in IGNORED_NAMES or part.endswith((".egg-info", ".dist-info", ".pyc")):
            return True
    return False


def walk_files(root: Path) -> Iterator[Path]:
    """Yield the files below ``root`` as relative paths, sorted by their POSIX form, ignored ones left out."""
    found = (path.relative_to(root) for path in root.rglob("*") if path.is_file())
    yield from sorted((path for path in found if not is_ignored(path)), key=Path.as_posix)


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
        digest.update(f"{digests[path]}  {path}\n".encode())
    digest.update(then)
    return f"sha256:{digest.hexdigest()}"


def write_atomically(path: Path, data: bytes) -> None:
    """Write ``data`` beside ``path`` and move it there in one step; the old content stays if anything fails."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(name, path)  # noqa: PTH105 - the one call whose atomicity this module is about
    except BaseException:
        with suppress(OSError):
            os.unlink(name)  # noqa: PTH108
        raise


@contextmanager
def staged_directory(destination: Path) -> Iterator[Path]:
    """Yield an empty directory beside ``destination`` that takes its place when the block ends without an error.

    ``destination`` must be absent or an empty directory then. On an error the staging directory is removed; one left
    by a killed process is named ``.<name>.staging-…`` and never mistaken for the result.
    """
    destination.parent.mkdir(parents=True, exist_ok=True)
    staging = Path(tempfile.mkdtemp(prefix=f".{destination.name}.staging-", dir=destination.parent))
    try:
        yield staging
        staging.chmod(0o755)
        os.replace(staging, destination)  # noqa: PTH105
    except BaseException:
        shutil.rmtree(staging, ignore_errors=True)
        raise
