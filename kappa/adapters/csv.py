"""CSV in and out (RFC 4180): a header line, then one line per row; an empty field is missing."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from math import inf, isinf
from typing import Any

from kappa.adapters.charsets import decode_text
from kappa.adapters.columns import (
    EMPTY_TABLE,
    EXACT_FLOAT,
    Columns,
    Kind,
    columns_of_values,
    distinct_names,
    kind_of,
    numbers,
)
from kappa.errors import BadInputError
from kappa.types import DecodingLimits, Payload

__all__ = ["columns_of_csv", "csv_lines", "csv_of_tabs"]


def columns_of_csv(
    payload: Payload, *, texts: Collection[str] = (), declared: Collection[str] | None = None, is_sample: bool = False
) -> Columns:
    """Read a table as pandas reads it, but exactly: no word means *missing*, and no integer loses a digit.

    Columns named in ``texts`` are text whatever stands in them, so that ``01`` keeps its zero. A first line of nothing
    but numbers is the header if it names the ``declared`` columns, if it only numbers them from 0 as pandas does, and
    in a sample; else it is taken for a row.
    """
    text = decode_text(payload)
    try:
        names = _header(text, payload.limits, declared, is_sample=is_sample)
        read = _short_table(text, names, texts) if len(text) <= _SHORT else None
        read = read if read is not None else _table(text, names, texts)
    except (csv.Error, ValueError) as exc:
        raise BadInputError(f"The body is not valid CSV: {exc}.") from None
    is_nameless = not is_sample and set(names).isdisjoint(declared or ()) and _are_places(names)
    return read._replace(names=numbers(len(names))) if is_nameless else read


def _table(text: str, names: tuple[str, ...], texts: Collection[str]) -> Columns:
    import pandas as pd

    options: dict[str, Any] = {"keep_default_na": False, "na_values": [""], "low_memory": False}
    data = text.encode()  # PERF: of text, pandas' parser takes five times as long, and holds the GIL meanwhile
    frame = pd.read_csv(io.BytesIO(data), dtype=dict.fromkeys(texts, str), **options)
    if len(frame.columns) != len(names) or not isinstance(frame.index, pd.RangeIndex):
        raise BadInputError(_TOO_LONG)
    if not len(frame):
        raise BadInputError(EMPTY_TABLE)
    columns = [_column(column, is_text=name in texts) for name, column in frame.items()]
    rounded = [i for i, (kind, values) in enumerate(columns) if kind == "float64" and _is_in_doubt(values)]
    if rounded:
        exact = pd.read_csv(io.BytesIO(data), usecols=rounded, dtype=str, **options)
        for i, (_, column) in zip(rounded, exact.items(), strict=True):
            values = [_number(field) for field in _values(column)]
            columns[i] = kind_of(values), values
    kinds, values = zip(*columns, strict=True)
    return Columns(names, kinds, values, len(frame))


_TOO_LONG = "Some lines of the CSV have more fields than its header line has names."


def _column(column: Any, *, is_text: bool) -> tuple[Kind, Sequence[Any]]:
    """Return the kind and the values of a column; an array where JSON would have brought the same dtype."""
    import numpy as np

    dtype = column.dtype
    if dtype.kind in "iub":
        return str(dtype), column.to_numpy()
    if dtype.kind == "f":
        values = column.to_numpy()
        return ("object", [None] * len(values)) if np.isnan(values).all() else ("float64", values)
    if str(dtype) == "str" and column.notna().any():
        return "str", column.array
    values = _values(column)
    # before 3.0, pandas takes numbers for text if one of them fits no double
    is_odd = not is_text and all(value is None or (type(value) is str and _is_number(value)) for value in values)
    for value in values:
        _check_size(_number(value) if is_odd else value)
    return kind_of(values), values


# -- short tables ------------------------------------------------------------------------------------------------------

_SHORT = 4096
_HUGE = 1e300
"""From here on, floats are not integers that were written out."""
_INTEGER = re.compile(r"-?[0-9]{1,18}", re.ASCII)
_FLOAT = re.compile(r"-?[0-9]{1,15}\.[0-9]{1,20}(?:[eE][+-]?[0-9]{1,2})?", re.ASCII)
_TEXT = re.compile(r"[^\W0-9_][^\s]*(?:[^\S\r\n]+[^\s]+)*")
_BOOLS = {"True": True, "TRUE": True, "true": True, "False": False, "FALSE": False, "false": False}
_NO_TEXT = frozenset({"inf", "infinity", "nan", "true", "false"})


def _short_table(text: str, names: tuple[str, ...], texts: Collection[str]) -> Columns | None:
    """Read a table without pandas; ``None`` for one that pandas might read otherwise.

    PERF: a row costs 20 µs here, 350 in pandas' reader alone.
    """
    try:
        lines = csv.reader(io.StringIO(text, newline=""), strict=True)
        records = [record for record in lines if record][1:]
    except csv.Error:
        return None
    if not records:
        raise BadInputError(EMPTY_TABLE)
    if any(len(record) > len(names) for record in records):
        raise BadInputError(_TOO_LONG)
    columns = []
    for name, fields in zip(names, _fields_of(records, len(names)), strict=True):
        values = [field or None for field in fields] if name in texts else _plain_values(fields)
        if values is None:
            return None
        columns.append(values)
    return columns_of_values(names, columns, len(records))


def _fields_of(records: Sequence[list[str]], count: int) -> Iterator[Sequence[str]]:
    """Yield the fields of each column; those that short lines lack are empty."""
    for index in range(count):
        yield [record[index] if index < len(record) else "" for record in records]


def _plain_values(fields: Sequence[str]) -> list[Any] | None:
    """Return the values of a column that is plainly of integers, numbers, truth values or text."""
    present = [field for field in fields if field]
    if all(map(_INTEGER.fullmatch, present)):
        return [int(field) if field else None for field in fields]
    if all(_FLOAT.fullmatch(field) or _INTEGER.fullmatch(field) for field in present):
        floats = [float(field) if field else None for field in fields]
        is_exact = not any(EXACT_FLOAT <= abs(number) < _HUGE for number in floats if number is not None)
        return floats if is_exact else [_number(field or None) for field in fields]
    if all(field in _BOOLS for field in fields):
        return [_BOOLS[field] for field in fields]
    if all(_TEXT.fullmatch(field) and field.lower() not in _NO_TEXT for field in present):
        return [field or None for field in fields]
    return None


# -- both --------------------------------------------------------------------------------------------------------------


def _header(text: str, limits: DecodingLimits, declared: Collection[str] | None, *, is_sample: bool) -> tuple[str, ...]:
    """Return the names of the header line unchanged; pandas would rename duplicates."""
    most = max(limits.max_columns, len(declared or ()))
    _limit_columns(text.split("\n", 1)[0].count(",") // _COMMAS_IN_NAMES, most)
    pieces = (match[0] for match in _LINES.finditer(text))  # PERF: a file of all the text takes up to 0.3 s of the GIL
    line = next((line for line in csv.reader(pieces) if line), [])
    if not line:
        raise BadInputError(EMPTY_TABLE)
    _limit_columns(len(line), most)
    if "\n" not in text and "\r" not in text:
        raise BadInputError(_ONE_LINE)
    lines = 1 + max(text.count("\n"), text.count("\r"))
    if lines * len(line) > limits.max_cells:
        message = f"The table has {lines} lines of {len(line)} values; {limits.max_cells} are taken here at once."
        raise BadInputError(message, http_status=413)
    if all(map(_is_number, line)) and not (is_sample or _are_places(line) or _names_all(line, declared)):
        advice = _listed(declared) if declared else "if they are numbers, the API must declare them in `columns`"
        message = "The CSV has no header line: its first line holds only numbers. Put the columns' names there"
        raise BadInputError(f"{message}: {advice}.")
    return distinct_names([name or f"Unnamed: {i}" for i, name in enumerate(line)])


_LINES = re.compile(r"[^\r\n]*(?:\r\n|\r|\n)|[^\r\n]+")
_COMMAS_IN_NAMES = 20
_ONE_LINE = (
    "The CSV is one line without rows. If it was sent with curl, use `--data-binary`, which keeps the ends of lines."
)


def _limit_columns(count: int, most: int) -> None:
    if count > most:
        raise BadInputError(f"The table has {count} columns; {most} are taken here.", http_status=413)


def _are_places(names: Sequence[str]) -> bool:
    """Return whether names only number the columns from 0, as pandas names those that have none."""
    return names[0] == "0" and all(name == str(index) for index, name in enumerate(names))


def _names_all(names: Sequence[str], declared: Collection[str] | None) -> bool:
    return declared is not None and set(declared).issubset(names)


def _listed(names: Collection[str]) -> str:
    quoted = [f"`{name}`" for name in names]
    return ", ".join(quoted if len(quoted) <= _MOST_NAMES else [*quoted[:_MOST_NAMES], "…"])


_MOST_NAMES = 5


def _values(column: Any) -> list[Any]:
    values: list[Any] = column.astype(object).where(column.notna(), None).tolist()
    return values


def _is_in_doubt(column: Any) -> bool:
    """Return whether pandas may have made floats of integers too large for them, those beside an empty field, or
    infinities of numbers."""
    sizes = abs(column)
    return bool(((sizes >= EXACT_FLOAT) & ((sizes < _HUGE) | (sizes == inf))).any())


def _number(field: str | None) -> int | float | None:
    """Return the number that a field is; raises `ValueError` for one that fits no double."""
    if field is None:
        return None
    try:
        integer = int(field)
    except ValueError:
        number = float(field)
    else:
        _check_size(integer)
        return integer
    if isinf(number) and "inf" not in field.lower():
        raise ValueError(_TOO_LARGE.format(field[:_MOST_DIGITS]))
    return number


def _check_size(value: Any) -> None:
    if type(value) is int and value.bit_length() > _BITS_OF_DOUBLE:
        raise ValueError(_TOO_LARGE.format(str(value)[:_MOST_DIGITS]))


_BITS_OF_DOUBLE = 1024
_MOST_DIGITS = 40
_TOO_LARGE = "the number `{}…` does not fit a double"


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def csv_of_tabs(payload: Payload) -> Payload:
    """Return a table whose fields are separated by tabs as one in CSV."""
    text = decode_text(payload)
    buffer = io.StringIO()
    try:
        csv.writer(buffer, lineterminator="\n").writerows(csv.reader(io.StringIO(text, newline=""), delimiter="\t"))
    except csv.Error as exc:
        raise BadInputError(f"The body is not a table with tabs: {exc}.") from None
    return payload._replace(data=buffer.getvalue().encode(), media_type="text/csv", charset="utf-8")


def csv_lines(rows: Iterable[Iterable[Any]]) -> str:
    """Write rows as lines of CSV; ``None`` and NaN become empty fields, booleans ``true`` and ``false``."""
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\n").writerows([_field(value) for value in row] for row in rows)
    return buffer.getvalue()


def _field(value: Any) -> Any:
    kind = type(value)
    if kind is str:
        return value
    if value is None or kind.__name__ in _MISSING:
        return ""
    if kind.__name__.startswith("bool"):  # Python's, and NumPy's
        return "true" if value else "false"
    if kind.__name__.startswith("float"):
        return "" if value != value else value
    return value


_MISSING = frozenset({"NAType", "NaTType"})  # pandas' own
