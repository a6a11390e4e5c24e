"""Batching attributes of input adapters in the service's own code, read without importing them."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from typing import Any

from kappa.build import code as reading
from kappa.build.code.functions import Definition, find_definition
from kappa.build.code.modules import CodeBase
from kappa.build.manifest.positions import TreePath
from kappa.build.manifest.validation import Draft, check_batch
from kappa.spec.contracts import InputAdapter

__all__ = ["read_own_adapters", "types_of_plugins"]

_WORDS = frozenset({"supports_batch", "supports_single"})
_MEMBERS: Mapping[str, Any] = {"part_names": property(lambda _: ()), "rows_of": lambda *_: None}
"""Methods that count by being defined."""


def types_of_plugins(draft: Draft) -> Iterator[TreePath]:
    """Yield where a kappafile names a class of the service's own code in place of a registered type."""
    paths: list[TreePath] = [("artifacts", name, "type") for name in draft.names("artifacts")]
    for name in draft.names("apis"):
        for key in ("input", "output"):
            path: TreePath = ("apis", name, key)
            paths.append((*path, "type") if isinstance(draft.document.at(path), Mapping) else path)
    for path in paths:
        if isinstance(reference := draft.get(*path), str) and ":" in reference:
            yield path


def read_own_adapters(draft: Draft, code: CodeBase) -> None:
    """Read the classes of the input adapters that are the service's own, and check `batch` of their APIs by them."""
    for path in types_of_plugins(draft):
        if path[0] == "apis" and path[2] == "input":
            draft.own_adapters[path[:2]] = _read(str(draft.get(*path)), code)
            check_batch(draft, path[:2])


def _read(reference: str, code: CodeBase) -> type[InputAdapter] | None:
    """Return an empty class with the batching attributes of the named one; ``None`` if only importing that tells."""
    name, _, qualname = reference.partition(":")
    module = code.resolve(name)
    definition = find_definition(code, module, qualname) if module is not None else None
    adapter = _rebuilt(definition, code, frozenset()) if isinstance(definition, Definition) else None
    return adapter if adapter is not None and issubclass(adapter, InputAdapter) else None


def _rebuilt(definition: Definition, code: CodeBase, inside: frozenset[ast.ClassDef]) -> type | None:
    node = definition.node
    if not isinstance(node, ast.ClassDef) or node in inside or node.keywords or node.decorator_list:
        return None
    values = reading.Values(code, definition.module)
    bases: list[type] = []
    for base in node.bases:
        base_type = values.object_of(base)
        if (inherited := values.definition_of(base)) is not None and base_type is None:
            base_type = _rebuilt(inherited, code, inside | {node})
        if not isinstance(base_type, type):
            return None
        bases.append(base_type)
    if (members := _members(node)) is None:
        return None
    try:
        return type(node.name, tuple(bases), {"__module__": definition.module.name, **members})
    except TypeError:  # its base classes do not go together
        return None


def _members(node: ast.ClassDef) -> dict[str, Any] | None:
    """Return the batching attributes of a class; ``None`` if they are not written out."""
    members: dict[str, Any] = {}
    for statement in node.body:
        if isinstance(statement, ast.FunctionDef) and statement.name in _MEMBERS:
            members[statement.name] = _MEMBERS[statement.name]
            continue
        targets = statement.targets if isinstance(statement, ast.Assign) else [getattr(statement, "target", None)]
        for target in targets:
            if isinstance(target, ast.Name) and target.id in _WORDS:
                value = getattr(statement, "value", None)
                if not isinstance(value, ast.Constant) or not isinstance(value.value, bool):
                    return None
                members[target.id] = value.value
    return members
