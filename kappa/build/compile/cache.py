"""Models that were compiled, each in a folder named by the digest of all that it depends on.

They are removed by when a build last used them: what one may be copying from now is never among them.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

__all__ = ["MOST_BYTES", "mark_used", "remove_least_recent"]

MOST_BYTES = 1 << 30
"""The size that compiled models may have together; more than that is used again within the hour, or removed."""
_IN_USE_S = 3600.0
"""A build that took a model from the cache has copied it by then: a single conversion may take half of it."""


def mark_used(folder: Path) -> None:
    """Note at a compiled model that it is used now, as the time of its folder; one that is read-only stays as it is."""
    with suppress(OSError):
        os.utime(folder)


def remove_least_recent(root: Path, *, most_bytes: int = MOST_BYTES, now_s: float | None = None) -> list[str]:
    """Remove models below ``root`` until the others have ``most_bytes``, the one first that was used least recently.

    Return the names of their folders. What was used within the last hour stays, whatever it takes.
    """
    now_s = time.time() if now_s is None else now_s
    total_bytes, removed = 0, []
    for used_s, folder, size_bytes in sorted(_uses(root), reverse=True):
        total_bytes += size_bytes
        if total_bytes > most_bytes and now_s - used_s > _IN_USE_S:
            shutil.rmtree(folder, ignore_errors=True)
            removed.append(folder.name)
    return removed


def _uses(root: Path) -> Iterator[tuple[float, Path, int]]:
    """Yield the compiled models below a folder with the time of their last use and their sizes; none that is being
    made, or that another build removes."""
    for folder in root.iterdir() if root.is_dir() else ():
        if folder.is_dir() and not folder.name.startswith("."):
            with suppress(FileNotFoundError):
                yield folder.stat().st_mtime, folder, sum(path.stat().st_size for path in folder.iterdir())
