"""What functions return, as JSON: exact, or an error; never a guess."""

from __future__ import annotations

import dataclasses
import datetime as dt
import enum
import json
import math
import uuid
from collections import OrderedDict, namedtuple
from types import MappingProxyType
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from pydantic import BaseModel

from kappa.adapters import DefaultOutput, JsonOutput
from kappa.adapters.json import encode_json, json_rows
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
                {"i": [1, 2], "t": pd.to_datetime(["2020-01-02", None]), "s": ["x", None], "f": [math.nan, 1.5]}
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
    ],
)
def test_value(value: Any, expected: Any) -> None:
    assert json.loads(encode_json(value)) == expected


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        pytest.param(object(), "`object` has no JSON form", id="object"),
        pytest.param({"a": [object()]}, "`object` has no JSON form", id="nested object"),
        pytest.param(1j, "`complex` has no JSON form", id="complex"),
        pytest.param(np.array([1j]), "numpy's `complex128` has no JSON form", id="complex array"),
        pytest.param(np.array([5], dtype="m8[ns]"), "numpy's `timedelta64[ns]` has no JSON form", id="timedelta array"),
        pytest.param(pd.Timedelta(1, "s"), "`Timedelta` has no JSON form", id="timedelta"),
        pytest.param(np.datetime64("20000-01-01"), "unrepresentable numpy.datetime64: 6585322 days", id="far date"),
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
    assert str(failure.value) == f"A value of type `{type(value).__name__}` cannot be written as JSON: {reason}."


def test_a_value_that_contains_itself_is_an_error() -> None:
    value: list[Any] = []
    value.append(value)
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
        pd.DataFrame({"a": [0.1, 0.2, 0.3], "b": pd.to_datetime(["2020-01-02", None, "2021-01-01"])}),
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
