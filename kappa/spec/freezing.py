"""Deeply immutable values: artifacts' metadata, labels and options."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import date, time
from math import isfinite
from types import MappingProxyType
from typing import Annotated, Any

from pydantic import AfterValidator, PlainSerializer

__all__ = ["FrozenDict", "FrozenMapping", "FrozenValue", "freeze", "thaw"]


class FrozenDict(Mapping[str, Any]):
    """A mapping without a way to change it, equal to a dict of the same items; it can be pickled, copied and hashed.

    `MappingProxyType` can do none of the three, and forgets itself in ``copy.deepcopy`` of whatever holds it.
    """

    __slots__ = ("_items",)

    _items: Mapping[str, Any]

    def __init__(self, items: Mapping[str, Any] | None = None) -> None:
        object.__setattr__(self, "_items", MappingProxyType(dict(items or {})))

    def __getitem__(self, key: str) -> Any:
        return self._items[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._items)

    def __len__(self) -> int:
        return len(self._items)

    def __repr__(self) -> str:
        return repr(dict(self._items))

    def __hash__(self) -> int:
        return hash(frozenset(self._items.items()))

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError("a frozen mapping cannot be changed")

    def __delattr__(self, name: str) -> None:
        raise AttributeError("a frozen mapping cannot be changed")

    def __copy__(self) -> FrozenDict:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> FrozenDict:
        return self

    def __reduce__(self) -> tuple[type[FrozenDict], tuple[dict[str, Any]]]:
        return FrozenDict, (dict(self._items),)


def freeze(value: Any) -> Any:
    """Return a deeply immutable copy that a manifest can hold and give back as it was.

    Mappings become `FrozenDict`s with text for keys, lists tuples, dates ISO 8601 text, numpy's values Python's.
    Raises `ValueError` for what has no such form.
    """
    if isinstance(value, Mapping):
        return FrozenDict({str(key): freeze(item) for key, item in value.items()})
    if isinstance(value, list | tuple):
        return tuple(freeze(item) for item in value)
    if hasattr(value, "tolist"):
        return freeze(value.tolist())
    if isinstance(value, date | time):
        return value.isoformat()
    if isinstance(value, float) and not isfinite(value):
        raise ValueError(f"`{value}` cannot be kept: neither JSON nor a kappafile has such a number")
    if value is None or isinstance(value, str | bool | int | float):
        return value
    raise ValueError(f"a `{type(value).__name__}` cannot be kept: use text, numbers, true, false, lists and tables")


def thaw(value: Any) -> Any:
    """Return plain dicts and lists again, as JSON and YAML writers want them."""
    if isinstance(value, Mapping):
        return {key: thaw(item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [thaw(item) for item in value]
    return value


FrozenMapping = Annotated[Mapping[str, Any], AfterValidator(freeze), PlainSerializer(thaw)]
"""A deeply immutable mapping; numbers keep their type."""

FrozenValue = Annotated[Any, AfterValidator(freeze), PlainSerializer(thaw)]
"""A deeply immutable JSON value."""
