"""Batches of arrays of several shapes: a network is called once for each shape."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

__all__ = ["answer_by_shape", "are_of_several_shapes"]


def are_of_several_shapes(argument: Any) -> bool:
    """Return whether an argument is a list of arrays that do not make one."""
    return isinstance(argument, list) and len({getattr(item, "shape", None) for item in argument}) > 1


def answer_by_shape(answer: Callable[[list[Any]], Any], items: Sequence[Any]) -> list[Any]:
    """Ask once for the arrays of each shape, and return the results in the order of the arrays."""
    indices: dict[Any, list[int]] = {}
    for index, item in enumerate(items):
        indices.setdefault(getattr(item, "shape", None), []).append(index)
    results: list[Any] = [None] * len(items)
    for group in indices.values():
        for index, row in zip(group, _rows_of(answer([items[index] for index in group])), strict=True):
            results[index] = row
    return results


def _rows_of(result: Any) -> list[Any]:
    if not isinstance(result, Mapping):
        return list(result)
    return [dict(zip(result, row, strict=True)) for row in zip(*result.values(), strict=True)]
