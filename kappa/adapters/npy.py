"""The format of `numpy.save` (NEP 1), read without trust: a wrong header is refused before memory is allocated. NumPy's
own reader evaluates the header as Python, and trusts its shape.
"""

from __future__ import annotations

import re
import struct
from math import prod
from typing import Any, NamedTuple

from kappa.errors import BadInputError
from kappa.types import DecodingLimits, Payload

__all__ = ["MOST_AXES", "array_of_npy"]

MOST_AXES = 32
"""More axes than this not every NumPy knows."""

_MAGIC = b"\x93NUMPY"
_LENGTHS = {(1, 0): "<H", (2, 0): "<I", (3, 0): "<I"}
_LONGEST_HEADER = 10_000  # as NumPy has it
_ENTRY = re.compile(
    r"""\s*(?P<mark>['"])(?P<key>descr|fortran_order|shape)(?P=mark)\s*:\s*"""
    r"""(?:(?P<quote>['"])(?P<descr>[^'"]{1,64})(?P=quote)|(?P<flag>True|False)|\((?P<shape>[\dL,\s]*)\))\s*(?:,|$)"""
)
_SIZE = re.compile(r"\d{1,19}L?", re.ASCII)  # Python 2 wrote the letter
_DESCR = re.compile(r"[<>=|]?([a-zA-Z?])(\d{0,10})(\[\w+\])?", re.ASCII)
_TEXT_BYTES = 72
"""Bytes of a text object beside its characters."""


class _Header(NamedTuple):
    descr: str
    is_fortran: bool
    shape: tuple[int, ...]


def array_of_npy(payload: Payload) -> Any:
    """Read an array of numbers, truth values, texts or bytes; the last two become objects.

    Raises `BadInputError`: 400 for what is no such file or holds other than its header says, 413 for texts that would
    take more than the payload's limits, 422 for values of other kinds.
    """
    import numpy as np

    header, start = _header(payload.data)
    kind = _DESCR.fullmatch(header.descr)
    if kind is not None and kind[1] == "O":
        raise _damaged("it holds objects of Python's, which are pickles and are never read")
    try:
        dtype = np.dtype(header.descr) if kind is not None else None
    except (TypeError, ValueError):
        dtype = None
    if dtype is None or dtype.kind not in "biufcUS":
        raise BadInputError(f"An array of `{header.descr}` is not taken here.", http_status=422)
    size, held = prod(header.shape), len(payload.data) - start
    if not dtype.itemsize:
        raise _damaged(f"values of `{header.descr}` have no size")
    if not size:
        raise BadInputError("The array is empty; at least one row, and a value in each, is needed.")
    if size * dtype.itemsize != held:
        raise _damaged(f"its header tells of {size * dtype.itemsize} bytes of values, and {held} follow it")
    if dtype.kind in "US":
        _limit_texts(size, held, payload.limits)
    order = header.shape[::-1] if header.is_fortran else header.shape
    array = np.frombuffer(payload.data, dtype, offset=start).reshape(order)
    array = array.astype(dtype.newbyteorder("="))  # a copy, which functions may write to
    _check_values(array, np)
    array = array.T if header.is_fortran else array
    return array.astype(object) if dtype.kind in "US" else array


def _damaged(reason: str) -> BadInputError:
    return BadInputError(f"The body is not an array in `.npy`: {reason}.")


def _header(data: bytes) -> tuple[_Header, int]:
    """Return the facts of the header, and where the values begin."""
    length_format = _LENGTHS.get((data[6], data[7])) if data.startswith(_MAGIC) and len(data) > 7 else None
    if length_format is None:
        raise _damaged("it does not begin as one of version 1, 2 or 3")
    start = len(_MAGIC) + 2 + struct.calcsize(length_format)
    if len(data) < start:
        raise _damaged("it ends in its header")
    (length,) = struct.unpack_from(length_format, data, len(_MAGIC) + 2)
    if length > min(_LONGEST_HEADER, len(data) - start):
        raise _damaged(f"a header of {length} bytes cannot be")
    text = data[start : start + length].decode("latin-1").strip()
    return _read(text), start + length


def _read(text: str) -> _Header:
    if not (text.startswith("{") and text.endswith("}")):
        raise _damaged("its header is not a dict")
    entries: dict[str, re.Match[str]] = {}
    rest = text[1:-1].strip()
    while rest:
        entry = _ENTRY.match(rest)
        if entry is None or entry["key"] in entries:
            break
        entries[entry["key"]] = entry
        rest = rest[entry.end() :].strip()
    descr, order, shape = (entries[key][part] if key in entries else None for key, part in _PARTS)
    if rest.startswith(("'descr': [", '"descr": [')) or (descr is not None and "," in descr):
        raise BadInputError("An array of structures is not taken here; send one of plain values.", http_status=422)
    sizes = [size.strip() for size in shape.split(",")] if shape is not None else []
    sizes = sizes[:-1] if sizes and not sizes[-1] else sizes
    if rest or descr is None or order is None or shape is None or not all(map(_SIZE.fullmatch, sizes)):
        raise _damaged("its header must be a dict of `descr`, `fortran_order` and `shape`, a tuple of sizes")
    if len(sizes) > MOST_AXES:
        raise _damaged(f"it has {len(sizes)} axes, and an array has {MOST_AXES} at most")
    return _Header(descr, order == "True", tuple(int(size.rstrip("L")) for size in sizes))


_PARTS = (("descr", "descr"), ("fortran_order", "flag"), ("shape", "shape"))


def _limit_texts(size: int, held: int, limits: DecodingLimits) -> None:
    if size > limits.max_cells or size * _TEXT_BYTES + held > limits.max_bytes:
        message = f"The array has {size} texts, which take more memory than is given to one request."
        raise BadInputError(message, http_status=413)


def _check_values(array: Any, np: Any) -> None:
    """Refuse invalid bit patterns: NumPy keeps them, and their effect in functions is undefined."""
    if array.dtype.kind == "b" and (array.view("uint8") > 1).any():
        raise _damaged("a truth value is neither 0 nor 1")
    if array.dtype.kind == "U":
        codes = array.reshape(-1).view(np.uint32)
        if ((codes > _LAST_CHARACTER) | ((codes >= _SURROGATES[0]) & (codes <= _SURROGATES[1]))).any():
            raise _damaged("a text holds an invalid character")


_LAST_CHARACTER = 0x10FFFF
_SURROGATES = (0xD800, 0xDFFF)
