"""The dtypes that a column may be declared with, and conversion to them: without loss, or not at all."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from functools import cached_property
from math import inf
from typing import Any, cast

from kappa.adapters.columns import EXACT_FLOAT, Kind, is_array, shown
from kappa.adapters.times import point_in_time, points_in_time, utc_of
from kappa.errors import BadInputError

__all__ = ["DTYPES", "MISSING_BY_DEFAULT", "NEVER_MISSING", "Column", "MisfitError", "converted", "missing_places"]

_INTEGERS = {f"{sign}int{bits}": bits for sign in ("", "u") for bits in (8, 16, 32, 64)}
_RANGES = {
    name: range(1 << bits) if name.startswith("u") else range(-(1 << bits - 1), 1 << bits - 1)
    for name, bits in _INTEGERS.items()
}
DTYPES = (
    "int64",
    "float64",
    "bool",
    "str",
    "datetime",
    *(name for name in _INTEGERS if name != "int64"),
    "float32",
    "object",
)
"""The dtypes that a column may be declared with, the usual ones first."""

MISSING_BY_DEFAULT = frozenset({"float32", "float64", "str", "datetime", "object"})
"""Dtypes with a word for a missing value: their columns take one unless it is said that they do not."""

_KINDS = {
    **{(name, True): name.replace("i", "I", 1).replace("u", "U", 1) for name in _INTEGERS},
    ("bool", True): "boolean",
    ("datetime", True): "datetime64[us]",
    ("datetime", False): "datetime64[us]",
}
"""How a column of a dtype is built, where it is not by the dtype's own name; by whether values may be missing."""

_SCHEMAS: Mapping[str, dict[str, Any]] = {
    **{name: {"type": "integer", "minimum": bounds[0], "maximum": bounds[-1]} for name, bounds in _RANGES.items()},
    "int64": {"type": "integer"},
    "float32": {"type": "number", "format": "float"},
    "float64": {"type": "number", "format": "double"},
    "bool": {"type": "boolean"},
    "str": {"type": "string"},
    "datetime": {"type": "string", "format": "date-time"},
    "object": {},
}


@dataclass(frozen=True)
class Column:
    """One column: ``dtype`` is ``None`` where only its name is declared."""

    name: str
    dtype: str | None = None
    nullable: bool = True
    """Whether its values may be missing."""

    @cached_property
    def kind(self) -> Kind:
        """How the column is built."""
        return _KINDS.get((self.dtype or "", self.nullable), self.dtype)

    def schema(self) -> dict[str, Any]:
        """Return the JSON Schema of its values."""
        if self.dtype is None or self.dtype == "object":
            return {}
        schema = dict(_SCHEMAS[self.dtype])
        return {**schema, "type": [schema["type"], "null"]} if self.nullable else schema

    def option(self) -> Any:
        """Return how a manifest says its dtype: a word, or a table where missing values are not as usual for it."""
        if self.dtype is None or self.nullable == (self.dtype in MISSING_BY_DEFAULT):
            return self.dtype
        return {"dtype": self.dtype, "nullable": self.nullable}


def missing_places(values: Sequence[Any]) -> Iterator[int]:
    """Yield the places of missing values."""
    if is_array(values):
        import pandas as pd

        yield from pd.isna(values).nonzero()[0].tolist()
    else:
        yield from (index for index, value in enumerate(values) if value is None or value != value)


class MisfitError(ValueError):
    def __init__(self, message: str, row: int) -> None:
        super().__init__(message)
        self.row = row


def converted(values: Sequence[Any], kind: Kind, column: Column) -> tuple[Kind, Sequence[Any]]:
    """Return the kind that builds a column, and its values for that; raises `MisfitError` at the first that is none.

    PERF: values are looked at one by one only where they have to be: not those of the right dtype already, and not
    integers that all fit.
    """
    if column.dtype is None:
        return kind, values
    if kind in (column.dtype, column.kind):
        may_miss = column.nullable or kind in NEVER_MISSING
        if may_miss or (row := next(missing_places(values), None)) is None:
            return column.kind, values
        raise MisfitError(f"`null` is not {_WORDS[column.dtype]}", row)
    if kind in _RANGES and (range_ := _INTEGERS_OF.get(column.dtype)) is not None:
        low, high = _extremes(values)
        if low in range_ and high in range_:
            return column.kind, values
    if is_array(values) and (array := _array_converted(values, column)) is not None:
        return column.kind, array
    if column.dtype == "datetime" and kind == "str" and len(values) > _MANY_TIMES:
        times = points_in_time(_plain(values))
        if times is not None and (column.nullable or next(missing_places(values), None) is None):
            return column.kind, times
        if len(values) > _MOST_TIMES:
            raise BadInputError(
                f"The column `{column.name}` has {len(values)} times that have to be read one by one, and "
                f"{_MOST_TIMES} are taken so at once. Write all in one form, like `2026-01-31T12:00:00Z`, or send "
                "fewer rows at a time.",
                http_status=413,
            )
    convert = _CONVERSIONS[column.dtype]
    items: list[Any] = []
    for row, value in enumerate(_plain(values)):
        is_missing = value is None or value != value
        if is_missing and column.nullable:
            items.append(None)
            continue
        try:
            items.append(convert(None if is_missing else value, column.dtype))
        except (TypeError, ValueError, OverflowError) as exc:
            raise MisfitError(str(exc), row) from None
    return column.kind, items


_MANY_TIMES = 200
_MOST_TIMES = 200_000


def _extremes(values: Any) -> tuple[int, int]:
    """Return the least and the greatest value, as Python's: `in` on a range is slow for NumPy's integers."""
    return (int(values.min()), int(values.max())) if is_array(values) else (min(values), max(values))


def _plain(values: Sequence[Any]) -> Sequence[Any]:
    """Return the values of a column as Python's own, ``None`` where one is missing."""
    if not is_array(values):
        return values
    import pandas as pd

    column = pd.Series(values)
    plain: list[Any] = column.astype(object).where(column.notna(), None).tolist()
    return plain


# -- arrays ------------------------------------------------------------------------------------------------------------


def _array_converted(values: Any, column: Column) -> Sequence[Any] | None:
    """Convert the values of an array all at once, as they would be one by one; ``None`` if that is the only way."""
    import numpy as np
    import pandas as pd

    if isinstance(values, pd.Categorical):
        return _categories_converted(values, column)
    if (parts := _data_and_missing(values)) is None or column.dtype == "object":
        return None
    data, missing = parts
    fits = _fitting(data, column.dtype or "")
    bad = ~(fits | missing) if column.nullable else ~fits | missing
    if bad.any():
        _refuse(data, missing, int(bad.argmax()), column)
    if column.dtype == "datetime":
        return cast("Sequence[Any]", data.astype("datetime64[us]"))
    if column.dtype == "str":  # nothing but missing values
        return [None] * len(data)
    if column.nullable and column.kind != column.dtype:
        make = pd.arrays.BooleanArray if column.dtype == "bool" else pd.arrays.IntegerArray
        return cast("Sequence[Any]", make(np.where(missing, 0, data).astype(column.dtype), missing.copy()))
    with np.errstate(over="ignore"):
        converted = data.astype(column.dtype)
    if missing.any():
        converted[missing] = np.nan
    return cast("Sequence[Any]", converted)


def _data_and_missing(values: Any) -> tuple[Any, Any] | None:
    """Return the values of an array as NumPy has them, and where they are missing."""
    import numpy as np
    import pandas as pd

    missing = np.asarray(pd.isna(values))
    if isinstance(values, np.ndarray):
        return (values, missing) if values.dtype.kind in "biufmM" else None
    if isinstance(values.dtype, pd.DatetimeTZDtype):
        return pd.Series(values).dt.tz_convert("UTC").dt.tz_localize(None).to_numpy(), missing
    if isinstance(values, pd.arrays.IntegerArray | pd.arrays.FloatingArray | pd.arrays.BooleanArray):
        return values.to_numpy(dtype=values.dtype.numpy_dtype, na_value=0), missing
    return None


def _fitting(data: Any, dtype: str) -> Any:
    """Return which values of an array a dtype has; of those that are missing, anything."""
    import numpy as np

    kind = data.dtype.kind
    every, none = np.full(len(data), fill_value=True), np.full(len(data), fill_value=False)
    if dtype in _RANGES or dtype == "float64":
        range_ = _INTEGERS_OF[dtype]
        if kind in "iu":
            limits = np.iinfo(data.dtype)
            return (data >= max(range_[0], limits.min)) & (data <= min(range_[-1], limits.max))
        if kind != "f" or dtype == "float64":
            return every if kind == "f" else none
        floats = data.astype("float64")
        return (floats == np.floor(floats)) & (floats >= float(range_[0])) & (floats < float(range_[-1] + 1))
    if dtype == "float32" and kind == "f":
        return ~((abs(data) > _LARGEST_FLOAT32) & np.isfinite(data)) if data.dtype.itemsize > 4 else every
    if dtype == "datetime" and kind == "M":
        return data.view("int64") % 1000 == 0 if data.dtype.str.endswith("[ns]") else every
    return every if (dtype == "float32" and kind in "iu") or (dtype == "bool" and kind == "b") else none


def _refuse(data: Any, missing: Any, row: int, column: Column) -> None:
    import pandas as pd

    value: Any = None
    if not missing[row]:
        wrapped = {"M": pd.Timestamp, "m": pd.Timedelta}.get(data.dtype.kind)
        value = wrapped(data[row]) if wrapped is not None else data[row].item()
    try:
        _CONVERSIONS[column.dtype or ""](value, column.dtype or "")
    except (TypeError, ValueError, OverflowError) as exc:
        raise MisfitError(str(exc), row) from None
    raise AssertionError("a value fits by itself and not among others")


def _categories_converted(values: Any, column: Column) -> Sequence[Any]:
    import numpy as np

    codes = values.codes
    used, rows = np.unique(codes, return_index=True)
    categories: dict[int, Any] = {}
    for row, code in sorted(zip(rows.tolist(), used.tolist(), strict=True)):
        value = None if code < 0 else values.categories[code]
        try:
            is_left_out = value is None and column.nullable
            categories[code] = (
                None if is_left_out else _CONVERSIONS[column.dtype or ""](_plain_scalar(value), column.dtype or "")
            )
        except (TypeError, ValueError, OverflowError) as exc:
            raise MisfitError(str(exc), row) from None
    return [categories[code] for code in codes.tolist()]


def _plain_scalar(value: Any) -> Any:
    return value.item() if hasattr(value, "item") else value


# -- single values -----------------------------------------------------------------------------------------------------


def _to_integer(value: Any, dtype: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal) or value != int(value):
        raise ValueError(f"{shown(value)} is not a whole number")
    if int(value) not in _RANGES[dtype]:
        raise ValueError(f"{shown(value)} does not fit {_INTEGERS[dtype]} bits")
    return int(value)


def _to_float(value: Any, dtype: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
        raise ValueError(f"{shown(value)} is not a number")  # noqa: TRY004 - one kind of refusal for all conversions
    if dtype == "float64" and (
        (isinstance(value, int) and abs(value) > EXACT_FLOAT)
        or (isinstance(value, Decimal) and Decimal(repr(float(value))) != value)
    ):
        raise ValueError(f"{shown(value)} would lose digits")
    if dtype == "float32" and _LARGEST_FLOAT32 < abs(float(value)) < inf:
        raise ValueError(f"{shown(value)} does not fit 32 bits")
    return float(value)


def _to_bool(value: Any, _: str) -> bool:
    if not isinstance(value, bool):
        raise ValueError(f"{shown(value)} is not true or false")  # noqa: TRY004
    return value


def _to_text(value: Any, _: str) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{shown(value)} is not text")  # noqa: TRY004
    return value


def _to_datetime(value: Any, _: str) -> datetime:
    """Return a time in UTC; text without an offset is in UTC already."""
    if not isinstance(value, str | date):
        raise ValueError(f"{shown(value)} is not a date and time like `2026-01-31T12:00:00Z`")  # noqa: TRY004
    try:
        return point_in_time(value) if isinstance(value, str) else utc_of(value)
    except ValueError as exc:
        raise ValueError(f"{shown(value)} {exc}") from None


def _as_it_is(value: Any, _: str) -> Any:
    return value


_LARGEST_FLOAT32 = 3.4028234663852886e38
NEVER_MISSING = frozenset({*_INTEGERS, "bool"})
_INTEGERS_OF: Mapping[str, range] = {
    **_RANGES,
    "float32": range(-(1 << 64), 1 << 64),
    "float64": range(-EXACT_FLOAT, EXACT_FLOAT + 1),
}
"""The integers that a column takes without further looking."""
_CONVERSIONS: Mapping[str, Callable[[Any, str], Any]] = {
    **dict.fromkeys(_INTEGERS, _to_integer),
    "float32": _to_float,
    "float64": _to_float,
    "bool": _to_bool,
    "str": _to_text,
    "datetime": _to_datetime,
    "object": _as_it_is,
}
_WORDS = {
    **dict.fromkeys(_INTEGERS, "a whole number"),
    "float32": "a number",
    "float64": "a number",
    "bool": "true or false",
    "str": "text",
    "datetime": "a date and time",
    "object": "a value",
}
