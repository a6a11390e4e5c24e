"""Arrays that are drawn for the inputs of a network: of the kind of its examples, and far from them.

The same examples always draw the same arrays.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

__all__ = ["draw_arrays", "with_one"]

_ROWS = 48
"""How many rows have numbers like those of the examples; as many again are farther from them."""
_SCALES = (1.0, 4.0, 1e-3, 0.0)
"""How far drawn numbers spread, in standard deviations of the examples' numbers."""


def draw_arrays(tables: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return rows for each input, in the shape of the first table; ``tables`` are examples and samples."""
    import numpy as np

    random = np.random.default_rng(18)
    drawn = {}
    for name, first in tables[0].items():
        seen = np.concatenate([table[name].ravel() for table in tables])
        shape = (_ROWS, *first.shape[1:]) if first.ndim else ()
        if first.dtype.kind == "f":
            finite = seen[np.isfinite(seen)].astype("float64")
            middle, width = (finite.mean(), finite.std() or 1.0) if len(finite) else (0.0, 1.0)
            scales = np.resize(_SCALES, shape[0] if shape else 1).reshape(-1, *[1] * max(0, first.ndim - 1))
            values = middle + width * scales * random.normal(size=shape or (1,))
            drawn[name] = values.reshape(shape).astype(first.dtype)
        elif first.dtype.kind in "iu":
            low, high = (int(seen.min()), int(seen.max())) if len(seen) else (0, 0)
            drawn[name] = random.integers(low, high, size=shape, endpoint=True, dtype=first.dtype)
        elif first.dtype.kind == "b":
            drawn[name] = random.random(shape) < 0.5
        else:
            drawn[name] = random.choice(seen, size=shape)
    return drawn


def with_one(arrays: Mapping[str, Any], value: float) -> Iterator[dict[str, Any]]:
    """Yield the first row of arrays, with one number of each input of floats replaced by another."""
    row = {name: array[:1] if array.ndim else array for name, array in arrays.items()}
    for name, array in row.items():
        if array.dtype.kind == "f" and array.size:
            changed = array.copy()
            changed.flat[changed.size // 2] = value
            yield {**row, name: changed}
