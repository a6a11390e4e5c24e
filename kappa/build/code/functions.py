"""Functions and classes that a kappafile names, found in the source without importing it.

A definition is followed through ``from … import`` of other modules. What only running the code could tell (a name that
is assigned, a decorated function's parameters) is *opaque*: nothing is said against it.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from kappa.build.code.imports import imports_of
from kappa.build.code.modules import CodeBase, Module
from kappa.build.manifest.positions import Span

__all__ = [
    "Definition",
    "NotDefined",
    "Parameter",
    "bindings_of",
    "find_definition",
    "needs_instance",
    "parameters_of",
    "returned_keys",
    "span_of",
    "yield_of",
]

Function = ast.FunctionDef | ast.AsyncFunctionDef

_MAX_STEPS = 20


@dataclass(frozen=True, slots=True)
class Definition:
    """Where something is defined; ``node`` is ``None`` for what is opaque."""

    module: Module
    node: Function | ast.ClassDef | None = None
    owner: ast.ClassDef | None = None
    """The class that a method is defined in."""

    @property
    def file(self) -> Path | None:
        return self.module.file


@dataclass(frozen=True, slots=True)
class NotDefined:
    """A module was found, and does not define a name."""

    name: str
    names: tuple[str, ...]
    """The names that it does define."""


def find_definition(code: CodeBase, module: Module, qualname: str) -> Definition | NotDefined:
    """Find ``qualname`` in a module, e.g. ``predict`` or ``Class.method``."""
    return _find(code, module, qualname.split("."), steps=0)


def _find(code: CodeBase, module: Module, parts: Sequence[str], *, steps: int) -> Definition | NotDefined:
    tree = code.tree(module)
    if not isinstance(tree, ast.Module) or steps > _MAX_STEPS:
        return Definition(module)
    bindings = bindings_of(tree.body)
    name, rest = parts[0], parts[1:]
    if name in bindings:
        node = bindings[name]
        if isinstance(node, ast.ImportFrom):
            return _follow(code, module, node, name, rest, steps=steps)
        if isinstance(node, ast.ClassDef) and rest:
            return _in_class(code, module, node, rest, steps=steps)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) and not rest:
            return Definition(module, node)
        return Definition(module)
    if module.is_package and (inner := code.resolve(f"{module.name}.{name}")) is not None and rest:
        return _find(code, inner, rest, steps=steps + 1)
    return _through_stars(code, module, tree, bindings, parts, steps=steps)


def _follow(
    code: CodeBase, module: Module, node: ast.ImportFrom, name: str, rest: Sequence[str], *, steps: int
) -> Definition | NotDefined:
    """Go on where a name is imported from; there it may be a sub-module."""
    original = next(alias.name for alias in node.names if (alias.asname or alias.name) == name)
    block = ast.Module(body=[node], type_ignores=[])
    (imported,) = imports_of(block, module=module.name, is_package=module.is_package)
    origin = code.resolve(imported.module)
    if origin is None:
        return Definition(module)
    if rest and (inner := code.resolve(f"{imported.module}.{original}")) is not None:
        return _find(code, inner, rest, steps=steps + 1)
    return _find(code, origin, [original, *rest], steps=steps + 1)


def _through_stars(
    code: CodeBase,
    module: Module,
    tree: ast.Module,
    bindings: dict[str, ast.AST],
    parts: Sequence[str],
    *,
    steps: int,
) -> Definition | NotDefined:
    """Look into the modules that are imported with ``*``; one that cannot be read may define anything."""
    if "__getattr__" in bindings:
        return Definition(module)
    for imported in imports_of(tree, module=module.name, is_package=module.is_package):
        if "*" not in imported.names:
            continue
        origin = code.resolve(imported.module)
        definition = _find(code, origin, parts, steps=steps + 1) if origin is not None else Definition(module)
        if isinstance(definition, Definition):
            return definition
    return NotDefined(parts[0], _definitions(bindings))


def _in_class(
    code: CodeBase, module: Module, node: ast.ClassDef, parts: Sequence[str], *, steps: int
) -> Definition | NotDefined:
    bindings = bindings_of(node.body)
    bound = bindings.get(parts[0])
    if bound is None:
        if not node.bases:
            return NotDefined(parts[0], _definitions(bindings))
        return _inherited(code, module, node, parts, steps=steps)
    if isinstance(bound, ast.ClassDef) and len(parts) > 1:
        return _in_class(code, module, bound, parts[1:], steps=steps)
    if isinstance(bound, ast.FunctionDef | ast.AsyncFunctionDef) and len(parts) == 1:
        return Definition(module, bound, owner=node)
    return Definition(module)


def _inherited(code: CodeBase, module: Module, node: ast.ClassDef, parts: Sequence[str], *, steps: int) -> Definition:
    """Find what the one base of a class defines, if it is named; what several give, only running the code tells."""
    (base, *others) = node.bases
    if isinstance(base, ast.Name) and not others:
        definition = _find(code, module, [base.id, *parts], steps=steps + 1)
        if isinstance(definition, Definition):
            return definition
    return Definition(module)


def bindings_of(body: Sequence[ast.stmt]) -> dict[str, ast.AST]:
    """Return what a block binds to names, in its branches too but not in its functions; the last binding counts."""
    bindings: dict[str, ast.AST] = {}
    for node in body:
        for name in _bound_names(node):
            bindings[name] = node
        for block in _branches(node):
            bindings.update(bindings_of(block))
    return bindings


def _definitions(bindings: dict[str, ast.AST]) -> tuple[str, ...]:
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.ImportFrom)
    return tuple(sorted(name for name, node in bindings.items() if isinstance(node, kinds) and name[0] != "_"))


def _branches(node: ast.stmt) -> Iterator[Sequence[ast.stmt]]:
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return
    for block in ("body", "orelse", "finalbody"):
        yield getattr(node, block, [])
    for handler in getattr(node, "handlers", []):
        yield handler.body


def _bound_names(node: ast.stmt) -> Iterator[str]:
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        yield node.name
    elif isinstance(node, ast.Import | ast.ImportFrom):
        for alias in node.names:
            yield alias.asname or (alias.name if isinstance(node, ast.ImportFrom) else alias.name.partition(".")[0])
    elif not isinstance(node, ast.If | ast.Try | ast.With | ast.For | ast.While):
        for inner in ast.walk(node):
            if isinstance(inner, ast.Name) and isinstance(inner.ctx, ast.Store):
                yield inner.id
    else:
        targets = [getattr(node, "target", None), *(item.optional_vars for item in getattr(node, "items", []))]
        for target in targets:
            for inner in ast.walk(target) if target is not None else ():
                if isinstance(inner, ast.Name):
                    yield inner.id


def span_of(node: Function | ast.ClassDef | ast.arg | ast.Yield | ast.YieldFrom) -> Span:
    """Return where to point for a definition: its name, or a parameter; or the word `yield`."""
    if isinstance(node, ast.Yield | ast.YieldFrom):
        return Span(node.lineno, node.col_offset + 1, node.lineno, node.col_offset + 1 + len("yield"))
    if isinstance(node, ast.arg):
        return Span(node.lineno, node.col_offset + 1, node.lineno, node.col_offset + 1 + len(node.arg))
    keyword = {ast.FunctionDef: "def ", ast.AsyncFunctionDef: "async def ", ast.ClassDef: "class "}[type(node)]
    column = node.col_offset + 1 + len(keyword)
    return Span(node.lineno, column, node.lineno, column + len(node.name))


# -- signatures --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter of a function."""

    name: str
    node: ast.arg
    is_positional: bool = True
    is_variadic: bool = False
    is_positional_only: bool = False
    has_default: bool = False


def parameters_of(definition: Definition) -> list[Parameter] | None:
    """Return a function's parameters, without ``self`` for a method; ``None`` if only running it could tell."""
    node = definition.node
    if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        return None
    if _is_wrapped(node):
        return None
    decorators = {_name_of(decorator) for decorator in node.decorator_list}
    arguments = node.args
    positional = [*arguments.posonlyargs, *arguments.args]
    required = len(positional) - len(arguments.defaults)
    parameters = [
        Parameter(
            argument.arg,
            argument,
            is_positional_only=index < len(arguments.posonlyargs),
            has_default=index >= required,
        )
        for index, argument in enumerate(positional)
    ]
    if definition.owner is not None and "staticmethod" not in decorators:
        parameters = parameters[1:]
    if arguments.vararg is not None:
        parameters.append(Parameter(arguments.vararg.arg, arguments.vararg, is_variadic=True))
    parameters += [
        Parameter(argument.arg, argument, is_positional=False, has_default=default is not None)
        for argument, default in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)
    ]
    if arguments.kwarg is not None:
        parameters.append(Parameter(arguments.kwarg.arg, arguments.kwarg, is_positional=False, is_variadic=True))
    return parameters


def _name_of(decorator: ast.expr) -> str:
    node = decorator.func if isinstance(decorator, ast.Call) else decorator
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else "?"


def returned_keys(definition: Definition) -> set[str] | None:
    """Return the keys of the dicts that a function returns, if each ``return`` is written as one or as ``None``."""
    node = definition.node
    if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) or node.decorator_list:
        return None
    keys: set[str] = set()
    for value in _returns(node.body):
        if value is None or (isinstance(value, ast.Constant) and value.value is None):
            continue
        if not isinstance(value, ast.Dict):
            return None
        for key in value.keys:
            if not (isinstance(key, ast.Constant) and isinstance(key.value, str)):
                return None
            keys.add(key.value)
    return keys


def _returns(body: Sequence[ast.AST]) -> Iterator[ast.expr | None]:
    for node in _own_nodes(body):
        if isinstance(node, ast.Return):
            yield node.value


def yield_of(definition: Definition) -> ast.Yield | ast.YieldFrom | None:
    """Return the first `yield` that makes a function a generator; a decorator may make something else of it."""
    node = definition.node
    if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) or _is_wrapped(node):
        return None
    return next((inner for inner in _own_nodes(node.body) if isinstance(inner, ast.Yield | ast.YieldFrom)), None)


def needs_instance(definition: Definition) -> bool:
    """Return whether a function is a method that needs an object of its class."""
    node = definition.node
    if definition.owner is None or not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) or _is_wrapped(node):
        return False
    return not {"staticmethod", "classmethod"} & {_name_of(decorator) for decorator in node.decorator_list}


def _is_wrapped(node: Function) -> bool:
    return bool({_name_of(decorator) for decorator in node.decorator_list} - _PLAIN_DECORATORS)


_PLAIN_DECORATORS = frozenset({"staticmethod", "classmethod", "api"})
"""Those that leave a function's parameters and what it returns as they are."""


def _own_nodes(body: Sequence[ast.AST]) -> Iterator[ast.AST]:
    """Yield what is in the statements of a function, without functions and classes inside it."""
    for node in body:
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Lambda):
            yield node
            yield from _own_nodes(list(ast.iter_child_nodes(node)))
