"""From payloads to answers: what functions receive, how results are shared out, and what becomes of bad ones."""

from __future__ import annotations

import asyncio
import json
import logging
from collections import deque
from collections.abc import Hashable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kappa.adapters import DataframeInput, DataframeOutput, JsonInput
from kappa.errors import BadInputError, ConfigurationError, ResultMismatchError
from kappa.services.inference import Inference, example_payload, read_payload
from kappa.services.splitting import split
from kappa.spec.contracts import InputAdapter, OutputAdapter
from kappa.spec.service import ApiSpec, ArtifactMethod, ExampleSpec, FunctionTarget
from kappa.types import Answer, HTTPHeaders, InferenceError, InferenceResult, InferenceTask, Payload


def inference(
    function: Any,
    *,
    batch: bool = False,
    adapter: InputAdapter | None = None,
    output: OutputAdapter | None = None,
    **provided: Any,
) -> Inference:
    spec = ApiSpec(
        name="predict",
        target=FunctionTarget(function="handlers:predict"),
        input=adapter or JsonInput(),
        output=output or "default",
        batch=batch,
    )
    return Inference(spec, function, provided)


def answers(api: Inference, *bodies: Any, headers: dict[str, str] | None = None) -> list[tuple[int, Any]]:
    tasks = [
        api.decode(Payload(json.dumps(body).encode()), headers=HTTPHeaders(headers), task_id=f"id{i}")
        for i, body in enumerate(bodies)
    ]
    return [(answer.http_status, json.loads(answer.body)) for answer in api.answer(tasks)]


counts = st.lists(st.integers(1, 4), max_size=8) | st.lists(st.none(), max_size=8)
SHAPES: dict[str, Any] = {
    "list": lambda n: list(range(n)),
    "tuple": lambda n: tuple(range(n)),
    "range": range,
    "deque": lambda n: deque(range(n)),
    "array": np.arange,
    "matrix": lambda n: np.arange(2 * n).reshape(n, 2),
    "fortran": lambda n: np.asfortranarray(np.arange(2 * n).reshape(n, 2)),
    "series": lambda n: pd.Series(np.arange(n), index=[f"i{i}" for i in range(n)]),
    "numbered series": lambda n: pd.Series(np.arange(n)),
    "frame": lambda n: pd.DataFrame({"a": np.arange(n), "b": np.arange(n)}, index=[f"i{i}" for i in range(n)]),
    "numbered frame": lambda n: pd.DataFrame({"a": np.arange(n)}),
    "categorical": lambda n: pd.Categorical(np.arange(n)),
}


@pytest.mark.parametrize("shape", SHAPES)
def test_no_row_is_lost_doubled_or_moved(shape: str) -> None:
    @given(counts)
    def check(counts: list[int | None]) -> None:
        value = SHAPES[shape](sum(count or 1 for count in counts))
        rows = iter(value.to_numpy().tolist() if hasattr(value, "iloc") else np.asarray(value).tolist())
        parts = split(value, counts)
        assert len(parts) == len(counts)
        for part, count in zip(parts, counts, strict=True):
            if count is None:
                part = [list(part.values()) if isinstance(part, dict) else part]
            assert len(part) == (count or 1)
            assert np.asarray(part).tolist() == [next(rows) for _ in range(count or 1)]
        assert next(rows, "none left") == "none left"

    check()


def test_part_of_a_frame_numbered_from_0_does_not_tell_where_it_stood() -> None:
    parts = split(pd.DataFrame({"a": [1, 2, 3]}), [1, 2])
    pd.testing.assert_frame_equal(parts[1], pd.DataFrame({"a": [2, 3]}))
    named = split(pd.DataFrame({"a": [1, 2, 3]}, index=["x", "y", "z"]), [1, 2])
    assert list(named[1].index) == ["y", "z"]
    api = inference(lambda df: df, batch=True, adapter=DataframeInput(), output=DataframeOutput(orient="columns"))
    assert answers(api, [{"a": 1}], [{"a": 2}]) == [(200, {"a": {"0": 1}}), (200, {"a": {"0": 2}})]


@pytest.mark.parametrize(
    ("value", "what"),
    [
        ([1], "1 result"),
        ([1, 2, 3], "3 results"),
        ([], "0 results"),
        (np.zeros((3, 2)), "3 results"),
        (np.float64(1), "a single `float64`"),
        (np.array(1), "a single `ndarray`"),
        (None, "a single `NoneType`"),
        ("ab", "a single `str`"),
        ({"a": 1, "b": 2}, "a single `dict`"),
        ({1, 2}, "a single `set`"),
        ((x for x in "ab"), "a single `generator`"),
    ],
)
def test_another_number_of_results_is_a_mismatch(value: Any, what: str) -> None:
    with pytest.raises(ResultMismatchError) as error:
        split(value, [1, 1])
    assert str(error.value) == (
        f"The function was given 2 inputs and returned {what}: return a list, an array or a frame with one result for "
        "each input, in their order."
    )


def test_a_row_adapter_gives_one_frame_and_cuts_the_result() -> None:
    seen: list[pd.DataFrame] = []

    def predict(df: pd.DataFrame) -> Any:
        seen.append(df)
        return df["a"] * 10

    api = inference(predict, batch=True, adapter=DataframeInput())
    assert answers(api, [{"a": 1}], [{"a": 2}, {"a": 3}]) == [(200, [10]), (200, [20, 30])]
    assert [len(frame) for frame in seen] == [3]


def test_tasks_say_what_they_count_for_and_whom_they_may_join() -> None:
    rows, items = inference(lambda x: x, batch=True, adapter=DataframeInput()), inference(lambda x: x)
    task, other = (rows.decode(Payload(body)) for body in (b"[[1], [2]]", b'[["x"]]'))
    (group, count), (other_group, _) = rows.group_and_items_of(task), rows.group_and_items_of(other)
    assert (count, items.group_and_items_of(items.decode(Payload(b"[1, 2, 3]")))) == (2, (None, 1))
    assert group != other_group


class ByType(JsonInput):
    """Merges only values of one type."""

    def group_of(self, form: Any) -> Hashable:
        return type(form).__name__


def test_an_adapter_without_rows_may_have_groups_all_the_same() -> None:
    api = inference(lambda x: x, batch=True, adapter=ByType())
    number, text = (api.decode(Payload(body)) for body in (b"1", b'"a"'))
    assert (api.group_and_items_of(number), api.group_and_items_of(text)) == (("int", 1), ("str", 1))


def test_discarded_tasks_are_left_out_of_the_results() -> None:
    def predict(texts: list[Any], tasks: list[InferenceTask]) -> list[int]:
        kept = []
        for text, task in zip(texts, tasks, strict=True):
            if isinstance(text, str):
                kept.append(len(text))
            else:
                task.discard("a text is needed", http_status=422)
        return kept

    assert answers(inference(predict, batch=True), "a", 5, "bcd", None) == [
        (200, 1),
        (422, {"error": "a text is needed", "request_id": "id1"}),
        (200, 3),
        (422, {"error": "a text is needed", "request_id": "id3"}),
    ]


@pytest.mark.parametrize("returned", [None, [], [1]])
def test_when_all_are_discarded_it_does_not_matter_what_is_returned(returned: Any) -> None:
    def predict(values: list[Any], tasks: list[InferenceTask]) -> Any:
        for task in tasks:
            task.discard("no")
        return returned

    assert answers(inference(predict, batch=True), 1) == [(400, {"error": "no", "request_id": "id0"})]


def test_a_wrong_number_of_results_names_the_function_and_counts_those_that_were_discarded() -> None:
    def predict(values: list[Any], tasks: list[InferenceTask]) -> list[Any]:
        tasks[0].discard("no")
        return values

    line = predict.__code__.co_firstlineno
    with pytest.raises(ResultMismatchError) as error:
        answers(inference(predict, batch=True), 1, 2)
    assert str(error.value) == (
        f"`predict` (`test_inference.py:{line}`, API `predict`) was given 1 input and returned 2 results: return a "
        "list, an array or a frame with one result for each input, in their order. What belongs to one input is one "
        "result: `return [[first, second]]`. 1 more were discarded and need none."
    )


def test_a_single_task_is_discarded_whatever_is_returned() -> None:
    api = inference(lambda value, task: task.discard("no", http_status=403))
    assert answers(api, 1) == [(403, {"error": "no", "request_id": "id0"})]


def test_results_and_errors_of_single_requests_in_a_batch() -> None:
    def predict(values: list[Any]) -> list[Any]:
        return [
            InferenceResult(values[0], 201, {"X-Model": "a"}),
            InferenceError("broken", 503, {"Retry-After": "1"}),
            3,
        ]

    api = inference(predict, batch=True)
    tasks = [api.decode(Payload(b"1"), task_id=f"id{i}") for i in range(3)]
    assert api.answer(tasks) == [
        Answer(b"1", "application/json", 201, {"X-Model": "a"}),
        Answer(b'{"error":"broken","request_id":"id1"}', "application/json", 503, {"Retry-After": "1"}),
        Answer(b"3", "application/json", 200, {}),
    ]


def test_results_of_the_rows_of_one_request_are_joined() -> None:
    def predict(df: pd.DataFrame) -> list[Any]:
        return [InferenceResult(1, 202), 2, 3, InferenceError("no", 418), 5]

    api = inference(predict, batch=True, adapter=DataframeInput())
    assert answers(api, [[1], [2]], [[3], [4]], [[5]]) == [
        (202, [1, 2]),
        (418, {"error": "no", "request_id": "id1"}),
        (200, [5]),
    ]


@pytest.mark.parametrize(
    ("result", "expected"),
    [
        (InferenceResult({"a": 1}), Answer(b'{"a":1}', "application/json", 200, {})),
        (
            InferenceResult("setosa", 200, {"Content-Type": "application/json"}),
            Answer(b'"setosa"', "application/json", 200, {}),
        ),
        (InferenceResult("<p>", 200, {"content-type": "text/html"}), Answer(b"<p>", "text/html", 200, {})),
        (InferenceResult(b"\x89", 200, {"Content-Type": "image/png"}), Answer(b"\x89", "image/png", 200, {})),
        (InferenceResult(b"{}", 200, {"Content-Type": "application/json"}), Answer(b"{}", "application/json", 200, {})),
        (InferenceResult(b"x"), Answer(b'"x"', "application/json", 200, {})),
        (
            InferenceResult([1], 200, {"Content-Type": "application/vnd.acme+json"}),
            Answer(b"[1]", "application/vnd.acme+json", 200, {}),
        ),
    ],
)
def test_the_body_of_a_result(result: InferenceResult, expected: Answer) -> None:
    api = inference(lambda value: result)
    assert api.answer_payload(Payload(b"1")) == expected


@pytest.mark.parametrize(
    "value",
    [object(), {"a": object()}, InferenceResult(object()), InferenceResult(1, 200, {1: "a"})],  # type: ignore[dict-item]
    ids=["object", "nested", "result", "headers"],
)
def test_a_value_that_cannot_be_encoded_is_a_logged_500(value: Any, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.ERROR, logger="kappa.inference"):
        (status, body), = answers(inference(lambda _: value), 1)  # fmt: skip
    assert (status, body) == (500, {"error": "The answer could not be encoded.", "request_id": "id0"})
    assert caplog.messages == ["The answer of `predict` to id0 cannot be encoded"]


def test_one_value_that_cannot_be_encoded_harms_no_neighbour(caplog: pytest.LogCaptureFixture) -> None:
    assert [status for status, _ in answers(inference(lambda v: [1, object(), 3], batch=True), 1, 2, 3)] == [
        200,
        500,
        200,
    ]


def test_an_error_may_carry_any_message() -> None:
    api = inference(lambda value: InferenceError(ValueError("half \ud800"), 400))  # type: ignore[arg-type]
    assert answers(api, 1) == [(400, {"error": "half ?", "request_id": "id0"})]


def test_a_functions_own_exception_passes_through() -> None:
    def predict(values: list[Any], tasks: Any) -> Any:
        raise LookupError("no such customer")

    with pytest.raises(LookupError, match="no such customer"):
        answers(inference(predict, batch=True), 1, 2)


def test_a_missing_accept_header_reads_as_empty() -> None:
    def predict(value: Any, task: InferenceTask) -> Any:
        return task.http_headers["Accept"]

    assert answers(inference(predict), 1) == [(200, "")]
    assert answers(inference(predict), 1, headers={"ACCEPT": "text/html"}) == [(200, "text/html")]


def test_every_request_keeps_its_own_id() -> None:
    api = inference(lambda values, tasks: [task.task_id for task in tasks], batch=True)
    assert answers(api, *range(50)) == [(200, f"id{i}") for i in range(50)]


def test_a_refused_payload_is_answered_with_its_status_and_an_id() -> None:
    answer = inference(lambda value: value).answer_payload(Payload(b"{"))
    body = json.loads(answer.body)
    assert (answer.http_status, body["error"][:26], len(body["request_id"])) == (400, "The body is not valid JSON", 32)


def test_parameters_are_injected_by_name() -> None:
    def predict(value: Any, model: Any, db: Any, limit: int = 3, *, task: InferenceTask) -> Any:
        return [value, model, db, limit, task.task_id]

    assert answers(inference(predict, model="m", db="d", unused="u"), 1) == [(200, [1, "m", "d", 3, "id0"])]


def test_the_function_can_be_called_as_it_is() -> None:
    assert inference(lambda value, model: (value, model), model="m").call("v") == ("v", "m")


def test_an_async_function_is_answered_without_a_server_always_on_the_same_loop() -> None:
    loops = []

    async def predict(value: Any, model: str) -> Any:
        loops.append(asyncio.get_running_loop())
        await asyncio.sleep(0)
        return [value, model]

    async def predict_many(values: list[Any], tasks: list[InferenceTask]) -> list[Any]:
        await asyncio.sleep(0)
        tasks[0].discard("not this one")
        return values[1:]

    assert answers(inference(predict, model="m"), 1) == [(200, [1, "m"])]
    assert answers(inference(predict, model="m"), 2) == [(200, [2, "m"])]
    assert len(set(loops)) == 1
    assert answers(inference(predict_many, batch=True), 1, 2, 3)[1:] == [(200, 2), (200, 3)]


def test_an_async_function_is_awaited_on_the_loop_that_asks() -> None:
    loops = []

    async def predict(value: Any) -> Any:
        loops.append(asyncio.get_running_loop())
        return value

    async def ask() -> list[Answer]:
        api = inference(predict)
        assert (loops, api.is_async) == ([], True)
        found = await api.answer_async([api.decode(Payload(b"5"))])
        assert loops == [asyncio.get_running_loop()]
        return found

    assert asyncio.run(ask()) == [Answer(b"5")]


@pytest.mark.parametrize(
    ("function", "batch", "message"),
    [
        (lambda: 1, False, "takes no input: its first parameter receives the request."),
        (lambda *, value: 1, False, "takes no input: its first parameter receives the request."),
        (lambda *values: 1, False, "takes no input: its first parameter receives the request."),
        (lambda value, *more: 1, False, "takes `*more`; name each parameter."),
        (lambda value, **more: 1, False, "takes `**more`; name each parameter."),
        (lambda value, model, /: 1, False, "takes `model` before `/`; it is passed by its name."),
        (
            lambda value, tasks: 1,
            False,
            "takes `tasks`, which is neither an artifact nor returned by `setup`. Known here are `model`, `task`.",
        ),
        (
            lambda value, task: 1,
            True,
            "takes `task`, which is neither an artifact nor returned by `setup`. Known here are `model`, `tasks`.",
        ),
        (dict, False, "cannot be called: no signature found for builtin type <class 'dict'>."),
    ],
)
def test_a_function_that_cannot_be_bound(function: Any, batch: bool, message: str) -> None:
    with pytest.raises(ConfigurationError) as error:
        inference(function, batch=batch, model=1)
    assert str(error.value) == f"The function of the API `predict` {message}"


def test_a_models_own_method_takes_the_input_alone() -> None:
    spec = ApiSpec(name="p", target=ArtifactMethod(artifact="model"), input=JsonInput(), batch=True)
    api = Inference(spec, lambda values, task=None: [task] * len(values), {"task": "not injected"})
    assert answers(api, 1) == [(200, None)]


def test_files_are_read_by_their_extension(tmp_path: Path) -> None:
    path = tmp_path / "a.CSV"
    path.write_bytes(b"a\n1\n")
    assert read_payload(path) == Payload(b"a\n1\n", "text/csv", name=str(path))
    assert example_payload(ExampleSpec(name="e", api="p", input_file="a.CSV"), tmp_path) == read_payload(path)
    example = ExampleSpec(name="e", api="p", input=[[1.5, None]])
    assert example_payload(example, tmp_path) == Payload(b"[[1.5,null]]", "application/json", name="e")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("a.xlsx", "`{}` cannot be read: No such file or directory."),
        ("gone.csv", "`{}` cannot be read: No such file or directory."),
    ],
)
def test_files_that_cannot_be_read(tmp_path: Path, name: str, message: str) -> None:
    with pytest.raises(BadInputError) as error:
        read_payload(tmp_path / name)
    assert str(error.value) == message.format(tmp_path / name)
