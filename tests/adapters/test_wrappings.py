"""Bodies as other servers take them, and columns under other names: the refusal says what to send."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from kappa.adapters import (
    AnnotatedImageInput,
    DataframeInput,
    FileInput,
    ImageInput,
    JsonInput,
    MultiFileInput,
    MultiImageInput,
    NdarrayInput,
    PytorchTensorInput,
    StringInput,
    TfTensorInput,
)
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
        ("input_data", {"columns": ["a", "b"], "index": [0], "data": [[1, 2.5]]}),
    ],
)
def test_a_table_in_an_object_of_other_servers_is_told_to_be_sent_by_itself(name: str, held: Any) -> None:
    for adapter in (DataframeInput(), DataframeInput(columns=["a", "b"])):
        assert refusal(adapter, {name: held}) == f"The request has `{name}`; send what is in it by itself."
        assert adapter.decode(Payload(json.dumps(held).encode(), "application/json")).names == ("a", "b")
    assert refusal(NdarrayInput(), {name: held}) == f"The request has `{name}`; send the rows themselves: `[[…]]`."


VALUES = [[1, 2.5]]
TENSOR = {"name": "x", "shape": [1, 2], "datatype": "FP64", "data": [1, 2.5]}
OF_OTHERS: dict[str, tuple[str, Any]] = {
    "BentoML, an array": ("input_series", {"input_series": VALUES}),
    "BentoML, a frame": ("input_df", {"input_df": ROWS}),
    "MLflow, split": ("dataframe_split", {"dataframe_split": {"columns": ["a", "b"], "data": VALUES}}),
    "MLflow, records": ("dataframe_records", {"dataframe_records": ROWS, "params": {"x": 1}}),
    "MLflow, instances": ("instances", {"instances": ROWS}),
    "MLflow, inputs": ("inputs", {"inputs": {"a": [1], "b": [2.5]}}),
    "TensorFlow Serving, rows": ("instances", {"signature_name": "serving_default", "instances": VALUES}),
    "TensorFlow Serving, columns": ("inputs", {"inputs": VALUES}),
    "Seldon, ndarray": ("data", {"data": {"names": ["a", "b"], "ndarray": VALUES}}),
    "Seldon, tensor": ("data", {"data": {"tensor": {"shape": [1, 2], "values": [1, 2.5]}}}),
    "Seldon, text": ("strData", {"strData": "hello"}),
    "Seldon, JSON": ("jsonData", {"jsonData": {"a": [1]}}),
    "KServe v1": ("instances", {"instances": VALUES}),
    "KServe v2": ("inputs", {"id": "1", "inputs": [TENSOR], "parameters": {}}),
    "TorchServe": ("instances", {"instances": [{"data": [1, 2.5]}]}),
    "SageMaker": ("instances", {"instances": [{"features": [1, 2.5]}]}),
    "Ray": ("array", {"array": VALUES}),
    "Azure, a frame": ("input_data", {"input_data": {"columns": ["a", "b"], "index": [0], "data": VALUES}}),
    "Azure, inputs": ("Inputs", {"Inputs": {"data": ROWS}, "GlobalParameters": 0}),
    "Azure, data": ("data", {"data": ROWS, "method": "predict"}),
    "Hugging Face": ("inputs", {"inputs": "I love this", "options": {"wait": True}}),
    "plain": ("data", {"data": VALUES}),
    "of features": ("features", {"features": VALUES}),
    "of X": ("X", {"X": VALUES}),
}
"""Bodies as other tools take them, each with the key that gives it away."""
ADAPTERS = {
    "frame": (
        DataframeInput(),
        r"rows themselves: `\[{…}\]`|what is in it by itself|(array of one object:|object in brackets,) `\[{…}\]`",
    ),
    "columns": (DataframeInput(columns=["a", "b"]), r"rows themselves: `\[{…}\]`|what is in it by itself"),
    "array": (NdarrayInput(), r"rows themselves: `\[\[…\]\]`"),
    "torch": (PytorchTensorInput(dtype="float32"), r"rows themselves: `\[\[…\]\]`"),
    "tensorflow": (TfTensorInput(), r"send `instances`, one for each row|rows themselves: `{\"instances\": \[…\]}`"),
    "text": (StringInput(), r"One string of JSON is needed, not .*is sent as `text/plain`"),
    "picture": (ImageInput(), r"Send the file as it is, `curl -F file=@picture.png`"),
    "files": (MultiFileInput(input_names=["a", "b"]), r"send `multipart/form-data`, as `curl -F a=@FILE -F b=@FILE`"),
    "pictures": (MultiImageInput(input_names=["a"]), r"send `multipart/form-data`, as `curl -F a=@FILE` does"),
    "annotated": (
        AnnotatedImageInput(),
        r"send `multipart/form-data`, as `curl -F image=@FILE -F annotations=@FILE` does",
    ),
}
"""Input adapters that do not take every JSON, each with what it asks for instead. `json` and `file` take anything."""


@pytest.mark.parametrize("adapter", ADAPTERS)
@pytest.mark.parametrize("tool", OF_OTHERS)
def test_a_body_of_another_tool_is_told_by_its_key_what_to_send(tool: str, adapter: str) -> None:
    key, body = OF_OTHERS[tool]
    reader, advice = ADAPTERS[adapter]
    if adapter == "tensorflow" and key == "instances":
        assert reader.rows_of(reader.decode(Payload(json.dumps(body).encode(), "application/json"))) == 1
        return
    message = refusal(reader, body)
    keys = {key, next(iter(body))}  # of a body that nobody parses, the first
    assert any(f"`{name}`" in message or f'"{name}"' in message for name in keys)
    assert re.search(advice, message), message


@pytest.mark.parametrize("adapter", [JsonInput(), FileInput()], ids=["json", "file"])
@pytest.mark.parametrize("tool", OF_OTHERS)
def test_what_takes_any_json_takes_that_of_other_tools(tool: str, adapter: Any) -> None:
    data = json.dumps(OF_OTHERS[tool][1]).encode()
    form = adapter.decode(Payload(data, "application/json"))
    assert form == OF_OTHERS[tool][1] or form.data == data


def test_a_file_that_curl_sent_without_its_line_ends_is_told_how_to_send_it() -> None:
    payload = Payload(b"a,b1,2.53,4", "application/x-www-form-urlencoded")
    with pytest.raises(BadInputError, match="use `--data-binary @FILE`, which keeps the ends of lines"):
        DataframeInput().decode(payload)


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
            "Missing columns: `city`. The request has `City`, `x`: rename `City` to `city`.",
        ),
        (
            {"city": "Bern", "area": 1},
            "Missing columns: `area_m2`. The request has `area`: rename `area` to `area_m2`, if that is meant.",
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
