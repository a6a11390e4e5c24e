"""What a piece of Python imports, read from its syntax tree: anywhere in it, not only at its top."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

__all__ = ["Import", "exported_names", "imports_of"]

_CATCHING = ("ImportError", "ModuleNotFoundError", "Exception", "BaseException")


@dataclass(frozen=True, slots=True)
class Import:
    """One module that a statement asks for, and the names it takes from it."""

    module: str
    """Absolute; empty for a relative import that leads out of the top package."""
    names: tuple[str, ...]
    """Of ``from … import``; each may be a sub-module. ``*`` stands for itself."""
    line: int
    column: int
    end_column: int
    is_optional: bool = False
    """Whether the code is prepared to go on without it."""


def imports_of(tree: ast.Module, *, module: str, is_package: bool) -> Iterator[Import]:
    """Yield the imports of a module: in functions, classes and branches too, but not those for type checkers alone.

    ``importlib.import_module`` and ``__import__`` count when they are given a plain text.
    """
    package = module if is_package else module.rpartition(".")[0]
    yield from _in_block(tree.body, package, is_optional=False)


def _in_block(nodes: Sequence[ast.AST], package: str, *, is_optional: bool) -> Iterator[Import]:
    for node in nodes:
        yield from _in_node(node, package, is_optional=is_optional)


def _in_node(node: ast.AST, package: str, *, is_optional: bool) -> Iterator[Import]:
    if isinstance(node, ast.Import):
        for alias in node.names:
            yield _import(alias.name, (), node, is_optional=is_optional)
    elif isinstance(node, ast.ImportFrom):
        origin = _absolute(node, package)
        yield _import(origin, tuple(alias.name for alias in node.names), node, is_optional=is_optional)
    elif isinstance(node, ast.If) and _is_type_checking(node.test):
        yield from _in_block(node.orelse, package, is_optional=is_optional)
    elif isinstance(node, ast.Try) and any(_catches_import_error(handler) for handler in node.handlers):
        yield from _in_block([*node.body, *node.handlers], package, is_optional=True)
        yield from _in_block([*node.orelse, *node.finalbody], package, is_optional=is_optional)
    else:
        if isinstance(node, ast.Call) and (name := _dynamic_import(node)):
            yield _import(name, (), node, is_optional=is_optional)
        yield from _in_block(list(ast.iter_child_nodes(node)), package, is_optional=is_optional)


def _import(module: str, names: tuple[str, ...], node: ast.stmt | ast.expr, *, is_optional: bool) -> Import:
    is_one_line = node.end_lineno == node.lineno
    end = node.end_col_offset if is_one_line and node.end_col_offset is not None else node.col_offset + 1
    return Import(module, names, node.lineno, node.col_offset + 1, end + 1, is_optional)


def _absolute(node: ast.ImportFrom, package: str) -> str:
    """Return the absolute name of what a ``from`` statement imports from (PEP 328)."""
    if not node.level:
        return node.module or ""
    parts = package.split(".") if package else []
    if node.level > len(parts):
        return ""
    base = parts[: len(parts) - node.level + 1]
    return ".".join([*base, *([node.module] if node.module else [])])


def _is_type_checking(test: ast.expr) -> bool:
    return (isinstance(test, ast.Name) and test.id == "TYPE_CHECKING") or (
        isinstance(test, ast.Attribute) and test.attr == "TYPE_CHECKING"
    )


def _catches_import_error(handler: ast.ExceptHandler) -> bool:
    caught = handler.type
    types = caught.elts if isinstance(caught, ast.Tuple) else [caught]
    return any(kind is None or (isinstance(kind, ast.Name) and kind.id in _CATCHING) for kind in types)


def _dynamic_import(node: ast.Call) -> str:
    function = node.func
    name = function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")
    if name not in ("import_module", "__import__") or not node.args:
        return ""
    text = node.args[0].value if isinstance(node.args[0], ast.Constant) else None
    return text if isinstance(text, str) and all(part.isidentifier() for part in text.split(".")) else ""


def exported_names(tree: ast.Module) -> list[str]:
    """Return a module's ``__all__`` if it is a plain list: what ``from … import *`` takes, sub-modules included."""
    for node in tree.body:
        targets = node.targets if isinstance(node, ast.Assign) else []
        if any(isinstance(target, ast.Name) and target.id == "__all__" for target in targets):
            try:
                value = ast.literal_eval(node.value)  # type: ignore[attr-defined]
            except ValueError:
                return []
            return [name for name in value if isinstance(name, str)] if isinstance(value, list | tuple) else []
    return []
