"""Projects that a class declares: named as ``module:Class``, or an instance that was packed in this process.

A kappafile beside the code that names the same class completes its declaration, here as in `kappa build`.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType, FunctionType, ModuleType

from kappa.build.code.classes import import_class, read_class
from kappa.build.code.declarations import ClassProblem, Declaration, Location, Opaque
from kappa.build.code.functions import Definition, find_definition, span_of
from kappa.build.code.modules import PACKAGE_FOLDERS, CodeBase, Module, search_path
from kappa.build.code.placing import PROJECT_FILES
from kappa.build.code.references import explain_missing_module
from kappa.build.combining import combine
from kappa.build.manifest.diagnostics import Diagnostic, render_text
from kappa.build.manifest.kappafile import KAPPAFILE_NAMES, PYPROJECT, read_kappafile
from kappa.build.manifest.positions import Span
from kappa.build.manifest.words import nearest
from kappa.build.project import Project, check_kappafile, checked_project, with_sources
from kappa.errors import ConfigurationError, ManifestError
from kappa.log import log
from kappa.services.declared import DeclaredService
from kappa.services.declaring import declared_spec
from kappa.spec.document import ArtifactSource
from kappa.wording import sentence

__all__ = ["project_of", "read_class_project", "standing_for_its_file"]

_MAIN = "__main__"


def read_class_project(reference: str, directory: Path, *, models: Mapping[str, Path] | None = None) -> Project:
    """Read what the class ``module:Class`` of a directory declares; ``models`` says where its models lie.

    Raises `ConfigurationError`, or `ManifestError` that carries every problem found.
    """
    root = directory.resolve()
    sources = {name: ArtifactSource(path=path.absolute()) for name, path in (models or {}).items()}
    if (file := _kappafile_naming(reference, root)) is not None:
        project = checked_project(file, *check_kappafile(file, runs_code=True, packed=sources.keys()))
        return with_sources(project, sources)
    name, _, qualname = reference.partition(":")
    code = CodeBase(search_path(root))
    if (module := code.resolve(name)) is None:
        missing = explain_missing_module(code, name, qualname)
        hint = missing.help.replace("beside the kappafile", f"in `{root}`")
        raise ConfigurationError(f"{missing.message} {hint}")
    declared = read_class(code, module, qualname)
    if isinstance(declared, Opaque):
        declared = import_class(reference, root, declared)
    if isinstance(declared, ClassProblem):
        if declared.location is None:
            near = nearest(qualname, declared.names)
            raise ConfigurationError(f"{declared.message} Did you mean `{name}:{near}`?" if near else declared.message)
        problem = Diagnostic("KF402", sentence(declared.message), declared.location.file, declared.location.span)
        raise ManifestError(render_text([problem]), diagnostics=[problem])
    return Project.declared(root, None, combine(None, declared, root), sources).with_signatures()


def project_of(service: DeclaredService) -> Project:
    """Return the project of an instance: what its class declares, the files it is made of, and its packed models.

    Raises `ConfigurationError` for a class that is in no file.
    """
    if service.is_loaded:
        raise ConfigurationError(
            f"`{service.name}` was loaded from a bundle, and bundles are built from projects: pack the model into an "
            "instance of the project's own class, and save that."
        )
    home = _home_of(type(service))
    reference = f"{home.module}:{type(service).__qualname__}"
    declaration = Declaration(declared_spec(type(service), module=home.module), home.location)
    packed = {
        name: ArtifactSource(value=artifact.value, metadata=artifact.metadata)
        for name, artifact in service.artifacts.items()
    }
    if (file := _kappafile_naming(reference, home.root)) is not None:
        project = checked_project(file, *check_kappafile(file, declaration=declaration, packed=packed.keys()))
        return with_sources(project, packed)
    return Project.declared(home.root, None, combine(None, declaration, home.root), packed).with_signatures()


def _kappafile_naming(reference: str, root: Path) -> Path | None:
    """Return the kappafile of a folder whose `service.class` is ``reference``, if there is one."""
    for name in (*KAPPAFILE_NAMES, PYPROJECT):
        file = root / name
        if file.is_file() and "class" in file.read_text(encoding="utf-8-sig", errors="replace"):
            document, _ = read_kappafile(file)
            if document is not None and document.at(("service", "class")) == reference:
                return file
    return None


# -- where a class is --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Home:
    module: str
    """The name under which the module can be imported; for a script that runs, the stem of its file."""
    root: Path
    """The folder from which it can be."""
    location: Location


def _home_of(declaring: type) -> _Home:
    """Return where a class is defined; raises `ConfigurationError` for one that a bundle cannot bring."""
    loaded = sys.modules.get(declaring.__module__)
    file = Path(getattr(loaded, "__file__", None) or "")
    if loaded is None or not file.is_file() or not _is_defined_in(declaring, file):
        raise ConfigurationError(_not_in_a_file(declaring))
    file = file.resolve()
    name = _name_of_script(loaded, file) if declaring.__module__ == _MAIN else declaring.__module__
    if "<locals>" in declaring.__qualname__:
        raise ConfigurationError(
            f"`{declaring.__name__}` is defined inside of a function, from where no server could import it: "
            f"define it at the top level of `{file.name}`."
        )
    if not all(part.isidentifier() for part in name.split(".")):
        raise ConfigurationError(
            f"`{file.name}` cannot be imported as a module: rename it with letters, digits and `_`."
        )
    root = file.parents[name.count(".") + (file.name == "__init__.py")]
    if root.name in PACKAGE_FOLDERS:
        raise ConfigurationError(
            f"`{declaring.__name__}` comes from an installed package (`{file}`), whose code is no project's: "
            "subclass it in a file of your own."
        )
    root, code, module = _project_of(root, name)
    definition = find_definition(code, module, declaring.__qualname__) if module is not None else None
    node = definition.node if isinstance(definition, Definition) else None
    return _Home(name, root, Location(file, span_of(node) if node is not None else Span(1, 1, 1, 2)))


def _project_of(folder: Path, name: str) -> tuple[Path, CodeBase, Module | None]:
    """Return the project of a module that is imported from ``folder``: what holds that, if it is the `src` of one."""
    code = CodeBase(search_path(folder))
    module = code.resolve(name)
    above = folder.parent
    if folder.name == "src" and any((above / file).is_file() for file in (*KAPPAFILE_NAMES, *PROJECT_FILES)):
        whole = CodeBase(search_path(above))
        if module is not None and (same := whole.resolve(name)) is not None and same.file == module.file:
            return above, whole, same
    return folder, code, module


def _name_of_script(loaded: ModuleType, file: Path) -> str:
    """Return what the module that runs as a script is called when it is imported."""
    _warn_of_unguarded_code(file)
    return loaded.__spec__.name if loaded.__spec__ is not None else file.stem


def _is_defined_in(declaring: type, file: Path) -> bool:
    """Return whether a file can have defined a class; not so for a notebook's, whose kernel runs from another file."""
    if declaring.__module__ != _MAIN:
        return True
    words = file.read_text(encoding="utf-8", errors="replace")
    return re.search(rf"\b{re.escape(declaring.__name__)}\b", words) is not None


def _not_in_a_file(declaring: type) -> str:
    module = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", declaring.__name__).lower()
    imported = f"from {module} import {declaring.__name__}"
    return (
        f"`{declaring.__name__}` is defined in a notebook cell or an interactive session, and a bundle is made of "
        f"files. Begin the cell with `%%writefile {module}.py`, put the imports and helpers of the class into the same "
        f"cell, because only that cell is written, run it, and go on with `{imported}`. In a session without cells, "
        f"save the class in `{module}.py`, and write `{imported}`."
    )


# -- scripts -----------------------------------------------------------------------------------------------------------


def _warn_of_unguarded_code(file: Path) -> None:
    """Warn if the running code of a script would run again at every import of the module."""
    tree = ast.parse(file.read_bytes())
    running = _running_line(file)
    at_it = [statement for statement in tree.body if statement.lineno <= running <= (statement.end_lineno or 0)]
    if at_it and not _is_guard(at_it[0]):
        log(
            f'`{file.name}:{running}` is not under `if __name__ == "__main__":`, so whatever stands above it, '
            "training too, runs again whenever the bundle is loaded. Put it there, or into another file.",
            kind="warning",
        )


def _running_line(file: Path) -> int:
    """Return the line of a script's top level that is being executed; 0 if there is none."""
    frame: FrameType | None = sys._getframe()  # noqa: SLF001 - there is no other way to see who calls
    while frame is not None:
        if frame.f_code.co_name == "<module>" and Path(frame.f_code.co_filename).resolve() == file:
            return frame.f_lineno
        frame = frame.f_back
    return 0


def _is_guard(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.If) and any(
        isinstance(node, ast.Name) and node.id == "__name__" for node in ast.walk(statement.test)
    )


@contextmanager
def standing_for_its_file(declaring: type) -> Iterator[None]:
    """While this lasts, what a running script defines belongs to the module that its file is when it is imported.

    Models that are pickled meanwhile then name classes and functions as the bundle has them, and not `__main__`.
    """
    main = sys.modules[_MAIN]
    file = getattr(main, "__file__", None)
    if declaring.__module__ != _MAIN or file is None:
        yield
        return
    name = main.__spec__.name if main.__spec__ is not None else Path(file).stem
    defined = [
        value
        for value in vars(main).values()
        if isinstance(value, type | FunctionType) and getattr(value, "__module__", None) == _MAIN
    ]
    before = sys.modules.get(name)
    sys.modules[name] = main
    for value in defined:
        value.__module__ = name
    try:
        yield
    finally:
        for value in defined:
            value.__module__ = _MAIN
        if before is None:
            del sys.modules[name]
        else:
            sys.modules[name] = before
