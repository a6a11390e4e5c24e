"""Glob patterns of a kappafile: ``*`` and ``?`` inside a name, ``**`` across folders, and a folder means all in it."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path, PurePosixPath

from kappa._files import IGNORED_NAMES

__all__ = ["matches_any", "matching_files"]

_SPECIAL = re.compile(r"[*?\[]")
_VIRTUAL_ENVIRONMENT = "pyvenv.cfg"


def matches_any(path: PurePosixPath, patterns: Iterable[str]) -> bool:
    """Return whether a path relative to the project, or a folder above it, matches one of the patterns."""
    ancestry = [path.as_posix(), *(parent.as_posix() for parent in path.parents)]
    return any(_compiled(pattern).fullmatch(part) for pattern in patterns for part in ancestry)


def matching_files(root: Path, pattern: str) -> Iterator[PurePosixPath]:
    """Yield the files below ``root`` that a pattern matches, sorted, as relative paths.

    Virtual environments and the folders that tools keep for themselves are entered only when they are named.
    """
    start = PurePosixPath()
    for part in PurePosixPath(_normal(pattern)).parts:
        if _SPECIAL.search(part):
            break
        start /= part
    if (root / start).exists() and not (root / start).is_dir():
        yield start
        return
    for path in sorted(_files_below(root / start)):
        relative = PurePosixPath(path.relative_to(root).as_posix())
        if matches_any(relative, [pattern]):
            yield relative


def _files_below(folder: Path) -> Iterator[Path]:
    for parent, folders, names in os.walk(folder, followlinks=False):
        folders[:] = [
            name
            for name in folders
            if name not in IGNORED_NAMES and not Path(parent, name, _VIRTUAL_ENVIRONMENT).exists()
        ]
        for name in names:
            if name not in IGNORED_NAMES and not name.endswith(".pyc"):
                yield Path(parent, name)


def _normal(pattern: str) -> str:
    return pattern.replace("\\", "/").removeprefix("./").rstrip("/")


@cache
def _compiled(pattern: str) -> re.Pattern[str]:
    """Translate a pattern; ``**/`` matches any number of folders, none included."""
    text, expression, at = _normal(pattern), "", 0
    while at < len(text):
        if text.startswith("**/", at):
            expression, at = expression + r"(?:[^/]+/)*", at + 3
        elif text.startswith("**", at):
            expression, at = expression + r".*", at + 2
        elif text[at] == "*":
            expression, at = expression + r"[^/]*", at + 1
        elif text[at] == "?":
            expression, at = expression + r"[^/]", at + 1
        elif text[at] == "[" and (end := text.find("]", at + 2)) > 0:
            inside = text[at + 1 : end].replace("\\", r"\\").replace("[", r"\[")
            inside = f"^{inside[1:]}" if inside.startswith("!") else inside.replace("^", r"\^", 1)
            expression, at = expression + f"[{inside}]", end + 1
        else:
            expression, at = expression + re.escape(text[at]), at + 1
    try:
        return re.compile(expression, re.DOTALL)
    except re.error:
        return re.compile(re.escape(text))
