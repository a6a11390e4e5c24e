"""Arrays of rows: the common part of the adapters of arrays and tensors.

A request is an array whose first axis counts its rows. Requests whose rows have one dtype and shape form a group; a
batch of it is one array of all their rows.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Hashable, Mapping, Sequence
from itertools import chain
from math import prod
from typing import Annotated, Any, Literal

from pydantic import Field

from kappa.adapters.columns import EXACT_FLOAT, shown
from kappa.adapters.json import parse_json
from kappa.adapters.media_types import JSON, NPY, understood
from kappa.adapters.npy import MOST_AXES, array_of_npy
from kappa.adapters.wrappings import refuse_wrapped
from kappa.errors import BadInputError
from kappa.spec.contracts import InputAdapter
from kappa.types import DecodingLimits, Payload

__all__ = ["ArrayDtype", "ArrayInput", "rows_of_json"]

ArrayDtype = Literal[
    "float32", "float64", "float16", "int64", "int32", "int16", "int8", "uint64", "uint32", "uint16", "uint8", "bool",
    "str", "bytes",
]  # fmt: skip
_TAKES = (JSON, NPY)
_SAMPLES: Mapping[str, Any] = {
    "bool": True,
    "str": "text",
    "bytes": {"b64": "dGV4dA=="},
    "float64": 1.5,
    "float32": 1.5,
}
_LONGEST_SAMPLE = 32
"""Values of a row."""
_Size = Annotated[int, Field(ge=-1)]


class ArrayInput(InputAdapter):
    """The base of adapters of arrays: rows in JSON or as `.npy`, converted to a dtype and a shape."""

    type: str
    copies = True

    dtype: ArrayDtype | None = None
    """What the values are converted to; what JSON tells if not given: `int64`, `float64`, `bool` or `str`."""
    shape: tuple[_Size, ...] | None = None
    """The shape of one row, -1 where any size will do; any shape if not given. Other rows are refused with 422."""

    def requires(self) -> tuple[str, ...]:
        return ("numpy",)

    def decode(self, payload: Payload) -> Any:
        if payload.media_type not in _TAKES:
            payload = understood(payload, _TAKES)
        if payload.media_type == NPY:
            return self.conform(array_of_npy(payload), payload.limits)
        return self.array_of(self.rows_in(parse_json(payload)), payload.limits)

    def sample_body(self) -> Any:
        if self.dtype is None and self.shape is None:
            return [[1.5, 2.5]]
        row: Any = _SAMPLES.get(self.dtype or "float64", 1)
        sizes = [abs(size) for size in (self.shape if self.shape is not None else (2,))]
        if prod(sizes) > _LONGEST_SAMPLE:
            return None
        for size in reversed(sizes):
            row = [row] * size
        return [row]

    def rows_in(self, body: Any) -> Any:
        """Return the rows of a parsed JSON body."""
        if isinstance(body, dict):
            refuse_wrapped(body, "[[…]]")
        if not isinstance(body, list):
            raise BadInputError(f"An array of rows is needed, `[[…]]`, not {shown(body)}.")
        return body

    def array_of(self, rows: list[Any], limits: DecodingLimits) -> Any:
        """Return the rows of a JSON body in the adapter's form."""
        return self.conform(rows_of_json(rows, limits), limits)

    def conform(self, rows: Any, limits: DecodingLimits) -> Any:
        """Bring an array to the declared dtype and shape; raises `BadInputError` for what has no rows or other ones."""
        if rows.ndim == 0 or not len(rows):
            raise BadInputError("The array is empty; at least one row is needed.")
        if not rows.size:
            raise BadInputError("The rows of the array are empty; at least one value is needed in each.")
        if self.shape is not None and not _fits(rows.shape[1:], self.shape):
            shape, wanted = _words(rows.shape[1:]), _words(self.shape)
            raise BadInputError(f"The rows have the shape {shape}; this API takes {wanted}.", http_status=422)
        return rows if self.dtype is None else _converted(rows, self.dtype, limits)

    def group_of(self, form: Any) -> Hashable:
        return form.dtype.str, form.shape[1:]

    def rows_of(self, form: Any) -> int:
        return len(form)

    def nbytes_of(self, form: Any) -> int:
        return int(form.nbytes) + (form.size * _OBJECT_BYTES if form.dtype.kind == "O" else 0)

    def merge(self, forms: Sequence[Any]) -> Any:
        """Build one array of the rows of several requests, in request order."""
        if len(forms) == 1:
            return forms[0].copy()
        import numpy as np

        return np.concatenate(forms)

    def single(self, form: Any) -> Any:
        return form.copy()

    def rows_schema(self) -> dict[str, Any]:
        """Return the JSON Schema of the rows."""
        schema: dict[str, Any] = {} if self.dtype is None else {"type": _JSON_TYPES[self.dtype]}
        for size in reversed(self.shape or ()):
            limits = {"minItems": size, "maxItems": size} if size >= 0 else {}
            schema = {"type": "array", "items": schema, **limits}
        if self.shape is None:
            schema = {}
        return {"type": "array", "minItems": 1, "items": schema}

    def request_content(self) -> dict[str, Any]:
        return {"application/json": {"schema": self.rows_schema()}, NPY: {"schema": {}}}


_OBJECT_BYTES = 64
"""Bytes of a text or bytes object beside its content."""

_JSON_TYPES = {
    **dict.fromkeys(("float16", "float32", "float64"), "number"),
    **{f"{sign}int{bits}": "integer" for sign in ("", "u") for bits in (8, 16, 32, 64)},
    "bool": "boolean",
    "str": "string",
    "bytes": "string",
}


def rows_of_json(rows: list[Any], limits: DecodingLimits) -> Any:
    """Return nested lists of one kind of value as an array: numbers, where ``null`` is NaN; true and false; texts; or
    bytes, written ``{"b64": text}``. Texts and bytes become arrays of objects.

    Raises `BadInputError` for rows of different shapes, or with values of different kinds.
    """
    leaves, shape = _flattened(rows, limits)
    array = _array_of_leaves(leaves)
    return array if len(shape) == 1 else array.reshape(shape)


def _flattened(rows: Any, limits: DecodingLimits) -> tuple[list[Any], tuple[int, ...]]:
    """Return the values of nested lists in order, and the one shape that the lists have.

    NumPy would pad all texts to the longest one.
    """
    leaves, shape = rows, [len(rows)]
    while leaves and type(leaves[0]) is list:
        if len(leaves) > 1 and (len(set(map(type, leaves))) > 1 or len(set(map(len, leaves))) > 1):
            raise BadInputError(_RAGGED)
        if len(shape) == MOST_AXES:
            raise BadInputError("The rows are nested too deep for an array.")
        shape.append(len(leaves[0]))
        leaves = list(chain.from_iterable(leaves)) if len(leaves) > 1 else leaves[0]
    if len(leaves) > limits.max_cells:
        message = f"The array has {len(leaves)} values; {limits.max_cells} are taken here at once."
        raise BadInputError(message, http_status=413)
    _limit_bytes(len(leaves) * _VALUE_BYTES, limits)
    return leaves, tuple(shape)


_VALUE_BYTES = 8
"""Bytes of a number in an array, or of a reference to an object."""


def _limit_bytes(size: int, limits: DecodingLimits) -> None:
    if size > limits.max_bytes:
        message = f"The array takes {size} bytes of memory; {limits.max_bytes} are taken here at once."
        raise BadInputError(message, http_status=413)


def _array_of_leaves(leaves: list[Any]) -> Any:
    try:
        total = sum(leaves)  # PERF: tells of what kind the numbers are in a third of the time that a look at each takes
    except (TypeError, OverflowError):
        return _array_of_types(leaves, set(map(type, leaves)))
    if type(total) is float:
        return _floats(leaves)
    if leaves and type(leaves[0]) is int:
        return _integers(leaves)
    return _array_of_types(leaves, set(map(type, leaves)))


def _array_of_types(leaves: list[Any], types: set[type]) -> Any:
    import numpy as np

    if types == {bool}:
        return np.array(leaves, dtype=bool)
    if types == {int, bool}:
        return _integers(leaves)
    if types <= {int, float, type(None)} or types <= {int, float, bool}:
        return _floats(leaves)
    if types == {str}:
        return _objects(leaves)
    if types == {dict}:
        return _objects(list(map(_bytes_of, leaves)))
    if list in types:
        raise BadInputError(_RAGGED)
    raise BadInputError("The rows hold values of different kinds; an array needs one kind: numbers, texts or bytes.")


_RAGGED = "The rows have different shapes; an array needs one shape for all."


def _floats(leaves: list[Any]) -> Any:
    import numpy as np

    try:
        array = np.array(leaves, dtype="float64")
    except OverflowError:  # of integers beyond the largest float
        array = None
    if array is None or (_may_hold_integers(leaves) and (abs(array) >= EXACT_FLOAT).any()):
        _refuse_long_integers(leaves)
    return array


def _may_hold_integers(leaves: list[Any]) -> bool:
    """Return whether some values may be integers. PERF: of a few, their types tell faster than an array."""
    return len(leaves) > _FEW or set(map(type, leaves)) != {float}


_FEW = 100


def _integers(leaves: list[Any]) -> Any:
    import numpy as np

    try:
        return np.array(leaves, dtype="int64")
    except OverflowError:
        pass
    if min(leaves) < 0 or max(leaves) >= _END_OF_UINT64:  # which NumPy 1 would wrap
        _refuse_long_integers(leaves)
    return np.array(leaves, dtype="uint64")


_END_OF_UINT64 = 1 << 64


def _refuse_long_integers(leaves: list[Any]) -> None:
    for leaf in leaves:
        if type(leaf) is int and abs(leaf) > EXACT_FLOAT:
            raise BadInputError(f"{shown(leaf)} would lose digits among numbers that are not whole.")


def _objects(leaves: list[Any]) -> Any:
    import numpy as np

    array = np.empty(len(leaves), dtype=object)
    array[:] = leaves
    return array


def _bytes_of(leaf: dict[str, Any]) -> bytes:
    if leaf.keys() != {"b64"} or not isinstance(leaf["b64"], str):
        raise BadInputError(f'{shown(leaf)} is not a value of an array; bytes are written `{{"b64": …}}`.')
    try:
        return base64.b64decode(leaf["b64"], validate=True)
    except (binascii.Error, ValueError):
        raise BadInputError(f"{shown(leaf)} does not hold valid base64.") from None


def _fits(shape: tuple[int, ...], wanted: tuple[int, ...]) -> bool:
    return len(shape) == len(wanted) and all(want in (-1, size) for size, want in zip(shape, wanted, strict=True))


def _words(shape: tuple[int, ...]) -> str:
    return f"({', '.join('any' if size == -1 else str(size) for size in shape)})"


def _converted(array: Any, dtype: ArrayDtype, limits: DecodingLimits) -> Any:
    """Convert without loss, but for the rounding of numbers to shorter floats; raises `BadInputError` of 422."""
    import numpy as np

    kind = array.dtype.kind
    if dtype in ("str", "bytes"):
        wanted = str if dtype == "str" else bytes
        if kind == "O" and isinstance(array.flat[0], wanted):
            return array
        raise _misfit(array, dtype)
    target = np.dtype(dtype)
    if array.dtype == target:
        return array
    if target.kind == "b" or kind not in "iuf":
        raise _misfit(array, dtype)
    _limit_bytes(array.size * target.itemsize, limits)
    with np.errstate(over="ignore", invalid="ignore"):
        converted = array.astype(target)
    if target.kind == "f":
        is_lost = np.isinf(converted) & ~np.isinf(array)
        if kind in "iu" and dtype == "float64":
            is_lost |= converted.astype(array.dtype) != array
    else:
        is_lost = converted.astype(array.dtype) != array
        if kind in "iu":  # the same bits may mean another number
            is_lost |= (converted < 0) != (array < 0)
    if is_lost.any():
        value = array[is_lost].flat[0].item()
        raise BadInputError(f"The values must be `{dtype}`: {shown(value)} does not fit.", http_status=422)
    return converted


def _misfit(array: Any, dtype: ArrayDtype) -> BadInputError:
    first = array.flat[0]
    value = shown(first.item() if hasattr(first, "item") else first) if array.size else "nothing"
    return BadInputError(f"The values must be `{dtype}`, not {value}.", http_status=422)
