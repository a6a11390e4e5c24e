"""The signature of a table: which columns a function sees, in which order, of which dtypes, and where values may miss.

Its one owner: requests are brought to it here, and from it come the rows of the OpenAPI document, the header of CSV,
the 422 of a request that does not fit, and what the form and the client know of a table.
"""

from __future__ import annotations

import re
from collections.abc import Hashable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cached_property
from typing import Any, Literal

from kappa.adapters.columns import Columns, Kind, numbers
from kappa.adapters.csv import csv_lines
from kappa.adapters.dtypes import (
    DTYPES,
    MISSING_BY_DEFAULT,
    NEVER_MISSING,
    Column,
    MisfitError,
    converted,
    missing_places,
)
from kappa.adapters.times import point_in_time
from kappa.errors import BadInputError, MisplacedError
from kappa.wording import listed

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
    "with_times",
]

ExtraColumns = Literal["ignore", "pass", "forbid"]


def columns_option(value: Any) -> Any:
    """Return the option `columns` in its one spelling; raises `ValueError` for what it cannot be, of one column a
    `MisplacedError`."""
    if not isinstance(value, Mapping):
        if len(set(value)) < len(value):
            raise ValueError("a column is named twice")
        columns = [Column(name) for name in value]
    else:
        columns = [_declared(name, declared) for name, declared in value.items()]
    if not columns:
        raise ValueError("at least one column is needed")
    return {column.name: column.option() for column in columns} if isinstance(value, Mapping) else value


def _declared(name: str, declared: Any) -> Column:
    table = declared if isinstance(declared, Mapping) else {"dtype": declared}
    if unknown := set(table) - {"dtype", "nullable"}:
        message = f"`{min(unknown)}` says nothing of the column `{name}`; write `dtype` and `nullable`"
        raise MisplacedError(message, (name, min(unknown)))
    dtype = table.get("dtype")
    if not isinstance(dtype, str) or dtype not in DTYPES:
        names = ", ".join(f"`{kind}`" for kind in DTYPES)
        message = f"`{dtype}` of the column `{name}` is not a known dtype; known are {names}"
        raise MisplacedError(message, (name, "dtype"))
    nullable = table.get("nullable", dtype in MISSING_BY_DEFAULT)
    if not isinstance(nullable, bool):
        raise MisplacedError(f"`nullable` of the column `{name}` must be `true` or `false`", (name, "nullable"))
    return Column(name, dtype, nullable)


def declared_columns(option: Mapping[str, Any]) -> Mapping[str, Column]:
    """Return columns by name from an option that gives them dtypes."""
    return {name: _declared(name, declared) for name, declared in option.items()}


def with_times(decoded: Columns) -> Columns:
    """Return a sample in which text that is a date or a time in every row counts as one, for formats without such."""
    kinds = [
        "datetime64[us]" if kind == "str" and _are_times(values) else kind
        for kind, values in zip(decoded.kinds, decoded.values, strict=True)
    ]
    return decoded._replace(kinds=tuple(kinds))


def _are_times(values: Sequence[Any]) -> bool:
    texts = (value for value in values if isinstance(value, str))
    try:
        return all(_DATE.match(text) is not None and point_in_time(text) is not None for text in texts)
    except ValueError:
        return False


_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
"""Prefixes of dates that are not numbers."""


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
            kind_name = str(kind)
            if dtypes.setdefault(name, kind_name) != kind_name:
                dtypes[name] = "float64" if {dtypes[name], kind_name} == {"int64", "float64"} else ""
    return {name: dtype for name, dtype in dtypes.items() if dtype in _SAMPLED}


_SAMPLED = frozenset({"int64", "float64", "bool", "str"})
"""The names of the columns of JSON and CSV, as far as they are known."""


def _sampled(name: str, kind: Kind, values: Sequence[Any]) -> Column:
    dtype = str(kind).lower()
    dtype = "datetime" if dtype.startswith("datetime64[") and "," not in dtype else dtype
    dtype = "bool" if dtype == "boolean" else dtype
    if dtype not in DTYPES:
        raise ValueError(f"its column `{name}` is `{kind}`, which cannot be declared: leave it out, or make it another")
    return Column(name, dtype, next(missing_places(values), None) is not None)


@dataclass(frozen=True)
class Signature:
    """The columns to which requests of one API are converted."""

    columns: tuple[Column, ...]
    extra: ExtraColumns = "ignore"
    """What happens to a request's further columns: they are left out, follow the declared ones, or are refused."""

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
    def _names(self) -> frozenset[str]:
        return frozenset(self.names)

    @cached_property
    def texts(self) -> frozenset[str]:
        """The columns that CSV must not take for numbers."""
        return frozenset(column.name for column in self.columns if column.dtype in ("str", "datetime"))

    @cached_property
    def _sure_kinds(self) -> tuple[Kind, ...] | None:
        """The kinds of a request that fits without further looking; ``None`` if there are none such."""
        if any(
            column.dtype is None or not (column.nullable or column.kind in NEVER_MISSING) for column in self.columns
        ):
            return None
        return tuple(column.kind for column in self.columns)

    @cached_property
    def _usual_names(self) -> tuple[tuple[Hashable, ...], ...]:
        """The names of a request whose columns are the declared ones in their order."""
        return self.names, numbers(len(self.names))

    @cached_property
    def _is_untyped(self) -> bool:
        return all(column.dtype is None for column in self.columns)

    def conform(self, decoded: Columns) -> Columns:
        """Bring a request to this signature; raises a `BadInputError` of 422 that names all that does not fit.

        Row labels are no part of it: a function that needs them declares a column.
        """
        if decoded.names in self._usual_names and (self._is_untyped or decoded.kinds == self._sure_kinds):
            return Columns(self.names, decoded.kinds, decoded.values, decoded.rows)
        places = self._places(decoded)
        missing = [name for name in self.names if name not in places]
        extra = [name for name in places if name not in self._names]
        is_forbidden = bool(extra) and self.extra == "forbid"
        problems = []
        if missing:
            instead = "" if is_forbidden else _instead(missing, extra)
            problems.append(f"Missing columns: {listed(missing)}.{instead}")
        if is_forbidden:
            problems.append(f"Unknown columns: {listed(extra)}.")
        kinds: list[Kind] = []
        values: list[Sequence[Any]] = []
        for column in self.columns:
            if (index := places.get(column.name)) is None:
                continue
            try:
                kind, brought = converted(decoded.values[index], decoded.kinds[index], column)
            except MisfitError as exc:
                where = f" in row {exc.row} (the first is 0)" if decoded.rows > 1 else ""
                advice = _quotes(decoded.values[index], exc.row, column.dtype)
                problems.append(f"The column `{column.name}` must be `{column.dtype}`: {exc}{where}.{advice}")
            else:
                kinds.append(kind)
                values.append(brought)
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
            return {str(name): index for index, name in enumerate(decoded.names)}
        if len(decoded.names) != len(self.columns):
            message = (
                f"The rows have {len(decoded.names)} values each; this API takes {len(self.columns)}, one per column."
            )
            raise BadInputError(message, http_status=422)
        return {name: index for index, name in enumerate(self.names)}

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


def _instead(missing: Sequence[str], extra: Sequence[str]) -> str:
    """Return what a request has in place of the columns that it lacks, and which of these may be meant."""
    if not extra:
        return ""
    names = [name if len(name) <= _LONGEST_NAME else f"{name[:_LONGEST_NAME]}…" for name in extra[:_MOST_NAMES]]
    alike = {name.casefold(): name for name in reversed(names)}
    pairs = [(get_close_matches(name.casefold(), alike, n=1, cutoff=_ALIKE), name) for name in missing[:_MOST_NAMES]]
    renamed = [f"`{alike[match[0]]}` to `{name}`" for match, name in pairs if match]
    is_sure = all(match[0] == name.casefold() for match, name in pairs if match)
    advice = f": rename {', '.join(renamed)}{'' if is_sure else ', if that is meant'}" if renamed else ""
    more = ", …" if len(extra) > _MOST_NAMES else ""
    return f" The request has {listed(names)}{more}{advice}."


def _quotes(values: Sequence[Any], row: int, dtype: str | None) -> str:
    """Return the advice for a value that is only in quotes too many, or too few."""
    value = values[row] if isinstance(values, list | tuple) else None
    if dtype == "bool":
        return " Send `true` or `false`, without quotes." if isinstance(value, str) else ""
    if dtype == "str":
        return " Put it in quotes." if type(value) in (int, float, bool) else ""
    is_number = isinstance(value, str) and _NUMBER.fullmatch(value) and (dtype or "").startswith(("int", "float"))
    return f" Send `{value}`, without quotes." if is_number else ""


_NUMBER = re.compile(r"-?(0|[1-9][0-9]{0,15})(\.[0-9]{1,15})?", re.ASCII)
"""A number of JSON's, of few digits."""


_MOST_NAMES = 20
_LONGEST_NAME = 60
_ALIKE = 0.7


# -- conversion without loss -------------------------------------------------------------------------------------------


def loosely_converted(decoded: Columns, preferred: Mapping[str, Column]) -> Columns:
    """Bring columns to the dtypes that are preferred for their names, where nothing is lost; leave the others."""
    kinds, values = list(decoded.kinds), list(decoded.values)
    for index, name in enumerate(decoded.names):
        column = preferred.get(name if isinstance(name, str) else str(name))
        if column is not None and column.kind != kinds[index]:
            with suppress(MisfitError):
                kinds[index], values[index] = converted(values[index], kinds[index], column)
    return decoded if tuple(kinds) == decoded.kinds else decoded._replace(kinds=tuple(kinds), values=values)
