"""Parquet and Arrow in and out: tables that carry their types.

pyarrow trusts the metadata of a body: so a table is validated as a whole before any value is used, and its decoded size
is bounded before it is decoded. Only the modules `arrow…` import pyarrow.
"""

from __future__ import annotations

import io
from collections.abc import Collection, Iterator, Sequence
from struct import error as StructError  # noqa: N812 - it is an exception
from typing import Any, BinaryIO

from kappa.adapters.arrow_columns import Room, UntakenError, column_of
from kappa.adapters.arrow_messages import check_file, check_stream
from kappa.adapters.arrow_notes import Notes, notes_of
from kappa.adapters.columns import (
    EMPTY_TABLE,
    Columns,
    Kind,
    RowLabels,
    check_size,
    frame_of,
    label_values,
    labels_of,
    numbers,
)
from kappa.adapters.parquet_pages import chunks_of, column_pages
from kappa.errors import BadInputError, InferenceFailedError, optional_import
from kappa.types import DecodingLimits, Payload

__all__ = [
    "ARROW_FILE",
    "ARROW_STREAM",
    "OF_AN_ANSWER",
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

_MOST_PAGES = 50_000
_MOST_STEPS = 10_000
_STEPS_OF_A_WHOLE = 8
"""The share of the limit that is read at once: while a buffer grows, both the old and the new one are in memory."""
OF_AN_ANSWER = DecodingLimits(max_bytes=1 << 33, max_cells=1 << 32, max_columns=1 << 20)
"""The limits of a client, which trusts its server."""


def _pyarrow() -> Any:
    with optional_import("pyarrow", needed_for="a table in Parquet or Arrow"):
        import pyarrow.ipc
        import pyarrow.parquet
    return pyarrow


def columns_of_arrow(payload: Payload, *, only: Collection[str] | None = None) -> Columns:
    """Read a Parquet file or an Arrow stream or file; each column keeps the dtype that it has there.

    With ``only``, columns of other names are left out, where any has one of these.
    """
    pa = _pyarrow()
    try:
        table = _validated(payload.data, payload.media_type, payload.limits, pa)
        if not table.num_rows or not table.num_columns:
            raise BadInputError(EMPTY_TABLE)
        notes, room = notes_of(table), Room(payload.limits.max_bytes)
        places, names = notes.places, notes.names
        if names == tuple(map(str, numbers(len(names)))):
            names = numbers(len(names))
        elif only is not None and (kept := [i for i, name in enumerate(names) if str(name) in only]):
            places, names = tuple(places[i] for i in kept), tuple(names[i] for i in kept)
        if not names:
            raise BadInputError(EMPTY_TABLE)
        kinds, values = _read(table, places, notes, room)
        return Columns(names, kinds, values, table.num_rows, _row_labels(table, notes, room))
    except BadInputError:
        raise
    except Exception as exc:  # noqa: BLE001 - damaged files raise whatever they lead to
        raise _no_table(exc, payload.media_type) from None


def _no_table(exc: Exception, media_type: str) -> BadInputError:
    is_known = not isinstance(exc, StructError | IndexError | KeyError | TypeError | AttributeError)
    reason = str(exc).strip().rstrip(".") if is_known else "it is damaged"
    return BadInputError(f"The body is not a table in `{media_type}`: {reason or type(exc).__name__}.")


def _read(
    table: Any, places: Sequence[int], notes: Notes, room: Room
) -> tuple[tuple[Kind, ...], Sequence[Sequence[Any]]]:
    """Return the kinds and values of some columns of a table."""
    kinds, values = [], []
    for index in places:
        column = table.column(index)
        try:
            kind, read = column_of(column, notes.dtypes.get(index, ""), room)
        except UntakenError as exc:
            message = f"The column `{table.field(index).name}` is `{_short(column.type)}`: {exc}."
            raise BadInputError(message, http_status=422) from None
        kinds.append(kind)
        values.append(read)
    return tuple(kinds), values


def _short(arrow_type: Any) -> str:
    text = str(arrow_type)
    return text if len(text) <= 60 else f"{text[:59]}…"


def _row_labels(table: Any, notes: Notes, room: Room) -> RowLabels | None:
    if not notes.index:
        return labels_of(notes.rows) if notes.rows is not None else None
    _, values = _read(table, notes.index, notes, room)
    labels = list(map(label_values, values))
    if any(isinstance(label, list | dict) for column in labels for label in column):
        raise BadInputError("The rows are labelled by lists or objects, which cannot be looked up.", http_status=422)
    return labels_of(labels[0] if len(labels) == 1 else list(zip(*labels, strict=True)))


# -- tables ------------------------------------------------------------------------------------------------------------


def _validated(data: bytes, media_type: str, limits: DecodingLimits, pa: Any) -> Any:
    """Read a table, and validate it as a whole."""
    source = pa.BufferReader(data)
    if media_type == ARROW_STREAM:
        check_stream(data, most_bytes=limits.max_bytes)
        reader = pa.ipc.open_stream(source)
        table = _table_of(reader, reader.schema, limits, pa)
    elif media_type == ARROW_FILE:
        check_file(data, most_bytes=limits.max_bytes)
        file = pa.ipc.open_file(source)
        table = _table_of(map(file.get_batch, range(file.num_record_batches)), file.schema, limits, pa)
    else:
        table = _table_of_parquet(source, data, limits, pa)
    if len(set(table.column_names)) < table.num_columns:
        name = max(table.column_names, key=table.column_names.count)
        raise BadInputError(f"Two columns of the table have the same name, `{name}`.")
    return table


def _table_of(batches: Any, schema: Any, limits: DecodingLimits, pa: Any) -> Any:
    """Join batches within the limits."""
    check_size(0, len(schema), limits)
    rows, kept = 0, []
    for batch in batches:
        rows += batch.num_rows
        check_size(rows, len(schema), limits)
        kept.append(batch)
    table = pa.Table.from_batches(kept, schema)
    table.validate(full=True)
    return table


# -- Parquet -----------------------------------------------------------------------------------------------------------


def _table_of_parquet(source: Any, data: bytes, limits: DecodingLimits, pa: Any) -> Any:
    """Read a Parquet file, its texts in a way that stays within the limits."""
    options = {"page_checksum_verification": True, "thrift_container_size_limit": max(1000, min(len(data), 10**6))}
    file = pa.parquet.ParquetFile(source, **options)
    metadata, schema = file.metadata, file.schema_arrow
    check_size(metadata.num_rows, len(schema), limits)
    read_once, step = _ways_to_read(data, metadata, limits)
    if read_once:
        file = pa.parquet.ParquetFile(source, metadata=metadata, read_dictionary=read_once, **options)
    if step is None:
        table = file.read(use_threads=False)
        check_size(table.num_rows, table.num_columns, limits)
        table.validate(full=True)
    else:
        table = _table_of(_bounded(file.iter_batches(step, use_threads=False), limits), file.schema_arrow, limits, pa)
    if not read_once:
        return table
    room = Room(limits.max_bytes)
    for index, field in enumerate(schema):
        if table.field(index).type != field.type and pa.types.is_dictionary(table.field(index).type):
            column = table.column(index)
            column_of(column, "", room)
            table = table.set_column(index, field, column.cast(field.type))
    return table


def _bounded(batches: Iterator[Any], limits: DecodingLimits) -> Iterator[Any]:
    room = Room(limits.max_bytes)
    for batch in batches:
        room.take(batch.nbytes)
        yield batch


def _ways_to_read(data: bytes, metadata: Any, limits: DecodingLimits) -> tuple[list[str], int | None]:
    """Return the columns of which each text is to be read once, and how many rows to read at a time, if not all.

    A text of a dictionary stands once in the file for many rows. A reader makes as many of it, unless it keeps the
    dictionary. Delta-encoded texts can be bounded only by their number.
    """
    columns = metadata.num_columns
    if metadata.num_row_groups * columns > _MOST_PAGES:
        raise _many_pages()
    groups = list(chunks_of(data))
    if any(len(chunks) != columns for chunks in groups):
        raise ValueError("a group of rows has other columns than the file")
    pages = unpacked = values = repeated = 0
    read_once: dict[str, None] = {}
    longest = 0
    for j in range(columns):
        column = metadata.schema.column(j)
        is_text = column.physical_type == "BYTE_ARRAY"
        width = column.length if column.physical_type == "FIXED_LEN_BYTE_ARRAY" else 8
        for chunks in groups:
            read = column_pages(data, chunks[j])
            pages += read.pages
            unpacked += max(read.unpacked, read.values * width)
            values += read.values
            most = read.values * read.repeated if is_text else 0
            if pages > _MOST_PAGES:
                raise _many_pages()
            if not most or repeated + most <= limits.max_bytes:
                repeated += most
            elif read.has_differences and column.max_repetition_level == 0:
                longest = max(longest, read.repeated)
            elif read.has_differences or column.logical_type.type == "DECIMAL":
                raise _too_large(limits)
            else:
                read_once[column.path] = None
    if values > limits.max_cells:
        message = f"The table has {values} values, and {limits.max_cells} are taken here at once."
        raise BadInputError(f"{message} Send fewer rows at a time.", http_status=413)
    if unpacked > limits.max_bytes:
        raise _too_large(limits)
    step = max(1, limits.max_bytes // (_STEPS_OF_A_WHOLE * longest)) if longest else None
    if step is not None and metadata.num_rows > step * _MOST_STEPS:
        raise _too_large(limits)
    return list(read_once), step


def _many_pages() -> BadInputError:
    message = f"The file has more than {_MOST_PAGES} pages. Write it with larger ones."
    return BadInputError(message, http_status=413)


def _too_large(limits: DecodingLimits) -> BadInputError:
    return BadInputError(
        f"The table unfolds to more than {limits.max_bytes} bytes, which is what is taken here at once. "
        "Send fewer rows at a time.",
        http_status=413,
    )


# -- out ---------------------------------------------------------------------------------------------------------------


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
    """Read an Arrow stream as a frame, as pandas noted it; a value has every digit that it has there."""
    import pandas as pd

    pa = _pyarrow()
    try:
        table = _validated(data, ARROW_STREAM, OF_AN_ANSWER, pa)
        notes, room = notes_of(table), Room(OF_AN_ANSWER.max_bytes)
        places = (*notes.places, *notes.index)
        kinds, values = _read(table, places, notes, room)
        frame = frame_of([Columns(numbers(len(places)), kinds, values, len(table))])
    except Exception as exc:
        raise InferenceFailedError(f"The answer is not a table in `{ARROW_STREAM}`: {exc}.") from exc
    if notes.index:
        frame = frame.set_index([*range(len(notes.places), len(places))]).rename_axis(index=notes.index_names)
    elif notes.rows is not None:
        frame.index = pd.RangeIndex(notes.rows, name=notes.index_names[0])
    else:
        frame.index = pd.RangeIndex(len(table))
    frame.columns = pd.Index(notes.names) if notes.names else pd.Index([], dtype=object)
    return frame.rename_axis(columns=notes.levels) if frame.columns.nlevels == len(notes.levels) else frame


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
    except (pa.ArrowException, OSError, ValueError, TypeError, KeyError) as exc:
        raise BadInputError(f"The file is not a table in Parquet: {exc}.") from None


def arrow_payload(table: Any, limits: DecodingLimits) -> Payload:
    """Return the request that an Arrow table makes."""
    pa = _pyarrow()
    buffer = io.BytesIO()
    with pa.ipc.new_stream(buffer, table.schema) as writer:
        writer.write_table(table)
    return Payload(buffer.getvalue(), ARROW_STREAM, limits=limits)
