"""Tables as columns: what a request of rows is decoded to, and how the columns of a batch become one frame.

A *kind* is what decides how a column is built: a dtype of NumPy's (`int64`, `float64`, `bool`, …), one of pandas' own
(`Int64`, a category), `str`, or `object`. It is the dtype that pandas would give the column of its request alone, and
requests of equal names and kinds form one group. So no request's types, column order, missing values or row labels
depend on its neighbours, and the frame is built once per batch instead of once per request (PERF: 47 to 109 µs against
about 1).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from functools import cache, lru_cache
from itertools import chain, islice
from sys import getsizeof
from types import NoneType
from typing import Any, Literal, NamedTuple, TypeGuard, cast

from kappa.adapters.json import encode_json
from kappa.errors import BadInputError, InferenceFailedError, optional_import
from kappa.types import DecodingLimits

__all__ = [
    "EMPTY_TABLE",
    "EXACT_FLOAT",
    "Columns",
    "Kind",
    "Orient",
    "RowLabels",
    "Table",
    "check_size",
    "columns_of_values",
    "distinct_names",
    "frame_of",
    "import_pandas",
    "is_array",
    "kind_of",
    "label_values",
    "labels_of",
    "nbytes_of",
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
EMPTY_TABLE = "The table is empty; at least one row and one column are needed."


@dataclass(frozen=True, slots=True, eq=False)
class RowLabels:
    """A client's row labels; equal only to themselves, so that rows with labels share no batch.

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


def nbytes_of(form: Columns) -> int:
    """Return about how many bytes the values of a request take, looking at a few of each column."""
    cells = form.rows * len(form.names)
    if cells <= _FEW_CELLS and "object" not in form.kinds:  # PERF: a sample would not be cheaper
        return cells * _USUAL_CELL
    labels = 0 if form.labels is None or isinstance(form.labels.values, range) else _size_of(form.labels.values)
    return labels + sum(map(_size_of, form.values)) + _PER_COLUMN * len(form.names)


_FEW_CELLS = 1000
_USUAL_CELL = 64
_PER_COLUMN = 200
_LOOKED_AT = 8


def _size_of(value: Any, depth: int = 0) -> int:
    """Return about how many bytes a value takes, judging what it holds by some of it."""
    if isinstance(value, list | tuple | dict):
        size = getsizeof(value)
        if not value or depth > _LOOKED_AT:
            return size
        items = list(islice(value.values(), _LOOKED_AT)) if isinstance(value, dict) else _some(value)
        return size + len(value) * sum(_size_of(item, depth + 1) for item in items) // len(items)
    if value is None or value is True or value is False or (type(value) is int and -6 < value < 257):
        return 0  # Python has one of each
    if not hasattr(value, "nbytes"):
        return getsizeof(value)
    is_objects = str(value.dtype) == "object" and len(value)
    held = len(value) * sum(map(_size_of, some := _some(value))) // len(some) if is_objects else 0
    return int(value.nbytes) + held


def _some(values: Sequence[Any]) -> Sequence[Any]:
    """Return some values from all over a column, its last one too."""
    return values if len(values) <= _LOOKED_AT else [*values[:: len(values) // _LOOKED_AT], values[-1]]


def import_pandas() -> Any:
    """Import pandas; raises `MissingDependencyError`."""
    with optional_import("pandas", needed_for="the input adapter `dataframe`"):
        import pandas as pd
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
        frame = pd.DataFrame(block, columns=None if is_numbered else _column_labels(first.names))
    else:
        arrays = dict(zip(first.names, map(_array, values, first.kinds), strict=True))
        # PERF: 20 µs less; the arrays are not shared, but many separate columns make pandas warn of fragments later
        frame = pd.DataFrame(arrays, copy=len(arrays) > _FEW_COLUMNS)
    if first.labels is not None:
        frame.index = pd.Index(first.labels.values)
    return frame


class Table:
    """The columns of several requests of one group, in request order, for a model that needs no frame.

    It has what such a model asks a frame for: `columns`, `to_numpy`, and a column by its name. PERF: for one row, some
    5 µs in place of 20 (numbers alone) to 170 (text beside them).
    """

    __slots__ = ("_kinds", "_values", "columns")

    def __init__(self, forms: Sequence[Columns]) -> None:
        first = forms[0]
        self.columns = first.names
        self._kinds = first.kinds
        self._values: Sequence[Sequence[Any]] = first.values
        if len(forms) > 1:
            parts = zip(*(form.values for form in forms), strict=True)
            self._values = [_joined(column, kind) for column, kind in zip(parts, first.kinds, strict=True)]

    def __len__(self) -> int:
        return len(self._values[0])

    def __getitem__(self, name: Hashable) -> _TableColumn:
        return _TableColumn(self._values[self.columns.index(name)])

    def to_numpy(self) -> Any:
        """Return the numbers of all columns, a row each."""
        import numpy as np

        rows = len(self)
        if rows == 1:  # PERF: NumPy looks into each of nested sequences
            return np.array([value for (value,) in self._values], dtype=_FLOAT64).reshape(1, -1)
        return np.array(self._values, dtype=_FLOAT64).T

    @staticmethod
    def holds(forms: Sequence[Columns]) -> bool:
        """Return whether forms are plain: lists of values as they are, without labels of rows."""
        is_rounded = "float32" in forms[0].kinds
        return not is_rounded and all(form.labels is None and set(map(type, form.values)) <= _LISTS for form in forms)


class _TableColumn:
    __slots__ = ("_values",)

    def __init__(self, values: Sequence[Any]) -> None:
        self._values = values

    def to_numpy(self) -> Any:
        return self._values


def _column_labels(names: tuple[Hashable, ...]) -> Any:
    """Return the index of columns of these names, which no other frame shares.

    PERF: to make one takes 30 µs, and what pandas and scikit-learn then look up in it 130 more, once for all frames of
    the same names. Where frames could write into each other's, as before pandas 3, each has its own.
    """
    import pandas as pd

    is_text = set(map(type, names)) == {str}
    if is_text and text_dtype() is not None and len("".join(cast("tuple[str, ...]", names))) <= _KEPT_CHARACTERS:
        return _kept_labels(names).view()
    return pd.Index(names)


_KEPT_CHARACTERS = 4096
"""Longer names are a client's own, perhaps, and would hold memory."""


@lru_cache(maxsize=64)
def _kept_labels(names: tuple[Hashable, ...]) -> Any:
    import pandas as pd

    labels = pd.Index(names)
    labels.is_unique  # noqa: B018 - fills its table of names, before there are several threads
    return labels


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
        array = _filled(column, object)
        # a series, since pandas makes an array of nothing but text one of ``str``, which depends on the neighbours
        return pd.Series(array, dtype=object, copy=False)
    if is_array(column) and not isinstance(column, np.ndarray):
        return column.copy()
    if _is_nullable(kind):
        return pd.array(column, dtype=kind)  # type: ignore[call-overload]
    if len(column) > _AT_ONCE and not is_array(column):
        return _filled(column, kind)
    return np.array(column, dtype=kind)  # type: ignore[call-overload]


_AT_ONCE = 100_000
"""So many values become an array within some milliseconds, which hold the GIL."""


def _filled(column: Sequence[Any], dtype: Any) -> Any:
    """Return objects as an array, made in steps."""
    import numpy as np

    array = np.empty(len(column), dtype=dtype)
    for start in range(0, len(column), _AT_ONCE):
        part = column[start : start + _AT_ONCE]
        kinds = set(map(type, part))
        if dtype is object and kinds == {NoneType}:
            continue  # PERF: an array of objects begins so, and to write a million of them anew takes 40 ms
        array[start : start + _AT_ONCE] = part if kinds <= _UNCHANGEABLE else [_copy(value) for value in part]
    return array


def _copy(value: Any) -> Any:
    """Copy a value; PERF: what JSON and Arrow bring is copied ten times as fast as `deepcopy` does it."""
    kind = type(value)
    if kind in _UNCHANGEABLE:
        return value
    if kind is list:
        return [*value] if _UNCHANGEABLE.issuperset(map(type, value)) else [_copy(item) for item in value]
    if kind is dict:
        return {key: _copy(item) for key, item in value.items()}
    return deepcopy(value)


def _is_nullable(kind: Kind) -> bool:
    """Return whether a kind is one of pandas' dtypes with a word for what is missing: `Int64`, `boolean`."""
    return isinstance(kind, str) and (kind[:1].isupper() or kind == "boolean")


def _text_array(column: Sequence[Any]) -> Any:
    """Return what this pandas makes of text: an array of ``str`` since 3.0, of objects before."""
    import pandas as pd

    if (dtype := text_dtype()) is not None:
        return pd.array(column, dtype=dtype)
    return _filled(column, object)


@cache
def text_dtype() -> Any:
    import pandas as pd

    dtype = pd.Series(["text"]).dtype
    return None if dtype.kind == "O" and dtype.name == "object" else dtype


def is_array(column: Sequence[Any]) -> TypeGuard[Any]:
    """Return whether the values of a column are an array, of NumPy's or of pandas' own."""
    return not isinstance(column, list | tuple)


# -- columns of any origin ---------------------------------------------------------------------------------------------


def check_size(rows: int, columns: int, limits: DecodingLimits) -> None:
    """Refuse a table of more columns or cells than are taken with 413."""
    if columns > limits.max_columns:
        raise BadInputError(
            f"The table has {columns} columns, and {limits.max_columns} are taken here. Send fewer columns.",
            http_status=413,
        )
    if rows * columns > limits.max_cells:
        raise BadInputError(
            f"The table has {rows * columns} cells, and {limits.max_cells} are taken here at once. "
            "Send fewer rows at a time.",
            http_status=413,
        )


def labels_of(labels: Sequence[Any]) -> RowLabels | None:
    """Return the labels of rows, or ``None`` for those that only number them from 0."""
    if isinstance(labels, range):
        return None if labels == range(len(labels)) else RowLabels(labels)
    return None if list(labels) == list(range(len(labels))) else RowLabels(list(labels))


def label_values(values: Sequence[Any]) -> Sequence[Any]:
    """Return the values of a column as labels of rows."""
    if isinstance(values, list):
        return values
    import pandas as pd

    labels: list[Any] = pd.Series(values).tolist()
    return labels


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
    """Return names as they are; raises `BadInputError` for a duplicate."""
    if len(set(names)) < len(names):
        raise BadInputError(f"Two columns are called {shown(Counter(names).most_common(1)[0][0])}.")
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
