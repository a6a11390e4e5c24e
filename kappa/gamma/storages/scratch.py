"""Folders of a store that are not bundles: work in progress, and bundles that are being deleted.

Their names begin with a dot. Those of killed processes are removed by a later call.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from kappa._files import in_use, is_abandoned

__all__ = ["move_to_trash", "remove_left_behind", "staging_in"]

_STAGING, _TRASH = ".staging-", ".trash-"


@contextmanager
def staging_in(root: Path) -> Iterator[Path]:
    """Yield an empty directory in ``root``, which is made if it is absent; what is left there is removed."""
    root.mkdir(parents=True, exist_ok=True)
    remove_left_behind(root)
    staging = Path(tempfile.mkdtemp(prefix=_STAGING, dir=root))
    try:
        with in_use(staging):
            yield staging
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def move_to_trash(directory: Path, root: Path) -> Path:
    """Move a directory below ``root`` out of the way in one step; return where it is now, to be deleted.

    Raises `OSError`, also for one that is not there; then nothing has changed.
    """
    trash = Path(tempfile.mkdtemp(prefix=_TRASH, dir=root))
    try:
        os.replace(directory, trash)  # noqa: PTH105
    except OSError:
        trash.rmdir()
        raise
    return trash


def remove_left_behind(root: Path) -> None:
    """Remove what killed processes left behind."""
    left = [path for path in root.glob(f"{_STAGING}*") if is_abandoned(path)]
    for path in (*left, *root.glob(f"{_TRASH}*")):
        shutil.rmtree(path, ignore_errors=True)
