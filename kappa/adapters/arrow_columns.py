"""The columns of an Arrow table as kinds and values, to the digit.

A column that JSON could have brought is as if it had. The table has been validated: buffers are read here as they are.
What a column unfolds to is counted before it does, because few bytes may stand for many values: those of a dictionary,
of runs, of lists that overlap, and those that are missing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date, datetime, timedelta, timezone
from itertools import chain
from typing import Any, cast

from kappa.adapters.columns import EXACT_FLOAT, Kind, kind_of, text_dtype
from kappa.adapters.times import zone_of
from kappa.errors import BadInputError

__all__ = ["Room", "UntakenError", "column_of"]


class UntakenError(ValueError):
    """A column cannot be taken as it is; the message goes on after its name and type."""


class Room:
    """The bytes that a table may still unfold to."""

    def __init__(self, most_bytes: int) -> None:
        self._most = most_bytes
        self._left = most_bytes

    def take(self, count: int, each: int = 1) -> None:
        """Use up the memory of so many values; raises a `BadInputError` of 413 beyond the limit."""
        self._left -= count * each
        if self._left < 0:
            raise BadInputError(
                f"The table unfolds to more than {self._most} bytes, which is what is taken here at once. "
                "Send fewer rows at a time.",
                http_status=413,
            )

    def check(self, count: int, each: int = 1) -> None:
        """Raise if so many values would exceed the limit."""
        if count * each > self._left:
            self.take(count, each)


def _name_of(arrow_type: Any) -> str:
    """Return the name of a type without its parameters: `list` of `list<item: int64>`."""
    text = str(arrow_type)
    for mark in "<[(":
        text = text.partition(mark)[0]
    return text


def column_of(column: Any, hint: str, room: Room) -> tuple[Kind, Sequence[Any]]:
    """Return the kind and the values of a column; ``hint`` is the dtype that pandas wrote it from.

    Raises `UntakenError` for a type or a value that has no exact form, `BadInputError` for one that does not fit in.
    """
    name = _name_of(column.type)
    if _ARROW_OF_NULLABLE.get(hint) == name:
        room.take(len(column), 9)
        return hint, _dtype(hint).__from_arrow__(column)
    if name in _NUMPY:
        return _numbers(column, _NUMPY[name], room)
    if (read := _COLUMNS.get(name)) is not None:
        return read(column, room)
    return _objects(column, room)


def _dtype(name: str) -> Any:
    import pandas as pd

    return pd.api.types.pandas_dtype(name)


_NUMPY = {
    **{f"{sign}int{bits}": f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)},
    "halffloat": "float16",
    "float": "float32",
    "double": "float64",
}
_ARROW_OF_NULLABLE = {
    **{name.replace("i", "I", 1).replace("u", "U", 1): name for name in _NUMPY if "int" in name},
    "Float32": "float",
    "Float64": "double",
    "boolean": "bool",
}
"""pandas' dtypes with a word for what is missing, by what Arrow calls them."""


# -- columns -----------------------------------------------------------------------------------------------------------


def _numbers(column: Any, dtype: str, room: Room) -> tuple[Kind, Sequence[Any]]:
    """Return numbers; integers some of which are missing are what JSON would make of them."""
    import numpy as np

    values = _joined_raw(column, dtype)
    room.take(values.nbytes)
    if not column.null_count:
        return dtype, values
    missing = _missing(column)
    if dtype.startswith("float"):
        values = values.copy()
        values[missing] = np.nan
        return dtype, values
    present = values[~missing]
    if not len(present) or (int(present.min()) >= -EXACT_FLOAT and int(present.max()) <= EXACT_FLOAT):
        room.take(len(values), 8)
        floats = values.astype("float64")
        floats[missing] = np.nan
        return "float64", floats
    room.take(len(values), _OBJECT)
    return "object", _without(values.tolist(), column)


def _bools(column: Any, room: Room) -> tuple[Kind, Sequence[Any]]:
    room.take(len(column), 8 if column.null_count else 1)
    values = column.to_numpy()
    return ("object", values.tolist()) if column.null_count else ("bool", values)


def _texts(column: Any, room: Room) -> tuple[Kind, Sequence[Any]]:
    import pyarrow as pa

    for chunk in column.chunks:
        room.check(len(chunk), 8)
        room.take(int(_lengths(chunk).sum()) + 8 * len(chunk))
    dtype = text_dtype()
    if dtype is None or len(column) <= _FEW_ROWS:
        return "str", list(chain.from_iterable(map(_to_list, column.chunks)))
    return "str", dtype.__from_arrow__(pa.chunked_array(map(_without_views, column.chunks), type=_no_view(column.type)))


_FEW_ROWS = 32


def _times(column: Any, room: Room) -> tuple[Kind, Sequence[Any]]:
    """Return points in time, or lengths of it, with the unit that they have."""
    import numpy as np
    import pandas as pd

    unit, is_duration = column.type.unit, _name_of(column.type) == "duration"
    values = _joined_raw(column, "int64")
    room.take(values.nbytes)
    missing = _missing(column)
    present = values[~missing]
    if len(present):
        _check_years(int(present.min()), int(present.max()), unit, is_duration=is_duration)
    if column.null_count:
        values = values.copy()
        values[missing] = _NOT_A_TIME
    kind = f"{'timedelta64' if is_duration else 'datetime64'}[{unit}]"
    times = values.view(kind)
    if is_duration or column.type.tz is None:
        return kind, times
    _zone(column.type.tz)
    zoned = pd.Series(times).dt.tz_localize("UTC").dt.tz_convert(column.type.tz)
    if len(present):  # the first and the last must be dates of Python's too
        with _out_of_range():
            pd.Series(np.array([present.min(), present.max()]).view(kind)).dt.tz_localize("UTC").dt.tz_convert(
                column.type.tz
            ).tolist()
    return zoned.dtype, cast("Sequence[Any]", zoned.array)


_NOT_A_TIME = -(1 << 63)
_PER_SECOND = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}
_FIRST_SECOND, _LAST_SECOND = -62_135_596_800, 253_402_300_799
_MOST_SECONDS = 86_400 * 10**9


def _check_years(low: int, high: int, unit: str, *, is_duration: bool) -> None:
    seconds = _PER_SECOND[unit]
    first, last = (-_MOST_SECONDS, _MOST_SECONDS) if is_duration else (_FIRST_SECOND, _LAST_SECOND)
    if low < first * seconds or high >= (last + 1) * seconds or low == _NOT_A_TIME:
        words = "is longer than a thousand million days" if is_duration else "lies outside the years 1 to 9999"
        raise UntakenError(f"a value {words}")


class _out_of_range:  # noqa: N801 - a context manager
    """Say of a date that Python does not have that it is none."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: Any) -> None:
        if isinstance(error, ValueError | OverflowError) and not isinstance(error, UntakenError | BadInputError):
            raise UntakenError("a value lies outside the years 1 to 9999") from None


def _zone(name: str) -> Any:
    try:
        return zone_of(name)
    except ValueError as exc:
        raise UntakenError(str(exc)) from None


def _categories(column: Any, room: Room) -> tuple[Kind, Sequence[Any]]:
    """Return a category where its values are of the usual kinds and not too many, else the values themselves."""
    import numpy as np
    import pandas as pd

    for chunk in column.chunks:
        room.take(int(_spread(_flat_sizes(chunk.dictionary, room), chunk).sum()))
    name = _name_of(column.type.value_type)
    if name not in _CATEGORIES or sum(len(chunk.dictionary) for chunk in column.chunks) > _MOST_CATEGORIES:
        return _undone(column, lambda chunk: (chunk.dictionary, chunk.indices), room)
    positions: dict[Any, int] = {}
    codes: list[Any] = []
    for chunk in column.chunks:
        listed = _to_list(chunk.dictionary)
        places = [
            -1 if value is None or value != value else positions.setdefault(value, len(positions)) for value in listed
        ]
        indices = _raw(chunk.indices, _NUMPY[_name_of(column.type.index_type)]).astype(np.intp)
        merged = np.array([*places, -1], dtype=np.intp)[np.where(_missing(chunk), len(places), indices)]
        codes.append(merged)
    values: Any = (
        np.array([*positions], dtype=_NUMPY[name])
        if name in _NUMPY
        else pd.Index([*positions], dtype=_index_dtype(name))
    )
    dtype = pd.CategoricalDtype(values, ordered=column.type.ordered)
    hash(dtype)  # PERF: pandas caches it, and grouping needs it in another thread
    return dtype, cast("Sequence[Any]", pd.Categorical.from_codes(np.concatenate(codes), dtype=dtype))


def _index_dtype(name: str) -> Any:
    return bool if name == "bool" else text_dtype() or object


_MOST_CATEGORIES = 100_000
_CATEGORIES = frozenset({*_NUMPY, "bool", "string", "large_string", "string_view"}) - {"halffloat"}


def _runs(column: Any, room: Room) -> tuple[Kind, Sequence[Any]]:
    for chunk in column.chunks:
        room.take(int(_spread(_flat_sizes(chunk.values, room), chunk).sum()))
    return _undone(column, lambda chunk: (chunk.values, _run_places(chunk)), room)


def _undone(column: Any, parts: Callable[[Any], tuple[Any, Any]], room: Room) -> tuple[Kind, Sequence[Any]]:
    """Return a column whose values are written only once, each where it belongs."""
    import pyarrow as pa

    chunks = []
    for chunk in column.chunks:
        values, places = parts(chunk)
        chunks.append(_without_views(values).take(places))
    return column_of(pa.chunked_array(chunks, _no_view(column.type.value_type)), "", room)


def _no_view(arrow_type: Any) -> Any:
    import pyarrow as pa

    return {"string_view": pa.large_string(), "binary_view": pa.large_binary()}.get(_name_of(arrow_type), arrow_type)


def _run_places(chunk: Any) -> Any:
    """Return for each row which of the runs it is in."""
    import numpy as np
    import pyarrow as pa

    return pa.array(np.repeat(np.arange(len(chunk.values)), _run_lengths(chunk)))


def _run_lengths(chunk: Any) -> Any:
    import numpy as np

    ends = _raw(chunk.run_ends, _NUMPY[_name_of(chunk.type.run_end_type)]).astype("int64")
    return np.diff(np.clip(ends - chunk.offset, 0, len(chunk)), prepend=0)


def _extension(column: Any, room: Room) -> tuple[Kind, Sequence[Any]]:
    import pyarrow as pa

    name = column.type.extension_name
    if name in ("pandas.period", "pandas.interval"):
        room.take(len(column), 16)
        dtype = column.type.to_pandas_dtype()
        return dtype, dtype.__from_arrow__(column)
    if name == "arrow.json":
        storage = pa.chunked_array([chunk.storage for chunk in column.chunks], column.type.storage_type)
        return column_of(storage, "", room)
    if name in _EXTENSIONS:
        return _objects(column, room)
    raise UntakenError("such values are not taken here")


def _objects(column: Any, room: Room) -> tuple[Kind, Sequence[Any]]:
    """Return a column of Python's values."""
    for chunk in column.chunks:
        room.take(int(_sizes(chunk, room).sum()))
    values = list(chain.from_iterable(map(_to_list, column.chunks)))
    return kind_of(values), values


_COLUMNS: Mapping[str, Callable[[Any, Room], tuple[Kind, Sequence[Any]]]] = {
    "bool": _bools,
    "string": _texts,
    "large_string": _texts,
    "string_view": _texts,
    "timestamp": _times,
    "duration": _times,
    "dictionary": _categories,
    "run_end_encoded": _runs,
    "extension": _extension,
}


# -- buffers -----------------------------------------------------------------------------------------------------------


def _raw(array: Any, dtype: str, *, width: int = 1, number: int = 1) -> Any:
    """Return a buffer of an array as it is; missing values are undefined."""
    import numpy as np

    buffer = array.buffers()[number]
    if buffer is None or not len(array):
        return np.zeros(width * len(array), dtype)
    return np.frombuffer(buffer, dtype, width * len(array), width * array.offset * np.dtype(dtype).itemsize)


def _joined_raw(column: Any, dtype: str) -> Any:
    import numpy as np

    chunks = [_raw(chunk, dtype) for chunk in column.chunks]
    return chunks[0] if len(chunks) == 1 else np.concatenate([np.zeros(0, dtype), *chunks])


def _missing(array: Any) -> Any:
    import numpy as np

    return np.asarray(array.is_null())


def _offsets(array: Any) -> Any:
    """Return where the items of each value begin and end."""
    import numpy as np

    dtype = "int64" if _name_of(array.type).startswith("large") else "int32"
    buffer = array.buffers()[1]
    if buffer is None or not len(array):
        return np.zeros(len(array) + 1, "int64")
    return np.frombuffer(buffer, dtype, len(array) + 1, array.offset * np.dtype(dtype).itemsize).astype("int64")


def _spans(array: Any) -> tuple[Any, Any]:
    """Return where each list of an array begins and ends among its items."""
    import numpy as np

    name = _name_of(array.type)
    if name.endswith("list_view"):
        dtype = "int64" if name.startswith("large") else "int32"
        is_missing = _missing(array)
        starts = np.where(is_missing, 0, _raw(array, dtype).astype("int64"))
        return starts, starts + np.where(is_missing, 0, _raw(array, dtype, number=2))
    if name == "fixed_size_list":
        starts = (np.arange(len(array)) + array.offset) * array.type.list_size
        return starts, starts + array.type.list_size
    offsets = _offsets(array)
    return offsets[:-1], offsets[1:]


def _lengths(array: Any) -> Any:
    """Return the number of bytes of each text, or of each value that is bytes."""
    import numpy as np

    name = _name_of(array.type)
    if name == "fixed_size_binary":
        return np.full(len(array), array.type.byte_width)
    if name.endswith("_view"):
        lengths = _raw(array, "int32", width=4)[::4].astype("int64")
    else:
        lengths = np.diff(_offsets(array))
    return np.where(_missing(array), 0, lengths) if array.null_count else lengths


# -- what values unfold to ---------------------------------------------------------------------------------------------

_OBJECT = 40  # a reference and a small object of Python's
_CONTAINER = 64


def _sizes(array: Any, room: Room) -> Any:
    """Return about how many bytes of memory each value of an array will be as one of Python's."""
    import numpy as np

    name = _name_of(array.type)
    room.check(len(array), 8)
    if name in ("null", "bool"):
        return np.full(len(array), 8)
    if name in _TEXTS:
        return _lengths(array) + (_OBJECT + 17)
    if name in _LISTS:
        ends = np.concatenate([[0], np.cumsum(_sizes(array.values, room))])
        starts, stops = _spans(array)
        items = np.minimum(ends[stops] - ends[starts], _HUGE)
        return (np.where(_missing(array), 0, items) if array.null_count else items) + _CONTAINER
    if name == "struct":
        fields = [_sizes(array.field(i), room) + 32 for i in range(array.type.num_fields)]
        return np.minimum(sum(fields, np.full(len(array), 2 * _CONTAINER)), _HUGE)
    if name == "dictionary":
        return _spread(_sizes(array.dictionary, room), array)
    if name == "run_end_encoded":
        return _spread(_sizes(array.values, room), array)
    if name == "extension":
        return _sizes(array.storage, room)
    return np.full(len(array), 3 * _OBJECT if name.startswith("decimal") else _OBJECT)


def _flat_sizes(array: Any, room: Room) -> Any:
    """Return about how many bytes of memory each value of an array is as one of a column of its own kind."""
    import numpy as np

    room.check(len(array), 8)
    name = _name_of(array.type)
    if name in _NUMPY or name == "bool":
        return np.full(len(array), 8)
    return _lengths(array) + 8 if name in _TEXTS else _sizes(array, room)


def _spread(sizes: Any, array: Any) -> Any:
    """Return the sizes of the values of an array, given those that it holds once and says where they stand."""
    import numpy as np

    room_of_one = np.minimum(sizes, _HUGE)
    if _name_of(array.type) == "run_end_encoded":
        return np.repeat(room_of_one, _run_lengths(array))
    indices = _raw(array.indices, _NUMPY[_name_of(array.type.index_type)]).astype("int64")
    return np.append(room_of_one, 8)[np.where(_missing(array), len(sizes), indices)]


_HUGE = 1 << 36  # so that no sum of these leaves 64 bits
_TEXTS = frozenset(
    {"string", "large_string", "string_view", "binary", "large_binary", "binary_view", "fixed_size_binary"}
)
_LISTS = frozenset({"list", "large_list", "list_view", "large_list_view", "fixed_size_list", "map"})


# -- values of Python's ------------------------------------------------------------------------------------------------


def _without(values: list[Any], array: Any) -> list[Any]:
    """Put `None` where a value is missing."""
    if not array.null_count:
        return values
    return [None if is_missing else value for value, is_missing in zip(values, _missing(array).tolist(), strict=True)]


def _to_list(array: Any) -> list[Any]:
    """Return the values of an array as Python's own; raises `UntakenError` for those that have no exact form."""
    name = _name_of(array.type)
    if name in _NUMPY:
        return _without(_raw(array, _NUMPY[name]).tolist(), array)
    if (read := _VALUES.get(name)) is None:
        raise UntakenError("such values are not taken here")
    return read(array)


def _nothing(array: Any) -> list[Any]:
    return [None] * len(array)


def _plain(array: Any) -> list[Any]:
    values: list[Any] = _without_views(array).to_numpy(zero_copy_only=False).tolist()
    return values


def _without_views(array: Any) -> Any:
    """Return texts or bytes that are views as such that are not; pyarrow follows also the views of missing values."""
    import numpy as np
    import pyarrow as pa

    name = _name_of(array.type)
    if name not in ("string_view", "binary_view"):
        return array
    validity, _, *data = array.buffers()
    views = _raw(array, "int64", width=2).reshape(-1, 2).copy()
    views[_missing(array)] = 0
    if validity is not None and array.offset:
        validity = pa.py_buffer(np.packbits(~_missing(array), bitorder="little"))
    clean = pa.Array.from_buffers(array.type, len(array), [validity, pa.py_buffer(views), *data])
    return clean.cast(pa.large_string() if name == "string_view" else pa.large_binary())


def _dates(array: Any) -> list[Any]:
    days = _name_of(array.type) == "date32"
    values = _raw(array, "int32" if days else "int64").astype("int64")
    return _python_times(values if days else values // 86_400_000, array, "datetime64[D]", date)


def _timestamps(array: Any) -> list[Any]:
    import pandas as pd

    micros = _microseconds(array)
    values = _python_times(micros, array, "datetime64[us]", datetime)
    if array.type.tz is None:
        return values
    zone = _zone(array.type.tz)
    with _out_of_range():  # PERF: pandas converts many at once
        zoned = pd.DatetimeIndex(micros.view("datetime64[us]")).tz_localize(timezone.utc).tz_convert(zone)
        return _without(zoned.to_pydatetime().tolist(), array)


def _durations(array: Any) -> list[Any]:
    return _python_times(_microseconds(array), array, "timedelta64[us]", timedelta)


def _times_of_day(array: Any) -> list[Any]:
    moments = _python_times(_microseconds(array), array, "datetime64[us]", datetime)
    if any(moment is not None and moment.toordinal() != _EPOCH for moment in moments):
        raise UntakenError("a value is not a time of day")
    return [None if moment is None else moment.time() for moment in moments]


_EPOCH = date(1970, 1, 1).toordinal()


def _microseconds(array: Any) -> Any:
    """Return times as microseconds, which is what Python's own count."""
    import numpy as np

    values = _raw(array, "int32" if _name_of(array.type) == "time32" else "int64").astype("int64")
    values = np.where(_missing(array), 0, values) if array.null_count else values
    if array.type.unit == "ns":
        if (values % 1000).any():
            raise UntakenError("a value has digits below a microsecond")
        return values // 1000
    factor = 10**6 // _PER_SECOND[array.type.unit]
    if len(values) and not -(1 << 62) < int(values.min()) * factor <= int(values.max()) * factor < 1 << 62:
        raise UntakenError("a value lies outside the years 1 to 9999")
    return values * factor


def _python_times(values: Any, array: Any, kind: str, wanted: type) -> list[Any]:
    import numpy as np

    values = np.where(_missing(array), 0, values) if array.null_count else values
    items = values.view(kind).tolist()
    if not all(type(value) is wanted for value in items):  # NumPy gives integers for what Python's cannot be
        raise UntakenError("a value lies outside the years 1 to 9999")
    return _without(items, array)


def _lists(array: Any) -> list[Any]:
    items = _to_list(array.values)
    starts, stops = _spans(array)
    lists = [items[start:stop] for start, stop in zip(starts.tolist(), stops.tolist(), strict=True)]
    return _without(lists, array)


def _maps(array: Any) -> list[Any]:
    keys, items = _to_list(array.keys), _to_list(array.items)
    starts, stops = _spans(array)
    pairs = list(zip(keys, items, strict=True))
    return _without([pairs[start:stop] for start, stop in zip(starts.tolist(), stops.tolist(), strict=True)], array)


def _structs(array: Any) -> list[Any]:
    names = [array.type.field(i).name for i in range(array.type.num_fields)]
    if len(set(names)) < len(names):
        raise UntakenError("two of its fields have the same name")
    fields = [_to_list(array.field(i)) for i in range(len(names))]
    rows: Iterable[tuple[Any, ...]] = zip(*fields, strict=True) if fields else [()] * len(array)
    return _without([dict(zip(names, row, strict=True)) for row in rows], array)


def _of_dictionary(array: Any) -> list[Any]:
    values = _to_list(array.dictionary)
    indices = _without(_raw(array.indices, _NUMPY[_name_of(array.type.index_type)]).tolist(), array.indices)
    return [None if index is None else values[index] for index in indices]


def _of_runs(array: Any) -> list[Any]:
    values = _to_list(array.values)
    lengths = _run_lengths(array).tolist()
    return list(chain.from_iterable([value] * length for value, length in zip(values, lengths, strict=True)))


def _of_extension(array: Any) -> list[Any]:
    if (convert := _EXTENSIONS.get(array.type.extension_name)) is None:
        raise UntakenError("such values are not taken here")
    return [None if value is None else convert(value) for value in _to_list(array.storage)]


def _uuid(octets: bytes) -> str:
    text = octets.hex()  # PERF: a `UUID` takes ten times as long
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


_EXTENSIONS: Mapping[str, Callable[[Any], Any]] = {
    "arrow.uuid": _uuid,
    "arrow.bool8": bool,
    "arrow.json": str,
}

_VALUES: Mapping[str, Callable[[Any], list[Any]]] = {
    "null": _nothing,
    "bool": _plain,
    **dict.fromkeys(_TEXTS, _plain),
    **dict.fromkeys(("decimal32", "decimal64", "decimal128", "decimal256"), _plain),
    "date32": _dates,
    "date64": _dates,
    "time32": _times_of_day,
    "time64": _times_of_day,
    "timestamp": _timestamps,
    "duration": _durations,
    **dict.fromkeys(_LISTS - {"map"}, _lists),
    "map": _maps,
    "struct": _structs,
    "dictionary": _of_dictionary,
    "run_end_encoded": _of_runs,
    "extension": _of_extension,
}
