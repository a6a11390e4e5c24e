"""Paths inside a bundle that came from elsewhere: which of them may be written to disk."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import PurePosixPath

__all__ = ["clash_in", "why_not_portable"]

_MAX_BYTES, _MAX_PART_BYTES = 1024, 255


def why_not_portable(path: str) -> str:
    """Return why a path must not be written below a folder, as a phrase; empty where it may.

    >>> why_not_portable("Iris/model.pkl"), why_not_portable("../x")
    ('', 'which leads out of its folder')
    """
    parts = path.split("/")
    if path.startswith("/") or (len(path) > 1 and path[1] == ":"):
        return "which is absolute"
    if ".." in parts:
        return "which leads out of its folder"
    if "" in parts or "." in parts:
        return "which is not in its shortest form"
    if "\\" in path or any(character < " " or character == "\x7f" for character in path):
        return "which has characters that separate folders or control terminals"
    try:
        size = len(path.encode())
        longest = max(len(part.encode()) for part in parts)
    except UnicodeEncodeError:
        return "which is not text"
    if size > _MAX_BYTES or longest > _MAX_PART_BYTES:
        return "which is too long"
    return ""


def clash_in(paths: Collection[str]) -> str:
    """Return a path that is a file and a folder at once; empty where there is none."""
    files = set(paths)
    return next((path for path in paths if any(str(above) in files for above in PurePosixPath(path).parents)), "")
