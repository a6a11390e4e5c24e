"""Files of tensors with a header: safetensors, and the signatures of HDF5 and Parquet."""

from __future__ import annotations

import struct
from os import SEEK_END
from pathlib import Path
from typing import Any

from kappa.inspection.json_text import JSON_BYTES, read_json
from kappa.inspection.report import Model
from kappa.inspection.streams import Stream, TruncatedError, UnreadableError

__all__ = ["read_hdf5", "read_parquet", "read_safetensors", "safetensors_of"]

_MOST_TEXT_BYTES = 1 << 16
_HDF5 = b"\x89HDF\r\n\x1a\n"
_PARQUET = b"PAR1"


def read_safetensors(path: Path, head: bytes) -> Model | None:
    """Read the header of a safetensors file; ``None`` for one that is not named so, because its signature is weak."""
    return safetensors_of(path, head) if path.suffix.lower() == ".safetensors" else None


def safetensors_of(path: Path, head: bytes) -> Model | None:
    """Read the header of what may be safetensors: its length in 8 bytes, then JSON with the place of each tensor."""
    if head[8:9] != b"{":
        return None
    weights, problem = None, UnreadableError("")
    remarks: tuple[str, ...] = ()
    try:
        (length,) = struct.unpack_from("<Q", head)
        if length > JSON_BYTES:
            raise UnreadableError("its header is longer than is read")
        with path.open("rb") as file:
            tree = read_json(Stream(file, None).read(8 + length)[8:])
        if not isinstance(tree, dict):
            raise UnreadableError("its header is not a table")
        facts = tree.pop("__metadata__", None)
        weights = len(tree)
        framework = facts.get("format") if isinstance(facts, dict) else None
        remarks = (f"Its tensors are those of `{framework}`.",) if isinstance(framework, str) else ()
        ends = [_end_of(tensor) for tensor in tree.values()]
        if max(ends, default=0) > path.stat().st_size - 8 - length:
            raise TruncatedError
    except UnreadableError as exc:
        problem = exc
    return Model(
        kind="safetensors",
        certainty="likely" if str(problem) else "certain",
        artifact_type="pytorch",
        weights=weights,
        modules=("safetensors",),
        problem=str(problem),
        is_truncated=isinstance(problem, TruncatedError),
        remarks=remarks,
    )


def _end_of(tensor: Any) -> int:
    offsets = tensor.get("data_offsets") if isinstance(tensor, dict) else None
    is_right = isinstance(offsets, list) and len(offsets) == 2 and all(type(offset) is int for offset in offsets)
    if not isinstance(offsets, list) or not is_right or not 0 <= offsets[0] <= offsets[1]:
        raise UnreadableError("a tensor in its header has no place")
    end: int = offsets[1]
    return end


def read_hdf5(path: Path, head: bytes) -> Model | None:
    """Know a file of HDF5, in which Keras 2 and others keep models, by its signature, and its length by what follows.

    The superblock is that of the HDF5 File Format Specification 3.0, section II.A.
    """
    if not head.startswith(_HDF5):
        return None
    is_keras = path.suffix.lower() in (".h5", ".hdf5", ".keras")
    is_weights = path.name.lower().endswith(".weights.h5") and not _has_model(path)
    remark = (
        "Its signature is all that is read here: `pip install h5py`, and `h5dump` or `h5py.File`, tell what is in it."
    )
    is_truncated = path.stat().st_size < _end_of_hdf5(head)
    return Model(
        kind="keras-weights" if is_weights else "keras" if is_keras else "hdf5",
        certainty="likely",
        written_by="Keras' `save_weights`" if is_weights else "HDF5",
        artifact_type="keras" if is_keras and not is_weights else "",
        modules=("keras",) if is_keras else (),
        problem=str(TruncatedError()) if is_truncated else "",
        is_truncated=is_truncated,
        remarks=(remark,),
    )


def _has_model(path: Path) -> bool:
    """Return whether a file has the attribute in which Keras keeps a model's layers; it is written first."""
    with path.open("rb") as file:
        return b"model_config" in file.read(_MOST_TEXT_BYTES)


def _end_of_hdf5(head: bytes) -> int:
    """Return the length that a superblock gives; 0 where its numbers are not those of 8 bytes that libraries write."""
    at, widths = (40, head[13:15]) if head[8:9] in (b"\x00", b"\x01") else (28, head[9:11])
    at += 4 if head[8:9] == b"\x01" else 0
    return int.from_bytes(head[at : at + 8], "little") if widths == b"\x08\x08" else 0


def read_parquet(path: Path, head: bytes) -> Model | None:
    """Know a table in Parquet by the mark at its two ends."""
    if not head.startswith(_PARQUET):
        return None
    with path.open("rb") as file:
        size = file.seek(0, SEEK_END)
        file.seek(max(0, size - 8))
        end = file.read()
    is_whole = end[4:] == _PARQUET and int.from_bytes(end[:4], "little") + 12 <= size
    remark = (
        "It is a table of data: the type `frame` gives it to functions, and `columns_from` takes it for a sample, with "
        "Kappa's extra `arrow`."
    )
    return Model(
        kind="parquet",
        certainty="certain" if is_whole else "likely",
        problem="" if is_whole else str(TruncatedError()),
        is_truncated=not is_whole,
        remarks=(remark,),
    )
