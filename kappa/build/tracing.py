"""Following imports from the modules that a service names through all of the user's own modules."""

from __future__ import annotations

import ast
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from kappa.build.diagnostics import Diagnostic
from kappa.build.imports import Import, exported_names, imports_of
from kappa.build.modules import CodeBase, Module, is_pythons_own
from kappa.build.positions import Span
from kappa.build.wording import quoted, sentence

__all__ = ["Foreign", "Trace", "trace", "unknown_import"]


@dataclass(frozen=True, slots=True)
class Foreign:
    """A module that is not the user's own, at its first import."""

    module: str
    names: tuple[str, ...]
    file: Path
    place: PurePosixPath
    found: Import
    is_installed: bool


@dataclass(slots=True)
class Trace:
    """What was found on the way."""

    modules: dict[PurePosixPath, Module] = field(default_factory=dict)
    """The user's own modules, by the place of their file below a folder of `sys.path`."""
    foreign: dict[str, Foreign] = field(default_factory=dict)
    """Modules of others, by dotted name."""
    diagnostics: list[Diagnostic] = field(default_factory=list)

    @property
    def files(self) -> Mapping[PurePosixPath, Path]:
        return {place: module.file for place, module in self.modules.items() if module.file is not None}


def trace(code: CodeBase, starts: Iterable[str]) -> Trace:
    """Follow the imports of the modules ``starts``; those that do not exist are left to who named them."""
    found = Trace()
    waiting: deque[Module] = deque()
    for name in starts:
        _request(name, code, found, waiting)
    while waiting:
        module = waiting.popleft()
        tree = code.tree(module)
        if isinstance(tree, SyntaxError):
            found.diagnostics.append(_syntax_problem(tree, module))
        elif tree is not None:
            try:
                for imported in imports_of(tree, module=module.name, is_package=module.is_package):
                    _follow(imported, module, code, found, waiting)
            except RecursionError:
                found.diagnostics.append(_syntax_problem(SyntaxError("it is too complex"), module))
    return found


def _request(name: str, code: CodeBase, found: Trace, waiting: deque[Module]) -> Module | None:
    """Take a module and the packages around it into the trace, if it is the user's own."""
    parts = name.split(".")
    for depth in range(1, len(parts) + 1):
        module = code.resolve(".".join(parts[:depth]))
        if module is None:
            return None
        if module.is_local and module.file is not None and module.place not in found.modules:
            found.modules[module.place] = module
            waiting.append(module)
    return module


def _follow(imported: Import, importer: Module, code: CodeBase, found: Trace, waiting: deque[Module]) -> None:
    top = imported.module.partition(".")[0]
    if not imported.module:
        message = "This import leads out of the package that its module is in."
        found.diagnostics.append(_warning("KF304", message, imported, importer))
    elif is_pythons_own(top):
        if (hidden := code.hidden(top)) is not None and hidden != importer.file:
            message = f"This imports Python's own {quoted(top)}, which hides {quoted(hidden.name)}."
            found.diagnostics.append(_warning("KF311", message, imported, importer))
    elif (root := code.resolve(top)) is None or not root.is_local:
        _note_foreign(imported, importer, found, is_installed=root is not None)
    elif (module := _request(imported.module, code, found, waiting)) is None:
        if not imported.is_optional:
            message = f"There is no module {quoted(imported.module)}."
            found.diagnostics.append(_warning("KF304", message, imported, importer))
    elif not module.is_local:
        _note_foreign(imported, importer, found, is_installed=True)
    else:
        for name in _names(imported, module, code):
            inner = _request(f"{imported.module}.{name}", code, found, waiting)
            if inner is not None and not inner.is_local:
                _note_foreign(imported, importer, found, is_installed=True)


def _names(imported: Import, module: Module, code: CodeBase) -> Iterable[str]:
    if "*" not in imported.names:
        return imported.names
    tree = code.tree(module)
    return exported_names(tree) if isinstance(tree, ast.Module) else ()


def _note_foreign(imported: Import, importer: Module, found: Trace, *, is_installed: bool) -> None:
    if importer.file is None:
        return
    names = tuple(name for name in imported.names if name != "*")
    foreign = Foreign(imported.module, names, importer.file, importer.place, imported, is_installed)
    known = found.foreign.setdefault(imported.module, foreign)
    if known.found.is_optional and not imported.is_optional:
        found.foreign[imported.module] = foreign  # it is needed after all


def _warning(code: str, message: str, imported: Import, importer: Module) -> Diagnostic:
    span = Span(imported.line, imported.column, imported.line, imported.end_column)
    return Diagnostic(code, message, importer.file or Path(), span, severity="warning")


def _syntax_problem(error: SyntaxError, module: Module) -> Diagnostic:
    line, column = error.lineno or 1, max(error.offset or 1, 1)
    message = f"This is not valid Python: {sentence(error.msg)}"
    return Diagnostic("KF312", message, module.file or Path(), Span(line, column, line, column + 1))


def unknown_import(foreign: Foreign) -> Diagnostic:
    """Report an import of which nobody knows where it comes from."""
    imported = foreign.found
    span = Span(imported.line, imported.column, imported.line, imported.end_column)
    message = f"{quoted(foreign.module)} is neither installed nor known, so its package is not inferred."
    help_ = "Name its package in `env.pip_packages`."
    return Diagnostic("KF314", message, foreign.file, span, severity="warning", help=help_)
