"""Following imports from the modules that a service names through all of the user's own modules."""

from __future__ import annotations

import ast
from collections import deque
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath

from kappa.build.code.imports import Import, exported_names, imports_of
from kappa.build.code.modules import CodeBase, Module, is_pythons_own
from kappa.build.manifest.diagnostics import Diagnostic
from kappa.build.manifest.positions import Span
from kappa.build.packages.known_modules import is_namespace
from kappa.wording import quoted, sentence

__all__ = ["Foreign", "Trace", "at_import", "is_installed", "links_outside", "trace"]


@dataclass(frozen=True, slots=True)
class Foreign:
    """A module that is not the user's own, at its first import."""

    module: str
    names: tuple[str, ...]
    file: Path
    path: PurePosixPath
    statement: Import
    is_installed: bool


@dataclass(slots=True)
class Trace:
    """The result of a trace."""

    modules: dict[PurePosixPath, Module] = field(default_factory=dict)
    """The user's own modules, by the place of their file below a folder of `sys.path`."""
    foreign: dict[str, Foreign] = field(default_factory=dict)
    """Modules of others, by dotted name."""
    imported_at: dict[PurePosixPath, tuple[Import, Module]] = field(default_factory=dict)
    """Where each of the user's own modules is first imported, and by which; nothing for those that were asked for."""
    made: dict[str, tuple[Import, Module]] = field(default_factory=dict)
    """The first import whose name is made at run time, by the package it stands in."""
    diagnostics: list[Diagnostic] = field(default_factory=list)
    requested: set[PurePosixPath] = field(default_factory=set)
    """The modules that were asked for."""
    needs: dict[PurePosixPath, set[PurePosixPath]] = field(default_factory=dict)
    """By module, those of which an import in it says that it cannot go on without them."""

    @property
    def files(self) -> Mapping[PurePosixPath, Path]:
        return {path: module.file for path, module in self.modules.items() if module.file is not None}


def trace(code: CodeBase, starts: Iterable[str], *, named: Collection[str] = ()) -> Trace:
    """Follow the imports of the modules ``starts``; the caller reports those that do not exist.

    Those of ``named`` have no import statement.
    """
    traced = Trace()
    waiting: deque[Module] = deque()
    broken: list[tuple[Module, SyntaxError]] = []
    for name in starts:
        _request(name, code, traced, waiting)
    while waiting:
        module = waiting.popleft()
        tree = code.tree(module)
        if isinstance(tree, SyntaxError):
            broken.append((module, tree))
        elif tree is not None:
            try:
                for imported in imports_of(tree, module=module.name, is_package=module.is_package):
                    _follow(imported, module, code, traced, waiting)
            except RecursionError:
                broken.append((module, SyntaxError("it is too complex")))
    needed = _needed(traced)
    traced.diagnostics += (_syntax_problem(error, module, is_needed=module.path in needed) for module, error in broken)
    traced.diagnostics += (
        _made_problem(package, imported, module)
        for package, (imported, module) in traced.made.items()
        if not any(name.startswith(f"{package}." if package else "") for name in named)
    )
    return traced


def _request(
    name: str, code: CodeBase, traced: Trace, waiting: deque[Module], *, by: tuple[Import, Module] | None = None
) -> Module | None:
    """Take a module and the packages around it into the trace, if it is the user's own."""
    parts = name.split(".")
    for depth in range(1, len(parts) + 1):
        module = code.resolve(".".join(parts[:depth]))
        if module is None:
            return None
        if not module.is_local or module.file is None:
            continue
        if by is None:
            traced.requested.add(module.path)
        elif not by[0].is_optional:
            traced.needs.setdefault(by[1].path, set()).add(module.path)
        if module.path not in traced.modules:
            traced.modules[module.path] = module
            if by is not None:
                traced.imported_at[module.path] = by
            waiting.append(module)
    return module


def _needed(traced: Trace) -> set[PurePosixPath]:
    """Return the modules without which the code cannot be imported: those that no optional import alone leads to."""
    needed, waiting = set(traced.requested), deque(traced.requested)
    while waiting:
        more = traced.needs.get(waiting.popleft(), set()) - needed
        needed |= more
        waiting += more
    return needed


def _follow(imported: Import, importer: Module, code: CodeBase, traced: Trace, waiting: deque[Module]) -> None:
    top, by = imported.module.partition(".")[0], (imported, importer)
    if imported.is_made:
        package = importer.name if importer.is_package else importer.name.rpartition(".")[0]
        traced.made.setdefault(package, by)
    elif not imported.module:
        message = "This import leads out of the package that its module is in."
        traced.diagnostics.append(_warning("KF304", message, imported, importer))
    elif is_pythons_own(top):
        if (hidden := code.hidden(top)) is not None and hidden != importer.file:
            message = f"This imports Python's own {quoted(top)}, which hides {quoted(hidden.name)}."
            traced.diagnostics.append(_warning("KF311", message, imported, importer))
    elif (root := code.resolve(top)) is None or not root.is_local:
        _note_foreign(imported, importer, code, traced)
    elif (module := _request(imported.module, code, traced, waiting, by=by)) is None:
        if root.file is None:  # a namespace, whose other parts may be of other distributions
            _note_foreign(imported, importer, code, traced)
        elif not imported.is_optional:
            message = f"There is no module {quoted(imported.module)}."
            traced.diagnostics.append(_warning("KF304", message, imported, importer))
    elif not module.is_local:
        _note_foreign(imported, importer, code, traced)
    else:
        for name in _names(imported, module, code):
            inner = _request(f"{imported.module}.{name}", code, traced, waiting, by=by)
            if (inner is None and module.file is None) or (inner is not None and not inner.is_local):
                _note(f"{imported.module}.{name}", imported, importer, code, traced)


def _names(imported: Import, module: Module, code: CodeBase) -> Iterable[str]:
    if "*" not in imported.names:
        return imported.names
    tree = code.tree(module)
    return exported_names(tree) if isinstance(tree, ast.Module) else ()


def _note_foreign(imported: Import, importer: Module, code: CodeBase, traced: Trace) -> None:
    """Record a third-party import; of a namespace, each name."""
    module = code.resolve(imported.module)
    names = [imported.module]
    if is_namespace(imported.module) if module is None else module.file is None:
        names = [f"{imported.module}.{name}" for name in imported.names if name != "*"] or names
    for name in names:
        _note(name, imported, importer, code, traced)


def _note(name: str, imported: Import, importer: Module, code: CodeBase, traced: Trace) -> None:
    is_there = is_installed(name, code)
    if importer.file is None:
        return
    names = tuple(other for other in imported.names if other != "*" and name == imported.module)
    foreign = Foreign(name, names, importer.file, importer.path, imported, is_there)
    earlier = traced.foreign.setdefault(name, foreign)
    if earlier.statement.is_optional and not imported.is_optional:
        traced.foreign[name] = foreign  # it is needed after all


def links_outside(traced: Trace, code: CodeBase) -> Iterator[Diagnostic]:
    """Yield the modules of the project whose files are links to elsewhere: no other machine has what they lead to."""
    search = code.search
    roots = (*search.local, *search.fallback, *search.named.values(), *search.mapped.values())
    folders = {folder.resolve() for folder in roots}
    for module in traced.modules.values():
        if module.file is None or not module.file.is_relative_to(search.root):
            continue
        if not folders.intersection(module.file.resolve().parents):
            message = f"{quoted(module.file.name)} is a link that leads out of the project."
            help_ = "Put the file into the project, or name the folder that it leads to in `paths` of `[bundle]`."
            yield Diagnostic("KF303", message, module.file, Span(1, 1, 1, 1), help=help_)


def is_installed(name: str, code: CodeBase) -> bool:
    """Return whether a dotted name is there as a whole, or as far as a module of others: only that knows what it has.

    A namespace such as `google` has parts of several distributions, and says nothing of those that are not there.
    """
    parts = name.split(".")
    for depth in range(1, len(parts) + 1):
        module = code.resolve(".".join(parts[:depth]))
        if module is None:
            return False
        if module.file is not None and not module.is_local:
            return True
    return True


def at_import(code: str, message: str, imported: Import, file: Path, *, help: str = "") -> Diagnostic:  # noqa: A002
    """Return an error at an import."""
    span = Span(imported.line, imported.column, imported.line, imported.end_column)
    return Diagnostic(code, message, file, span, help=help)


def _warning(code: str, message: str, imported: Import, importer: Module, *, help: str = "") -> Diagnostic:  # noqa: A002
    return replace(at_import(code, message, imported, importer.file or Path(), help=help), severity="warning")


def _made_problem(package: str, imported: Import, importer: Module) -> Diagnostic:
    where = f"of the package {quoted(package)}" if package else "of your own"
    message = "This imports by a name that is made at run time, so it cannot be followed."
    help_ = f"Name the modules {where} that it may import in `modules` of `[bundle]`, else they are not packed."
    return _warning("KF340", message, imported, importer, help=help_)


def _syntax_problem(error: SyntaxError, module: Module, *, is_needed: bool) -> Diagnostic:
    line, column = error.lineno or 1, max(error.offset or 1, 1)
    message = f"This is not valid Python: {sentence(error.msg)}"
    problem = Diagnostic("KF312", message, module.file or Path(), Span(line, column, line, column + 1))
    if is_needed:
        return problem
    return replace(problem, severity="warning", help="The code that imports it must be prepared for a `SyntaxError`.")
