"""What went wrong in the system that the concepts page describes, and must not again: one test for each defect."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import kappa.testing
from kappa.adapters import DataframeInput
from kappa.adapters.multipart import form_payload
from kappa.errors import ResultMismatchError
from kappa.services.inference import Inference
from kappa.spec.service import ApiSpec, FunctionTarget
from kappa.types import HTTPHeaders, InferenceError, InferenceResult, InferenceTask, Payload


def inference_of(function: Callable[..., Any], **options: Any) -> Inference:
    return Inference(ApiSpec(name="predict", target=FunctionTarget(function="m:f"), **options), function, {})


def rows(value: Any) -> Payload:
    return Payload(json.dumps(value).encode(), "application/json")


def csv(text: str) -> Payload:
    return Payload(text.encode(), "text/csv")


def answers(inference: Inference, payloads: Sequence[Payload], headers: Sequence[Any] = ()) -> list[Any]:
    """Answer requests as a server under load does: each decoded by itself, those of a group in one call."""
    tasks = [
        inference.decode(payload, headers=HTTPHeaders(given), task_id=str(number))
        for number, (payload, given) in enumerate(zip(payloads, [*headers, *[{}] * len(payloads)], strict=False))
    ]
    groups: dict[Any, list[InferenceTask]] = {}
    for task in tasks:
        groups.setdefault(inference.group_and_items_of(task)[0], []).append(task)
    answered = {
        id(task): one for group in groups.values() for task, one in zip(group, inference.answer(group), strict=True)
    }
    return [json.loads(answered[id(task)].body) for task in tasks]


def seen(frame: Any) -> list[dict[str, Any]]:
    """Return each row with its values and dtypes, as the function saw it."""
    return [{name: [str(frame[name].dtype), value] for name, value in row.items()} for row in frame.to_dict("records")]


SEEN = {"input": "dataframe", "output": "json", "batch": True}


def test_a_client_that_sends_text_does_not_change_the_dtypes_of_others() -> None:
    found = answers(inference_of(seen, **SEEN), [rows([{"a": 1}]), rows([{"a": "x"}]), rows([{"a": 2}])])
    assert found == [[{"a": ["int64", 1]}], [{"a": [str(pd.Series(["x"]).dtype), "x"]}], [{"a": ["int64", 2]}]]


@pytest.mark.parametrize(
    "other",
    [csv("b,c,a\n2,3,1\n"), rows({"columns": ["b", "c", "a"], "data": [[2, 3, 1]]}), rows([{"c": 3, "a": 1, "b": 2}])],
    ids=["csv", "split", "records"],
)
@pytest.mark.parametrize("columns", [None, ("a", "b", "c")], ids=["undeclared", "declared"])
def test_columns_in_another_order_are_not_scrambled(other: Payload, columns: Any) -> None:
    function = inference_of(
        lambda frame: frame[["a", "b", "c"]].to_dict("records"),
        input=DataframeInput(columns=columns),
        output="json",
        batch=True,
    )
    found = answers(function, [csv("a,b,c\n1,2,3\n"), other, rows([{"a": 1, "b": 2, "c": 3}])])
    assert found == [[{"a": 1, "b": 2, "c": 3}]] * 3


def test_text_stays_text_and_lists_stay_lists() -> None:
    sent = [
        {"zip": "01", "word": "NA", "empty": "", "list": [1, [2]]},
        {"zip": "2", "word": "null", "empty": " ", "list": []},
    ]
    found = answers(inference_of(lambda frame: frame.to_dict("records"), **SEEN), [rows(sent), rows(sent[:1])])
    assert found == [sent, sent[:1]]


def test_row_labels_reach_the_function_and_come_back() -> None:
    inference = inference_of(
        lambda frame: frame.assign(seen=frame.index),
        input="dataframe",
        output={"type": "dataframe", "orient": "split"},
        batch=True,
    )
    labelled = {"columns": ["a"], "index": ["x", "y"], "data": [[1], [2]]}
    plain = {"columns": ["a"], "data": [[1], [2]]}
    found = answers(inference, [rows(labelled), rows(plain), rows(labelled)])
    expected = {"columns": ["a", "seen"], "index": ["x", "y"], "data": [[1, "x"], [2, "y"]]}
    assert found[::2] == [expected, expected]
    assert found[1]["index"] == [0, 1]


def test_an_uploaded_csv_is_read_as_csv() -> None:
    form = form_payload([("file", Payload(b"a\n1\n", "text/csv", name="rows.csv"))])
    by_name = form_payload([("file", Payload(b"a\n1\n", "application/octet-stream", name="rows.csv"))])
    assert answers(inference_of(seen, **SEEN), [form, by_name]) == [[{"a": ["int64", 1]}]] * 2


def test_a_wrong_layout_prints_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    inference = inference_of(seen, input={"type": "dataframe", "orient": "records"}, output="json", batch=True)
    assert inference.answer_payload(rows({"a": [1]})).http_status == 400
    assert capsys.readouterr() == ("", "")


def test_a_row_without_a_declared_column_refuses_its_own_request_alone() -> None:
    inference = inference_of(seen, input=DataframeInput(columns=("a", "b")), output="json", batch=True)
    refused = inference.answer_payload(rows([{"a": 1}]))
    assert (refused.http_status, json.loads(refused.body)["error"]) == (422, "Missing columns: `b`.")
    assert answers(inference, [rows([{"a": 1, "b": 2}])]) == [[{"a": ["int64", 1], "b": ["int64", 2]}]]


@pytest.mark.parametrize(
    ("payload", "status"),
    [
        (Payload(b"\xff\xfe", "application/json"), 400),
        (Payload(b"{", "application/json"), 400),
        (Payload(b"1", "application/json", "no-such"), 415),
    ],
    ids=["no text", "no json", "no charset"],
)
def test_a_body_that_cannot_be_parsed_is_the_clients_fault_and_shows_no_code(payload: Payload, status: int) -> None:
    answer = inference_of(lambda value: value, input="json").answer_payload(payload)
    assert answer.http_status == status
    assert b"Traceback" not in answer.body


def test_a_packed_body_is_unpacked_once(tmp_path: Path) -> None:
    (tmp_path / "packed_of_defects.py").write_text("def double(values):\n    return [2 * value for value in values]\n")
    (tmp_path / "kappafile.toml").write_text(
        'kappafile = 1\n[service]\nname = "Packed"\n[apis.double]\nfunction = "packed_of_defects:double"\n'
        'input = "json"\nbatch = true\n'
    )
    with kappa.testing.client(tmp_path) as client:
        for body in (gzip.compress(b"21"), gzip.compress(b"2") + gzip.compress(b"1")):
            for encoding in ("gzip", "x-gzip"):
                answer = client.post("/double", body=body, headers={"Content-Encoding": encoding})
                assert (answer.status_code, answer.text) == (200, "42")


# -- answers -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("batch", [False, True])
def test_the_form_of_an_answer_follows_each_value(batch: bool) -> None:
    frame, series, array = pd.DataFrame({"a": [1]}), pd.Series([1, 2]), np.array([[1.5]])
    values = [frame, series, array, np.int64(3), {"k": None}, "text", None, [1]]
    expected = [[{"a": 1}], [1, 2], [[1.5]], 3, {"k": None}, "text", None, [1]]
    if batch:
        inference = inference_of(lambda numbers: [values[n] for n in numbers], input="json", batch=True)
        assert answers(inference, [rows(n) for n in range(len(values))]) == expected
    else:
        inference = inference_of(lambda number: values[number], input="json")
        assert [json.loads(inference.answer_payload(rows(n)).body) for n in range(len(values))] == expected


def test_what_has_no_json_form_is_an_error_and_not_its_description() -> None:
    answer = inference_of(lambda value: object(), input="json").answer_payload(rows(1))
    assert (answer.http_status, json.loads(answer.body)["error"]) == (500, "The answer could not be encoded.")


def test_a_table_is_answered_with_its_media_type() -> None:
    inference = inference_of(lambda frame: frame, input="dataframe", output="dataframe", batch=True)
    assert inference.answer_payload(rows([{"a": 1}])).media_type == "application/json"


@pytest.mark.parametrize("count", [1, 3])
def test_a_wrong_number_of_results_is_an_error_that_says_both(count: int) -> None:
    inference = inference_of(lambda values: [0] * count, input="json", batch=True)
    with pytest.raises(ResultMismatchError, match=f"was given 2 inputs and returned {count} result"):
        answers(inference, [rows(1), rows(2)])


def test_an_object_in_a_result_is_written_by_the_output_adapter() -> None:
    inference = inference_of(
        lambda values: [InferenceResult(data={"value": np.float64(value)}, http_status=201) for value in values],
        input="json",
        batch=True,
    )
    assert answers(inference, [rows(1), rows(2)]) == [{"value": 1.0}, {"value": 2.0}]


def test_every_element_of_a_list_may_be_a_result_an_error_or_a_value() -> None:
    kinds = {"value": 1, "result": InferenceResult(data=[2]), "error": InferenceError(err_msg="no", http_status=422)}
    inference = inference_of(lambda names: [kinds[name] for name in names], input="json", batch=True)
    found = answers(inference, [rows("value"), rows("error"), rows("result"), rows("value")])
    assert found == [1, {"error": "no", "request_id": "1"}, [2], 1]


def test_an_absent_header_is_no_crash_and_each_request_has_its_own() -> None:
    def accepts(values: Any, tasks: list[InferenceTask]) -> list[str]:
        return [task.http_headers["Accept"] for task in tasks]

    inference = inference_of(accepts, input="json", output="json", batch=True)
    assert answers(inference, [rows(1), rows(2)], [{"ACCEPT": "application/json"}]) == ["application/json", ""]


def test_a_request_that_its_adapter_refuses_never_reaches_the_function() -> None:
    def fail(values: Any) -> None:
        raise AssertionError

    assert inference_of(fail, input="json", batch=True).answer_payload(Payload(b"{")).http_status == 400
