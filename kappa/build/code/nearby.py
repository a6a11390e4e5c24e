"""Where a module lies that Python does not find: below the project, or in the folders around it."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path

from kappa._files import IGNORED_NAMES
from kappa.build.code.modules import PACKAGE_FOLDERS
from kappa.build.code.placing import PROJECT_FILES
from kappa.build.manifest.patterns import is_environment
from kappa.wording import quoted

__all__ = ["Nearby", "find_nearby", "say_notebook"]

_REPOSITORIES = (".git", ".hg", ".svn")
_LEVELS_UP = 3
_DEPTH = 2
_MOST_FOLDERS = 2_000
_MOST_SIBLINGS = 50
"""A folder with more than that beside a project is no workspace."""


@dataclass(frozen=True, slots=True)
class Nearby:
    """A module that lies in a folder which is not searched."""

    name: str
    file: Path
    """The module's file, or the folder of a package."""
    root: Path
    """The project's folder."""

    @property
    def folder(self) -> str:
        """The folder to search, relative to the project."""
        return _relative(self.file.parent, self.root)

    @property
    def is_outside(self) -> bool:
        return not self.file.is_relative_to(self.root)

    @property
    def help(self) -> str:
        """What to do, in whole sentences."""
        where = f"`{self.folder}`, outside of the project" if self.is_outside else f"`{self.folder}/`"
        is_above = self.root.is_relative_to(self.file.parent)
        path = _relative(self.file, self.root) if is_above and self.file.is_dir() else self.folder
        ways = [f'write `paths = ["{path}"]` in `[bundle]`', f"set `PYTHONPATH={self.folder}`"]
        if (project := self._project()) is not None:
            ways.insert(1, f"install it (`pip install -e {_relative(project, self.root)}`)")
        return f"{quoted(self.name)} lies in {where}, which is not searched: {', '.join(ways[:-1])} or {ways[-1]}."

    def _project(self) -> Path | None:
        """Return the folder of the library that the module belongs to, if it can be installed."""
        for folder in (self.file.parent, self.file.parent.parent, self.file):
            if any((folder / name).is_file() for name in PROJECT_FILES):
                return folder
        return None


def say_notebook(name: str, root: Path) -> str:
    """Return how to make a module of the notebook that has its name; empty if there is none."""
    path = Path(*name.split(".")).with_suffix(".ipynb")
    if not (root / path).is_file():
        return ""
    return (
        f"`{path.as_posix()}` is a notebook, which cannot be imported: `jupyter nbconvert --to script "
        f"{path.as_posix()}` writes `{path.with_suffix('.py').as_posix()}` from it."
    )


def find_nearby(name: str, root: Path) -> Nearby | None:
    """Find the top module of a dotted name below the project, then in the folders above it and what lies beside."""
    top = name.partition(".")[0]
    for folder in _folders(root):
        for file in (folder / f"{top}.py", *(folder / f"{top}{suffix}" for suffix in EXTENSION_SUFFIXES)):
            if file.is_file():
                return Nearby(top, file, root)
        package = folder / top
        if (package / "__init__.py").is_file() or (package != root and _has_module(package)):
            return Nearby(top, package, root)
    return None


def _folders(root: Path) -> Iterator[Path]:
    """Yield where to look, nearest first."""
    yield from _below(root, _DEPTH)
    top = next((folder for folder in (root, *root.parents) if _is_repository(folder)), None)
    for level, folder in enumerate(_above(root)):
        yield folder
        if top is not None and folder.is_relative_to(top):
            yield from _below(folder, _DEPTH)
        elif level == 0 and len(_subfolders(folder)) <= _MOST_SIBLINGS:
            yield from _below(folder, 1)
        elif (folder / "src").is_dir():
            yield folder / "src"


def _below(folder: Path, depth: int) -> Iterator[Path]:
    level, seen = [folder], 0
    for _ in range(depth):
        level = [inner for outer in level for inner in _subfolders(outer)]
        # `src` first: that is where layouts of public projects keep what is theirs
        for inner in sorted(level, key=lambda path: (path.name != "src", path)):
            seen += 1
            if seen > _MOST_FOLDERS:
                return
            yield inner
            if (inner / "src").is_dir():
                yield inner / "src"


def _above(root: Path) -> Iterator[Path]:
    """Yield the folder above a project, and further ones up to the top of its repository; never a home, or `/`."""
    is_passed = _is_repository(root)
    for level, folder in enumerate(root.parents):
        is_shared = folder in (Path.home(), Path(tempfile.gettempdir()), Path(folder.anchor))
        if level == _LEVELS_UP or (level and is_passed) or is_shared:
            return
        is_passed = is_passed or _is_repository(folder)
        yield folder


def _is_repository(folder: Path) -> bool:
    return any((folder / name).exists() for name in _REPOSITORIES)


def _subfolders(folder: Path) -> list[Path]:
    try:
        with os.scandir(folder) as entries:
            return [
                Path(entry.path)
                for entry in entries
                if entry.is_dir(follow_symlinks=False)
                and not entry.name.startswith(".")
                and entry.name not in {*IGNORED_NAMES, *PACKAGE_FOLDERS, "node_modules"}
                and not is_environment(Path(entry.path))
            ]
    except OSError:
        return []


def _has_module(package: Path) -> bool:
    try:
        return any(path.suffix == ".py" for path in package.iterdir())
    except OSError:
        return False


def _relative(path: Path, root: Path) -> str:
    return Path(os.path.relpath(path, root)).as_posix()
