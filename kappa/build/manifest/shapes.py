"""The values that a place in a kappafile may hold, read from the annotations of the models: the source of *expected …*.

pydantic alone would not do: it turns ``"5"`` into 5 where a number is meant, and its messages name Python's types.
"""

from __future__ import annotations

import types
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic.fields import FieldInfo

from kappa.plugins import ARTIFACTS, INPUT_ADAPTERS, OUTPUT_ADAPTERS, PluginRegistry
from kappa.spec.contracts import ArtifactPlugin, InputAdapter, OutputAdapter, Spec
from kappa.wording import one_of

__all__ = ["arms_of", "described", "fields_of", "fits", "is_optional", "items_of", "kind_of", "registry_of", "table_of"]

Annotation = Any  # a type, or what stands for one in an annotation

_FAMILIES: tuple[tuple[type[Spec], PluginRegistry], ...] = (
    (InputAdapter, INPUT_ADAPTERS),
    (OutputAdapter, OUTPUT_ADAPTERS),
    (ArtifactPlugin, ARTIFACTS),
)


def fields_of(model: type[Spec]) -> dict[str, FieldInfo]:
    """Return the fields of a table by the key that a user writes."""
    return {field.alias or name: field for name, field in model.model_fields.items()}


def arms_of(annotation: Annotation) -> list[Annotation]:
    """Return the alternatives of an annotation, without ``None`` and without what `Annotated` adds."""
    origin: Any = get_origin(annotation)
    if origin is Annotated:
        return arms_of(get_args(annotation)[0])
    if origin in (Union, types.UnionType):
        return [arm for part in get_args(annotation) for arm in arms_of(part) if arm is not type(None)]
    return [annotation]


def is_optional(annotation: Annotation) -> bool:
    origin: Any = get_origin(annotation)
    if origin is Annotated:
        return is_optional(get_args(annotation)[0])
    return (origin in (Union, types.UnionType) and any(is_optional(part) for part in get_args(annotation))) or (
        annotation in (None, type(None), Any)
    )


def table_of(annotation: Annotation) -> type[Spec] | None:
    """Return the model of a table with fixed keys, if that is what may stand here."""
    for arm in arms_of(annotation):
        if isinstance(arm, type) and issubclass(arm, Spec):
            return arm
    return None


def registry_of(annotation: Annotation) -> PluginRegistry | None:
    """Return the family of plugins that may stand here."""
    model = table_of(annotation)
    return next((registry for family, registry in _FAMILIES if model is family), None)


def items_of(annotation: Annotation, value: object) -> Annotation | None:
    """Return the annotation of the values in a list, or in a table with free keys, that may stand here."""
    for arm in arms_of(annotation):
        origin: Any = get_origin(arm)
        arguments = get_args(arm)
        if isinstance(value, list) and origin in (tuple, list):
            return arguments[0]
        if isinstance(value, Mapping) and isinstance(origin, type) and issubclass(origin, Mapping):
            return arguments[1]
    return None


def fits(annotation: Annotation, value: object) -> bool:
    """Return whether a value is of the right kind, looking at itself alone and not at what it contains."""
    return (value is None and is_optional(annotation)) or any(_fits(arm, value) for arm in arms_of(annotation))


def _fits(arm: Annotation, value: object) -> bool:
    origin: Any = get_origin(arm)
    if arm is Any:
        return True
    if origin is Literal:
        return any(type(value) is type(word) and value == word for word in get_args(arm))
    if arm is float:
        return type(value) in (int, float)
    if origin in (tuple, list):
        return isinstance(value, list)
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return isinstance(value, Mapping)
    if isinstance(arm, type) and issubclass(arm, Spec):
        return isinstance(value, Mapping) or (registry_of(arm) is not None and isinstance(value, str))
    return type(value) is arm


_WORDS = {str: "text", int: "a whole number", float: "a number", bool: "`true` or `false`"}
_PLURALS = {str: "texts", int: "whole numbers", float: "numbers"}


def described(annotation: Annotation) -> str:
    """Return the expected kind, as it follows "must be"."""
    return one_of(dict.fromkeys(_described(arm) for arm in arms_of(annotation)))


def _described(arm: Annotation) -> str:
    origin: Any = get_origin(arm)
    if origin is Literal:
        return one_of(f"`{word}`" for word in get_args(arm))
    if origin in (tuple, list):
        item = arms_of(get_args(arm)[0])
        return f"a list of {_PLURALS[item[0]]}" if len(item) == 1 and item[0] in _PLURALS else "a list"
    if (registry := registry_of(arm)) is not None:
        return f"the name of an {registry.kind}, or a table with `type`"
    return _WORDS.get(arm, "a table")


def kind_of(value: object) -> str:
    """Return the kind of a value, as it follows "not"."""
    if isinstance(value, bool):
        return "`true`" if value else "`false`"
    if isinstance(value, int | float):
        return f"the number {value}"
    if isinstance(value, str):
        return "text"
    return "a list" if isinstance(value, list) else "a table" if isinstance(value, Mapping) else "empty"
