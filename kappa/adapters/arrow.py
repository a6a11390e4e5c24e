"""Parquet and Arrow in and out: tables that carry their types; the only place where pyarrow is imported."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from typing import Any, BinaryIO

from kappa.adapters.columns import EMPTY_TABLE, Columns, Kind, kind_of, labels_of, numbers
from kappa.errors import BadInputError, InferenceFailedError, MissingDependencyError
from kappa.types import Payload

__all__ = [
    "ARROW_FILE",
    "ARROW_STREAM",
    "PARQUET",
    "TABLE_MEDIA_TYPES",
    "arrow_payload",
    "columns_of_arrow",
    "encode_arrow",
    "encode_parquet",
    "frame_of_arrow",
    "parquet_batches",
]

ARROW_FILE = "application/vnd.apache.arrow.file"
ARROW_STREAM = "application/vnd.apache.arrow.stream"
PARQUET = "application/vnd.apache.parquet"
TABLE_MEDIA_TYPES = (PARQUET, ARROW_STREAM, ARROW_FILE)

_MOST_CELLS = 100_000_000


def _pyarrow() -> Any:
    try:
        import pyarrow.ipc
        import pyarrow.parquet
    except ImportError:
        raise MissingDependencyError("pyarrow", needed_for="a table in Parquet or Arrow") from None
    return pyarrow


def columns_of_arrow(payload: Payload) -> Columns:
    """Read a Parquet file or an Arrow stream or file; each column keeps the dtype that it has there."""
    pa = _pyarrow()
    try:
        source = pa.BufferReader(payload.data)
        if payload.media_type == ARROW_STREAM:
            table = pa.ipc.open_stream(source).read_all()
        elif payload.media_type == ARROW_FILE:
            table = pa.ipc.open_file(source).read_all()
        else:
            file = pa.parquet.ParquetFile(source, page_checksum_verification=True)
            _limit(file.metadata.num_rows, file.metadata.num_columns)
            table = file.read()
        _limit(table.num_rows, table.num_columns)
        table.validate(full=True)  # pyarrow reads past the end of buffers that are shorter than their metadata say
        return _columns_of_frame(table.to_pandas())
    except BadInputError:
        raise
    except Exception as exc:  # noqa: BLE001 - damaged files raise whatever they lead to
        reason = str(exc).strip().rstrip(".")
        raise BadInputError(f"The body is not a table in `{payload.media_type}`: {reason}.") from None


def _limit(rows: int, columns: int) -> None:
    """Refuse a table that few bytes unfold to: a column of equal values takes no room in a file."""
    if rows * columns > _MOST_CELLS:
        message = f"The table has {rows * columns} cells, and {_MOST_CELLS} are taken here at once."
        raise BadInputError(message, http_status=413)


def _columns_of_frame(frame: Any) -> Columns:
    """Return the columns of a frame as a request of it; names that only number the columns become numbers."""
    if not len(frame) or not len(frame.columns):
        raise BadInputError(EMPTY_TABLE)
    if not frame.columns.is_unique:
        raise BadInputError("Two columns of the table have the same name.")
    read = [_column(frame.iloc[:, i]) for i in range(len(frame.columns))]
    names = tuple(frame.columns)
    if names == tuple(map(str, numbers(len(names)))):
        names = numbers(len(names))
    kinds, values = zip(*read, strict=True)
    return Columns(names, kinds, values, len(frame), labels_of(frame.index.tolist()))


def _column(column: Any) -> tuple[Kind, Sequence[Any]]:
    """Return the kind and values of a column; those that JSON could have brought are as if it had."""
    import numpy as np

    is_text = str(column.dtype) in ("str", "string")
    if is_text or column.dtype == object:
        values = column.astype(object).where(column.notna(), None).tolist()
        plain = [value.tolist() if isinstance(value, np.ndarray) else value for value in values]
        return "str" if is_text else kind_of(plain), plain
    if isinstance(column.dtype, np.dtype):
        return str(column.dtype), column.to_numpy()
    return column.dtype, column.array


def encode_arrow(frame: Any) -> bytes:
    """Write a frame as an Arrow stream."""
    pa = _pyarrow()
    table = _table(frame, pa)
    buffer = io.BytesIO()
    with pa.ipc.new_stream(buffer, table.schema) as writer:
        writer.write_table(table)
    return buffer.getvalue()


def encode_parquet(frame: Any) -> bytes:
    """Write a frame as a Parquet file."""
    pa = _pyarrow()
    buffer = io.BytesIO()
    pa.parquet.write_table(_table(frame, pa), buffer)
    return buffer.getvalue()


def frame_of_arrow(data: bytes) -> Any:
    """Read an Arrow stream as a frame."""
    pa = _pyarrow()
    try:
        table = pa.ipc.open_stream(data).read_all()
        table.validate(full=True)
        return table.to_pandas()
    except Exception as exc:
        raise InferenceFailedError(f"The answer is not a table in `{ARROW_STREAM}`: {exc}.") from exc


def _table(frame: Any, pa: Any) -> Any:
    try:
        return pa.Table.from_pandas(frame.rename(columns=str))
    except (pa.ArrowException, ValueError, TypeError) as exc:
        raise InferenceFailedError(f"The table cannot be written as Arrow: {exc}.") from exc


def parquet_batches(file: BinaryIO, *, rows: int) -> Iterator[Any]:
    """Yield the rows of a Parquet file as Arrow tables of up to ``rows`` rows; only one is in memory at a time."""
    pa = _pyarrow()
    try:
        read = pa.parquet.ParquetFile(file, page_checksum_verification=True)
        for batch in read.iter_batches(batch_size=rows):
            batch.validate(full=True)
            yield pa.Table.from_batches([batch])
    except (pa.ArrowException, OSError) as exc:
        raise BadInputError(f"The file is not a table in Parquet: {exc}.") from None


def arrow_payload(table: Any) -> Payload:
    """Return the request that an Arrow table makes."""
    pa = _pyarrow()
    buffer = io.BytesIO()
    with pa.ipc.new_stream(buffer, table.schema) as writer:
        writer.write_table(table)
    return Payload(buffer.getvalue(), ARROW_STREAM)
