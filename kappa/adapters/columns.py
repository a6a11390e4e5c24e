"""Tables as columns: what a request of rows is decoded to, and how the columns of a batch become one frame.

A *kind* is what decides how a column is built: a dtype of NumPy's (`int64`, `float64`, `bool`, …), one of pandas' own
(`Int64`, a category), `str`, or `object`. It is the dtype that pandas would give the column of its request alone, and
requests of equal names and kinds form one group. So no request's types, column order, missing values or row labels
depend on its neighbours, and the frame is built once per batch instead of once per request (PERF: 47 to 109 µs against
about 1).
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from functools import cache
from itertools import chain
from typing import Any, Literal, NamedTuple, TypeGuard, cast

from kappa.adapters.json import encode_json
from kappa.errors import BadInputError, InferenceFailedError, MissingDependencyError

__all__ = [
    "EMPTY_TABLE",
    "EXACT_FLOAT",
    "Columns",
    "Kind",
    "Orient",
    "RowLabels",
    "columns_of_json",
    "columns_of_values",
    "distinct_names",
    "frame_of",
    "import_pandas",
    "is_array",
    "kind_of",
    "labels_of",
    "numbers",
    "shown",
    "text_dtype",
]

Orient = Literal["records", "values", "split", "columns", "index", "table"]
Kind = Hashable
"""A dtype's name, or a dtype of pandas' that no name tells whole, like a category."""

EXACT_FLOAT = 1 << 53
"""Integers up to this size survive as `float64`."""

_KINDS_OF_TYPES: dict[type, Kind] = {float: "float64", bool: "bool", str: "str", int: "int64"}
_FLOAT64 = "float64"
_INT64 = range(-(1 << 63), 1 << 63)
_UINT64 = range(1 << 64)
_FEW_COLUMNS = 50
_LISTS = frozenset({list, tuple})
_UNCHANGEABLE = frozenset({str, int, float, bool, type(None), bytes, date, datetime, time, timedelta, Decimal})
_SPARSE_CELLS = 10_000_000  # rows that share few names must not fill the memory with missing values
EMPTY_TABLE = "The table is empty; at least one row and one column are needed."


@dataclass(frozen=True, slots=True, eq=False)
class RowLabels:
    """What a client calls its rows; equal to nothing but itself, so that rows with labels share no batch.

    Two requests may use the same labels, and a function that looks rows up by them would find its neighbour's.
    """

    values: Sequence[Hashable]


class Columns(NamedTuple):
    """One decoded request: ``values[i]`` are the ``rows`` values of column ``names[i]``, of kind ``kinds[i]``.

    Values are a list or tuple of Python's values, ``None`` where one is missing, or an array.
    """

    names: tuple[Hashable, ...]
    kinds: tuple[Kind, ...]
    values: Sequence[Sequence[Any]]
    rows: int
    labels: RowLabels | None = None
    """``None`` for rows that are numbered from 0."""


def import_pandas() -> Any:
    """Import pandas; raises `MissingDependencyError`."""
    try:
        import pandas as pd
    except ImportError:
        raise MissingDependencyError("pandas", needed_for="the input adapter `dataframe`") from None
    return pd


def frame_of(forms: Sequence[Columns]) -> Any:
    """Build one frame from the columns of several requests of one group, in request order.

    Request ``i`` holds ``n_i`` rows of ``k`` columns; the result is ``(sum(n_i), k)``, numbered from 0 unless the
    request, which is then alone, has labels.
    """
    import numpy as np
    import pandas as pd

    first = forms[0]
    parts = [form.values for form in forms]
    if len(forms) == 1:
        values = list(first.values)
    else:
        values = [_joined(column, kind) for column, kind in zip(zip(*parts, strict=True), first.kinds, strict=True)]
    is_numbered = first.names == numbers(len(first.names))
    if set(first.kinds) == {_FLOAT64}:  # PERF: one block; the common case of numeric models
        block = np.array(values, dtype=_FLOAT64).T
        frame = pd.DataFrame(block, columns=None if is_numbered else pd.Index(first.names))
    else:
        arrays = dict(zip(first.names, map(_array, values, first.kinds), strict=True))
        # PERF: 20 µs less; the arrays are nobody else's, but many columns apart make pandas warn of fragments later
        frame = pd.DataFrame(arrays, copy=len(arrays) > _FEW_COLUMNS)
    if first.labels is not None:
        frame.index = pd.Index(first.labels.values)
    return frame


def _joined(parts: Sequence[Sequence[Any]], kind: Kind) -> Sequence[Any]:
    """Put the values of a column below each other: lists to a list, and else each as it would be alone, to an array."""
    if set(map(type, parts)) <= _LISTS:
        return list(chain.from_iterable(parts))
    import numpy as np
    import pandas as pd

    arrays = [_array(part, kind) for part in parts]
    if all(isinstance(array, np.ndarray) for array in arrays):
        return cast("Sequence[Any]", np.concatenate(arrays))
    return cast("Sequence[Any]", pd.concat([pd.Series(array) for array in arrays], ignore_index=True).array)


def _array(column: Sequence[Any], kind: Kind) -> Any:
    import numpy as np
    import pandas as pd

    if kind == "str":
        return _text_array(column)
    if kind == "object":
        array = np.empty(len(column), dtype=object)
        array[:] = _own(column)
        # a series, since pandas makes an array of nothing but text one of ``str``, which depends on the neighbours
        return pd.Series(array, dtype=object)
    if is_array(column) and not isinstance(column, np.ndarray):
        return column.copy()
    return pd.array(column, dtype=kind) if _is_nullable(kind) else np.array(column, dtype=kind)  # type: ignore[call-overload]


def _own(column: Sequence[Any]) -> Sequence[Any]:
    """Return values that no other frame shares: a function may change a list or an object that is one."""
    return column if _UNCHANGEABLE.issuperset(map(type, column)) else deepcopy(list(column))


def _is_nullable(kind: Kind) -> bool:
    """Return whether a kind is one of pandas' dtypes with a word for what is missing: `Int64`, `boolean`."""
    return isinstance(kind, str) and (kind[:1].isupper() or kind == "boolean")


def _text_array(column: Sequence[Any]) -> Any:
    """Return what this pandas makes of text: an array of ``str`` since 3.0, of objects before."""
    import numpy as np
    import pandas as pd

    if (dtype := text_dtype()) is not None:
        return pd.array(column, dtype=dtype)
    array = np.empty(len(column), dtype=object)
    array[:] = column
    return array


@cache
def text_dtype() -> Any:
    import pandas as pd

    dtype = pd.Series(["text"]).dtype
    return None if dtype.kind == "O" and dtype.name == "object" else dtype


def is_array(column: Sequence[Any]) -> TypeGuard[Any]:
    """Return whether the values of a column are an array, of NumPy's or of pandas' own."""
    return not isinstance(column, list | tuple)


# -- from JSON ---------------------------------------------------------------------------------------------------------


def columns_of_json(body: Any, orient: Orient | None) -> Columns:
    """Read a parsed JSON body in one of pandas' layouts; raises `BadInputError`."""
    found = _orient_of(body)
    if orient is not None and found != orient and not (isinstance(body, dict) and orient in ("columns", "index")):
        raise BadInputError(f"The body is laid out as `{found}`; this API takes `{orient}`.")
    decoded = _READERS[orient or found](body)
    if not decoded.rows or not decoded.names:
        raise BadInputError(EMPTY_TABLE)
    return decoded


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


def _from_values(rows: list[Any]) -> Columns:
    width = len(rows[0]) if isinstance(rows[0], list) else -1
    for number, row in enumerate(rows):
        if not isinstance(row, list):
            raise BadInputError(f"Row {number} is not an array of values.")
        if len(row) != width:
            raise BadInputError(f"Row {number} has {len(row)} values and row 0 has {width}.")
    return columns_of_values(numbers(width), list(zip(*rows, strict=True)), len(rows))


def _from_records(records: list[Any]) -> Columns:
    names: dict[str, None] = {}
    given = 0
    for number, record in enumerate(records):
        if not isinstance(record, dict):
            raise BadInputError(f"Row {number} is not an object of values by column name.")
        names.update(dict.fromkeys(record))
        given += len(record)
    if len(names) * len(records) > max(given, _SPARSE_CELLS):
        message = f"{len(records)} rows have {len(names)} different names and share too few of them to make a table."
        raise BadInputError(message, http_status=413)
    values = [[record.get(name) for record in records] for name in names]
    return columns_of_values(tuple(names), values, len(records))


def _from_split(body: dict[str, Any]) -> Columns:
    names, rows, index = body["columns"], body["data"], body.get("index")
    if not (isinstance(names, list) and all(type(name) in (str, int) for name in names)):
        raise BadInputError("`columns` must be an array of names.")
    if not (isinstance(rows, list) and all(isinstance(row, list) and len(row) == len(names) for row in rows)):
        raise BadInputError(f"`data` must be an array of rows with {len(names)} values each, one per column.")
    if index is not None and not (isinstance(index, list) and len(index) == len(rows) and _are_scalars(index)):
        raise BadInputError(f"`index` must be an array of {len(rows)} labels, one per row.")
    decoded = columns_of_values(distinct_names(names), list(zip(*rows, strict=True)), len(rows))
    return decoded._replace(labels=labels_of(index)) if index is not None else decoded


def _are_scalars(labels: Iterable[Any]) -> bool:
    return not any(isinstance(label, list | dict) for label in labels)


def _from_columns(body: dict[str, Any]) -> Columns:
    values = []
    labels: list[str] | None = None
    for name, column in body.items():
        if isinstance(column, dict):
            labels = labels if labels is not None else list(column)
            if len(column) != len(labels) or any(label not in column for label in labels):
                raise BadInputError(f"The column {shown(name)} has other row labels than the first column.")
            values.append([column[label] for label in labels])
        elif isinstance(column, list):
            values.append(column)
        else:
            raise BadInputError(
                f"The column {shown(name)} is neither an array nor an object of values. "
                "A single row is sent as an array of one object: `[{…}]`."
            )
    rows = len(values[0])
    if any(len(column) != rows for column in values):
        raise BadInputError("The columns have different numbers of rows.")
    decoded = columns_of_values(tuple(body), values, rows)
    return decoded._replace(labels=labels_of(_as_pandas_reads(labels))) if labels is not None else decoded


def _from_index(body: dict[str, Any]) -> Columns:
    return _from_records(list(body.values()))._replace(labels=labels_of(_as_pandas_reads(list(body))))


def _from_table(body: dict[str, Any]) -> Columns:
    """Read the Table Schema that pandas writes with ``orient="table"``; its primary key holds the row labels."""
    key = body["schema"].get("primaryKey", [])
    keys = [key] if isinstance(key, str) else key
    fields = body["schema"].get("fields")
    is_listed = isinstance(fields, list) and all(isinstance(field, dict) and "name" in field for field in fields)
    if not is_listed or not isinstance(body["data"], list) or not isinstance(keys, list):
        raise BadInputError("`schema` must list its `fields`, and `data` must be an array of rows by column name.")
    decoded = _from_records(body["data"])
    places = {name: place for place, name in enumerate(decoded.names)}
    listed = distinct_names([str(field["name"]) for field in fields])
    if decoded.rows and (missing := [name for name in listed if name not in places]):
        raise BadInputError(f"`data` has no column {shown(missing[0])}, which `schema` lists.")
    kept = [places[name] for name in listed if name not in keys and name in places]
    labels = [decoded.values[places[name]] for name in keys if name in places]
    return Columns(
        tuple(decoded.names[i] for i in kept),
        tuple(decoded.kinds[i] for i in kept),
        [decoded.values[i] for i in kept],
        decoded.rows,
        labels_of(labels[0] if len(labels) == 1 else list(zip(*labels, strict=True))) if labels else None,
    )


_READERS: dict[Orient, Callable[[Any], Columns]] = {
    "records": _from_records,
    "values": _from_values,
    "split": _from_split,
    "columns": _from_columns,
    "index": _from_index,
    "table": _from_table,
}


def labels_of(labels: Sequence[Any]) -> RowLabels | None:
    """Return the labels of rows, or ``None`` for those that only number them from 0."""
    if isinstance(labels, range):
        return None if labels == range(len(labels)) else RowLabels(labels)
    return None if list(labels) == list(range(len(labels))) else RowLabels(list(labels))


def _as_pandas_reads(labels: Sequence[str]) -> Sequence[Any]:
    """Return integers where all labels are: JSON has only text for keys, and pandas reads them so."""
    if all(label.isdecimal() and (label == "0" or label[0] != "0") and label.isascii() for label in labels):
        if longest := next((label for label in labels if len(label) > _MOST_DIGITS), None):
            raise BadInputError(f"The row label {shown(longest)} has too many digits for a number.")
        return [int(label) for label in labels]
    return labels


_MOST_DIGITS = 308
"""As many as a double has before its point; integers of more are refused wherever they stand."""


# -- columns of any origin ---------------------------------------------------------------------------------------------


def columns_of_values(names: tuple[Hashable, ...], values: Sequence[Sequence[Any]], rows: int) -> Columns:
    """Return columns of Python's values, each with its kind."""
    if set(map(type, chain.from_iterable(values))) == {float}:  # PERF: one look at the common case of numeric models
        return Columns(names, (_FLOAT64,) * len(names), values, rows)
    return Columns(names, tuple([kind_of(column) for column in values]), values, rows)


def kind_of(column: Sequence[Any]) -> Kind:
    """Return the dtype that pandas gives a column by itself; text is ``str`` whether or not values are missing."""
    types = set(map(type, column))
    if len(types) == 1:
        kind = _KINDS_OF_TYPES.get(next(iter(types)), "object")
        return _integer_kind(column) if kind == "int64" else kind
    present = types - {type(None)}
    if present == {str}:
        return "str"
    if present == {float} or (present <= {int, float} and _fits_float(column)):
        return _FLOAT64
    return "object"


def _integer_kind(column: Sequence[int]) -> Kind:
    low, high = min(column), max(column)
    if low in _INT64 and high in _INT64:
        return "int64"
    return "uint64" if low in _UINT64 and high in _UINT64 else "object"


def _fits_float(column: Sequence[Any]) -> bool:
    return all(value is None or isinstance(value, float) or abs(value) <= EXACT_FLOAT for value in column)


def distinct_names(names: Sequence[Any]) -> tuple[Any, ...]:
    """Return names as they are; raises `BadInputError` if one stands there twice."""
    if len(set(names)) < len(names):
        raise BadInputError(f"Two columns are called {shown(max(names, key=names.count))}.")
    return tuple(names)


def numbers(count: int) -> tuple[int, ...]:
    """Return the names of columns that have none: their places."""
    return _SHORT_NUMBERS[count] if count < len(_SHORT_NUMBERS) else tuple(range(count))


_SHORT_NUMBERS = [tuple(range(count)) for count in range(64)]


def shown(value: Any) -> str:
    """Return a value of a request as messages show it: short, and in JSON's words where it has any.

    No more of it is looked at than is shown, however long or deep it is.
    """
    text = ""
    for piece in _pieces(value):
        text += piece
        if len(text) > _SHOWN:
            return f"`{text[: _SHOWN - 3]}…`"
    return f"`{text}`"


_SHOWN = 60


def _pieces(value: Any) -> Iterator[str]:
    """Yield a value as JSON, piece by piece; each has a character at least, so that depth is bounded by length."""
    if isinstance(value, list | tuple):
        yield "["
        for number, item in enumerate(value):
            yield from ([","] if number else [])
            yield from _pieces(item)
        yield "]"
    elif isinstance(value, dict):
        yield "{"
        for number, (key, item) in enumerate(value.items()):
            yield from ([","] if number else [])
            yield encode_json(str(key)[: _SHOWN + 1]).decode() + ":"
            yield from _pieces(item)
        yield "}"
    else:
        try:
            yield encode_json(value[: _SHOWN + 1] if isinstance(value, str | bytes) else value).decode()
        except InferenceFailedError:  # what JSON has no words for, as an array of complex numbers holds
            yield str(value)[: _SHOWN + 1]
