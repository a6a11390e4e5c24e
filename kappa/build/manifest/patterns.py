"""Glob patterns of a kappafile: ``*`` and ``?`` inside a name, ``**`` across folders, and a folder means all in it."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path, PurePosixPath

from kappa._files import IGNORED_NAMES

__all__ = ["Matches", "files_below", "is_environment", "is_plain", "match", "matches_any", "normal"]

_SPECIAL = re.compile(r"[*?\[]")
_ENVIRONMENTS = ("pyvenv.cfg", "conda-meta")
"""Marker files of virtual environments and conda environments."""
_OF_TOOLS = frozenset(
    {
        *(".dvc", ".hg", ".hypothesis", ".idea", ".ipynb_checkpoints", ".nox", ".svn", ".tox", ".vscode", "__MACOSX"),
        *("Thumbs.db", "desktop.ini"),
    }
)
"""Folders that tools keep for themselves, and files that systems leave, beside those that no bundle holds."""
_OF_EDITORS = re.compile(r"\.#.+|#.+#|.+~|\..+\.sw[a-z]")
"""Locks, copies and swap files of Emacs and Vim."""
_OF_THE_TOP = frozenset({"build", "dist"})
"""Folders that tools write to, but only at the top of a project."""


@dataclass(frozen=True, slots=True)
class Matches:
    """The files that a pattern selects below a folder, as sorted relative paths."""

    files: tuple[PurePosixPath, ...]
    passed_over: Mapping[PurePosixPath, str]
    """Matches that cannot be packed, with their kind: `a link to nothing`."""


def matches_any(path: PurePosixPath, patterns: Iterable[str]) -> bool:
    """Return whether a path relative to the project, or a folder above it, matches one of the patterns."""
    ancestry = [path.as_posix(), *(parent.as_posix() for parent in path.parents)]
    return any(_compiled(pattern).fullmatch(part) for pattern in patterns for part in ancestry)


def match(root: Path, pattern: str) -> Matches:
    """Find the files below ``root`` that a pattern matches.

    Links are followed as long as they stay below ``root``. Environments, and what tools and editors leave, are packed
    only where they are named.
    """
    start = PurePosixPath()
    for part in PurePosixPath(normal(pattern)).parts:
        if _SPECIAL.search(part):
            break
        start /= part
    try:
        if (root / start).exists() and not (root / start).is_dir():
            return Matches((start,), {})
    except OSError:  # a name that no file can have
        return Matches((), {})
    files, passed_over = [], {}
    for path, strange in _walk(root / start, root):
        relative = PurePosixPath(path.relative_to(root).as_posix())
        if strange:
            passed_over[relative] = strange
        elif matches_any(relative, [pattern]):
            files.append(relative)
    return Matches(tuple(sorted(files)), passed_over)


def files_below(folder: Path) -> Iterator[Path]:
    """Yield the files below a folder; what is no file, or leads out of it, is left out."""
    yield from (path for path, strange in _walk(folder, folder) if not strange and path.is_file())


def is_plain(pattern: str) -> bool:
    """Return whether a pattern is the path of one file or folder."""
    return not _SPECIAL.search(pattern)


def _walk(folder: Path, root: Path) -> Iterator[tuple[Path, str]]:
    """Yield every file, and with a word for it what can be no part of a pattern's files."""
    real_root = root.resolve()
    real = folder.resolve()
    waiting: list[tuple[Path, tuple[Path, ...]]] = [(folder, (*real.parents, real))]
    while waiting:
        folder, chain = waiting.pop()
        try:
            entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
        except OSError as exc:
            if folder.exists():
                yield folder, f"a folder that cannot be read ({exc.strerror})"
            continue
        for entry in entries:
            path = Path(entry.path)
            if not entry.is_dir():
                if not _is_left_by_tools(entry.name) and not entry.name.endswith(".pyc"):
                    yield path, "a link to nothing" if entry.is_symlink() and not path.exists() else ""
                continue
            if _is_left_by_tools(entry.name) or (folder == root and entry.name in _OF_THE_TOP):
                continue
            if is_environment(path):
                continue
            real = path.resolve() if entry.is_symlink() else chain[-1] / entry.name
            if not real.is_relative_to(real_root):
                yield path, "a link that leads out of the project"
            elif real in chain:
                yield path, "a link to a folder that it lies in"
            else:
                waiting.append((path, (*chain, real)))


def is_environment(folder: Path) -> bool:
    """Return whether a folder is a virtual environment, or one of conda's."""
    return any((folder / name).exists() for name in _ENVIRONMENTS)


def _is_left_by_tools(name: str) -> bool:
    is_known = name in IGNORED_NAMES - _OF_THE_TOP or name in _OF_TOOLS
    return is_known or _OF_EDITORS.fullmatch(name) is not None


def normal(pattern: str) -> str:
    """Return a pattern without redundant parts: `./`, repeated slashes, one at the end."""
    return "/".join(part for part in pattern.replace("\\", "/").split("/") if part not in ("", ".")) or "."


@cache
def _compiled(pattern: str) -> re.Pattern[str]:
    """Translate a pattern; ``**/`` matches any number of folders, none included."""
    text, expression, at = normal(pattern), "", 0
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
