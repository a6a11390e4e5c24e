"""The user's modules as files: where a dotted name is, found as Python would, without importing anything.

*Local* is what is the user's own: modules below the project, in folders that an editable installation, `PYTHONPATH` or
`[bundle] paths` adds, and what was installed from a folder (PEP 610). *Installed* is what else lies where installers
put things. A package without ``__init__.py`` (a namespace package, PEP 420) counts only if no other module of its name
is found anywhere, as in Python.
"""

from __future__ import annotations

import ast
import os
import site
import sys
import sysconfig
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path, PurePosixPath

from kappa import _version
from kappa.build.packages.provenance import DirectDistribution, direct_distributions
from kappa.services.loading import own_folders, sources_in

__all__ = ["PACKAGE_FOLDERS", "CodeBase", "Module", "SearchPath", "is_pythons_own", "search_path"]

PACKAGE_FOLDERS = frozenset({"site-packages", "dist-packages"})
"""The names of folders that installers put modules into."""
_SUFFIXES = (".py", *EXTENSION_SUFFIXES)
_SHARING = (b"extend_path", b"declare_namespace")
"""Calls in a package of several folders: `pkgutil`'s and `pkg_resources`' way before PEP 420."""


@dataclass(frozen=True, slots=True)
class Module:
    """One module: its file, or for a package without ``__init__.py`` its folders alone."""

    name: str
    file: Path | None
    folders: tuple[Path, ...]
    """Where its sub-modules are looked for; empty for a module that is no package."""
    is_local: bool

    @property
    def is_package(self) -> bool:
        return self.file is None or bool(self.folders)

    @property
    def path(self) -> PurePosixPath:
        """Its file's path below whatever folder is on `sys.path`."""
        parts = self.name.split(".")
        if self.file is None:
            return PurePosixPath(*parts)
        if self.is_package:
            return PurePosixPath(*parts, self.file.name)
        return PurePosixPath(*parts[:-1], self.file.name)


@dataclass(frozen=True, slots=True)
class SearchPath:
    """Where modules may be, in order."""

    local: tuple[Path, ...]
    installed: tuple[Path, ...] = ()
    mapped: Mapping[str, Path] = field(default_factory=dict)
    """Modules that an editable installation maps to a file or folder each, by dotted name."""
    fallback: tuple[Path, ...] = ()
    """Source folders of editable installations, for modules that are found nowhere else."""
    direct: tuple[DirectDistribution, ...] = ()
    """Installed distributions that did not come from an index."""
    named: Mapping[str, Path] = field(default_factory=dict)
    """The folders of `[bundle] paths`, which are packages themselves if nothing else has their name."""

    @property
    def root(self) -> Path:
        return self.local[0]


def search_path(
    root: Path,
    entries: Sequence[str] | None = None,
    *,
    paths: Sequence[str] = (),
    environ: Mapping[str, str] = os.environ,
) -> SearchPath:
    """Return where this interpreter would look for the modules of a project, which comes first itself.

    ``entries`` are those of `sys.path`, and ``paths`` those of `[bundle]`, which come right after the project. Folders
    of the standard library and the one that Kappa itself is imported from are left out; `.pth` files have their effect
    through the entries they added.
    """
    scheme = sysconfig.get_paths()
    installed = {_real(scheme[key]) for key in ("purelib", "platlib")}
    installed |= {_real(folder) for folder in (*_site_packages(), site.getusersitepackages())}
    excluded = {_real(scheme[key]) for key in ("stdlib", "platstdlib", "scripts")} | {
        _real(Path(_version.__file__).parents[1])
    }
    excluded |= {folder / "lib-dynload" for folder in set(excluded)}
    layout = own_folders(root, paths)
    local, packages = [root, *layout.searched], []
    for entry in _without_first(sys.path if entries is None else entries, environ):
        folder = _real(entry)
        if not entry or not folder.is_dir() or folder in local:
            continue
        if folder in installed or folder.name in PACKAGE_FOLDERS:
            packages.append(folder)
        elif folder not in excluded:
            local.append(folder)
    mapped: dict[str, Path] = {}
    for folder in packages:
        mapped.update(_editable_mapping(folder))
    direct = tuple(direct_distributions(packages))
    sources = (
        distribution.folder for distribution in direct if distribution.is_editable and distribution.origin == "folder"
    )
    fallback = tuple(source for folder in sources for source in sources_in(folder))
    return SearchPath(tuple(local), tuple(packages), {**mapped, **layout.packages}, fallback, direct, layout.named)


def _without_first(entries: Sequence[str], environ: Mapping[str, str]) -> Sequence[str]:
    """Leave out the current folder where `python -m` and shells put it, unless `PYTHONPATH` names it as well."""
    first, here = next(iter(entries), ""), Path.cwd()
    named = {_real(text) for text in environ.get("PYTHONPATH", "").split(os.pathsep) if text}
    return entries[1:] if _real(first) == here.resolve() and here.resolve() not in named else entries


def _site_packages() -> list[str]:
    return site.getsitepackages() if hasattr(site, "getsitepackages") else []


def _real(path: str | Path) -> Path:
    return Path(path).resolve()


def _editable_mapping(folder: Path) -> dict[str, Path]:
    """Read the ``MAPPING`` of the finders that setuptools installs for editable packages, as data (PEP 660)."""
    mapping: dict[str, Path] = {}
    for finder in sorted(folder.glob("__editable___*_finder.py")):
        try:
            tree = ast.parse(finder.read_bytes())
        except (OSError, SyntaxError, ValueError):
            continue
        for node in tree.body:
            if not isinstance(node, ast.Assign | ast.AnnAssign) or not isinstance(node.value, ast.Dict):
                continue
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            if any(isinstance(target, ast.Name) and target.id == "MAPPING" for target in targets):
                mapping.update({name: Path(path) for name, path in ast.literal_eval(node.value).items()})
    return {name: path for name, path in mapping.items() if name.partition(".")[0] != "kappa"}


def is_pythons_own(name: str) -> bool:
    """Return whether a module belongs to the standard library or to Kappa: it is everywhere and never packed."""
    top = name.partition(".")[0]
    return top == "kappa" or top in sys.stdlib_module_names


class CodeBase:
    """The modules that a project can reach: resolved and parsed when first asked for, never imported."""

    def __init__(self, search: SearchPath) -> None:
        self.search = search
        self._packed = frozenset(
            file
            for distribution in search.direct
            if distribution.is_packed and not distribution.is_editable
            for file in distribution.files
        )
        self._modules: dict[str, Module | None] = {}
        self._trees: dict[Path, ast.Module | SyntaxError] = {}

    def resolve(self, name: str) -> Module | None:
        """Return the module of a dotted name; ``None`` if there is none, or if it is Python's or Kappa's own."""
        if name not in self._modules:
            self._modules[name] = self._resolve(name)
        return self._modules[name]

    def _resolve(self, name: str) -> Module | None:
        parent_name, dot, last = name.rpartition(".")
        if not last.isidentifier():
            return None
        if (mapped := self.search.mapped.get(name)) is not None:
            return self._look(name, mapped.name.removesuffix(".py"), [mapped.parent])
        if not dot and is_pythons_own(name):
            return None
        module = self._below(parent_name, name, last) if dot else self._at_top(name)
        if (module is None or module.file is None) and any(
            mapped.startswith(f"{name}.") for mapped in self.search.mapped
        ):
            return Module(name, None, module.folders if module is not None else (), is_local=True)
        return module

    def _below(self, parent_name: str, name: str, last: str) -> Module | None:
        parent = self.resolve(parent_name)
        return self._look(name, last, parent.folders) if parent is not None else None

    def _at_top(self, name: str) -> Module | None:
        module = self._look(name, name, [*self.search.local, *self.search.installed])
        return module or self._look(name, name, self.search.fallback) or self._named(name)

    def _named(self, name: str) -> Module | None:
        folder = self.search.named.get(name)
        return self._look(name, folder.name, [folder.parent]) if folder is not None else None

    def _look(self, name: str, last: str, folders: Sequence[Path]) -> Module | None:
        """Look for one name in several folders: the first real module wins, else all folders of that name together."""
        namespace: list[Path] = []
        for folder in folders:
            package = folder / last
            for file in (*(package / f"__init__{suffix}" for suffix in _SUFFIXES), *_files(folder, last)):
                if file.is_file():
                    if file.parent != package:
                        return Module(name, file, (), self._is_local(file))
                    return Module(name, file, self._portions(file, last, folders), self._is_local(file))
            if package.is_dir() and _holds_code(package):
                namespace.append(package)
        is_local = any(self._is_local(folder) for folder in namespace)
        return Module(name, None, tuple(namespace), is_local) if namespace else None

    def _portions(self, file: Path, last: str, folders: Sequence[Path]) -> tuple[Path, ...]:
        """Return the folders of a package: several where its ``__init__.py`` says so, as `pkgutil.extend_path` does."""
        package = file.parent
        try:
            is_shared = file.suffix == ".py" and any(mark in file.read_bytes() for mark in _SHARING)
        except OSError:
            is_shared = False
        others = (folder / last for folder in folders) if is_shared else ()
        return (package, *(other for other in others if other != package and other.is_dir()))

    def _is_local(self, path: Path) -> bool:
        if not any(path.is_relative_to(folder) for folder in self.search.installed):
            return True
        if not self._packed:
            return False
        real = path.resolve()
        return real in self._packed or (real.is_dir() and any(file.is_relative_to(real) for file in self._packed))

    def package_of(self, name: str) -> str:
        """Return the outermost part of a dotted name that has a file, so that one distribution brings all below it.

        A namespace such as `google` has none. What is not found is returned as it is.
        """
        parts = name.split(".")
        for depth in range(1, len(parts) + 1):
            module = self.resolve(".".join(parts[:depth]))
            if module is None:
                break
            if module.file is not None:
                return module.name
        return name

    def direct(self, name: str) -> DirectDistribution | None:
        """Return what has installed a module from somewhere else than an index, if that is not packed."""
        if not any(not distribution.is_packed for distribution in self.search.direct):
            return None
        parts = name.split(".")
        for depth in range(1, len(parts) + 1):
            module = self.resolve(".".join(parts[:depth]))
            if module is None or module.file is None:
                continue
            file = module.file.resolve()
            for distribution in self.search.direct:
                is_editable = (
                    distribution.is_editable
                    and distribution.origin == "folder"
                    and file.is_relative_to(distribution.folder.resolve())
                )
                if not distribution.is_packed and (is_editable or file in distribution.files):
                    return distribution
        return None

    def tree(self, module: Module) -> ast.Module | SyntaxError | None:
        """Return a module's syntax tree, or why it cannot be parsed; ``None`` if it has no source."""
        file = module.file
        if file is None or file.suffix != ".py":
            return None
        if file not in self._trees:
            self._trees[file] = _parse(file)
        return self._trees[file]

    def hidden(self, name: str) -> Path | None:
        """Return the project's own module that Python's, of the same name, hides; ``None`` if there is none."""
        top, root = name.partition(".")[0], self.search.local[0]
        if top not in sys.stdlib_module_names:
            return None
        return next((file for file in (root / f"{top}.py", root / top / "__init__.py") if file.is_file()), None)

    def top_names(self) -> list[str]:
        """Return the names of the modules at the top of the project."""
        try:
            entries = list(self.search.local[0].iterdir())
        except OSError:
            return []
        names = {path.stem if path.suffix == ".py" else path.name for path in entries if path.suffix in (".py", "")}
        return sorted(name for name in names if name.isidentifier() and self.resolve(name) is not None)


def _parse(file: Path) -> ast.Module | SyntaxError:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the user's escapes are no business of a build
            return ast.parse(file.read_bytes(), filename=str(file))
    except SyntaxError as exc:
        return exc
    except (OSError, ValueError, RecursionError, MemoryError) as exc:
        return SyntaxError(str(exc) or "it is too complex")


def _files(folder: Path, last: str) -> Iterator[Path]:
    for suffix in _SUFFIXES:
        yield folder / f"{last}{suffix}"


def _holds_code(folder: Path) -> bool:
    """Return whether a folder without ``__init__.py`` holds a module, at any depth: else it is only data."""
    try:
        entries = sorted(folder.iterdir())
    except OSError:
        return False
    if any(path.suffix == ".py" or path.name.endswith(tuple(EXTENSION_SUFFIXES)) for path in entries):
        return True
    return any(path.is_dir() and path.name.isidentifier() and _holds_code(path) for path in entries)
