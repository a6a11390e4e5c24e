"""Every type of Arrow, through every form: its value to the digit, or a refusal that names the column and the type."""

from __future__ import annotations

import io
import json
import uuid
from contextlib import suppress
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet
import pytest

from kappa.adapters import DataframeInput, DataframeOutput
from kappa.adapters.arrow import ARROW_FILE, ARROW_STREAM, PARQUET, arrow_payload, frame_of_arrow, parquet_batches
from kappa.errors import BadInputError
from kappa.types import DecodingLimits, Payload

LONG = 2**53 + 1
BERLIN = ZoneInfo("Europe/Berlin")
TEXT = str(pd.Series(["x"]).dtype)
WIDE = "longer than twelve bytes"


@dataclass(frozen=True)
class Case:
    """A column of a type, and what a function gets of it."""

    array: Any
    values: list[Any]
    """Missing ones are `None`."""
    dtype: str
    is_json: bool = False
    """Whether JSON has the same values, and brings the same column."""
    is_csv: bool = False
    has_parquet: bool = True


def runs(values: Any) -> Any:
    return pa.RunEndEncodedArray.from_arrays(pa.array([2, 3], pa.int32()), values)


def in_order(values: list[Any], ordered: bool = False) -> Any:
    return pa.DictionaryArray.from_arrays(pa.array([1, None, 0], pa.int8()), pa.array(values), ordered=ordered)


TZ = pa.timestamp("us", "Europe/Berlin")
MOMENT = datetime.fromisoformat("2026-01-02T03:04:05.678901")
FIRST = datetime.fromisoformat("0001-01-01")
LAST = datetime.fromisoformat("9999-12-31")
CASES: dict[str, Case] = {
    **{
        f"{name}": Case(pa.array([1, 100], getattr(pa, name)()), [1, 100], name, is_json=name == "int64")
        for name in ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")
    },
    **{
        f"{name} with a null": Case(pa.array([1, None], getattr(pa, name)()), [1.0, None], "float64", True, True)
        for name in ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")
    },
    "long int64": Case(pa.array([LONG, -(2**63)]), [LONG, -(2**63)], "int64", True, True),
    "long int64 with a null": Case(pa.array([LONG, None]), [LONG, None], "object", True, True),
    "least int64 with a null": Case(pa.array([-(2**63), None]), [-(2**63), None], "object", True, True),
    "largest uint64": Case(pa.array([2**64 - 1, 0], pa.uint64()), [2**64 - 1, 0], "uint64", True, True),
    "largest uint64 with a null": Case(pa.array([2**64 - 1, None], pa.uint64()), [2**64 - 1, None], "object", True),
    "integers all null": Case(pa.array([None, None], pa.int64()), [None, None], "float64"),
    "float16": Case(pa.array(np.array([1.5, -2], "float16")), [1.5, -2.0], "float16"),
    "float16 with a null": Case(pa.array([1.5, None], pa.float16()), [1.5, None], "float16"),
    "float32": Case(pa.array([0.5, None], pa.float32()), [0.5, None], "float32"),
    "float64": Case(pa.array([0.1, 2.5]), [0.1, 2.5], "float64", True, True),
    "float64 with a null": Case(pa.array([0.1, None]), [0.1, None], "float64", True, True),
    "bool": Case(pa.array([True, False]), [True, False], "bool", True, True),
    "bool with a null": Case(pa.array([True, None]), [True, None], "object", True),
    "null": Case(pa.nulls(2), [None, None], "object", True),
    "string": Case(pa.array(["x", None]), ["x", None], TEXT, True, True),
    "large_string": Case(pa.array(["x", None], pa.large_string()), ["x", None], TEXT, True, True),
    "string_view": Case(pa.array([WIDE, None], pa.string_view()), [WIDE, None], TEXT, True, True),
    "many strings": Case(pa.array(["é", None] * 40), ["é", None] * 40, TEXT, True, True),
    "many string_views": Case(pa.array([WIDE, "x", None] * 40, pa.string_view()), [WIDE, "x", None] * 40, TEXT, True),
    "binary": Case(pa.array([b"\xff", None]), [b"\xff", None], "object"),
    "large_binary": Case(pa.array([b"\xff", None], pa.large_binary()), [b"\xff", None], "object"),
    "binary_view": Case(pa.array([b"\xff" * 20, None], pa.binary_view()), [b"\xff" * 20, None], "object"),
    "fixed_size_binary": Case(pa.array([b"\xff\x00", None], pa.binary(2)), [b"\xff\x00", None], "object"),
    "decimal128": Case(
        pa.array([Decimal("12345678901234567890.12"), None], pa.decimal128(38, 2)),
        [Decimal("12345678901234567890.12"), None],
        "object",
    ),
    "decimal256": Case(
        pa.array([Decimal("1" * 70 + ".5"), None], pa.decimal256(76, 1)), [Decimal("1" * 70 + ".5"), None], "object"
    ),
    "date32": Case(
        pa.array([date(2026, 1, 2), date(1, 1, 1), None]), [date(2026, 1, 2), date(1, 1, 1), None], "object"
    ),
    "date64": Case(pa.array([date(9999, 12, 31), None], pa.date64()), [date(9999, 12, 31), None], "object"),
    "time32[s]": Case(pa.array([time(23, 59, 59), None], pa.time32("s")), [time(23, 59, 59), None], "object"),
    "time32[ms]": Case(pa.array([time(1, 2, 3, 4000), None], pa.time32("ms")), [time(1, 2, 3, 4000), None], "object"),
    "time64[us]": Case(pa.array([time(1, 2, 3, 4), None]), [time(1, 2, 3, 4), None], "object"),
    "time64[ns]": Case(pa.array([5000, None], pa.time64("ns")), [time(0, 0, 0, 5), None], "object"),
    "timestamp[s]": Case(
        pa.array([LAST, FIRST, None], pa.timestamp("s")),
        [LAST, FIRST, None],
        "datetime64[s]",
        has_parquet=False,  # which makes milliseconds of them
    ),
    **{
        f"timestamp[{unit}]": Case(
            pa.array([MOMENT.replace(microsecond=678000), None], pa.timestamp(unit)),
            [MOMENT.replace(microsecond=678000), None],
            f"datetime64[{unit}]",
        )
        for unit in ("ms", "us")
    },
    "timestamp[ns]": Case(
        pa.array([1234567890123456789, None], pa.timestamp("ns")),
        [pd.Timestamp(1234567890123456789), None],
        "datetime64[ns]",
    ),
    "timestamp with a zone": Case(
        pa.array([MOMENT, None], TZ),
        [MOMENT.replace(tzinfo=timezone.utc).astimezone(BERLIN), None],
        "datetime64[us, Europe/Berlin]",
    ),
    "timestamp with an offset": Case(
        pa.array([MOMENT, None], pa.timestamp("us", "+05:30")),
        [MOMENT.replace(tzinfo=timezone.utc), None],
        "datetime64[us, UTC+05:30]",
    ),
    **{
        f"duration[{unit}]": Case(
            pa.array([timedelta(days=-1), timedelta(seconds=5), None], pa.duration(unit)),
            [timedelta(days=-1), timedelta(seconds=5), None],
            f"timedelta64[{unit}]",
        )
        for unit in ("s", "ms", "us", "ns")
    },
    "list": Case(pa.array([[LONG, None], None, []]), [[LONG, None], None, []], "object", True),
    "list of bools": Case(pa.array([[True, None], None, []]), [[True, None], None, []], "object", True),
    "large_list": Case(pa.array([[1.5, None], None], pa.large_list(pa.float64())), [[1.5, None], None], "object", True),
    "fixed_size_list": Case(
        pa.array([[LONG, None], None], pa.list_(pa.int64(), 2)), [[LONG, None], None], "object", True
    ),
    "list_view": Case(
        pa.ListViewArray.from_arrays([1, 0, 0], [1, 2, 0], pa.array([LONG, None])),
        [[None], [LONG, None], []],
        "object",
        True,
        has_parquet=False,
    ),
    "struct": Case(
        pa.array([{"id": LONG, "s": "x"}, {"id": None, "s": None}, None]),
        [{"id": LONG, "s": "x"}, {"id": None, "s": None}, None],
        "object",
        True,
    ),
    "map": Case(
        pa.array([[("k", LONG), ("l", None)], None], pa.map_(pa.string(), pa.int64())),
        [[("k", LONG), ("l", None)], None],
        "object",
    ),
    "lists of structs of lists": Case(
        pa.array([[{"a": [2**64 - 1, None]}, None], None], pa.list_(pa.struct({"a": pa.list_(pa.uint64())}))),
        [[{"a": [2**64 - 1, None]}, None], None],
        "object",
        True,
    ),
    "lists of times": Case(
        pa.array([[MOMENT, None]], pa.list_(TZ)), [[MOMENT.replace(tzinfo=timezone.utc), None]], "object"
    ),
    "lists of durations": Case(
        pa.array([[timedelta(microseconds=-1)]], pa.list_(pa.duration("us"))), [[timedelta(microseconds=-1)]], "object"
    ),
    "lists of categories": Case(
        pa.ListArray.from_arrays([0, 2, 3], in_order(["x", "y"])), [["y", None], ["x"]], "object", True
    ),
    "dictionary of texts": Case(in_order(["x", "y"]), ["y", None, "x"], "category"),
    "dictionary of integers": Case(in_order([LONG, 7]), [7, None, LONG], "category", has_parquet=False),
    "dictionary in order": Case(in_order(["x", "y"], ordered=True), ["y", None, "x"], "category"),
    "dictionary that repeats itself": Case(in_order(["x", "x"]), ["x", None, "x"], "category", has_parquet=False),
    "dictionary with a null": Case(in_order(["x", None]), [None, None, "x"], "category", has_parquet=False),
    "dictionary of times": Case(
        pa.DictionaryArray.from_arrays(pa.array([0, None]), pa.array([MOMENT])), [MOMENT, None], "datetime64[us]"
    ),
    "dictionary of lists": Case(
        pa.DictionaryArray.from_arrays(pa.array([0, None]), pa.array([[LONG]])),
        [[LONG], None],
        "object",
        True,
        has_parquet=False,
    ),
    "runs of integers": Case(runs(pa.array([LONG, 5])), [LONG, LONG, 5], "int64", True, True, has_parquet=False),
    "runs with a null": Case(runs(pa.array([LONG, None])), [LONG, LONG, None], "object", True, True, has_parquet=False),
    "runs of texts": Case(runs(pa.array(["x", None])), ["x", "x", None], TEXT, True, True, has_parquet=False),
    "runs of lists": Case(runs(pa.array([[LONG], None])), [[LONG], [LONG], None], "object", True, has_parquet=False),
    "uuid": Case(
        pa.ExtensionArray.from_storage(pa.uuid(), pa.array([uuid.UUID(int=7).bytes, None], pa.binary(16))),
        [str(uuid.UUID(int=7)), None],
        TEXT,
        True,
        True,
    ),
    "json": Case(pa.ExtensionArray.from_storage(pa.json_(), pa.array(['{"a":1}', None])), ['{"a":1}', None], TEXT),
    "bool8": Case(
        pa.ExtensionArray.from_storage(pa.bool8(), pa.array([1, 0, None], pa.int8())), [True, False, None], "object"
    ),
    "period": Case(
        pa.array(pd.array([pd.Period("2026-01", "M"), None], dtype=pd.PeriodDtype("M"))),
        [pd.Period("2026-01", "M"), None],
        "period[M]",
    ),
}

REFUSED: dict[str, tuple[Any, str]] = {
    "interval": (pa.array([pa.MonthDayNano([1, 2, 3])]), "`month_day_nano_interval`: such values are not taken here"),
    "union": (
        pa.UnionArray.from_dense(pa.array([0], pa.int8()), pa.array([0], pa.int32()), [pa.array([1])]),
        "`dense_union<0: int64=0>`: such values are not taken here",
    ),
    "a list of intervals": (pa.array([[pa.MonthDayNano([1, 2, 3])]]), "such values are not taken here"),
    "a tensor": (
        pa.ExtensionArray.from_storage(
            pa.fixed_shape_tensor(pa.int64(), [2]), pa.array([[1, 2]], pa.list_(pa.int64(), 2))
        ),
        "such values are not taken here",
    ),
    "a year that Python has not": (
        pa.array([300_000_000_000], pa.timestamp("s")),
        "`timestamp[s]`: a value lies outside the years 1 to 9999",
    ),
    "a year that Python has not, in a list": (
        pa.array([[300_000_000_000]], pa.list_(pa.timestamp("s"))),
        "a value lies outside the years 1 to 9999",
    ),
    "a date that Python has not": (
        pa.array([3_000_000], pa.date32()),
        "`date32[day]`: a value lies outside the years 1 to 9999",
    ),
    "a time that would be missing": (pa.array([-(2**63)], pa.timestamp("ns")), "outside the years 1 to 9999"),
    "a duration that would be missing": (pa.array([-(2**63)], pa.duration("ns")), "a value is longer than"),
    "a duration that is too long": (pa.array([2**60], pa.duration("s")), "a value is longer than"),
    "nanoseconds of a day": (pa.array([1], pa.time64("ns")), "`time64[ns]`: a value has digits below a microsecond"),
    "nanoseconds in a list": (
        pa.array([[1]], pa.list_(pa.timestamp("ns"))),
        "a value has digits below a microsecond",
    ),
    "a zone that is none": (
        pa.array([1], pa.timestamp("us", "Europe/Nowhere")),
        "its time zone is not known here",
    ),
    "a zone that is a file": (
        pa.array([1], pa.timestamp("us", "dateutil//etc/localtime")),
        "its time zone is not known here",
    ),
    "fields of one name": (
        pa.StructArray.from_arrays([pa.array([1]), pa.array([2])], ["a", "a"]),
        "two of its fields have the same name",
    ),
}


def payload_of(column: Any, media_type: str) -> Payload:
    table = pa.table({"c": column, "one": pa.array([1] * len(column))})
    buffer = io.BytesIO()
    if media_type == PARQUET:
        pyarrow.parquet.write_table(table, buffer)
    else:
        with (pa.ipc.new_stream if media_type == ARROW_STREAM else pa.ipc.new_file)(buffer, table.schema) as writer:
            writer.write_table(table)
    return Payload(buffer.getvalue(), media_type)


def column_of(payload: Payload, adapter: DataframeInput | None = None) -> pd.Series:
    adapter = adapter or DataframeInput()
    column: pd.Series = adapter.merge([adapter.decode(payload)])["c"]
    return column


def values_in(column: pd.Series) -> list[Any]:
    return [None if pd.api.types.is_scalar(value) and pd.isna(value) else value for value in column.tolist()]


def assert_is(column: pd.Series, case: Case) -> None:
    found = values_in(column)
    assert (found, str(column.dtype)) == (case.values, case.dtype)
    assert list(map(type, found)) == list(map(type, case.values)) or "time" in case.dtype


@pytest.mark.parametrize("media_type", [ARROW_STREAM, ARROW_FILE, PARQUET])
@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_a_function_gets_the_values_of_the_column_itself(case: Case, media_type: str) -> None:
    if media_type == PARQUET and not case.has_parquet:
        pytest.skip("Parquet has no such type")
    assert_is(column_of(payload_of(case.array, media_type)), case)


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_a_client_gets_the_values_of_the_column_itself(case: Case) -> None:
    assert_is(frame_of_arrow(payload_of(case.array, ARROW_STREAM).data)["c"], case)


@pytest.mark.parametrize(
    "case", [c for c in CASES.values() if c.has_parquet], ids=[n for n in CASES if CASES[n].has_parquet]
)
def test_a_file_that_is_read_in_parts_gives_the_same(case: Case) -> None:
    tables = list(parquet_batches(io.BytesIO(payload_of(case.array, PARQUET).data), rows=1000))
    assert_is(column_of(arrow_payload(pa.concat_tables(tables), DecodingLimits())), case)


@pytest.mark.parametrize("case", [c for c in CASES.values() if c.is_json], ids=[n for n in CASES if CASES[n].is_json])
def test_json_brings_the_same(case: Case) -> None:
    records = json.dumps([{"c": value, "one": 1} for value in case.values]).encode()
    assert_is(column_of(Payload(records, "application/json")), case)
    table = {"schema": {"fields": [{"name": "c"}, {"name": "one"}]}, "data": json.loads(records)}
    assert_is(column_of(Payload(json.dumps(table).encode(), "application/json")), case)


@pytest.mark.parametrize("case", [c for c in CASES.values() if c.is_csv], ids=[n for n in CASES if CASES[n].is_csv])
def test_csv_brings_the_same(case: Case) -> None:
    lines = ["c,one", *(f"{'' if value is None else value},1" for value in case.values)]
    assert_is(column_of(Payload("\n".join(lines).encode(), "text/csv")), case)


def with_garbage(array: Any, octet: int) -> Any:
    """Return an array under whose missing values anything lies."""
    if pa.types.is_dictionary(array.type):
        return pa.DictionaryArray.from_arrays(with_garbage(array.indices, octet), array.dictionary, safe=False)
    validity, values, *rest = array.buffers()
    width = 16 if str(array.type).endswith("_view") else array.type.bit_width // 8
    octets = np.frombuffer(values, "uint8").copy()
    for place in np.asarray(array.is_null()).nonzero()[0]:
        octets[place * width : (place + 1) * width] = octet
    return pa.Array.from_buffers(array.type, len(array), [validity, pa.py_buffer(octets), *rest])


SPOILT = {
    **{
        name: case
        for name, case in CASES.items()
        if any(value is None for value in case.values)
        and str(case.array.type).startswith(
            ("int", "uint", "float", "double", "halffloat", "date", "time", "duration", "decimal", "string_view",
             "binary_view", "fixed_size_binary", "dictionary")
        )
    },
    "runs of string_views": Case(
        runs(pa.array([WIDE, None], pa.string_view())), [WIDE, WIDE, None], TEXT
    ),
    "dictionary of string_views": Case(
        pa.DictionaryArray.from_arrays(pa.array([0, None]), pa.array([WIDE], pa.string_view())),
        [WIDE, None],
        "category",
    ),
}  # fmt: skip


@pytest.mark.parametrize("octet", [0x7F, 0xF5])
@pytest.mark.parametrize("case", SPOILT.values(), ids=SPOILT)
def test_what_lies_under_a_missing_value_is_never_looked_at(case: Case, octet: int) -> None:
    """Validation passes over it: a view of negative length would be copied from anywhere."""
    array = case.array if str(case.array.type).startswith("run_end") else with_garbage(case.array, octet)
    assert_is(column_of(payload_of(array, ARROW_STREAM)), case)
    assert_is(frame_of_arrow(payload_of(array, ARROW_STREAM).data)["c"], case)
    lists = pa.ListArray.from_arrays([0, len(array)], array)
    with suppress(BadInputError):
        DataframeInput().decode(payload_of(lists, ARROW_STREAM))


@pytest.mark.parametrize("media_type", [ARROW_STREAM, ARROW_FILE])
@pytest.mark.parametrize(("array", "reason"), REFUSED.values(), ids=REFUSED)
def test_what_has_no_exact_form_is_refused_by_column_and_type(array: Any, reason: str, media_type: str) -> None:
    with pytest.raises(BadInputError) as refusal:
        DataframeInput().decode(payload_of(array, media_type))
    assert refusal.value.http_status == 422
    assert str(refusal.value).startswith("The column `c` is `")
    assert reason in str(refusal.value)


def test_a_column_that_the_api_does_not_declare_is_not_looked_at() -> None:
    payload = payload_of(REFUSED["interval"][0], ARROW_STREAM)
    adapter = DataframeInput(columns=["one"])
    assert adapter.merge([adapter.decode(payload)])["one"].tolist() == [1]


# -- declared columns --------------------------------------------------------------------------------------------------

DECLARED: list[tuple[str, str, list[Any] | str]] = [
    ("long int64 with a null", "int64", [LONG, None]),
    ("int8 with a null", "int64", [1, None]),
    ("largest uint64 with a null", "uint64", [2**64 - 1, None]),
    ("largest uint64 with a null", "int64", "`18446744073709551615` does not fit 64 bits in row 0"),
    ("long int64 with a null", "float64", "`9007199254740993` would lose digits in row 0"),
    ("integers all null", "int64", [None, None]),
    ("bool with a null", "bool", [True, None]),
    ("null", "int64", [None, None]),
    ("runs with a null", "int64", [LONG, LONG, None]),
    ("dictionary of integers", "int64", [7, None, LONG]),
    ("dictionary of texts", "str", ["y", None, "x"]),
    ("dictionary of texts", "int64", '`"y"` is not a whole number in row 0'),
    ("string_view", "str", [WIDE, None]),
    ("large_string", "str", ["x", None]),
    ("binary", "str", "is not text in row 0"),
    ("float16 with a null", "float64", [1.5, None]),
    ("float16 with a null", "int64", "`1.5` is not a whole number in row 0"),
    ("float32", "float64", [0.5, None]),
    ("decimal128", "float64", "would lose digits in row 0"),
    ("date32", "datetime", [FIRST.replace(year=2026, day=2), FIRST, None]),
    ("timestamp[s]", "datetime", [LAST, FIRST, None]),
    ("timestamp[us]", "datetime", [MOMENT.replace(microsecond=678000), None]),
    ("timestamp[ns]", "datetime", "has digits below a microsecond in row 0"),
    ("timestamp with a zone", "datetime", [MOMENT, None]),
    ("timestamp with an offset", "datetime", [MOMENT, None]),
    ("duration[us]", "datetime", "is not a date and time"),
    ("list", "object", [[LONG, None], None, []]),
    ("uuid", "str", [str(uuid.UUID(int=7)), None]),
]


@pytest.mark.parametrize("media_type", [ARROW_STREAM, ARROW_FILE, PARQUET])
@pytest.mark.parametrize(("name", "dtype", "expected"), DECLARED, ids=[f"{n} as {d}" for n, d, _ in DECLARED])
def test_a_declared_column_is_converted_without_loss_or_refused(
    name: str, dtype: str, expected: list[Any] | str, media_type: str
) -> None:
    if media_type == PARQUET and not CASES[name].has_parquet:
        pytest.skip("Parquet has no such type")
    adapter = DataframeInput(columns={"c": {"dtype": dtype, "nullable": True}})
    payload = payload_of(CASES[name].array, media_type)
    if isinstance(expected, str):
        with pytest.raises(BadInputError) as refusal:
            adapter.decode(payload)
        assert refusal.value.http_status == 422
        assert expected in str(refusal.value)
        assert str(refusal.value).startswith(f"The column `c` must be `{dtype}`: ")
    else:
        assert values_in(column_of(payload, adapter)) == expected


# -- back and forth ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "frame",
    [
        pd.DataFrame({"a": pd.Series([LONG, None], dtype=object)}),
        pd.DataFrame({"a": pd.array([LONG, None], dtype="Int64"), "b": pd.array([True, None], dtype="boolean")}),
        pd.DataFrame({"a": [1]}, index=pd.Index(["x"], name="key")),
        pd.DataFrame({"a": [1]}, index=pd.date_range("2026-01-01", periods=1, name="day").as_unit("us")),
        pd.DataFrame({"a": [1, 2]}, index=pd.MultiIndex.from_tuples([("x", 1), ("y", 2)], names=["k", None])),
        pd.DataFrame({"a": [1, 2]}, index=pd.RangeIndex(4, 8, 2)),
        pd.DataFrame({"a": []}, dtype="int64"),
        pd.DataFrame([[1, 2]], columns=pd.Index(["a", "b"], name="what")),
        pd.DataFrame([[1, 2]], columns=pd.MultiIndex.from_tuples([("a", "x"), ("a", "y")], names=["p", None])),
        pd.DataFrame({"a": [[LONG, None], None]}),
        pd.DataFrame({"a": pd.Categorical(["x", None], categories=["y", "x"], ordered=True)}),
    ],
    ids=str,
)
def test_a_client_gets_the_frame_that_a_function_returned(frame: pd.DataFrame) -> None:
    answer = DataframeOutput().encode(frame, accept=ARROW_STREAM)
    pd.testing.assert_frame_equal(frame_of_arrow(answer.body), frame, check_freq=False)
