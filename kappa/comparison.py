"""Compares an answer with the one that an example expects, value by value."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from kappa.spec.contracts import thaw

__all__ = ["differences"]


def differences(expected: Any, got: Any, *, tolerance: float = 0.0, where: str = "") -> Iterator[str]:
    """Yield one sentence per difference between two JSON values, each with its place, e.g. ``[1].score``.

    Numbers agree when they are at most ``tolerance`` apart; ``true`` is not ``1``.
    """
    if isinstance(expected, Mapping) and isinstance(got, Mapping):
        for key in [*expected, *(key for key in got if key not in expected)]:
            inside = f"{where}.{key}" if where else str(key)
            if key not in got:
                yield f"{_place(inside)} is missing; expected {_shown(expected[key])}"
            elif key not in expected:
                yield f"{_place(inside)} is not expected; got {_shown(got[key])}"
            else:
                yield from differences(expected[key], got[key], tolerance=tolerance, where=inside)
    elif _is_array(expected) and _is_array(got):
        if len(expected) != len(got):
            yield f"{_place(where)} has {len(got)} elements; expected {len(expected)}"
        for number, (left, right) in enumerate(zip(expected, got, strict=False)):
            yield from differences(left, right, tolerance=tolerance, where=f"{where}[{number}]")
    elif _is_number(expected) and _is_number(got):
        if (distance := abs(expected - got)) > tolerance:
            allowed = f", {distance:.3g} apart where {tolerance:g} is allowed" if tolerance else ""
            yield f"{_place(where)}: expected {_shown(expected)}, got {_shown(got)}{allowed}"
    elif type(expected) is not type(got) or expected != got:
        yield f"{_place(where)}: expected {_shown(expected)}, got {_shown(got)}"


def _is_array(value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _place(where: str) -> str:
    return f"`{where}`" if where else "the answer"


def _shown(value: Any, *, limit: int = 60) -> str:
    text = json.dumps(thaw(value), ensure_ascii=False)
    return text if len(text) <= limit else f"{text[: limit - 1]}…"
