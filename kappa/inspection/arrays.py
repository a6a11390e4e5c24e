"""The values of small arrays in pickles: names of columns, labels of classes."""

from __future__ import annotations

import struct
from typing import Any

from kappa.inspection.opcodes import Name, Object, item_size_of, shape_of
from kappa.inspection.streams import UnreadableError

__all__ = ["bytes_of", "values_of"]

_MOST_VALUES = 10_000
_FORMATS = {
    "b1": "?",
    "i1": "b",
    "i2": "h",
    "i4": "i",
    "i8": "q",
    "u1": "B",
    "u2": "H",
    "u4": "I",
    "u8": "Q",
    "f2": "e",
    "f4": "f",
    "f8": "d",
}


def values_of(value: Any) -> list[Any]:
    """Return the values of a list or of an array of one dimension; none for what is neither, or long."""
    if isinstance(value, list | tuple):
        return list(value) if len(value) <= _MOST_VALUES else []
    try:
        return _of_array(value) if isinstance(value, Object) and isinstance(value.made_by, Name) else []
    except (UnreadableError, struct.error, UnicodeDecodeError):
        return []


def bytes_of(value: Any) -> bytes:
    """Return the content of `bytes` or of a `bytearray`; nothing for anything else."""
    is_array = isinstance(value, Object) and value.arguments
    data = value.arguments[0] if is_array else value
    return data if isinstance(data, bytes) else b""


def _of_array(array: Object) -> list[Any]:
    if isinstance(array.data, Object):
        return values_of(array.data)
    state, arguments = array.state, array.arguments
    if array.data is not None:  # joblib's
        facts = array.attributes
        data, dtype, shape = array.data, facts.get("dtype"), facts.get("shape")
    elif array.made_by.name == "_frombuffer" and len(arguments) > 2:  # protocol 5
        data, dtype, shape = arguments[:3]
    elif isinstance(state, tuple) and len(state) == 5:
        data, dtype, shape = state[4], state[2], state[1]
    else:
        return []
    if isinstance(data, list):
        return data if len(data) <= _MOST_VALUES else []
    lengths = shape_of(shape)
    if not isinstance(dtype, Object) or len(lengths) != 1 or lengths[0] > _MOST_VALUES:
        return []
    return _decoded(bytes_of(data), dtype, lengths[0])


def _decoded(data: bytes, dtype: Object, count: int) -> list[Any]:
    code = dtype.arguments[0] if dtype.arguments else ""
    size = item_size_of(dtype)
    if not isinstance(code, str) or size * count != len(data):
        return []
    is_big = isinstance(dtype.state, tuple) and len(dtype.state) > 1 and dtype.state[1] == ">"
    if code[:1] in ("U", "S"):
        encoding = "latin-1" if code[0] == "S" else "utf-32-be" if is_big else "utf-32-le"
        return [data[start : start + size].decode(encoding).rstrip("\0") for start in range(0, len(data), size)]
    if code not in _FORMATS:
        return []
    return list(struct.unpack(f"{'>' if is_big else '<'}{count}{_FORMATS[code]}", data))
