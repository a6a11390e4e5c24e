"""Frames as JSON, in each of pandas' layouts."""

from __future__ import annotations

import json
from typing import Any

import pandas as pd
import pytest

from kappa.adapters import DataframeOutput
from kappa.errors import InferenceFailedError

FRAME = pd.DataFrame({"a": [1, 2], "b": ["x", None]}, index=["r", "s"])


@pytest.mark.parametrize(
    ("orient", "expected"),
    [
        ("records", [{"a": 1, "b": "x"}, {"a": 2, "b": None}]),
        ("values", [[1, "x"], [2, None]]),
        ("split", {"columns": ["a", "b"], "index": ["r", "s"], "data": [[1, "x"], [2, None]]}),
        ("index", {"r": {"a": 1, "b": "x"}, "s": {"a": 2, "b": None}}),
        ("columns", {"a": {"r": 1, "s": 2}, "b": {"r": "x", "s": None}}),
    ],
)
def test_each_layout(orient: Any, expected: Any) -> None:
    answer = DataframeOutput(orient=orient).encode(FRAME)
    assert (json.loads(answer.body), answer.media_type) == (expected, "application/json")
    assert json.loads(FRAME.to_json(orient=orient)) == expected


@pytest.mark.parametrize(
    ("orient", "expected"),
    [
        ("records", []),
        ("values", []),
        ("columns", {"a": {}}),
        ("index", {}),
        ("split", {"columns": ["a"], "index": [], "data": []}),
    ],
)
def test_a_table_without_rows(orient: Any, expected: Any) -> None:
    assert json.loads(DataframeOutput(orient=orient).encode(pd.DataFrame({"a": []})).body) == expected


@pytest.mark.parametrize("value", [pd.Series([1, 2], name="a"), {"a": [1, 2]}, [{"a": 1}, {"a": 2}]])
def test_what_makes_a_table_is_one(value: Any) -> None:
    assert json.loads(DataframeOutput().encode(value).body) == [{"a": 1}, {"a": 2}]


@pytest.mark.parametrize(
    ("orient", "value", "message"),
    [
        ("records", 5, "A `int` does not make a table: DataFrame constructor not properly called!."),
        ("records", pd.DataFrame([[1, 2]], columns=["a", "a"]), 'Two columns of the table are called `"a"`.'),
        ("split", pd.DataFrame([[1, 2]], columns=[1, "1"]), 'Two columns of the table are called `"1"`.'),
        ("index", pd.DataFrame({"a": [1, 2]}, index=["r", "r"]), 'Two rows of the table are called `"r"`.'),
        ("columns", pd.DataFrame({"a": [1, 2]}, index=["r", "r"]), 'Two rows of the table are called `"r"`.'),
    ],
)
def test_a_table_that_json_would_lose_parts_of_is_an_error(orient: Any, value: Any, message: str) -> None:
    with pytest.raises(InferenceFailedError) as failure:
        DataframeOutput(orient=orient).encode(value)
    assert str(failure.value) == message
