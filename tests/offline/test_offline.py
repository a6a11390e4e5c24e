from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kappa.offline.answering import Failure, answer_parts
from kappa.services.inference import Inference
from kappa.spec.service import ApiSpec, ArtifactMethod, FunctionTarget
from kappa.types import InferenceTask, Payload

CSV, LINES, JSON = "text/csv", "application/x-ndjson", "application/json"


def rows_api(function: Callable[..., Any], *, is_model: bool = True, **options: Any) -> Inference:
    target = ArtifactMethod(artifact="model") if is_model else FunctionTarget(function="handlers:predict")
    return Inference(ApiSpec(name="predict", target=target, batch=True, input="dataframe", **options), function, {})


def items_api(function: Callable[..., Any], *, batch: bool) -> Inference:
    spec = ApiSpec(name="predict", target=FunctionTarget(function="h:f"), batch=batch, input="json", output="json")
    return Inference(spec, function, {})


def answer(inference: Inference, text: str, media_type: str, *, rows_per_call: int = 3) -> tuple[str, list[str]]:
    parts = list(answer_parts(inference, Payload(text.encode(), media_type), rows_per_call=rows_per_call))
    body = b"".join(part for part in parts if isinstance(part, bytes)).decode()
    failures = [part for part in parts if isinstance(part, Failure)]
    return body, [f"{failure.where}: {failure.message}" for failure in failures]


class Doubler:
    """Doubles column `x`, refuses 13, and remembers the size of each call."""

    def __init__(self) -> None:
        self.calls: list[int] = []

    def predict(self, frame: Any) -> list[float]:
        self.calls.append(len(frame))
        if (frame["x"] == 13).any():
            raise ValueError("13 brings bad luck")
        return [2 * float(x) for x in frame["x"]]


def csv_of(numbers: list[Any]) -> str:
    return "x\n" + "".join(f"{number}\n" for number in numbers)


def test_a_value_is_answered_as_http_would() -> None:
    body, failures = answer(rows_api(Doubler().predict), '[{"x": 1}, {"x": 2}]', JSON)
    assert (body, failures) == ("[2.0,4.0]", [])


def test_a_refused_value_is_null_with_the_reason() -> None:
    body, failures = answer(rows_api(Doubler().predict), "[[1", JSON)
    assert body == "null"
    assert [failure[:35] for failure in failures] == [": The body is not valid JSON: unexp"]


def test_a_raising_function_is_null_with_the_exception() -> None:
    body, failures = answer(rows_api(Doubler().predict), '[{"x": 13}]', JSON)
    assert (body, failures) == ("null", [": ValueError: 13 brings bad luck"])


def test_a_file_of_rows_is_answered_in_parts_and_joined_to_one_array() -> None:
    model = Doubler()
    body, failures = answer(rows_api(model.predict), csv_of([1, 2, 3, 4, 5, 6, 7]), CSV)
    assert (json.loads(body), failures) == ([2.0, 4.0, 6.0, 8.0, 10.0, 12.0, 14.0], [])
    assert model.calls == [3, 3, 1]


@pytest.mark.parametrize("output", ["default", "json"])
def test_outputs_by_name_are_joined_to_one_array(output: str) -> None:
    def predict(frame: Any) -> Any:
        return {"x": frame["x"], "double": frame["x"].to_numpy() * 2, "big": [2**70 + int(x) for x in frame["x"]]}

    spec = rows_api(predict).spec
    spec = ApiSpec.model_validate({**dict(spec), "output": output})
    whole, _ = answer(Inference(spec, predict, {}), csv_of([1, 2]), CSV, rows_per_call=2)
    body, failures = answer(Inference(spec, predict, {}), csv_of([1, 2, 3]), CSV, rows_per_call=2)
    rows = [{"x": float(x), "double": float(x * 2), "big": 2**70 + x} for x in (1, 2, 3)]
    assert json.loads(whole) == {"x": [1.0, 2.0], "double": [2.0, 4.0], "big": [2**70 + 1, 2**70 + 2]}
    assert (json.loads(body), failures) == (rows, [])


@given(st.lists(st.integers(0, 20), max_size=12), st.integers(1, 5))
def test_every_row_has_its_own_answer_however_the_file_is_cut(numbers: list[int], rows_per_call: int) -> None:
    if not numbers:
        return
    body, failures = answer(rows_api(Doubler().predict), csv_of(numbers), CSV, rows_per_call=rows_per_call)
    expected = [None if number == 13 else 2.0 * number for number in numbers]
    if numbers == [13]:
        assert (body, failures) == ("[null]", ["row 1: ValueError: 13 brings bad luck"])
    assert json.loads(body) == expected
    assert len(failures) <= numbers.count(13)
    assert bool(failures) == (13 in numbers)


def test_a_row_that_the_adapter_refuses_fails_alone() -> None:
    inference = rows_api(Doubler().predict)
    inference = Inference(
        inference.spec.model_copy(update={"input": type(inference.spec.input)(columns={"x": "int64"})}),
        Doubler().predict,
        {},
    )
    body, failures = answer(inference, csv_of([1, 2, 3, 4, "five", 6]), CSV)
    assert json.loads(body) == [2.0, 4.0, 6.0, 8.0, None, 12.0]
    assert [failure.partition(" must be ")[0] for failure in failures] == ["row 5: The column `x`"]


def test_neighbouring_rows_that_fail_alike_are_one_failure() -> None:
    body, failures = answer(rows_api(Doubler().predict), csv_of([1, 13, 13, 13, 2]), CSV, rows_per_call=5)
    assert json.loads(body) == [2.0, None, None, None, 4.0]
    assert failures == ["rows 2 to 4: ValueError: 13 brings bad luck"]


def test_a_user_function_that_raised_is_not_called_again() -> None:
    model = Doubler()
    body, failures = answer(rows_api(model.predict, is_model=False), csv_of([1, 13, 3, 4]), CSV)
    assert json.loads(body) == [None, None, None, 8.0]
    assert failures == ["rows 1 to 3: ValueError: 13 brings bad luck"]
    assert model.calls == [3, 1]


def test_a_file_that_is_wrong_as_a_whole_fails_once() -> None:
    inference = rows_api(Doubler().predict)
    inference = Inference(
        inference.spec.model_copy(update={"input": type(inference.spec.input)(columns=("y",))}), Doubler().predict, {}
    )
    body, failures = answer(inference, csv_of([1, 2, 3, 4, 5]), CSV)
    assert (body, failures) == ("null", [": Missing columns: `y`. The request has `x`."])


def test_an_empty_file_of_rows_is_refused_as_http_would() -> None:
    body, failures = answer(rows_api(Doubler().predict), "x\n", CSV)
    assert (body, failures) == ("null", [": The table is empty; at least one row and one column are needed."])


def test_quoted_fields_may_hold_line_breaks_and_commas() -> None:
    text = 'x,note\n1,"two\nlines, one row"\n2,plain\n\n3,"a ""quote"""\n4,"\n\n"\n'
    notes: list[Any] = []

    def predict(frame: Any) -> list[float]:
        notes.extend(frame["note"])
        return [float(x) for x in frame["x"]]

    body, failures = answer(rows_api(predict), text, CSV, rows_per_call=2)
    assert (json.loads(body), failures) == ([1.0, 2.0, 3.0, 4.0], [])
    assert notes == ["two\nlines, one row", "plain", 'a "quote"', "\n\n"]


def test_json_lines_are_rows_where_the_adapter_takes_rows() -> None:
    model = Doubler()
    text = '{"x": 1}\n\n{"x": 2}\n{"x": \n{"x": 4}\n{"x": 5}\n'
    body, failures = answer(rows_api(model.predict), text, LINES, rows_per_call=2)
    assert json.loads(body) == [2.0, 4.0, None, 8.0, 10.0]
    assert [failure.partition(":")[0] for failure in failures] == ["row 3"]


@pytest.mark.parametrize("batch", [False, True])
def test_json_lines_are_requests_where_the_adapter_takes_one_item(batch: bool) -> None:
    calls: list[Any] = []

    def predict(argument: Any) -> Any:
        calls.append(argument)
        return [item["n"] + 1 for item in argument] if batch else argument["n"] + 1

    text = '{"n": 1}\n{"n": 2}\nnonsense\n{"n": 4, "note": "a\u2028b"}\n'
    body, failures = answer(items_api(predict, batch=batch), text, LINES, rows_per_call=2)
    assert body == "[2,3,null,5]"
    assert [failure.partition(":")[0] for failure in failures] == ["row 3"]
    assert len(calls) == (2 if batch else 3)


def test_a_single_line_is_still_an_array() -> None:
    body, failures = answer(items_api(lambda value: value, batch=False), '{"n": 1}\n', LINES)
    assert (body, failures) == ('[{"n":1}]', [])


def test_a_discarded_item_is_null_and_its_neighbours_are_not() -> None:
    def predict(values: Any, tasks: list[InferenceTask]) -> list[Any]:
        for value, task in zip(values, tasks, strict=True):
            if value < 0:
                task.discard("negative")
        return [value for value in values if value >= 0]

    body, failures = answer(items_api(predict, batch=True), "1\n-2\n3\n", LINES)
    assert (body, failures) == ("[1,null,3]", ["row 2: negative"])


def test_answers_that_are_no_arrays_are_given_whole_or_not_at_all() -> None:
    inference = rows_api(lambda frame: frame, output={"type": "dataframe", "orient": "columns"})
    whole, failures = answer(inference, csv_of([1, 2]), CSV)
    assert (whole, failures) == ('{"x":{"0":1,"1":2}}', [])
    parts, failures = answer(inference, csv_of([1, 2, 3, 4]), CSV)
    assert parts == "[null,null,null,null]"
    assert [failure[:50] for failure in failures] == [
        "rows 1 to 3: The answer is not an array of 3 resul",
        "row 4: The answer is not an array of 1 results, so",
    ]


def test_text_that_cannot_be_decoded_is_refused() -> None:
    inference = rows_api(Doubler().predict)
    parts = list(answer_parts(inference, Payload(b"x\n\xff\n", CSV), rows_per_call=3))
    assert [part if isinstance(part, bytes) else part.message[:27] for part in parts] == [
        "The text cannot be decoded:",
        b"null",
    ]
