"""Bodies as other servers take them, and columns under other names: the refusal says what to send."""

from __future__ import annotations

import json
from typing import Any

import pytest

from kappa.adapters import DataframeInput, NdarrayInput, PytorchTensorInput
from kappa.errors import BadInputError
from kappa.types import Payload

ROWS = [{"a": 1, "b": 2.5}]


def refusal(adapter: Any, body: Any) -> str:
    with pytest.raises(BadInputError) as refused:
        adapter.decode(Payload(json.dumps(body).encode(), "application/json"))
    return str(refused.value)


@pytest.mark.parametrize("columns", [None, ["a", "b"]], ids=["open", "declared"])
@pytest.mark.parametrize("rows", [ROWS, [[1, 2.5]]], ids=["records", "values"])
@pytest.mark.parametrize(
    ("name", "more"),
    [
        ("data", {}),
        ("data", {"names": ["a", "b"]}),
        ("instances", {}),
        ("instances", {"signature_name": "serving_default"}),
        ("inputs", {}),
        ("inputs", {"parameters": {"x": 1}}),
        ("input", {}),
        ("rows", {}),
        ("records", {}),
        ("dataframe_records", {}),
        ("dataframe_records", {"params": {}}),
    ],
)
def test_rows_in_an_object_of_other_servers_are_told_to_be_sent_by_themselves(
    name: str, more: Any, rows: Any, columns: Any
) -> None:
    body = {name: rows, **more}
    assert refusal(DataframeInput(columns=columns), body) == (
        f"The request has `{name}`; send the rows themselves: `[{{…}}]`."
    )
    if rows is not ROWS:
        for adapter in (NdarrayInput(), PytorchTensorInput(dtype="float32")):
            assert refusal(adapter, body) == f"The request has `{name}`; send the rows themselves: `[[…]]`."


@pytest.mark.parametrize(
    ("name", "held"),
    [
        ("dataframe_split", {"columns": ["a", "b"], "data": [[1, 2.5]]}),
        ("inputs", {"a": [1], "b": [2.5]}),
        ("data", {"ndarray": [[1, 2.5]], "names": ["a", "b"]}),
    ],
)
def test_a_table_in_an_object_of_other_servers_is_told_to_be_sent_by_itself(name: str, held: Any) -> None:
    for adapter in (DataframeInput(), DataframeInput(columns=["a", "b"]), NdarrayInput()):
        assert refusal(adapter, {name: held}) == f"The request has `{name}`; send what is in it by itself."


@pytest.mark.parametrize(
    ("adapter", "body", "names"),
    [
        (DataframeInput(), {"data": [1, 2]}, ("data",)),
        (DataframeInput(), {"data": {"0": 1}}, ("data",)),
        (DataframeInput(), {"input": ["x"], "id": [5]}, ("input", "id")),
        (DataframeInput(), {"data": [[1]], "price": [2]}, ("data", "price")),
        (DataframeInput(columns=["data"]), {"data": [[1], [2]]}, ("data",)),
        (DataframeInput(columns=["inputs"]), [{"inputs": [1]}], ("inputs",)),
        (DataframeInput(), {"columns": ["a"], "data": [[1]]}, ("a",)),
        (DataframeInput(), {"schema": {"fields": [{"name": "a"}]}, "data": [{"a": 1}]}, ("a",)),
    ],
)
def test_columns_of_such_names_are_columns(adapter: Any, body: Any, names: Any) -> None:
    assert adapter.decode(Payload(json.dumps(body).encode(), "application/json")).names == names


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (
            {"City": "Bern", "x": 1, "area_m2": 1},
            "Missing columns: `city`. The request has `City`, `x`; perhaps `City` for `city`.",
        ),
        (
            {"city": "Bern", "area": 1},
            "Missing columns: `area_m2`. The request has `area`; perhaps `area` for `area_m2`.",
        ),
        ({"city": "Bern", "x": 1}, "Missing columns: `area_m2`. The request has `x`."),
        ({"city": "Bern"}, "Missing columns: `area_m2`."),
        (
            {"city": "Bern"} | {f"x{number}": 1 for number in range(30)},
            f"Missing columns: `area_m2`. The request has {', '.join(f'`x{number}`' for number in range(20))}, ….",
        ),
        ({"city": "Bern", "y" * 100_000: 1}, f"Missing columns: `area_m2`. The request has `{'y' * 60}…`."),
    ],
    ids=["other case", "other name", "nothing alike", "nothing else", "many", "long"],
)
def test_missing_columns_are_told_with_what_is_there_instead(body: Any, message: str) -> None:
    assert refusal(DataframeInput(columns={"city": "str", "area_m2": "float64"}), [body]) == message
