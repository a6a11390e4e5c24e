"""``orient="table"``: a table has the dtypes that its schema names, and comes back as it was written."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pandas as pd
import pytest

from kappa.adapters import DataframeInput, DataframeOutput
from kappa.errors import BadInputError, InferenceFailedError
from kappa.types import Payload

HAS_UNITS = pd.__version__ >= "3"  # before, an index of times made of Python's is of nanoseconds
DAYS = pd.DatetimeIndex(["2020-01-02T03:04:05.678", None]).as_unit("us")
FRAMES = {
    "integers": pd.DataFrame({"a": [1, -(2**63)]}),
    "large integers": pd.DataFrame({"a": np.array([2**64 - 1, 0], "uint64")}),
    "integers beside a null": pd.DataFrame({"a": pd.Series([2**53 + 1, None], dtype=object)}),
    "numbers": pd.DataFrame({"a": [0.1, None], "b": [1.0, 2.0]}),
    "truth values": pd.DataFrame({"a": [True, False], "b": pd.Series([True, None], dtype=object)}),
    "texts": pd.DataFrame({"a": ["01", None], "b": pd.Series([None, None], dtype="str")}),
    "times": pd.DataFrame({"a": DAYS}),
    "times in a zone": pd.DataFrame({"a": DAYS.tz_localize("Europe/Berlin"), "b": DAYS.tz_localize("UTC")}),
    "lengths of time": pd.DataFrame({"a": pd.to_timedelta(["1D 2h 3.5s", None]).as_unit("us")}),
    "categories": pd.DataFrame({"a": pd.Categorical(["x", None], categories=["y", "x"])}),
    "categories in order": pd.DataFrame({"a": pd.Categorical(["x", "y"], categories=["y", "x"], ordered=True)}),
    "categories of numbers": pd.DataFrame({"a": pd.Categorical([1, None], categories=[2, 1])}),
    **{
        name: pd.DataFrame({"a": pd.array([1, None], dtype=name)})
        for name in ("Int8", "Int16", "Int32", "Int64", "UInt8", "UInt16", "UInt32", "UInt64", "Float32", "Float64")
    },
    "long Int64": pd.DataFrame({"a": pd.array([2**60 + 1, None], dtype="Int64")}),
    "boolean": pd.DataFrame({"a": pd.array([True, None], dtype="boolean")}),
    "lists": pd.DataFrame({"a": [[1, 2], None]}),
    "labels": pd.DataFrame({"a": [1, 2]}, index=["x", "y"]),
    "labels with a name": pd.DataFrame({"a": [1, 2]}, index=pd.Index([5, 7], name="k")),
    "labels that are times": pd.DataFrame({"a": [1, 2]}, index=DAYS),
    "two labels": pd.DataFrame({"a": [1, 2]}, index=pd.MultiIndex.from_tuples([("x", 1), ("y", 2)], names=["k", None])),
    "columns with numbers": pd.DataFrame({5: [1, 2], 7: [3.5, 4]}),
}


def decoded(body: bytes) -> pd.DataFrame:
    adapter = DataframeInput(orient="table")
    frame: pd.DataFrame = adapter.merge([adapter.decode(Payload(body, "application/json"))])
    return frame


@pytest.mark.parametrize("frame", FRAMES.values(), ids=FRAMES)
def test_what_kappa_writes_comes_back_equal(frame: pd.DataFrame) -> None:
    found = decoded(DataframeOutput(orient="table").encode(frame).body)
    pd.testing.assert_frame_equal(found, frame, check_names=False, check_index_type=HAS_UNITS)


@pytest.mark.parametrize("frame", FRAMES.values(), ids=FRAMES)
def test_what_pandas_writes_comes_back_equal(frame: pd.DataFrame) -> None:
    found = decoded((frame.to_json(orient="table", date_unit="us") or "").encode())
    pd.testing.assert_frame_equal(found, frame, check_names=False, check_index_type=HAS_UNITS)


def body(values: list[Any], schema: Any = None, **field: Any) -> bytes:
    fields = [{"name": "a", **field}, {"name": "b", "type": "integer"}]
    rows = [{"a": value, "b": 1} for value in values]
    return json.dumps({"schema": {"fields": fields, **(schema or {})}, "data": rows}).encode()


@pytest.mark.parametrize(
    ("sent", "status", "reason"),
    [
        (body(["soon"], type="datetime"), 422, '`"soon"` is not a date and time like'),
        (body([1, "x"], type="number"), 422, '`"x"` is not a number in row 1'),
        (body([1, 1.5], type="integer"), 422, "`1.5` is not a whole number in row 1"),
        (body([1, 1.5, None], type="integer"), 422, "`1.5` is not a whole number in row 1"),
        (body([1], type="boolean"), 422, "`1` is not true or false"),
        (body(["P"], type="duration"), 422, '`"P"` is not a length of time'),
        (body([1.5], type="integer", extDtype="Int64"), 422, "`1.5` is not a whole number"),
        (body([300], type="integer", extDtype="UInt8"), 422, "`300` does not fit 8 bits"),
        (body(["z"], type="any", constraints={"enum": ["x"]}), 422, '`"z"` is not in `enum`'),
        (body([["z"]], type="any", constraints={"enum": ["x"]}), 422, '`["z"]` is not in `enum`'),
        (body(["x"], type="any", constraints={"enum": ["x", "x"]}), 422, "`enum` has a value twice"),
        (body(["x"], type="any", constraints={"enum": [["x"]]}), 422, "`enum` must be an array of values"),
        (body(["2020-01-01"], type="datetime", tz="Europe/Nowhere"), 422, "its time zone is not known here"),
        (body(["2020-01-01"], type="datetime", freq="M"), 422, "periods are not taken"),
        (body(["2020-01-02T03:04:05.123456789"], type="datetime"), 422, "has digits below a microsecond"),
        (body([1], {"primaryKey": [["a"]]}), 400, "`primaryKey` must be"),
        (body([1], {"primaryKey": [{}]}), 400, "`primaryKey` must be"),
        (body([1], {"primaryKey": {"a": 1}}), 400, "`primaryKey` must be"),
        (body([1], {"primaryKey": ["z"]}), 400, "`primaryKey` must be"),
        (body([[1]], {"primaryKey": ["a"]}), 400, "labelled by arrays or objects"),
        (body([1], name=["a"]), 400, "`schema` must list its `fields`"),
        (body([1], name=None), 400, "`schema` must list its `fields`"),
        (body([1], name="b"), 400, "Two columns are called"),
    ],
)  # fmt: skip
def test_what_does_not_fit_the_schema_is_refused(sent: bytes, status: int, reason: str) -> None:
    with pytest.raises(BadInputError) as refusal:
        decoded(sent)
    assert (refusal.value.http_status, reason in str(refusal.value)) == (status, True), str(refusal.value)


@pytest.mark.parametrize(
    "field",
    [{"type": ["integer"]}, {"type": 5}, {"extDtype": {}}, {"constraints": []}, {"constraints": {"enum": 5}}, {}],
    ids=str,
)
def test_a_schema_in_words_of_its_own_is_as_if_it_said_nothing(field: dict[str, Any]) -> None:
    assert decoded(body([1, 2], **field))["a"].tolist() == [1, 2]


def test_a_column_that_is_called_as_the_labels_are_is_an_error() -> None:
    with pytest.raises(InferenceFailedError, match="is called as its row labels are"):
        DataframeOutput(orient="table").encode(pd.DataFrame({"index": [1]}))
