"""Where the user's modules go in a bundle, with what lies beside them: files keep their places relative to each other.

A module below the project keeps its path in the project, so that `parents[n]` of its file leads to what is included.
The folder that it is imported from, for example `src`, becomes one of the bundle's. A module from elsewhere is packed
under its dotted name, with the data of its package, because no pattern of the project could name that.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from kappa.build.code.modules import PACKAGE_FOLDERS, Module
from kappa.build.manifest.patterns import files_below

__all__ = ["PROJECT_FILES", "Placement", "place_modules", "place_of"]

PROJECT_FILES = ("pyproject.toml", "setup.cfg", "setup.py")
"""Files at the top of a project that can be installed."""
_CODE = (".py", ".pyc", ".pyi")


@dataclass(frozen=True, slots=True)
class Placement:
    """Where code goes; all paths are those inside of the bundle's package."""

    files: Mapping[PurePosixPath, Path]
    data: Mapping[PurePosixPath, Path]
    """The data of libraries' packages."""
    paths: tuple[PurePosixPath, ...]
    """The folders that modules are imported from, beside the package itself."""
    moved: Mapping[PurePosixPath, PurePosixPath]
    """Folders of the project whose code is elsewhere in the bundle, to where it is."""

    def mirrored(self, included: PurePosixPath) -> Iterator[PurePosixPath]:
        """Yield where else a file of the project must be, because the code beside it is there."""
        for folder, target in self.moved.items():
            if included.is_relative_to(folder):
                yield target / included.relative_to(folder)


def place_of(module: Module, root: Path) -> PurePosixPath:
    """Return where a module's file goes, inside of the bundle's package."""
    prefix = _prefix_of(module, root)
    return module.path if prefix is None else prefix / module.path


def place_modules(modules: Iterable[Module], root: Path, *, folders: Sequence[Path] = ()) -> Placement:
    """Place modules, and find the data of those of libraries; ``folders`` are those of `sys.path`, in order."""
    files: dict[PurePosixPath, Path] = {}
    data: dict[PurePosixPath, Path] = {}
    paths: dict[PurePosixPath, None] = {}
    moved: dict[PurePosixPath, PurePosixPath] = {}
    packages: dict[PurePosixPath, Path] = {}
    for module in modules:
        if module.file is None:
            continue
        prefix = _prefix_of(module, root)
        target = module.path if prefix is None else prefix / module.path
        files[target] = module.file
        if prefix is not None and prefix.parts:
            paths[prefix] = None
        if prefix is None and module.file.is_relative_to(root):
            moved[PurePosixPath(module.file.relative_to(root).parent.as_posix())] = target.parent
        elif len(module.path.parts) > 1 and (prefix is None or _is_library(prefix, root)):
            name, folder = _package_of(module)
            packages.setdefault(name if prefix is None else prefix / name, folder)
    for target, folder in packages.items():
        for file in files_below(folder):
            if file.suffix not in _CODE:
                data[target / file.relative_to(folder).as_posix()] = file
    order = {folder: at for at, folder in enumerate(folders)}
    return Placement(
        files,
        data={target: data[target] for target in sorted(data.keys() - files.keys())},
        paths=tuple(sorted(paths, key=lambda path: order.get(root / path, len(order)))),
        moved=moved,
    )


def _prefix_of(module: Module, root: Path) -> PurePosixPath | None:
    """Return the folder of the project that a module is imported from; ``None`` if its path there is not its name."""
    if module.file is None or not module.file.is_relative_to(root):
        return None
    path, tail = module.file.relative_to(root).parts, module.path.parts
    if PACKAGE_FOLDERS.intersection(path):  # of an environment inside of the project
        return None
    return PurePosixPath(*path[: -len(tail)]) if path[-len(tail) :] == tail else None


def _is_library(prefix: PurePosixPath, root: Path) -> bool:
    """Return whether a folder of the project is, or is in, a project of its own."""
    folders = [prefix, *prefix.parents][:-1]
    return any((root / folder / name).is_file() for folder in folders for name in PROJECT_FILES)


def _package_of(module: Module) -> tuple[PurePosixPath, Path]:
    """Return the outermost package of a module as the path of its name, with its folder."""
    file, tail = module.file or Path(), module.path
    if file.parts[-len(tail.parts) :] == tail.parts:
        return PurePosixPath(tail.parts[0]), file.parents[len(tail.parts) - 2]
    return tail.parent, file.parent
