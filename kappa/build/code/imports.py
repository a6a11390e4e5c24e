"""The imports of a piece of Python, read from its syntax tree: anywhere in it, not only at its top."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

__all__ = ["Import", "exported_names", "imports_of"]

_CATCHING = ("ImportError", "ModuleNotFoundError", "Exception", "BaseException")
_ELSEWHERE = frozenset(
    {"__name__", "find_spec", "os.name", "platform.system", "sys.platform", "sys.version_info", "version_info"}
)
"""Conditions that do not hold everywhere, e.g. `__name__ == "__main__"`."""


@dataclass(frozen=True, slots=True)
class Import:
    """One module that a statement asks for, and the names it takes from it."""

    module: str
    """Absolute; empty for a relative import that leads out of the top package, and for a name that is not known."""
    names: tuple[str, ...]
    """Of ``from … import``; each may be a sub-module. ``*`` stands for itself."""
    line: int
    column: int
    end_column: int
    is_optional: bool = False
    """Whether the code is prepared to go on without it."""
    is_made: bool = False
    """Whether its name is made at run time."""


@dataclass(frozen=True, slots=True)
class _Home:
    """The module whose imports are read."""

    module: str
    package: str


def imports_of(tree: ast.Module, *, module: str, is_package: bool) -> Iterator[Import]:
    """Yield the imports of a module: in functions, classes and branches too, but not those for type checkers alone.

    ``importlib.import_module`` and ``__import__`` count too; what they are given must be a plain text to be followed.
    """
    home = _Home(module, module if is_package else module.rpartition(".")[0])
    yield from _in_block(tree.body, home, is_optional=False)


def _in_block(nodes: Sequence[ast.AST], home: _Home, *, is_optional: bool) -> Iterator[Import]:
    for node in nodes:
        yield from _in_node(node, home, is_optional=is_optional)


def _in_node(node: ast.AST, home: _Home, *, is_optional: bool) -> Iterator[Import]:
    if isinstance(node, ast.Import):
        for alias in node.names:
            yield _import(alias.name, (), node, is_optional=is_optional)
    elif isinstance(node, ast.ImportFrom):
        origin = _absolute(node.level, node.module, home.package)
        yield _import(origin, tuple(alias.name for alias in node.names), node, is_optional=is_optional)
    elif isinstance(node, ast.If) and _is_type_checking(node.test):
        yield from _in_block(node.orelse, home, is_optional=is_optional)
    elif isinstance(node, ast.If) and _asks_where_it_runs(node.test):
        yield from _in_block([*node.body, *node.orelse], home, is_optional=True)
    elif isinstance(node, ast.With | ast.AsyncWith) and any(_suppresses(item.context_expr) for item in node.items):
        yield from _in_block(node.body, home, is_optional=True)
    elif isinstance(node, ast.Try) and any(_catches_import_error(handler) for handler in node.handlers):
        yield from _in_block([*node.body, *node.handlers], home, is_optional=True)
        yield from _in_block([*node.orelse, *node.finalbody], home, is_optional=is_optional)
    else:
        if isinstance(node, ast.Call) and (name := _dynamic_import(node, home)) is not None:
            imported = _import(name, (), node, is_optional=is_optional)
            yield imported if name else replace(imported, is_made=True)
        yield from _in_block(list(ast.iter_child_nodes(node)), home, is_optional=is_optional)


def _import(module: str, names: tuple[str, ...], node: ast.stmt | ast.expr, *, is_optional: bool) -> Import:
    is_one_line = node.end_lineno == node.lineno
    end = node.end_col_offset if is_one_line and node.end_col_offset is not None else node.col_offset + 1
    return Import(module, names, node.lineno, node.col_offset + 1, end + 1, is_optional)


def _absolute(level: int, module: str | None, package: str) -> str:
    """Return the absolute name of what a ``from`` statement imports from (PEP 328)."""
    if not level:
        return module or ""
    parts = package.split(".") if package else []
    if level > len(parts):
        return ""
    base = parts[: len(parts) - level + 1]
    return ".".join([*base, *([module] if module else [])])


def _is_type_checking(test: ast.expr) -> bool:
    return (isinstance(test, ast.Name) and test.id == "TYPE_CHECKING") or (
        isinstance(test, ast.Attribute) and test.attr == "TYPE_CHECKING"
    )


def _asks_where_it_runs(test: ast.expr) -> bool:
    """Return whether a branch is for some systems, some versions, or for what is installed."""
    names = {ast.unparse(node) for node in ast.walk(test) if isinstance(node, ast.Attribute | ast.Name)}
    return not {*names, *(name.rpartition(".")[2] for name in names if name.endswith("find_spec"))}.isdisjoint(
        _ELSEWHERE
    )


def _suppresses(context: ast.expr) -> bool:
    return isinstance(context, ast.Call) and _called(context) == "suppress" and any(map(_is_caught, context.args))


def _catches_import_error(handler: ast.ExceptHandler) -> bool:
    caught = handler.type
    types = caught.elts if isinstance(caught, ast.Tuple) else [caught]
    return any(kind is None or _is_caught(kind) for kind in types)


def _is_caught(kind: ast.expr) -> bool:
    return isinstance(kind, ast.Name) and kind.id in _CATCHING


def _called(node: ast.Call) -> str:
    function = node.func
    return function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")


def _dynamic_import(node: ast.Call, home: _Home) -> str | None:
    """Return the module that a call imports; empty if only running it could tell, ``None`` if it imports nothing."""
    called = _called(node)
    if called in ("iter_modules", "walk_packages"):
        return "" if any("__path__" in ast.dump(argument) for argument in node.args) else None
    if called not in ("import_module", "__import__") or not node.args:
        return None
    text = node.args[0].value if isinstance(node.args[0], ast.Constant) else None
    if not isinstance(text, str):
        return ""
    name = text.lstrip(".")
    if not all(part.isidentifier() for part in name.split(".")) and name:
        return None
    if name == text:
        return text or None
    package = _package_argument(node, home)
    return _absolute(len(text) - len(name), name, package) if package else ""


def _package_argument(node: ast.Call, home: _Home) -> str:
    """Return the package to which a call's relative name belongs; empty if only running it could tell."""
    argument = node.args[1] if len(node.args) > 1 else None
    argument = next((keyword.value for keyword in node.keywords if keyword.arg == "package"), argument)
    if isinstance(argument, ast.Constant) and isinstance(argument.value, str):
        return argument.value
    if isinstance(argument, ast.Name):
        return {"__package__": home.package, "__name__": home.module}.get(argument.id, "")
    return home.package if isinstance(argument, ast.Attribute) and ast.unparse(argument) == "__spec__.parent" else ""


def exported_names(tree: ast.Module) -> list[str]:
    """Return the plain texts of a module's ``__all__``: what ``from … import *`` takes, sub-modules included.

    It may be made of several lists (``__all__ += […]``); what only running it could tell is left out.
    """
    return [name for node in tree.body for name in _texts(_exported_by(node))]


def _exported_by(node: ast.stmt) -> ast.expr | None:
    """Return what a statement puts into ``__all__``."""
    if isinstance(node, ast.Assign) and any(map(_is_export_list, node.targets)):
        return node.value
    if isinstance(node, ast.AnnAssign | ast.AugAssign) and _is_export_list(node.target):
        return node.value
    call = node.value if isinstance(node, ast.Expr) else None
    if isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute) and _is_export_list(call.func.value):
        return ast.Tuple(call.args) if call.func.attr in ("append", "extend") else None
    return None


def _is_export_list(node: ast.expr) -> bool:
    return isinstance(node, ast.Name) and node.id == "__all__"


def _texts(node: ast.expr | None) -> Iterator[str]:
    if isinstance(node, ast.List | ast.Tuple):
        for item in node.elts:
            yield from _texts(item)
    elif isinstance(node, ast.BinOp):
        yield from _texts(node.left)
        yield from _texts(node.right)
    elif isinstance(node, ast.Starred):
        yield from _texts(node.value)
    elif isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value
