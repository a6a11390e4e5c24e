"""NumPy's own formats: one array (`.npy`) and an archive of several (`.npz`).

The layout is that of NEP 1: a signature, a version, the length of a header, and the header as a literal of Python's.
"""

from __future__ import annotations

import ast
import math
import re
import struct
from pathlib import Path
from typing import Any, NamedTuple

from kappa.inspection.archives import ZIP_SIGNATURE, open_archive
from kappa.inspection.report import Model
from kappa.inspection.streams import Stream, TruncatedError, UnreadableError

__all__ = ["read_numpy"]

_SIGNATURE = b"\x93NUMPY"
_MOST_HEADER_BYTES = 10_000
"""As many as NumPy itself reads."""
_DTYPE = re.compile(r"[<>|=]?([a-zA-Z])(\d+)(\[\w+\])?")
_BYTES_OF_TEXT = 4
_MOST_NAMES = 10


class _Header(NamedTuple):
    dtype: Any
    shape: tuple[int, ...]
    nbytes: int
    """The length of the signature and the header."""


def read_numpy(path: Path, head: bytes) -> Model | None:
    """Read what an array says of itself, or the names of those in an archive; ``None`` for other files."""
    if head.startswith(_SIGNATURE):
        return _array(path)
    return _archive(path) if head.startswith(ZIP_SIGNATURE) else None


def _array(path: Path) -> Model:
    problem = UnreadableError("")
    remarks: tuple[str, ...] = ()
    try:
        with path.open("rb") as file:
            header = _header_of(Stream(file, None))
        size = _item_size(header.dtype)
        if size is not None and path.stat().st_size < header.nbytes + size * math.prod(header.shape):
            raise TruncatedError
        shape = " x ".join(map(str, header.shape)) or "no dimension"
        remarks = (f"It is an array of `{header.dtype}`, {shape}.",) * isinstance(header.dtype, str)
    except UnreadableError as exc:
        problem = exc
    return _model("`numpy.save`", str(problem), is_truncated=isinstance(problem, TruncatedError), remarks=remarks)


def _header_of(stream: Stream) -> _Header:
    try:
        major = stream.read(8)[6]
        width = 2 if major == 1 else 4
        (length,) = struct.unpack("<H" if width == 2 else "<I", stream.read(width))
        if length > _MOST_HEADER_BYTES:
            raise UnreadableError("its header is longer than is read")
        tree = ast.literal_eval(stream.read(length).decode("latin-1").strip())
    except (ValueError, SyntaxError, RecursionError, MemoryError):
        raise UnreadableError("its header is not that of an array") from None
    shape = tree.get("shape") if isinstance(tree, dict) else None
    if not isinstance(shape, tuple) or not all(type(length) is int and length >= 0 for length in shape):
        raise UnreadableError("its header is not that of an array")
    if _has_objects(tree.get("descr")):
        raise UnreadableError("it holds Python objects, which are a pickle")
    return _Header(tree.get("descr"), shape, 8 + width + length)


def _has_objects(dtype: Any) -> bool:
    if isinstance(dtype, list | tuple):
        return any(map(_has_objects, dtype[1:2] if _is_field(dtype) else dtype))
    return isinstance(dtype, str) and dtype.lstrip("<>|=").startswith("O")


def _is_field(dtype: Any) -> bool:
    """Return whether it is a field of a structured array: its name, its type, and its shape where it has one."""
    return isinstance(dtype, tuple) and len(dtype) > 1


def _item_size(dtype: Any) -> int | None:
    """Return the bytes of a value; ``None`` for those of structured arrays."""
    match = _DTYPE.fullmatch(dtype) if isinstance(dtype, str) else None
    return int(match[2]) * (_BYTES_OF_TEXT if match[1] == "U" else 1) if match is not None else None


def _archive(path: Path) -> Model | None:
    named = path.suffix.lower() == ".npz"
    try:
        archive = open_archive(path)
    except UnreadableError as exc:
        return _model("", str(exc), is_truncated=isinstance(exc, TruncatedError)) if named else None
    if not all(name.endswith(".npy") for name in archive.names):
        return _model("", "it holds what is not an array") if named else None
    names = [f"`{name.removesuffix('.npy')}`" for name in archive.names]
    more = f" and {len(names) - _MOST_NAMES} more" if len(names) > _MOST_NAMES else ""
    remarks = (f"It holds the arrays {', '.join(names[:_MOST_NAMES])}{more}.",) * bool(names)
    return _model("`numpy.savez`", archive.strangeness, remarks=remarks)


def _model(written_by: str, problem: str, *, is_truncated: bool = False, remarks: tuple[str, ...] = ()) -> Model:
    return Model(
        kind="numpy",
        certainty="likely" if problem else "certain",
        written_by=written_by,
        modules=("numpy",),
        problem=problem,
        is_truncated=is_truncated,
        remarks=remarks,
    )
