"""The dtypes that a Table Schema names for the columns of a table, as pandas writes it with ``orient="table"``.

See https://specs.frictionlessdata.io/table-schema/ and `pandas.io.json.build_table_schema`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

from kappa.adapters.columns import Kind, shown
from kappa.adapters.dtypes import Column, MisfitError, converted
from kappa.adapters.times import length_of_time, zone_of
from kappa.errors import BadInputError

__all__ = ["typed"]

_NULLABLE = {
    **{f"{sign}nt{bits}": f"{sign}nt{bits}".lower() for sign in ("I", "UI") for bits in (8, 16, 32, 64)},
    "boolean": "bool",
    "Float32": "float32",
    "Float64": "float64",
}
"""pandas' dtypes with a word for what is missing, and what a column is declared with for each."""


def typed(field: Mapping[str, Any], kind: Kind, values: Sequence[Any]) -> tuple[Kind, Sequence[Any]]:
    """Bring a column to what its field in the schema says; raises a `BadInputError` of 422 for what does not fit.

    Unknown types are left as JSON has them.
    """
    name, noted, extended = str(field["name"]), field.get("type"), field.get("extDtype")
    constraints = field.get("constraints")
    categories = constraints.get("enum") if isinstance(constraints, dict) else None
    try:
        if isinstance(categories, list):
            return _category(categories, values, ordered=field.get("ordered") is True)
        if isinstance(extended, str) and extended in _NULLABLE:
            brought = converted(values, kind, Column(name, _NULLABLE[extended]))[1]
            return extended, brought
        if noted == "datetime":
            return _times(field, kind, values)
        if noted == "duration":
            return "timedelta64[us]", [_length(value, row) for row, value in enumerate(values)]
        if isinstance(noted, str) and noted in _PLAIN:
            return _plain(_PLAIN[noted], kind, values)
    except MisfitError as exc:
        where = f" in row {exc.row} (the first is 0)" if len(values) > 1 else ""
        raise BadInputError(f"The column `{name}` does not fit its schema: {exc}{where}.", http_status=422) from None
    except ValueError as exc:
        raise BadInputError(f"The column `{name}` cannot be read by its schema: {exc}.", http_status=422) from None
    is_text = noted == "string" and extended in ("str", "string") and set(map(type, values)) <= {str, type(None)}
    return "str" if is_text else kind, values


_PLAIN = {"integer": "int64", "number": "float64", "boolean": "bool"}


def _plain(dtype: str, kind: Kind, values: Sequence[Any]) -> tuple[Kind, Sequence[Any]]:
    """Return numbers and truth values; where one is missing, they are as JSON has them, once looked at."""
    if kind == dtype or (dtype == "int64" and kind == "uint64"):
        return kind, values
    is_missing = None in values and dtype != "float64"
    new_kind, brought = converted(values, kind, Column("", dtype, nullable=is_missing or dtype == "float64"))
    return (kind, values) if is_missing else (new_kind, brought)


def _times(field: Mapping[str, Any], kind: Kind, values: Sequence[Any]) -> tuple[Kind, Sequence[Any]]:
    if "freq" in field:
        raise ValueError("periods are not taken; send the times at which they begin")
    new_kind, brought = converted(values, kind, Column("", "datetime"))
    if (zone := field.get("tz")) is None:
        return new_kind, brought
    import numpy as np
    import pandas as pd

    zone_of(str(zone))
    zoned = pd.Series(np.array(brought, dtype="datetime64[us]")).dt.tz_localize("UTC").dt.tz_convert(str(zone))
    return zoned.dtype, cast("Sequence[Any]", zoned.array)


def _length(value: Any, row: int) -> Any:
    if value is None or value == "NaT":  # which pandas writes
        return None
    try:
        return length_of_time(value if isinstance(value, str) else "")
    except ValueError as exc:
        raise MisfitError(f"{shown(value)} {exc}", row) from None


def _category(categories: list[Any], values: Sequence[Any], *, ordered: bool) -> tuple[Kind, Sequence[Any]]:
    import pandas as pd

    if any(value is None or isinstance(value, list | dict) for value in categories):
        raise ValueError("`enum` must be an array of values that are not missing")
    codes = {value: code for code, value in enumerate(categories)}
    if len(codes) < len(categories):
        raise ValueError("`enum` has a value twice")
    coded = []
    for row, value in enumerate(values):
        code = -1 if value is None else None if isinstance(value, list | dict) else codes.get(value)
        if code is None:
            raise MisfitError(f"{shown(value)} is not in `enum`", row)
        coded.append(code)
    dtype = pd.CategoricalDtype(categories, ordered=ordered)
    hash(dtype)  # PERF: pandas caches it, and grouping needs it in another thread
    return dtype, cast("Sequence[Any]", pd.Categorical.from_codes(coded, dtype=dtype))
