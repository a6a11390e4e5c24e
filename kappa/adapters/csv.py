"""CSV in and out (RFC 4180): a header line, then one line per row; an empty field is missing."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from typing import Any

from kappa.adapters.columns import EMPTY_TABLE, EXACT_FLOAT, Columns, Kind, distinct_names, kind_of
from kappa.adapters.json import decode_text
from kappa.errors import BadInputError
from kappa.types import Payload

__all__ = ["columns_of_csv", "csv_lines"]


def columns_of_csv(payload: Payload, *, texts: Iterable[str] = ()) -> Columns:
    """Read a table as pandas reads it, but exactly: no word means *missing*, and no integer loses a digit.

    Columns named in ``texts`` are text whatever stands in them, so that ``01`` keeps its zero.
    """
    import pandas as pd

    text = decode_text(payload).removeprefix("\ufeff")
    options: dict[str, Any] = {"keep_default_na": False, "na_values": [""], "low_memory": False}
    try:
        names = _header(text)
        frame = pd.read_csv(io.StringIO(text), dtype=dict.fromkeys(texts, str), **options)
        if len(frame.columns) != len(names) or not isinstance(frame.index, pd.RangeIndex):
            raise BadInputError("Some lines of the CSV have more fields than its header line has names.")
        if not len(frame):
            raise BadInputError(EMPTY_TABLE)
        columns = [_column(frame.iloc[:, i]) for i in range(len(names))]
        for i in [i for i, (kind, values) in enumerate(columns) if kind == "float64" and _may_be_rounded(values)]:
            exact = pd.read_csv(io.StringIO(text), usecols=[i], dtype=str, **options).iloc[:, 0]
            numbers = [_number(field) for field in _values(exact)]
            columns[i] = kind_of(numbers), numbers
    except (csv.Error, ValueError) as exc:
        raise BadInputError(f"The body is not valid CSV: {exc}.") from None
    kinds, values = zip(*columns, strict=True)
    return Columns(names, kinds, values, len(frame))


def _column(column: Any) -> tuple[Kind, Sequence[Any]]:
    """Return the kind and the values of a column; an array where JSON would have brought the same dtype."""
    if column.dtype.kind in "iub":
        return str(column.dtype), column.to_numpy()
    if column.dtype.kind == "f" and column.notna().any():
        return "float64", column.to_numpy()
    if str(column.dtype) == "str" and column.notna().any():
        return "str", column.array
    values = _values(column)
    return kind_of(values), values


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
    return bool(((sizes >= EXACT_FLOAT) & (sizes < 1e300)).any())


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


def csv_lines(rows: Iterable[Iterable[Any]]) -> str:
    """Write rows as lines of CSV; ``None`` and NaN become empty fields, booleans ``true`` and ``false``."""
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\n").writerows([_field(value) for value in row] for row in rows)
    return buffer.getvalue()


def _field(value: Any) -> Any:
    if value is None or value != value:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    return value
