"""What functions return, as JSON: exact, or an error; never a guess."""

from __future__ import annotations

import dataclasses
import datetime as dt
import enum
import fractions
import json
import math
import re
import uuid
import warnings
from collections import OrderedDict, deque, namedtuple
from decimal import Decimal
from types import MappingProxyType
from typing import Any, get_args

import numpy as np
import orjson
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from pydantic import BaseModel

from kappa.adapters import DataframeOutput, DefaultOutput, JsonOutput, NdarrayOutput, SeriesOutput
from kappa.adapters.columns import Orient
from kappa.adapters.json import encode_json
from kappa.adapters.json_values import json_rows
from kappa.errors import InferenceFailedError


@dataclasses.dataclass
class Point:
    x: Any
    y: Any = None


class Box(BaseModel):
    size: int


class Color(enum.Enum):
    RED = "red"


Pair = namedtuple("Pair", "a b")
UTC = dt.timezone.utc


class Tensor:
    """Looks like a tensor that follows its gradient."""

    def __init__(self, values: Any, *, is_detached: bool = False) -> None:
        self.values, self.is_detached = values, is_detached

    def detach(self) -> Tensor:
        return Tensor(self.values, is_detached=True)

    def cpu(self) -> Tensor:
        return self

    def numpy(self) -> Any:
        assert self.is_detached
        return np.array(self.values)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        pytest.param([math.nan, math.inf, -math.inf], [None, None, None], id="floats without JSON words"),
        pytest.param(np.float64("nan"), None, id="numpy nan"),
        pytest.param([np.int64(1), np.float32(0.1), np.bool_(True), np.str_("x")], [1, 0.1, True, "x"], id="scalars"),
        pytest.param(np.longdouble(1.5), 1.5, id="longdouble"),
        pytest.param(np.array(3), 3, id="0-d"),
        pytest.param(np.array([[1.5, math.nan]]), [[1.5, None]], id="array with nan"),
        pytest.param(np.arange(6).reshape(2, 3).T, [[0, 3], [1, 4], [2, 5]], id="not contiguous"),
        pytest.param(np.array([0.1, 0.2], dtype="float32")[::-1], [0.2, 0.1], id="float32 not contiguous"),
        pytest.param(np.array([1, 2], dtype=">i4"), [1, 2], id="other byte order"),
        pytest.param(np.array([1.5], dtype="float16"), [1.5], id="float16"),
        pytest.param(np.array([1.5], dtype="longdouble"), [1.5], id="longdouble array"),
        pytest.param(np.array(["a", "b"]), ["a", "b"], id="text array"),
        pytest.param(np.array([b"a"]), ["a"], id="bytes array"),
        pytest.param(np.array([1, None, "x"], dtype=object), [1, None, "x"], id="object array"),
        pytest.param(np.zeros((0, 3)), [], id="empty"),
        pytest.param(np.ma.array([1, 2], mask=[False, True]), [1, None], id="masked"),
        pytest.param(np.array(["2020-01-02", "NaT"], dtype="M8[ns]"), ["2020-01-02T00:00:00", None], id="dates"),
        pytest.param(np.array(["2020-01-02", "NaT"], dtype="M8[D]"), ["2020-01-02T00:00:00", None], id="days"),
        pytest.param(np.array(["2020", "NaT"], dtype="M8[Y]")[::-1], [None, "2020-01-01T00:00:00"], id="years"),
        pytest.param(
            [np.datetime64("NaT", "ns"), np.datetime64("1970-01-01")], [None, "1970-01-01T00:00:00"], id="epoch"
        ),
        pytest.param([pd.NaT, pd.NA, None], [None, None, None], id="missing"),
        pytest.param(pd.Timestamp("2020-01-02 03:04:05.000000006"), "2020-01-02T03:04:05.000000006", id="nanoseconds"),
        pytest.param(
            [pd.Timestamp(0, tz="UTC"), dt.datetime(1970, 1, 1, tzinfo=UTC)],
            ["1970-01-01T00:00:00Z"] * 2,
            id="UTC",
        ),
        pytest.param(pd.Series([1, None], dtype="Int64"), [1, None], id="nullable integers"),
        pytest.param(pd.Series(["x", None], dtype="string"), ["x", None], id="nullable text"),
        pytest.param(pd.Series([True, None], dtype="boolean"), [True, None], id="nullable booleans"),
        pytest.param(pd.Series(["x", None], dtype="category"), ["x", None], id="categorical series"),
        pytest.param(pd.Categorical(["x", "y"]), ["x", "y"], id="categorical"),
        pytest.param(pd.array([1, None], dtype="Int64"), [1, None], id="extension array"),
        pytest.param(pd.Index(["x"]), ["x"], id="index"),
        pytest.param(
            pd.DataFrame(
                {"i": [1, 2], "t": pd.to_datetime(["2020-01-02", "NaT"]), "s": ["x", None], "f": [math.nan, 1.5]}
            ),
            [{"i": 1, "t": "2020-01-02T00:00:00", "s": "x", "f": None}, {"i": 2, "t": None, "s": None, "f": 1.5}],
            id="frame",
        ),
        pytest.param({"rows": pd.DataFrame({"a": [{"b": np.array([1])}]})}, {"rows": [{"a": {"b": [1]}}]}, id="nested"),
        pytest.param(
            {1: "a", 2.5: "b", None: "c", False: "d"}, {"1": "a", "2.5": "b", "null": "c", "false": "d"}, id="keys"
        ),
        pytest.param({np.int64(1): 2, np.str_("x"): {np.int8(3): 4}}, {"1": 2, "x": {"3": 4}}, id="numpy keys"),
        pytest.param([2**64, {"x": -(2**100)}], [2**64, {"x": -(2**100)}], id="long integers"),
        pytest.param(b"caf\xc3\xa9", "café", id="UTF-8 bytes"),
        pytest.param({3, 1, 2}, [1, 2, 3], id="set"),
        pytest.param((1, Pair(2, 3)), [1, [2, 3]], id="tuples"),
        pytest.param(MappingProxyType({"a": MappingProxyType({"b": 1})}), {"a": {"b": 1}}, id="mapping proxies"),
        pytest.param(OrderedDict(a=1), {"a": 1}, id="ordered dict"),
        pytest.param(Point(np.array([1]), Point(2)), {"x": [1], "y": {"x": 2, "y": None}}, id="dataclass"),
        pytest.param(
            [Box(size=1), Color.RED, uuid.UUID(int=1)], [{"size": 1}, "red", str(uuid.UUID(int=1))], id="objects"
        ),
        pytest.param(Tensor([1, 2]), [1, 2], id="tensor"),
        pytest.param([range(3), deque([1, 2]), {"a": 1}.values(), {"a": 1}.keys()], [[0, 1, 2], [1, 2], [1], ["a"]]),
        pytest.param({"a": 1}.items(), [["a", 1]], id="items"),
        pytest.param(frozenset("ba"), ["a", "b"], id="frozenset"),
        pytest.param(bytearray(b"a"), "a", id="bytearray"),
        pytest.param({np.datetime64("2020-01-02T00:00:00.5"): 1}, {"2020-01-02T00:00:00.500000": 1}, id="date as key"),
        pytest.param({pd.Timestamp("2020-01-02", tz="UTC"): 1}, {"2020-01-02T00:00:00Z": 1}, id="timestamp as key"),
        pytest.param({np.datetime64("2020", "ns"): {1: 2}}, {"2020-01-01T00:00:00": {"1": 2}}, id="nanoseconds as key"),
        pytest.param({pd.Timedelta(1, "s"): 1}, {"P0DT0H0M1S": 1}, id="duration as key"),
        pytest.param({np.float32(0.1): 1, np.bool_(True): 2}, {"0.1": 1, "true": 2}, id="float32 as key"),
        pytest.param({Decimal("1.50"): 1, b"b": 2}, {"1.50": 1, "b": 2}, id="decimal as key"),
        pytest.param(
            Point(2**70, np.array(["2020"], "M8[ns]")), {"x": 2**70, "y": ["2020-01-01T00:00:00"]}, id="careful"
        ),
    ],
)
def test_value(value: Any, expected: Any) -> None:
    assert json.loads(encode_json(value)) == expected


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (Decimal("1.50"), "1.50"),
        (Decimal("0.1000000000000000055511151231257827"), "0.1000000000000000055511151231257827"),
        (Decimal("-12345678901234567890.123"), "-12345678901234567890.123"),
        (Decimal("1E+400"), "1E+400"),
        (Decimal("0E-9"), "0E-9"),
        (Decimal("NaN"), "null"),
        (Decimal("sNaN"), "null"),
        (Decimal("-Infinity"), "null"),
        (pd.Series([Decimal("1.10"), None]), "[1.10,null]"),
        (pd.DataFrame({"a": [Decimal("1.10")]}), '[{"a":1.10}]'),
        (np.array([Decimal("1.10")]), "[1.10]"),
    ],
    ids=str,
)
def test_a_decimal_has_its_own_digits(number: Any, text: str) -> None:
    assert encode_json(number) == text.encode()


MOMENT = "2020-01-02T03:04:05"


@pytest.mark.parametrize(
    ("unit", "moment", "text"),
    [
        ("Y", "2020", "2020-01-01T00:00:00"),
        ("M", "2020-02", "2020-02-01T00:00:00"),
        ("W", "2020-01-02", "2020-01-02T00:00:00"),
        ("D", "2020-01-02", "2020-01-02T00:00:00"),
        ("h", "2020-01-02T03", "2020-01-02T03:00:00"),
        ("m", "2020-01-02T03:04", "2020-01-02T03:04:00"),
        ("s", MOMENT, MOMENT),
        ("ms", f"{MOMENT}.123", f"{MOMENT}.123000"),
        ("us", f"{MOMENT}.123456", f"{MOMENT}.123456"),
        ("ns", f"{MOMENT}.123456789", f"{MOMENT}.123456789"),
        ("ns", f"{MOMENT}.000000001", f"{MOMENT}.000000001"),
        ("ns", f"{MOMENT}.123456", f"{MOMENT}.123456"),
        ("ns", "1969-12-31T23:59:59.999999999", "1969-12-31T23:59:59.999999999"),
        ("ns", "1970-01-01", "1970-01-01T00:00:00"),
        ("ps", "1970-01-02T03:04:05.123456789012", "1970-01-02T03:04:05.123456789012"),
        ("fs", "1970-01-01T00:00:01.000000000000001", "1970-01-01T00:00:01.000000000000001"),
        ("as", "1970-01-01T00:00:01.5", "1970-01-01T00:00:01.500000"),
    ],
)
def test_a_date_of_numpys_keeps_its_digits(unit: Any, moment: str, text: str) -> None:
    date = np.datetime64(moment, unit)
    for value in (date, np.array([date, "NaT"], dtype=f"M8[{unit}]"), {"a": [date]}, Point(date), {1: date}):
        found = json.loads(encode_json(value))
        assert text in (found, *(found if isinstance(found, list) else []), *(_leaves(found))), found


units = st.sampled_from(["Y", "M", "W", "D", "h", "m", "s", "ms", "us", "ns", "ps"])
near = st.integers(-(10**6), 10**6)


@given(units, st.integers(1, 25), near | st.integers(-(2**63) + 1, 2**63 - 1))
def test_a_date_of_numpys_is_right_or_an_error_whatever_its_unit(unit: Any, step: int, number: int) -> None:
    dates = np.array([number], dtype=f"M8[{step}{unit}]")
    try:
        expected = _moment(unit, number * step)
    except OverflowError:
        for far in (dates, [dates[0]], {"a": (1.5, dates)}):
            with pytest.raises(InferenceFailedError, match="a date lies outside the years 1 to 9999"):
                encode_json(far)
        return

    class Wrapped(enum.Enum):
        DATE = dates[0]

    series = pd.Series([dates[0]] * 2, dtype=object)
    values: list[Any] = [dates, [dates[0]], {"a": (1.5, dates)}, Point(Wrapped.DATE), deque([dates]), series]
    for value in values:
        assert expected in [str(leaf)[: len(expected)] for leaf in _leaves(json.loads(encode_json(value)))]


def _moment(unit: str, number: int) -> str:
    """Return the whole seconds of a date; raises `OverflowError` for one outside the years 1 to 9999."""
    if unit in "YM":
        year, month = divmod(number if unit == "M" else 12 * number, 12)
        if not 1 <= 1970 + year <= 9999:
            raise OverflowError
        return dt.datetime(1970 + year, month + 1, 1).isoformat()  # noqa: DTZ001 - as numpy's
    lengths = {"W": 604_800, "D": 86_400, "h": 3600, "m": 60, "s": 1}
    digits = {"ms": 3, "us": 6, "ns": 9, "ps": 12}
    seconds = number * lengths[unit] if unit in lengths else number // 10 ** digits[unit]
    return (dt.datetime(1970, 1, 1) + dt.timedelta(seconds=seconds)).isoformat()  # noqa: DTZ001 - the same


def _leaves(value: Any) -> list[Any]:
    if isinstance(value, dict | list):
        return [leaf for item in (value.values() if isinstance(value, dict) else value) for leaf in _leaves(item)]
    return [value]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (dt.timedelta(seconds=1), "P0DT0H0M1S"),
        (dt.timedelta(days=-1, microseconds=5), "P-1DT0H0M0.000005S"),
        (dt.timedelta(days=400, hours=25, milliseconds=1), "P401DT1H0M0.001S"),
        (pd.Timedelta(1, "ns"), "P0DT0H0M0.000000001S"),
        (pd.Timedelta(-1, "ns"), "P-1DT23H59M59.999999999S"),
        (np.timedelta64(2, "W"), "P14DT0H0M0S"),
        (np.timedelta64(36, "h"), "P1DT12H0M0S"),
        (np.timedelta64(-90, "m"), "P-1DT22H30M0S"),
        (np.timedelta64(61, "s"), "P0DT0H1M1S"),
        (np.timedelta64(1500, "ms"), "P0DT0H0M1.5S"),
        (np.timedelta64(1, "us"), "P0DT0H0M0.000001S"),
        (np.timedelta64(1, "ns"), "P0DT0H0M0.000000001S"),
        (np.timedelta64(1, "as"), "P0DT0H0M0.000000000000000001S"),
        (np.timedelta64(3, ("s", 25)), "P0DT0H1M15S"),
    ],
    ids=repr,
)
def test_a_duration_is_iso_8601s(value: Any, text: str) -> None:
    assert json.loads(encode_json({"a": [value]})) == {"a": [text]}
    if not isinstance(value, np.timedelta64) or np.datetime_data(value.dtype)[0] not in ("as", "s"):
        assert pd.Timedelta(text) == pd.Timedelta(value)
    for column in (pd.Series([value]), pd.DataFrame({"a": [value]})) if not isinstance(value, np.timedelta64) else ():
        assert text in _leaves(json.loads(encode_json(column)))


def test_missing_durations_are_null() -> None:
    array = np.array([[1, "NaT"]], dtype="m8[s]")
    assert encode_json([array, np.timedelta64("NaT", "s"), pd.Series(array[0])]) == (
        b'[[["P0DT0H0M1S",null]],null,["P0DT0H0M1S",null]]'
    )


# -- float32 -----------------------------------------------------------------------------------------------------------

SHORT = [0.1, 1 / 3, 16777216.0, 1e16, 1.5e15, 6.3184107e-6, 1e-7, 3.4028235e38, 1e-45, -2.5, 123456789.0]
DIGITS = [encode_json(np.float32(number)).decode() for number in SHORT]


def short_series(dtype: Any) -> Any:
    return pd.Series(SHORT, dtype="float32").astype(dtype)


def texts_of(body: bytes) -> list[str]:
    """Return all numbers of JSON or CSV as they are written."""
    return re.findall(r"-?\d[\d.]*(?:e[+-]?\d+)?", body.decode())


@pytest.mark.parametrize("dtype", ["float32", "Float32", "Sparse[float32]", "category", "float[pyarrow]", "object"])
@pytest.mark.parametrize(
    ("adapter", "is_frame"),
    [
        (DefaultOutput(), False),
        (JsonOutput(), False),
        (NdarrayOutput(), False),
        (SeriesOutput(), False),
        (SeriesOutput(orient="index"), False),
        (SeriesOutput(orient="split"), False),
        (DefaultOutput(), True),
        (JsonOutput(), True),
        *((DataframeOutput(orient=orient), True) for orient in get_args(Orient)),
    ],
    ids=lambda value: f"{value.type} {getattr(value, 'orient', '')}" if hasattr(value, "type") else str(value),
)
def test_a_float32_has_one_form(adapter: Any, is_frame: bool, dtype: str) -> None:
    series = short_series("float32").astype(object) if dtype == "object" else short_series(dtype)
    if dtype == "object":
        series = pd.Series(list(np.array(SHORT, dtype="float32")), dtype=object)
    value = pd.DataFrame({"x": series, "y": ["a"] * len(series)}) if is_frame else series
    for made in (value, adapter.prepare(value)):
        found = texts_of(adapter.encode(made).body)
        assert set(DIGITS) <= set(found), set(DIGITS) - set(found)


@pytest.mark.parametrize("dtype", ["float32", "Float32"])
@pytest.mark.parametrize("adapter", [SeriesOutput(), DataframeOutput(), DefaultOutput()], ids=lambda each: each.type)
def test_a_float32_has_the_same_digits_in_csv(adapter: Any, dtype: str) -> None:
    series = short_series(dtype)
    value = series if adapter.type == "series" else series.to_frame("x")
    lines = adapter.encode(value, accept="text/csv").body.decode().splitlines()[1:]
    assert [np.float32(line) for line in lines] == [np.float32(number) for number in SHORT]
    assert [float(line) for line in lines] == [float(digits) for digits in DIGITS]


@pytest.mark.parametrize(
    "value",
    [
        np.float32(0.1),
        [np.float32(0.1)],
        {"a": (np.float32(0.1),)},
        np.array([[0.1]], "float32"),
        np.array([0.1], ">f4"),
        np.array([0.1, 0.2], "float32")[::-1],
        np.array([np.float32(0.1)], object),
        np.ma.array([0.1], dtype="float32", mask=[False]),
        pd.Index([0.1], dtype="float32"),
        pd.array([0.1, None], dtype="Float32"),
        {"a": pd.Series([0.1], dtype="float32"), 1: [pd.DataFrame({"a": pd.Series([0.1], dtype="float32")})]},
        pd.Series([1], index=pd.Index([0.1], dtype="float32")),
    ],
    ids=[
        *(
            "scalar",
            "list",
            "nested",
            "array",
            "big-endian",
            "not contiguous",
            "objects",
            "masked",
            "index",
            "extension",
        ),
        *("nested in other keys", "labels"),
    ],
)
def test_a_float32_is_short_wherever_it_stands(value: Any) -> None:
    assert b"0.1000000" not in encode_json(value)
    assert b"0.1" in encode_json(value if not isinstance(value, pd.Series) else value.index)


def test_a_float16_is_written_as_the_float32_that_it_is() -> None:
    column = np.array([0.1], "float16")
    forms = [column, list(column), pd.Series(column), pd.DataFrame({"a": column}), column[::-1]]
    assert [texts_of(encode_json(form)) for form in forms] == [["0.099975586"]] * len(forms)


@given(arrays.arrays("float32", 20))
def test_a_float32_reads_back_as_itself(array: Any) -> None:
    series = pd.Series(array)
    body = encode_json(series)
    assert body == encode_json(array)
    finite = np.where(np.isfinite(array), array, np.nan)
    np.testing.assert_array_equal(np.array(json.loads(body), dtype="float32"), finite)


def test_floats_that_are_missing_or_infinite_are_null_in_every_dtype() -> None:
    for dtype in ("float16", "float32", "float64", "Float32", "Float64"):
        series = pd.Series([1.5, math.nan, math.inf]).astype(dtype)
        assert encode_json(series) == b"[1.5,null,null]"
        assert encode_json(series.to_frame("a")) == b'[{"a":1.5},{"a":null},{"a":null}]'


def without_unit() -> np.timedelta64:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of NumPy 2.5
        return np.timedelta64(5)


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        pytest.param(object(), "`object` has no JSON form", id="object"),
        pytest.param({"a": [object()]}, "`object` has no JSON form", id="nested object"),
        pytest.param(1j, "`complex` has no JSON form", id="complex"),
        pytest.param(np.array([1j]), "numpy's `complex128` has no JSON form", id="complex array"),
        pytest.param(
            np.array([5], dtype="m8[M]"),
            "numpy's `timedelta64[M]` has no JSON form, because its unit has no length",
            id="months",
        ),
        pytest.param(
            without_unit(), "numpy's `timedelta64` has no JSON form, because its unit has no length", id="no unit"
        ),
        pytest.param(np.zeros(1, dtype="V4"), "numpy's `|V4` has no JSON form", id="void"),
        pytest.param(fractions.Fraction(1, 3), "`Fraction` has no JSON form", id="fraction"),
        pytest.param(pd.Period("2020-01"), "`Period` has no JSON form", id="period"),
        pytest.param({(1, 2): 3}, "Dict key must a type serializable with OPT_NON_STR_KEYS", id="tuple as key"),
        pytest.param({1, "a"}, "'<' not supported between instances of", id="set without order"),
        pytest.param(iter([1]), "`list_iterator` has no JSON form", id="iterator"),
        pytest.param(np.datetime64("20000-01-01"), "a date lies outside the years 1 to 9999", id="far date"),
        pytest.param([np.datetime64(2**62, "D")], "a date lies outside the years 1 to 9999", id="farthest date"),
        pytest.param({"a": np.array([-(2**62)], "M8[7h]")}, "a date lies outside the years 1 to 9999", id="steps"),
        pytest.param(np.array([5]).astype("M8"), "numpy's `datetime64` has no JSON form, because its unit", id="step"),
        pytest.param(b"\xff", "'utf-8' codec can't decode byte 0xff in position 0: invalid start byte", id="bytes"),
        pytest.param("\ud800", "str is not valid UTF-8: surrogates not allowed", id="surrogate"),
        pytest.param(
            pd.DataFrame([[1, 2]], columns=["a", "a"]), "two columns of the frame are called `a`", id="columns"
        ),
        pytest.param((x for x in "ab"), "`generator` has no JSON form", id="generator"),
    ],
)
def test_what_has_no_json_form_is_an_error(value: Any, reason: str) -> None:
    with pytest.raises(InferenceFailedError) as failure:
        encode_json(value)
    expected = f"A value of type `{type(value).__name__}` cannot be written as JSON: {reason}"
    assert str(failure.value)[: len(expected)] == expected


@pytest.mark.parametrize("first", [[], [np.float64(1)]], ids=["nothing else", "a number of numpy's"])
def test_a_value_that_contains_itself_is_an_error(first: list[Any]) -> None:
    value = [*first]
    value += [value, value]
    with pytest.raises(InferenceFailedError):
        encode_json(value)


values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), inner, max_size=3)
    ),
)


@given(values)
def test_json_values_come_back_as_they_were(value: Any) -> None:
    assert json.loads(encode_json(value)) == value


dtypes = st.sampled_from(["float64", "float32", "float16", "int64", "int8", "uint64", "bool", "object", "U3", "M8[s]"])


@given(
    dtypes.flatmap(
        lambda dtype: arrays.arrays(
            dtype,
            arrays.array_shapes(max_dims=2, max_side=5),
            elements=st.integers(0, 9) if dtype == "object" else None,
        )
    ),
    st.booleans(),
    st.integers(0, 5),
    st.integers(0, 5),
)
def test_part_of_a_batch_is_written_as_if_it_were_never_converted(
    array: Any, is_fortran: bool, start: int, stop: int
) -> None:
    value = np.asfortranarray(array) if is_fortran else array
    try:
        expected = encode_json(value[start:stop])
    except InferenceFailedError:
        return
    assert encode_json(json_rows(value)[start:stop]) == expected


@pytest.mark.parametrize(
    "value",
    [
        pd.Series([1.5, None, 3.0]),
        pd.Series(["x", "y", None], dtype="category"),
        pd.Series([0.1, 0.2, 0.3], dtype="float32"),
        pd.DataFrame({"a": [0.1, 0.2, 0.3], "b": pd.to_datetime(["2020-01-02", "NaT", "2021-01-01"])}),
        pd.DataFrame({"a": pd.Series([0.1, 0.2, 0.3], dtype="float32"), 1: [1, 2, 3]}),
        [1, "x", None],
    ],
    ids=["floats", "category", "float32 series", "frame", "float32 frame", "list"],
)
def test_part_of_a_pandas_object_is_written_the_same_way(value: Any) -> None:
    rows = value.iloc if hasattr(value, "iloc") else value
    assert [encode_json(json_rows(value)[i : i + 2]) for i in range(3)] == [
        encode_json(rows[i : i + 2]) for i in range(3)
    ]


def test_a_frame_that_has_no_records_is_left_to_fail_when_it_is_encoded() -> None:
    frame = pd.DataFrame([[1, 2]], columns=["a", "a"])
    assert json_rows(frame) is frame


@pytest.mark.parametrize("adapter", [DefaultOutput(), JsonOutput()])
def test_the_answer_of_the_plain_outputs(adapter: Any) -> None:
    answer = adapter.encode({"a": np.float64(1.5)}, accept="text/html")
    assert answer == (b'{"a":1.5}', "application/json", 200, {})


MEMBERS = [
    0,
    True,
    None,
    1.5,
    math.nan,
    "T10:00:00",
    "€",
    [],
    [1, [2]],
    {},
    {"a": [np.float32(0.1)]},
    {1: 2},
    2**70,
    np.datetime64("2020-01-01T10:00:00", "ns"),
    dt.datetime(2020, 1, 1, 10, tzinfo=UTC),
    pd.Series([1, 2]),
]


@pytest.mark.parametrize("wrap", [lambda rows: rows, lambda rows: {"rows": rows, 7: "seven", "T": dt.timedelta(1)}])
@pytest.mark.parametrize("length", [16_383, 16_384, 16_385, 40_000])
def test_a_list_of_any_length_is_written_as_its_members_are(length: int, wrap: Any) -> None:
    members = [MEMBERS[i % len(MEMBERS)] for i in range(length)]
    wanted = wrap([orjson.Fragment(encode_json(member)) for member in members])

    assert encode_json(wrap(members)) == encode_json(wanted)


@pytest.mark.parametrize("wrap", [lambda rows: rows, lambda rows: {"rows": rows}])
def test_what_has_no_json_form_is_said_wherever_it_stands_in_a_long_list(wrap: Any) -> None:
    with pytest.raises(InferenceFailedError, match="complex"):
        encode_json(wrap([*range(20_000), 1j]))
