"""CSV in and out (RFC 4180): a header line, then one line per row; an empty field is missing."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from typing import Any

from kappa.adapters.columns import EMPTY_TABLE, EXACT_FLOAT, Columns, columns_of_values, distinct_names
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
        values = [_column(frame.iloc[:, i]) for i in range(len(names))]
        for i in [i for i, column in enumerate(values) if _may_be_rounded(column)]:
            exact = pd.read_csv(io.StringIO(text), usecols=[i], dtype=str, **options).iloc[:, 0]
            values[i] = [_number(field) for field in _column(exact)]
    except (csv.Error, ValueError) as exc:
        raise BadInputError(f"The body is not valid CSV: {exc}.") from None
    if not len(frame):
        raise BadInputError(EMPTY_TABLE)
    return columns_of_values(names, values, len(frame))


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


def _column(column: Any) -> list[Any]:
    values: list[Any] = column.astype(object).where(column.notna(), None).tolist()
    return values


def _may_be_rounded(column: Sequence[Any]) -> bool:
    """Return whether pandas may have made floats of integers too large for them: those beside an empty field."""
    return any(type(value) is float and EXACT_FLOAT <= abs(value) < 1e300 for value in column)


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
