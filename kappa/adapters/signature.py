"""The signature of a table: which columns a function sees, in which order, of which dtypes, and where values may miss.

Its one owner: requests are brought to it here, and from it come the rows of the OpenAPI document, the header of CSV,
the 422 of a request that does not fit, and what the form and the client know of a table.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timezone
from functools import cached_property
from math import inf
from typing import Any, Literal

from kappa.adapters.columns import EXACT_FLOAT, Columns, Kind, is_array, numbers, shown
from kappa.adapters.csv import csv_lines
from kappa.errors import BadInputError

__all__ = [
    "DTYPES",
    "Column",
    "ExtraColumns",
    "Signature",
    "columns_option",
    "declared_columns",
    "loosely_converted",
    "sampled_dtypes",
    "signature_of",
]

ExtraColumns = Literal["ignore", "pass", "forbid"]

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

_MISSING_BY_DEFAULT = frozenset({"float32", "float64", "str", "datetime", "object"})
"""Dtypes with a word for a missing value: their columns take one unless it is said that they do not."""

_KINDS = {
    **{(name, True): name.replace("i", "I", 1).replace("u", "U", 1) for name in _INTEGERS},
    ("bool", True): "boolean",
    ("datetime", True): "datetime64[us]",
    ("datetime", False): "datetime64[us]",
}
"""How a column of a dtype is built, where it is not by the dtype's own name; by whether values may be missing."""

_SCHEMAS: Mapping[str, dict[str, Any]] = {
    **{name: {"type": "integer", "minimum": known[0], "maximum": known[-1]} for name, known in _RANGES.items()},
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
        if self.dtype is None or self.nullable == (self.dtype in _MISSING_BY_DEFAULT):
            return self.dtype
        return {"dtype": self.dtype, "nullable": self.nullable}


def columns_option(value: Any) -> Any:
    """Return the option `columns` in its one spelling; raises `ValueError` for what it cannot be."""
    if not isinstance(value, Mapping):
        if len(set(value)) < len(value):
            raise ValueError("a column is named twice")
        columns = [Column(name) for name in value]
    else:
        columns = [_declared(name, about) for name, about in value.items()]
    if not columns:
        raise ValueError("at least one column is needed")
    return {column.name: column.option() for column in columns} if isinstance(value, Mapping) else value


def _declared(name: str, about: Any) -> Column:
    table = about if isinstance(about, Mapping) else {"dtype": about}
    if unknown := set(table) - {"dtype", "nullable"}:
        raise ValueError(f"`{min(unknown)}` says nothing of the column `{name}`; write `dtype` and `nullable`")
    dtype = table.get("dtype")
    if not isinstance(dtype, str) or dtype not in DTYPES:
        known = ", ".join(f"`{known}`" for known in DTYPES)
        raise ValueError(f"`{dtype}` of the column `{name}` is not a known dtype; known are {known}")
    nullable = table.get("nullable", dtype in _MISSING_BY_DEFAULT)
    if not isinstance(nullable, bool):
        raise ValueError(f"`nullable` of the column `{name}` must be `true` or `false`")  # noqa: TRY004
    return Column(name, dtype, nullable)


def declared_columns(option: Mapping[str, Any]) -> Mapping[str, Column]:
    """Return columns by name from an option that gives them dtypes."""
    return {name: _declared(name, about) for name, about in option.items()}


def signature_of(decoded: Columns) -> Mapping[str, Any]:
    """Return the option `columns` that fits a sample: its names, order, dtypes, and where values are missing.

    Raises `ValueError` for a sample whose columns have no names, or a dtype that cannot be declared.
    """
    if decoded.names == numbers(len(decoded.names)):
        raise ValueError("its columns have no names")
    return {
        str(name): _sampled(str(name), kind, values).option()
        for name, kind, values in zip(decoded.names, decoded.kinds, decoded.values, strict=True)
    }


def sampled_dtypes(samples: Sequence[Columns]) -> Mapping[str, str]:
    """Return the dtypes of columns by name, as far as the samples agree: whole and other numbers are `float64`."""
    dtypes: dict[str, str] = {}
    for sample in samples:
        for name, kind in zip(map(str, sample.names), sample.kinds, strict=True):
            found = str(kind)
            if dtypes.setdefault(name, found) != found:
                dtypes[name] = "float64" if {dtypes[name], found} == {"int64", "float64"} else ""
    return {name: dtype for name, dtype in dtypes.items() if dtype in _SAMPLED}


_SAMPLED = frozenset({"int64", "float64", "bool", "str"})
"""What the columns of JSON and CSV are, as far as it is known."""


def _sampled(name: str, kind: Kind, values: Sequence[Any]) -> Column:
    dtype = str(kind).lower()
    dtype = "datetime" if dtype.startswith("datetime64[") and "," not in dtype else dtype
    dtype = "bool" if dtype == "boolean" else dtype
    if dtype not in DTYPES:
        raise ValueError(f"its column `{name}` is `{kind}`, which cannot be declared: leave it out, or make it another")
    return Column(name, dtype, next(_missing(values), None) is not None)


def _missing(values: Sequence[Any]) -> Iterator[int]:
    """Yield the places of missing values."""
    if is_array(values):
        import pandas as pd

        yield from pd.isna(values).nonzero()[0].tolist()
    else:
        yield from (place for place, value in enumerate(values) if value is None or value != value)


@dataclass(frozen=True)
class Signature:
    """What the requests of one API are brought to."""

    columns: tuple[Column, ...]
    extra: ExtraColumns = "ignore"
    """What becomes of a request's further columns: they are left out, follow the declared ones, or are refused."""

    @classmethod
    def of(cls, option: Any, extra: ExtraColumns) -> Signature:
        """Return the signature that an adapter's option `columns` declares."""
        if isinstance(option, Mapping):
            return cls(tuple(declared_columns(option).values()), extra)
        return cls(tuple(Column(name) for name in option), extra)

    @cached_property
    def names(self) -> tuple[str, ...]:
        return tuple(column.name for column in self.columns)

    @cached_property
    def _known(self) -> frozenset[str]:
        return frozenset(self.names)

    @cached_property
    def texts(self) -> frozenset[str]:
        """The columns that CSV must not take for numbers."""
        return frozenset(column.name for column in self.columns if column.dtype in ("str", "datetime"))

    @cached_property
    def _sure_kinds(self) -> tuple[Kind, ...] | None:
        """The kinds of a request that fits without further looking; ``None`` if there are none such."""
        if any(
            column.dtype is None or not (column.nullable or column.kind in _NEVER_MISSING) for column in self.columns
        ):
            return None
        return tuple(column.kind for column in self.columns)

    def conform(self, decoded: Columns) -> Columns:
        """Bring a request to this signature; raises a `BadInputError` of 422 that names all that does not fit.

        Row labels are no part of it: who needs them declares a column.
        """
        if decoded.names == self.names and decoded.kinds == self._sure_kinds:
            return decoded if decoded.labels is None else decoded._replace(labels=None)
        places = self._places(decoded)
        missing = [f"`{name}`" for name in self.names if name not in places]
        extra = [name for name in places if name not in self._known]
        problems = [f"Missing columns: {', '.join(missing)}."] if missing else []
        if extra and self.extra == "forbid":
            problems.append(f"Unknown columns: {', '.join(f'`{name}`' for name in extra)}.")
        kinds: list[Kind] = []
        values: list[Sequence[Any]] = []
        for column in self.columns:
            if (place := places.get(column.name)) is None:
                continue
            try:
                kind, converted = _converted(decoded.values[place], decoded.kinds[place], column)
            except _MisfitError as exc:
                where = f" in row {exc.row}" if decoded.rows > 1 else ""
                problems.append(f"The column `{column.name}` must be `{column.dtype}`: {exc}{where}.")
            else:
                kinds.append(kind)
                values.append(converted)
        if problems:
            raise BadInputError(" ".join(problems), http_status=422)
        names: tuple[Hashable, ...] = self.names
        if extra and self.extra == "pass":
            names = (*names, *extra)
            kinds += [decoded.kinds[places[name]] for name in extra]
            values += [decoded.values[places[name]] for name in extra]
        return Columns(names, tuple(kinds), values, decoded.rows)

    def _places(self, decoded: Columns) -> dict[str, int]:
        """Return where in a request each column is; rows without names are taken in the declared order."""
        if decoded.names != numbers(len(decoded.names)):
            return {str(name): place for place, name in enumerate(decoded.names)}
        if len(decoded.names) != len(self.columns):
            message = (
                f"The rows have {len(decoded.names)} values each; this API takes {len(self.columns)}, one per column."
            )
            raise BadInputError(message, http_status=422)
        return {name: place for place, name in enumerate(self.names)}

    def row_schema(self) -> dict[str, Any]:
        """Return the JSON Schema of one row as an object."""
        return {
            "type": "object",
            "properties": {column.name: column.schema() for column in self.columns},
            "required": list(self.names),
            **({"additionalProperties": False} if self.extra == "forbid" else {}),
        }

    def array_schema(self) -> dict[str, Any]:
        """Return the JSON Schema of one row as an array."""
        count = len(self.columns)
        items = [column.schema() for column in self.columns]
        return {"type": "array", "prefixItems": items, "minItems": count, "maxItems": count}

    def csv_header(self) -> str:
        """Return the header line of CSV."""
        return csv_lines([self.names])


# -- conversion without loss -------------------------------------------------------------------------------------------


def loosely_converted(decoded: Columns, preferred: Mapping[str, Column]) -> Columns:
    """Bring columns to the dtypes that are preferred for their names, where nothing is lost; leave the others."""
    kinds, values = list(decoded.kinds), list(decoded.values)
    for place, name in enumerate(decoded.names):
        column = preferred.get(name if isinstance(name, str) else str(name))
        if column is not None and column.kind != kinds[place]:
            with suppress(_MisfitError):
                kinds[place], values[place] = _converted(values[place], kinds[place], column)
    return decoded if tuple(kinds) == decoded.kinds else decoded._replace(kinds=tuple(kinds), values=values)


class _MisfitError(ValueError):
    def __init__(self, message: str, row: int) -> None:
        super().__init__(message)
        self.row = row


def _converted(values: Sequence[Any], kind: Kind, column: Column) -> tuple[Kind, Sequence[Any]]:
    """Return the kind that builds a column, and its values for that; raises `_MisfitError` at the first that is none.

    PERF: values are looked at one by one only where they have to be: not those of the right dtype already, and not
    integers that all fit.
    """
    if column.dtype is None:
        return kind, values
    if kind in (column.dtype, column.kind):
        may_miss = column.nullable or kind in _NEVER_MISSING
        if may_miss or (row := next(_missing(values), None)) is None:
            return column.kind, values
        raise _MisfitError(f"`null` is not {_WORDS[column.dtype]}", row)
    if kind in _RANGES and (range_ := _INTEGERS_OF.get(column.dtype)) is not None:
        low, high = _extremes(values)
        if low in range_ and high in range_:
            return column.kind, values
    convert = _CONVERSIONS[column.dtype]
    converted: list[Any] = []
    for row, value in enumerate(_plain(values)):
        is_missing = value is None or value != value
        if is_missing and column.nullable:
            converted.append(None)
            continue
        try:
            converted.append(convert(None if is_missing else value, column.dtype))
        except (TypeError, ValueError, OverflowError) as exc:
            raise _MisfitError(str(exc), row) from None
    return column.kind, converted


def _extremes(values: Any) -> tuple[int, int]:
    """Return the least and the greatest value, as Python's: whether a range holds NumPy's takes for ever to tell."""
    return (int(values.min()), int(values.max())) if is_array(values) else (min(values), max(values))


def _plain(values: Sequence[Any]) -> Sequence[Any]:
    """Return the values of a column as Python's own, ``None`` where one is missing."""
    if not is_array(values):
        return values
    import pandas as pd

    column = pd.Series(values)
    plain: list[Any] = column.astype(object).where(column.notna(), None).tolist()
    return plain


def _to_integer(value: Any, dtype: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int | float) or value != int(value):
        raise ValueError(f"{shown(value)} is not a whole number")
    if int(value) not in _RANGES[dtype]:
        raise ValueError(f"{shown(value)} does not fit {_INTEGERS[dtype]} bits")
    return int(value)


def _to_float(value: Any, dtype: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"{shown(value)} is not a number")  # noqa: TRY004 - one kind of refusal for all conversions
    if dtype == "float64" and isinstance(value, int) and abs(value) > EXACT_FLOAT:
        raise ValueError(f"{shown(value)} would lose digits")
    if dtype == "float32" and _LARGEST_FLOAT32 < abs(value) < inf:
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
    try:
        time = value if isinstance(value, datetime) else datetime.fromisoformat(_with_offset(value))
    except (TypeError, ValueError, AttributeError):
        raise ValueError(f"{shown(value)} is not a date and time like `2026-01-31T12:00:00Z`") from None
    return time if time.tzinfo is None else time.astimezone(timezone.utc).replace(tzinfo=None)


def _with_offset(text: str) -> str:
    return f"{text[:-1]}+00:00" if text[-1:] in ("Z", "z") else text  # which Python 3.10 does not read


def _as_it_is(value: Any, _: str) -> Any:
    return value


_LARGEST_FLOAT32 = 3.4028234663852886e38
_NEVER_MISSING = frozenset({*_INTEGERS, "bool"})
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
