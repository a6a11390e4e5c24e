"""Tables as JSON, in pandas' layouts."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from kappa.adapters.columns import (
    EMPTY_TABLE,
    Columns,
    Orient,
    check_size,
    columns_of_values,
    distinct_names,
    label_values,
    labels_of,
    numbers,
    shown,
)
from kappa.adapters.table_schema import typed
from kappa.errors import BadInputError
from kappa.types import DecodingLimits

__all__ = ["columns_of_json", "sample_table"]


def columns_of_json(body: Any, orient: Orient | None, limits: DecodingLimits) -> Columns:
    """Read a parsed JSON body in one of pandas' layouts; raises `BadInputError`."""
    layout = _orient_of(body)
    if (
        layout == "columns"
        and orient in (None, "records")
        and not any(isinstance(value, list | dict) for value in body.values())
    ):
        more = ", …" if len(body) > 1 else ""
        raise BadInputError(
            f"The body is one object with {_column(next(iter(body)))}{more}, and an array of rows is wanted: put the "
            "object in brackets, `[{…}]`."
        )
    if orient == "records" and layout == "values":  # both are lists of rows; pandas reads either as records
        orient = "values"
    if orient is not None and layout != orient and not (isinstance(body, dict) and orient in ("columns", "index")):
        raise BadInputError(f"The body is laid out as `{layout}`; this API takes `{orient}`.")
    decoded = _READERS[orient or layout](body, limits)
    if not decoded.rows or not decoded.names:
        raise BadInputError(EMPTY_TABLE)
    return decoded


def sample_table(columns: Sequence[str] | Mapping[str, Any], orient: Orient) -> Any:
    """Return a table of one row in a layout; ``columns`` are names, or the option of names with dtypes."""
    dtypes = columns if isinstance(columns, Mapping) else dict.fromkeys(columns, "")
    row = {
        name: _SAMPLES.get(dtype["dtype"] if isinstance(dtype, Mapping) else dtype, 1) for name, dtype in dtypes.items()
    }
    values = list(row.values())
    layouts: Mapping[Orient, Any] = {
        "records": [row],
        "values": [values],
        "split": {"columns": list(row), "data": [values]},
        "columns": {name: [value] for name, value in row.items()},
        "index": {"0": row},
        "table": {"schema": {"fields": [{"name": name} for name in row]}, "data": [row]},
    }
    return layouts[orient]


_SAMPLES: Mapping[str, Any] = {"bool": True, "str": "text", "datetime": "2026-01-31", "float64": 1.5, "float32": 1.5}


def _orient_of(body: Any) -> Orient:
    if isinstance(body, list) and body:
        return "records" if isinstance(body[0], dict) else "values"
    if isinstance(body, dict) and body:
        if body.keys() == {"schema", "data"} and isinstance(body["schema"], dict):
            return "table"
        return "split" if {"columns", "data"} <= body.keys() <= {"columns", "data", "index"} else "columns"
    if isinstance(body, list | dict):
        raise BadInputError(EMPTY_TABLE)
    raise BadInputError(f"A table is needed: an array of rows or an object of columns, not {shown(body)}.")


def _from_values(rows: list[Any], limits: DecodingLimits) -> Columns:
    width = len(rows[0]) if isinstance(rows[0], list) else -1
    check_size(len(rows), width, limits)
    for number, row in enumerate(rows):
        if not isinstance(row, list):
            raise BadInputError(f"Row {number} is not an array of values.")
        if len(row) != width:
            raise BadInputError(f"Row {number} has {len(row)} values and row 0 has {width}.")
    return columns_of_values(numbers(width), _transposed(rows, width), len(rows))


def _transposed(rows: Sequence[Sequence[Any]], width: int) -> Sequence[Sequence[Any]]:
    """Return the columns of rows; of many rows in several steps, each of which holds the GIL for some milliseconds."""
    if len(rows) <= _ROWS_AT_ONCE:
        return list(zip(*rows, strict=True))
    columns: list[list[Any]] = [[] for _ in range(width)]
    for start in range(0, len(rows), _ROWS_AT_ONCE):
        for column, values in zip(columns, zip(*rows[start : start + _ROWS_AT_ONCE], strict=True), strict=False):
            column.extend(values)
    return columns


_ROWS_AT_ONCE = 10_000


def _from_records(records: list[Any], limits: DecodingLimits) -> Columns:
    if (shared := _shared_names(records)) is not None:
        check_size(len(records), len(shared), limits)
        rows = [tuple(record.values()) for record in records]
        return columns_of_values(shared, _transposed(rows, len(shared)), len(rows))
    names: dict[str, None] = {}
    for number, record in enumerate(records):
        if not isinstance(record, dict):
            raise BadInputError(f"Row {number} is not an object of values by column name.")
        if len(record) > limits.max_columns:
            check_size(len(records), len(record), limits)
        names.update(dict.fromkeys(record))
        if len(names) > limits.max_columns:
            break
    check_size(len(records), len(names), limits)
    values = [[record.get(name) for record in records] for name in names]
    return columns_of_values(tuple(names), values, len(records))


def _shared_names(records: Sequence[Any]) -> tuple[str, ...] | None:
    """Return the names of some records that all have the same ones in the same order.

    PERF: a table is put together by name otherwise, which takes twice as long.
    """
    if not 0 < len(records) <= _ROWS_AT_ONCE or not isinstance(records[0], dict):
        return None
    names = tuple(records[0])
    return names if all(isinstance(record, dict) and tuple(record) == names for record in records) else None


def _from_split(body: dict[str, Any], limits: DecodingLimits) -> Columns:
    names, rows, index = body["columns"], body["data"], body.get("index")
    if not (isinstance(names, list) and all(type(name) in (str, int) for name in names)):
        raise BadInputError("`columns` must be an array of names.")
    check_size(len(rows) if isinstance(rows, list) else 0, len(names), limits)
    if not (isinstance(rows, list) and all(isinstance(row, list) and len(row) == len(names) for row in rows)):
        raise BadInputError(f"`data` must be an array of rows with {len(names)} values each, one per column.")
    if index is not None and not (isinstance(index, list) and len(index) == len(rows) and _are_scalars(index)):
        raise BadInputError(f"`index` must be an array of {len(rows)} labels, one per row.")
    decoded = columns_of_values(distinct_names(names), _transposed(rows, len(names)), len(rows))
    return decoded._replace(labels=labels_of(index)) if index is not None else decoded


def _are_scalars(labels: Iterable[Any]) -> bool:
    return not any(isinstance(label, list | dict) for label in labels)


def _from_columns(body: dict[str, Any], limits: DecodingLimits) -> Columns:
    first = next(iter(body.values()))
    check_size(len(first) if isinstance(first, list | dict) else 0, len(body), limits)
    values: list[list[Any]] = []
    labels: list[str] | None = None
    for name, column in body.items():
        if isinstance(column, dict):
            labels = labels if labels is not None else list(column)
            if list(column) == labels:
                values.append(list(column.values()))
                continue
            if len(column) != len(labels) or any(label not in column for label in labels):
                raise BadInputError(f"The column {_column(name)} has other row labels than the first column.")
            values.append([column[label] for label in labels])
        elif isinstance(column, list):
            values.append(column)
        else:
            raise BadInputError(
                f"The column {_column(name)} is neither an array nor an object of values. "
                "A single row is sent as an array of one object: `[{…}]`."
            )
    rows = len(values[0])
    if any(len(column) != rows for column in values):
        raise BadInputError("The columns have different numbers of rows.")
    decoded = columns_of_values(tuple(body), values, rows)
    return decoded._replace(labels=labels_of(_as_pandas_reads(labels))) if labels is not None else decoded


def _column(name: str) -> str:
    """Return a name in backticks, without the quotes of JSON."""
    text = shown(name)[1:-1].strip('"')
    return f"`{text}`"


def _from_index(body: dict[str, Any], limits: DecodingLimits) -> Columns:
    return _from_records(list(body.values()), limits)._replace(labels=labels_of(_as_pandas_reads(list(body))))


def _from_table(body: dict[str, Any], limits: DecodingLimits) -> Columns:
    """Read the Table Schema that pandas writes with ``orient="table"``; its primary key holds the row labels."""
    key = body["schema"].get("primaryKey", [])
    keys = [key] if isinstance(key, str) else key
    fields = body["schema"].get("fields")
    is_listed = isinstance(fields, list) and all(
        isinstance(field, dict) and type(field.get("name")) in (str, int) for field in fields
    )
    if not is_listed or not isinstance(body["data"], list):
        raise BadInputError("`schema` must list its `fields`, and `data` must be an array of rows by column name.")
    noted = {str(field["name"]): field for field in fields}
    listed = distinct_names([str(field["name"]) for field in fields])
    if not isinstance(keys, list) or not all(isinstance(name, str) and name in noted for name in keys):
        raise BadInputError("`primaryKey` must be the name of a field that `schema` lists, or an array of such names.")
    decoded = _from_records(body["data"], limits)
    places = {name: index for index, name in enumerate(decoded.names)}
    if decoded.rows and (missing := [name for name in listed if name not in places]):
        raise BadInputError(f"`data` has no column {shown(missing[0])}, which `schema` lists.")

    def read(name: str) -> tuple[Any, Sequence[Any]]:
        return typed(noted[name], decoded.kinds[places[name]], decoded.values[places[name]])

    kept = [(name, *read(name)) for name in listed if name not in keys and name in places]
    labels = [label_values(read(name)[1]) for name in keys if name in places]
    if not all(map(_are_scalars, labels)):
        raise BadInputError("The rows are labelled by arrays or objects, which cannot be looked up.")
    return Columns(
        tuple(noted[name]["name"] for name, _, _ in kept),
        tuple(kind for _, kind, _ in kept),
        [values for _, _, values in kept],
        decoded.rows,
        labels_of(labels[0] if len(labels) == 1 else list(zip(*labels, strict=True))) if labels else None,
    )


_READERS: Mapping[Orient, Callable[[Any, DecodingLimits], Columns]] = {
    "records": _from_records,
    "values": _from_values,
    "split": _from_split,
    "columns": _from_columns,
    "index": _from_index,
    "table": _from_table,
}


def _as_pandas_reads(labels: Sequence[str]) -> Sequence[Any]:
    """Return integers where all labels are: JSON has only text for keys, and pandas reads them so."""
    if not all(map(str.isdecimal, labels)):
        return labels
    if len(longest := max(labels, key=len, default="")) > _MOST_DIGITS:
        raise BadInputError(f"The row label {shown(longest)} has too many digits for a number.")
    read = list(map(int, labels))
    return read if list(map(str, read)) == labels else labels


_MOST_DIGITS = 308
"""As many as a double has before its point; integers of more are refused wherever they stand."""
