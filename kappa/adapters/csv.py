"""CSV in and out (RFC 4180): a header line, then one line per row; an empty field is missing."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any

from kappa.adapters.charsets import decode_text
from kappa.adapters.columns import EMPTY_TABLE, EXACT_FLOAT, Columns, Kind, columns_of_values, distinct_names, kind_of
from kappa.errors import BadInputError
from kappa.types import Payload

__all__ = ["columns_of_csv", "csv_lines", "csv_of_tabs"]


def columns_of_csv(payload: Payload, *, texts: Collection[str] = ()) -> Columns:
    """Read a table as pandas reads it, but exactly: no word means *missing*, and no integer loses a digit.

    Columns named in ``texts`` are text whatever stands in them, so that ``01`` keeps its zero.
    """
    text = decode_text(payload)
    try:
        names = _header(text)
        read = _short_table(text, names, texts) if len(text) <= _SHORT else None
        return read if read is not None else _table(text, names, texts)
    except (csv.Error, ValueError) as exc:
        raise BadInputError(f"The body is not valid CSV: {exc}.") from None


def _table(text: str, names: tuple[str, ...], texts: Collection[str]) -> Columns:
    import pandas as pd

    options: dict[str, Any] = {"keep_default_na": False, "na_values": [""], "low_memory": False}
    frame = pd.read_csv(io.StringIO(text), dtype=dict.fromkeys(texts, str), **options)
    if len(frame.columns) != len(names) or not isinstance(frame.index, pd.RangeIndex):
        raise BadInputError(_TOO_LONG)
    if not len(frame):
        raise BadInputError(EMPTY_TABLE)
    columns = [_column(column) for _, column in frame.items()]
    for i in [i for i, (kind, values) in enumerate(columns) if kind == "float64" and _may_be_rounded(values)]:
        exact = pd.read_csv(io.StringIO(text), usecols=[i], dtype=str, **options).iloc[:, 0]
        numbers = [_number(field) for field in _values(exact)]
        columns[i] = kind_of(numbers), numbers
    kinds, values = zip(*columns, strict=True)
    return Columns(names, kinds, values, len(frame))


_TOO_LONG = "Some lines of the CSV have more fields than its header line has names."


def _column(column: Any) -> tuple[Kind, Sequence[Any]]:
    """Return the kind and the values of a column; an array where JSON would have brought the same dtype."""
    dtype = column.dtype
    if dtype.kind in "iub":
        return str(dtype), column.to_numpy()
    if dtype.kind == "f" and column.notna().any():
        return "float64", column.to_numpy()
    if str(dtype) == "str" and column.notna().any():
        return "str", column.array
    values = _values(column)
    return kind_of(values), values


# -- short tables ------------------------------------------------------------------------------------------------------

_SHORT = 4096
_HUGE = 1e300
"""From here on, numbers are never integers that somebody wrote out."""
_INTEGER = re.compile(r"-?[0-9]{1,18}", re.ASCII)
_FLOAT = re.compile(r"-?[0-9]{1,15}\.[0-9]{1,20}(?:[eE][+-]?[0-9]{1,2})?", re.ASCII)
_TEXT = re.compile(r"[^\W0-9_][^\s]*(?:[^\S\r\n]+[^\s]+)*")
_BOOLS = {"True": True, "TRUE": True, "true": True, "False": False, "FALSE": False, "false": False}
_NO_TEXT = frozenset({"inf", "infinity", "nan", "true", "false"})


def _short_table(text: str, names: tuple[str, ...], texts: Collection[str]) -> Columns | None:
    """Read a table without pandas; ``None`` for one with anything in it that pandas might see otherwise.

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
    for place in range(count):
        yield [record[place] if place < len(record) else "" for record in records]


def _plain_values(fields: Sequence[str]) -> list[Any] | None:
    """Return the values of a column that is plainly of integers, numbers, truth values or text."""
    present = [field for field in fields if field]
    if all(map(_INTEGER.fullmatch, present)):
        return [int(field) if field else None for field in fields]
    if all(_FLOAT.fullmatch(field) or _INTEGER.fullmatch(field) for field in present):
        numbers = [float(field) if field else None for field in fields]
        is_exact = not any(EXACT_FLOAT <= abs(number) < _HUGE for number in numbers if number is not None)
        return numbers if is_exact else [_number(field or None) for field in fields]
    if all(field in _BOOLS for field in fields):
        return [_BOOLS[field] for field in fields]
    if all(_TEXT.fullmatch(field) and field.lower() not in _NO_TEXT for field in present):
        return [field or None for field in fields]
    return None


# -- both --------------------------------------------------------------------------------------------------------------


def _header(text: str) -> tuple[str, ...]:
    """Return the names of the header line as they stand there; pandas would rename those that are there twice."""
    line = next((line for line in csv.reader(io.StringIO(text, newline="")) if line), [])
    if not line:
        raise BadInputError(EMPTY_TABLE)
    if all(_is_number(name) for name in line):
        raise BadInputError(
            "The CSV has no header line: its first line holds only numbers. Put the columns' names there."
        )
    return distinct_names([name or f"Unnamed: {i}" for i, name in enumerate(line)])


def _values(column: Any) -> list[Any]:
    values: list[Any] = column.astype(object).where(column.notna(), None).tolist()
    return values


def _may_be_rounded(column: Any) -> bool:
    """Return whether pandas may have made floats of integers too large for them: those beside an empty field."""
    sizes = abs(column)
    return bool(((sizes >= EXACT_FLOAT) & (sizes < _HUGE)).any())


def _number(field: str | None) -> int | float | None:
    if field is None:
        return None
    try:
        return int(field)
    except ValueError:
        return float(field)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def csv_of_tabs(payload: Payload) -> Payload:
    """Return a table whose fields are separated by tabs as one in CSV."""
    text = decode_text(payload).removeprefix("\ufeff")
    buffer = io.StringIO()
    try:
        csv.writer(buffer, lineterminator="\n").writerows(csv.reader(io.StringIO(text, newline=""), delimiter="\t"))
    except csv.Error as exc:
        raise BadInputError(f"The body is not a table with tabs: {exc}.") from None
    return replace(payload, data=buffer.getvalue().encode(), media_type="text/csv", charset="utf-8")


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
