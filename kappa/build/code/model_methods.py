"""Whether a model's class has a method, read from the class's source: neither the model nor its library is loaded."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from kappa.build.code.functions import Definition, bindings_of, find_definition
from kappa.build.code.modules import CodeBase

__all__ = ["methods_of"]

_DYNAMIC = frozenset({"__getattr__", "__getattribute__", "__slots__"})


def methods_of(reference: str, code: CodeBase) -> frozenset[str] | None:
    """Return all names that ``module:Class`` and its bases define; ``None`` if only loading it could tell them."""
    name, _, qualname = reference.partition(":")
    module = code.resolve(name)
    definition = find_definition(code, module, qualname) if module is not None else None
    names: set[str] = set()
    for ancestor in _with_bases(definition, code, set()):
        if ancestor is None:
            return None
        bindings = bindings_of(ancestor.body)
        if not _DYNAMIC.isdisjoint(bindings):
            return None
        names |= bindings.keys()
    return frozenset(names)


def _with_bases(definition: object, code: CodeBase, seen: set[ast.ClassDef]) -> Iterator[ast.ClassDef | None]:
    """Yield a class and those that it inherits from; ``None`` for what cannot be read."""
    node = definition.node if isinstance(definition, Definition) else None
    if not isinstance(definition, Definition) or not isinstance(node, ast.ClassDef) or node.decorator_list:
        yield None
        return
    if node in seen:
        return
    seen.add(node)
    yield node
    for base in node.bases:
        if isinstance(base, ast.Name) and base.id == "object":
            continue
        dotted = ast.unparse(base)
        is_name = all(part.isidentifier() for part in dotted.split("."))
        yield from _with_bases(find_definition(code, definition.module, dotted) if is_name else None, code, seen)
