"""Arrays of rows: what the adapters of arrays and tensors have in common.

A request is an array whose first axis counts its rows. Requests whose rows have one dtype and shape form a group; a
batch of it is one array of all their rows.
"""

from __future__ import annotations

import base64
import binascii
import io
from collections.abc import Hashable, Sequence
from typing import Annotated, Any, Literal

from pydantic import Field

from kappa.adapters.columns import EXACT_FLOAT, shown
from kappa.adapters.json import JSON_MEDIA_TYPES, parse_json
from kappa.errors import BadInputError
from kappa.spec.contracts import InputAdapter
from kappa.types import Payload

__all__ = ["NPY", "ArrayDtype", "ArrayInput", "rows_of_json", "rows_of_npy"]

NPY = "application/x-npy"
ArrayDtype = Literal[
    "float32", "float64", "float16", "int64", "int32", "int16", "int8", "uint64", "uint32", "uint16", "uint8", "bool",
    "str", "bytes",
]  # fmt: skip
_Size = Annotated[int, Field(ge=-1)]


class ArrayInput(InputAdapter):
    """What adapters of arrays share: rows in JSON or as `.npy`, brought to a dtype and a shape."""

    type: str
    dtype: ArrayDtype | None = None
    """What the values are converted to; what JSON tells if not given: `int64`, `float64`, `bool` or `str`."""
    shape: tuple[_Size, ...] | None = None
    """The shape of one row, -1 where any size will do; any shape if not given. Other rows are refused with 422."""

    def requires(self) -> tuple[str, ...]:
        return ("numpy",)

    def decode(self, payload: Payload) -> Any:
        if payload.media_type == NPY:
            return self.conform(rows_of_npy(payload))
        if payload.media_type in JSON_MEDIA_TYPES or payload.media_type.endswith("+json"):
            return self.array_of(self.rows_in(parse_json(payload)))
        message = f"`{payload.media_type}` is not taken here; send `application/json` or `{NPY}`."
        raise BadInputError(message, http_status=415)

    def rows_in(self, body: Any) -> Any:
        """Return the rows of a parsed JSON body."""
        if not isinstance(body, list):
            raise BadInputError(f"An array of rows is needed, not {shown(body)}.")
        return body

    def array_of(self, rows: Any) -> Any:
        """Return the rows of a JSON body in the adapter's form."""
        return self.conform(rows_of_json(rows))

    def conform(self, rows: Any) -> Any:
        """Bring an array to the declared dtype and shape; raises `BadInputError` for what has no rows or other ones."""
        if rows.ndim == 0 or not len(rows):
            raise BadInputError("The array is empty; at least one row is needed.")
        if self.shape is not None and not _fits(rows.shape[1:], self.shape):
            found, wanted = _words(rows.shape[1:]), _words(self.shape)
            raise BadInputError(f"The rows have the shape {found}; this API takes {wanted}.", http_status=422)
        return rows if self.dtype is None else _converted(rows, self.dtype)

    def group_of(self, form: Any) -> Hashable:
        return form.dtype.str, form.shape[1:]

    def rows_of(self, form: Any) -> int:
        return len(form)

    def merge(self, forms: Sequence[Any]) -> Any:
        """Build one array of the rows of several requests, in request order."""
        if len(forms) == 1:
            return forms[0]
        import numpy as np

        return np.concatenate(forms)

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


_JSON_TYPES = {
    **dict.fromkeys(("float16", "float32", "float64"), "number"),
    **{f"{sign}int{bits}": "integer" for sign in ("", "u") for bits in (8, 16, 32, 64)},
    "bool": "boolean",
    "str": "string",
    "bytes": "string",
}


def rows_of_json(rows: Any) -> Any:
    """Return nested lists of one kind of value as an array: numbers, where ``null`` is NaN; true and false; texts; or
    bytes, written ``{"b64": text}``. Texts and bytes become arrays of objects.

    Raises `BadInputError` for rows of different shapes, or with values of different kinds.
    """
    import numpy as np

    try:
        array = np.array(rows)
    except (ValueError, OverflowError):
        raise BadInputError("The rows have different shapes; an array needs one shape for all.") from None
    if array.dtype.kind == "f" and (abs(array) >= EXACT_FLOAT).any():
        _refuse_long_integers(np.array(rows, dtype=object))
    return array if array.dtype.kind in "biuf" else _array_of_objects(np.array(rows, dtype=object))


def _refuse_long_integers(leaves: Any) -> None:
    for leaf in leaves.flat:
        if type(leaf) is int and abs(leaf) > EXACT_FLOAT:
            raise BadInputError(f"{shown(leaf)} would lose digits among numbers that are not whole.")


def _array_of_objects(leaves: Any) -> Any:
    """Return an array of texts, of bytes, or of numbers some of which are missing."""
    types = set(map(type, leaves.flat))
    if types == {str}:
        return leaves
    if types == {dict}:
        return _array_of_bytes(leaves)
    if types <= {int, float, type(None)}:
        _refuse_long_integers(leaves)
        return leaves.astype("float64")
    if types & {list, tuple}:
        raise BadInputError("The rows are nested too deep for an array.")
    raise BadInputError("The rows hold values of different kinds; an array needs one kind: numbers, texts or bytes.")


def _array_of_bytes(leaves: Any) -> Any:
    decoded = leaves.copy()
    for place, leaf in enumerate(leaves.flat):
        if leaf.keys() != {"b64"} or not isinstance(leaf["b64"], str):
            raise BadInputError(f'{shown(leaf)} is no value of an array; bytes are written `{{"b64": …}}`.')
        try:
            decoded.flat[place] = base64.b64decode(leaf["b64"], validate=True)
        except (binascii.Error, ValueError):
            raise BadInputError(f"{shown(leaf)} does not hold valid base64.") from None
    return decoded


def rows_of_npy(payload: Payload) -> Any:
    """Read the format of `numpy.save`; raises `BadInputError` for what is none, or holds objects, which are pickles."""
    import numpy as np

    try:
        array = np.lib.format.read_array(io.BytesIO(payload.data), allow_pickle=False)
    except Exception as exc:  # noqa: BLE001 - damaged headers raise whatever they lead to
        raise BadInputError(f"The body is not an array in `.npy`: {exc}.") from None
    if array.dtype.kind in "US":
        return array.astype(object)
    if array.dtype.kind not in "biufc":
        raise BadInputError(f"An array of `{array.dtype}` is not taken here.", http_status=422)
    return array.astype(array.dtype.newbyteorder("="), copy=False)


def _fits(found: tuple[int, ...], wanted: tuple[int, ...]) -> bool:
    return len(found) == len(wanted) and all(want in (-1, size) for size, want in zip(found, wanted, strict=True))


def _words(shape: tuple[int, ...]) -> str:
    return f"({', '.join('any' if size == -1 else str(size) for size in shape)})"


def _converted(array: Any, dtype: ArrayDtype) -> Any:
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
    found = shown(first.item() if hasattr(first, "item") else first) if array.size else "nothing"
    return BadInputError(f"The values must be `{dtype}`, not {found}.", http_status=422)
