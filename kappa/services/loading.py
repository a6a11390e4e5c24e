"""How a service's own code is imported: under its own names, or beside another version of itself.

Modules of a service have names like ``handlers``, and so may those of another service, of an older version of the same
one, or of the program that loads it. Three ways:

- *on the path*: the folder is on `sys.path`. A process that serves one service, or runs one, does this; child processes
  and imports by name find the modules as well.
- *found*: the folder is not on `sys.path`; a finder knows the names of its modules. `kappa.load` does this.
- *isolated*: the modules live below ``_kappa_bundle_<digest>``, because one of their names is taken already, or is one
  that Kappa itself imports. Their own imports, late ones too, get the module of their own bundle: Python asks
  ``__builtins__["__import__"]`` of the module that an import statement stands in, and theirs is one that looks inside
  first. What is unpickled meanwhile resolves inside too. Not covered: `importlib.import_module` with a name, and child
  processes.

A bundle's modules are compiled from their source each time, whichever way they are imported (see `source_code`).
"""

from __future__ import annotations

import builtins
import importlib
import importlib.util
import logging
import sys
import threading
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from hashlib import sha256
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import EXTENSION_SUFFIXES, ModuleSpec, PathFinder, SourceFileLoader
from pathlib import Path
from types import FrameType, ModuleType
from typing import Any, TypeVar

from kappa._version import __version__
from kappa.errors import BundleError, KappaError, exception_text
from kappa.services.modules_of_others import MODULES_OF_OTHERS, is_needed_from_elsewhere, is_regular, regular_modules
from kappa.services.source_code import SourceLoader, import_from_source
from kappa.spec.contracts import ISOLATED
from kappa.spec.layout import PackageLayout

__all__ = [
    "OwnFolders",
    "ServiceCode",
    "code_of_bundle",
    "code_of_project",
    "code_on_path",
    "described",
    "end_script",
    "import_reference",
    "loading",
    "own_folders",
    "paths_on_path",
    "sources_in",
    "user_call",
]

_logger = logging.getLogger("kappa.service")
_SUFFIXES = (".py", *EXTENSION_SUFFIXES)
_OWN_FOLDERS = frozenset(folder.name for folder in PackageLayout(Path()).folders)
"""Folders of a bundle's package that are no code."""
_folders: list[Path] = []
"""Where modules are imported from under their own names; what is not imported yet may be, later."""
_swapping = threading.RLock()
_loading: ContextVar[bool] = ContextVar("kappa_loading", default=False)
T = TypeVar("T")


class ServiceCode:
    """The modules below one folder, under their own names."""

    def __init__(self, directory: Path, roots: Sequence[Path] = ()) -> None:
        self.directory = directory
        self.roots = tuple(roots) or (directory,)
        """Where its modules are looked for, in order."""

    def import_module(self, name: str) -> ModuleType:
        """Return the module of the service's own that is called ``name``."""
        return importlib.import_module(name)

    def imported(self, name: str) -> ModuleType | None:
        """Return what `import_module` would, if it is imported already."""
        return sys.modules.get(name)

    @contextmanager
    def unpickling(self) -> Iterator[None]:
        """While this lasts, the names of modules in pickles mean those of the service."""
        yield


def code_on_path(directory: Path, paths: Sequence[str] = ()) -> ServiceCode:
    """Put a folder, and then those of ``paths`` in it, first on `sys.path`, once."""
    directory = directory.absolute()
    roots = _roots(directory, paths)
    sys.path[:0] = [str(root) for root in roots if str(root) not in sys.path]
    return _named_code(directory, roots)


def paths_on_path(directory: Path) -> list[str]:
    """Return the folder of a project that its modules are imported from here, for a process that begins without it."""
    return ["src"] if str(directory / "src") in sys.path else []


def code_of_project(root: Path, paths: Sequence[str] = (), *, on_path: Sequence[str] = ()) -> ServiceCode:
    """Return the code of a project as it lies on disk: below its folder, and in those of `[bundle] paths`.

    Folders of ``on_path`` are what else was on `sys.path` in the process that asks for this one.
    """
    layout = own_folders(root, paths)
    for name, folder in {**layout.named, **layout.packages}.items():
        if not any(
            isinstance(finder_in_use, _Finder) and finder_in_use.names == {name} for finder_in_use in sys.meta_path
        ):
            finder = _Finder(folder, frozenset({name}), (folder.parent,))
            sys.meta_path.insert(0 if name in layout.packages else len(sys.meta_path), finder)
    folders = [*on_path, *map(str, layout.searched)]
    root = root.absolute()
    roots = _roots(root, folders)
    if any(is_needed_from_elsewhere(name, roots) for name in MODULES_OF_OTHERS if is_regular(name, roots)):
        names = frozenset().union(*map(_module_names, roots))
        return _isolated(root, "", regular_modules(names, roots), roots)
    return code_on_path(root, folders)


@dataclass(frozen=True, slots=True)
class OwnFolders:
    """The kinds of `[bundle] paths`: folders of modules, packages, or both where only an import tells."""

    searched: tuple[Path, ...]
    packages: Mapping[str, Path]
    named: Mapping[str, Path]


def own_folders(root: Path, paths: Sequence[str]) -> OwnFolders:
    """Sort the folders of `[bundle] paths`, which are relative to the project."""
    folders = [folder for folder in ((root / text).resolve() for text in paths) if folder.is_dir()]
    packages = {folder.name: folder for folder in folders if (folder / "__init__.py").is_file()}
    plain = [folder for folder in folders if folder not in packages.values()]
    searched = [source for folder in plain for source in sources_in(folder) if source != root]
    return OwnFolders(tuple(searched), packages, {folder.name: folder for folder in plain if folder != root})


def sources_in(folder: Path) -> Iterator[Path]:
    """Yield where the modules of a library may be: its own folder, and before it the `src` of a src layout."""
    if (folder / "src").is_dir() and not (folder / "src" / "__init__.py").is_file():
        yield folder / "src"
    if folder.is_dir():
        yield folder


def code_of_bundle(directory: Path, digest: str, *, on_path: bool, paths: Sequence[str] = ()) -> ServiceCode:
    """Return the code of a bundle, isolated if one of its modules' names is taken by something else.

    Its modules lie in its folder and in those of ``paths``. Unless ``on_path``, `sys.path` stays as it is.
    """
    directory = directory.absolute()
    import_from_source(directory)
    roots = _roots(directory, paths)
    names = frozenset().union(*map(_module_names, roots))
    if any(_is_taken(name, directory) or is_needed_from_elsewhere(name, roots) for name in names):
        return _isolated(directory, digest, names, roots)
    if on_path:
        return code_on_path(directory, paths)
    if not any(isinstance(finder, _Finder) and finder.directory == directory for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder(directory, names, roots))
    return _named_code(directory, roots)


def _roots(directory: Path, paths: Sequence[str]) -> tuple[Path, ...]:
    return (directory, *(directory / path for path in paths))


def _named_code(directory: Path, roots: Sequence[Path]) -> ServiceCode:
    _folders.extend(root for root in roots if root not in _folders)
    return ServiceCode(directory, roots)


def _module_names(directory: Path) -> frozenset[str]:
    """Return the names of the modules and packages in a folder; one without any Python file below it is data."""
    files = {path.name.partition(".")[0] for path in directory.iterdir() if path.name.endswith(_SUFFIXES)}
    folders = {path.name for path in directory.iterdir() if path.name.isidentifier() and any(path.rglob("*.py"))}
    return frozenset((files | folders) - {"__init__", *_OWN_FOLDERS})


def _is_taken(name: str, directory: Path) -> bool:
    """Return whether a module of this name is imported from elsewhere, or would be by another service's late import."""
    if (module := sys.modules.get(name)) is not None:
        return not _is_below(module, directory)
    others = [str(folder) for folder in _folders if not folder.is_relative_to(directory)]
    spec = PathFinder.find_spec(name, others)
    return spec is not None and spec.origin is not None


def _is_below(module: ModuleType, directory: Path) -> bool:
    """Return whether a module, or a package without a file of its own, comes from a folder."""
    places = [file] if (file := getattr(module, "__file__", None)) else [*getattr(module, "__path__", ())]
    return any(Path(folder).resolve().is_relative_to(directory.resolve()) for folder in places)


class _Finder(MetaPathFinder):
    """Finds the modules of one folder that is not on `sys.path`."""

    def __init__(self, directory: Path, names: frozenset[str], roots: Sequence[Path]) -> None:
        self.directory = directory
        self.names = names
        self._path = [str(root) for root in roots]

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if path is not None or fullname not in self.names:
            return None
        return PathFinder.find_spec(fullname, self._path, target)


# -- isolated ----------------------------------------------------------------------------------------------------------


def _isolated(directory: Path, digest: str, names: frozenset[str], roots: Sequence[Path]) -> ServiceCode:
    """Return the code below a name that no other bundle has, the same for one that was loaded before."""
    namespace = f"{ISOLATED}{sha256(f'{digest} {directory}'.encode()).hexdigest()[:16]}"
    for finder in sys.meta_path:
        if isinstance(finder, _IsolatingFinder) and finder.code.namespace == namespace:
            return finder.code
    code = _IsolatedCode(directory, namespace, names, roots)
    root = ModuleType(namespace, f"The code of the service in {directory}.")
    root.__path__ = [str(folder) for folder in roots]
    root.__spec__ = ModuleSpec(namespace, None, is_package=True)
    sys.modules[namespace] = root
    sys.meta_path.insert(0, _IsolatingFinder(code))
    return code


class _IsolatedCode(ServiceCode):
    """The modules of one folder, below a name of their own."""

    def __init__(self, directory: Path, namespace: str, names: frozenset[str], roots: Sequence[Path]) -> None:
        super().__init__(directory, roots)
        self.namespace = namespace
        self.names = names
        self.builtins = {**vars(builtins), "__import__": self._import}

    def import_module(self, name: str) -> ModuleType:
        return importlib.import_module(f"{self.namespace}.{name}" if self.has(name) else name)

    def imported(self, name: str) -> ModuleType | None:
        return sys.modules.get(f"{self.namespace}.{name}" if self.has(name) else name)

    def has(self, name: str) -> bool:
        return name.partition(".")[0] in self.names

    def _import(
        self,
        name: str,
        globals: Any = None,  # noqa: A002 - the signature of `__import__`
        locals: Any = None,  # noqa: A002
        fromlist: Sequence[str] | None = (),
        level: int = 0,
    ) -> ModuleType:
        if level or not self.has(name):
            return builtins.__import__(name, globals, locals, fromlist or (), level)
        module = self.import_module(name)
        if not fromlist:
            return sys.modules[f"{self.namespace}.{name.partition('.')[0]}"]  # `import a.b` binds `a`
        return builtins.__import__(module.__name__, globals, locals, fromlist, 0)

    @contextmanager
    def unpickling(self) -> Iterator[None]:
        with _swapping:
            before = [*sys.modules.items()]
            start = f"{self.namespace}."
            outside = {name: module for name, module in before if self.has(name)}
            inside = {name.removeprefix(start): module for name, module in before if name.startswith(start)}
            for name in outside:
                del sys.modules[name]
            sys.modules.update(inside)
            finder = _InwardFinder(self)
            sys.meta_path.insert(0, finder)
            try:
                yield
            finally:
                sys.meta_path.remove(finder)
                for name in [name for name in [*sys.modules] if self.has(name)]:
                    del sys.modules[name]
                sys.modules.update(outside)


class _IsolatingFinder(MetaPathFinder):
    """Finds the modules of one isolated bundle."""

    def __init__(self, code: _IsolatedCode) -> None:
        self.code = code

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if not fullname.startswith(f"{self.code.namespace}."):
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is not None and isinstance(spec.loader, SourceFileLoader):
            spec.loader = _IsolatingLoader(spec.loader.name, spec.loader.path, self.code.builtins)
        return spec


class _IsolatingLoader(SourceLoader):
    """Gives a module an `__import__` of its own before its code runs."""

    def __init__(self, fullname: str, path: str, builtins: dict[str, Any]) -> None:
        super().__init__(fullname, path)
        self._builtins = builtins

    def exec_module(self, module: ModuleType) -> None:
        module.__dict__["__builtins__"] = self._builtins
        super().exec_module(module)


class _InwardFinder(MetaPathFinder, Loader):
    """Makes the plain name of a bundle's module mean the isolated one."""

    def __init__(self, code: _IsolatedCode) -> None:
        self._code = code
        self._specs: dict[str, ModuleSpec | None] = {}

    def find_spec(
        self,
        fullname: str,
        path: Sequence[str] | None,  # noqa: ARG002 - the signature of finders
        target: ModuleType | None = None,  # noqa: ARG002
    ) -> ModuleSpec | None:
        return ModuleSpec(fullname, self) if self._code.has(fullname) else None

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        module = self._code.import_module(spec.name)
        self._specs[spec.name] = module.__spec__
        return module

    def exec_module(self, module: ModuleType) -> None:
        """Undo what the import system has set; the module has run already."""
        name = module.__spec__.name if module.__spec__ is not None else ""
        module.__spec__ = self._specs.pop(name, module.__spec__)


# -- into the user's code ----------------------------------------------------------------------------------------------


def import_reference(reference: str, code: ServiceCode) -> Any:
    """Import ``module:qualname`` from a service's code; raises `BundleError` that says where the user's code failed."""
    module_name, _, qualname = reference.partition(":")
    bases = [root.joinpath(*module_name.split(".")) for root in code.roots]
    expected = [path for base in bases for path in (base.with_suffix(".py"), base / "__init__.py") if path.is_file()]
    loaded = code.imported(module_name)
    if loaded is not None and expected and Path(loaded.__file__ or "").resolve() != expected[0].resolve():
        raise BundleError(
            f"A module `{module_name}` is already loaded from `{loaded.__file__}`, "
            f"so the service's own `{expected[0]}` cannot be: load it in a process of its own."
        )
    if not expected and loaded is None and importlib.util.find_spec(module_name.partition(".")[0]) is None:
        raise BundleError(f"There is no module `{module_name}` in `{code.directory}`.")
    value: Any = user_call(
        lambda: _imported(module_name, code),
        failed=f"The module `{module_name}` cannot be imported",
        code=code,
    )
    try:
        for part in qualname.split("."):
            value = getattr(value, part)
    except AttributeError:
        raise BundleError(f"The module `{module_name}` has no `{qualname}`.") from None
    return value


@contextmanager
def loading() -> Iterator[None]:
    """While this lasts, a service is being loaded in this thread: scripts end at `end_script`."""
    token = _loading.set(True)
    try:
        yield
    finally:
        _loading.reset(token)


class _ScriptEnd(BaseException):
    """A script that defines a service was imported, and has reached the line that uses the service."""

    def __init__(self, modules: Mapping[str, ModuleType]) -> None:
        super().__init__()
        self.modules = modules


def end_script(doing: str) -> None:
    """Stop the module that is being imported, if a service is being loaded: saving it again is not what is wanted.

    Training and saving at the top level of the file that defines the class is how scripts begin. The code
    above that line runs at every import; a warning says so.
    """
    if not _loading.get():
        return
    frame: FrameType | None = sys._getframe()  # noqa: SLF001 - there is no other way to see who calls
    modules: dict[str, ModuleType] = {}
    while frame is not None:
        name = frame.f_globals.get("__name__", "")
        if frame.f_code.co_name == "<module>" and name in sys.modules:
            if not modules:
                where = f"{Path(frame.f_code.co_filename).name}:{frame.f_lineno}"
                _logger.warning("The import of `%s` ended at %s, which would %s.", name, where, doing)
            modules[name] = sys.modules[name]
        frame = frame.f_back
    raise _ScriptEnd(modules)


def _imported(name: str, code: ServiceCode) -> ModuleType:
    try:
        return code.import_module(name)
    except _ScriptEnd as end:
        sys.modules.update({key: module for key, module in end.modules.items() if key not in sys.modules})
        return code.imported(name) or code.import_module(name)


def user_call(function: Callable[[], T], *, failed: str, code: ServiceCode) -> T:
    """Call into the user's code while loading; an exception becomes a `BundleError` that says where it came from."""
    try:
        return function()
    except KappaError:
        raise
    except (Exception, SystemExit) as exc:
        _logger.debug("%s", failed, exc_info=exc)
        raise BundleError(f"{failed}: {described(exc, code)}") from exc


def described(exc: BaseException, code: ServiceCode | None = None) -> str:
    """Describe an exception of user code: what it is, where in the service's code it came from, and what may help."""
    where = ""
    for frame in traceback.extract_tb(exc.__traceback__):
        if code is not None and Path(frame.filename).is_relative_to(code.directory):
            where = f" ({Path(frame.filename).relative_to(code.directory)}:{frame.lineno})"
    hint = _hint_of(exc, code) if isinstance(exc, ModuleNotFoundError) else ""
    if isinstance(exc, RuntimeError) and "event loop" in str(exc):
        hint = " Make what belongs to the event loop in an `async def setup`, which is awaited there."
    return f"{exception_text(exc)}{where}.{hint}"


def _hint_of(exc: ModuleNotFoundError, code: ServiceCode | None) -> str:
    """Return the advice for a missing module: one of the service's own is never to be installed."""
    name = exc.name or ""
    top = name.partition(".")[0]
    if top == "kappa":
        return f" This version of Kappa ({__version__}) has no such module."
    if code is not None and any((root / f"{top}.py").exists() or (root / top).is_dir() for root in code.roots):
        return f" It is a part of your own `{top}`: if it is there, name it in `modules` of `[bundle]`."
    return (
        f" If `{top}` is your own, say where it lies in `paths` of `[bundle]`; else install it, and name the "
        "distribution that brings it in `env.pip_packages`."
    )
