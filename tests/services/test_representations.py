"""Tasks of one batch, each answered in its own representation."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import pytest

from kappa.adapters import DataframeInput, JsonInput, NdarrayInput, SeriesOutput
from kappa.services.inference import Inference
from kappa.services.representations import PLAIN
from kappa.spec.contracts import InputAdapter
from kappa.spec.service import ApiSpec, FunctionTarget
from kappa.types import Answer, HTTPHeaders, InferenceError, InferenceResult, InferenceTask, Payload, Representation


class Rows:
    """Another protocol's: the shape of what the whole batch returned, and the value of each as text."""

    def prepare(self, value: Any, tasks: Sequence[InferenceTask]) -> Any:
        return [f"{len(tasks)} tasks: {row}" for row in value]

    def encode(self, value: Any, task: InferenceTask) -> Any:
        return task.task_id, value


def inference(function: Any, adapter: InputAdapter, *, batch: bool = True) -> Inference:
    target = FunctionTarget(function="handlers:predict")
    return Inference(ApiSpec(name="predict", target=target, input=adapter, batch=batch), function, {})


def tasks_of(
    api: Inference, *bodies: bytes, representations: Sequence[Representation | None] = (), accept: str = "*/*"
) -> list[InferenceTask]:
    headers = HTTPHeaders({"accept": accept})
    tasks = [api.decode(Payload(body), headers=headers, task_id=f"id{n}") for n, body in enumerate(bodies)]
    for task, representation in zip(tasks, representations, strict=False):
        task.representation = representation
    return tasks


def doubled(values: Sequence[Any]) -> Any:
    return [2 * value for value in values]


def test_a_batch_of_one_other_representation_is_prepared_as_a_whole() -> None:
    api = inference(doubled, JsonInput())
    rows = Rows()
    assert api.answer(tasks_of(api, b"1", b"2", representations=[rows, rows])) == [
        ("id0", "2 tasks: 2"),
        ("id1", "2 tasks: 4"),
    ]


def test_tasks_of_several_representations_share_a_batch_and_change_nothing_for_each_other() -> None:
    calls: list[int] = []

    def function(frame: pd.DataFrame) -> pd.DataFrame:
        calls.append(len(frame))
        return frame * 2

    api = inference(function, DataframeInput())
    bodies = b'[{"a": 1}]', b'[{"a": 2}, {"a": 3}]', b'[{"a": 4}]'
    alone = api.answer(tasks_of(api, *bodies))
    rest, plain, other = api.answer(tasks_of(api, *bodies, representations=[None, PLAIN, Rows()]))
    assert calls == [4, 4]
    assert rest == alone[0] == Answer(b'[{"a":2}]')
    pd.testing.assert_frame_equal(plain.reset_index(drop=True), pd.DataFrame({"a": [4, 6]}))
    assert (other[0], other[1]["a"].tolist()) == ("id2", [8])


@pytest.mark.parametrize("is_mixed", [False, True], ids=["alone", "mixed"])
def test_a_plain_value_is_no_view_of_the_batch(is_mixed: bool) -> None:
    kept: list[np.ndarray] = []

    def function(array: np.ndarray) -> np.ndarray:
        kept.append(array * 2)
        return kept[0]

    api = inference(function, NdarrayInput())
    representations = [PLAIN, None if is_mixed else PLAIN]
    value, _ = api.answer(tasks_of(api, b"[[1.0, 2.0]]", b"[[3.0, 4.0]]", representations=representations))
    kept[0][:] = -1
    assert value.tolist() == [[2.0, 4.0]]


def test_a_run_is_the_same_in_plain_values_whatever_was_asked_for() -> None:
    result = InferenceResult(b"bytes", 201, {"Content-Type": "text/own"})

    def function(values: Sequence[Any], tasks: Sequence[InferenceTask]) -> Any:
        tasks[1].discard("no", http_status=418, http_headers={"X-Own": "1"})
        return [result, values[2]]

    api = inference(function, JsonInput())
    bodies = b"1", b"2", b"3"
    assert api.run(tasks_of(api, *bodies, representations=[Rows(), None, PLAIN])) == [
        result,
        InferenceError("no", 418, {"X-Own": "1"}),
        3,
    ]
    assert api.answer(tasks_of(api, *bodies)) == [
        Answer(b"bytes", "text/own", 201, {}),
        Answer(b'{"error":"no","request_id":"id1"}', http_status=418, http_headers={"X-Own": "1"}),
        Answer(b"3"),
    ]


@pytest.mark.parametrize("batch", [True, False], ids=["batch", "single"])
def test_an_async_function_is_answered_in_the_representation_too(batch: bool) -> None:
    async def function(value: Any) -> Any:
        return [7] if batch else 7

    api = inference(function, JsonInput(), batch=batch)
    (value,) = asyncio.run(api.answer_async(tasks_of(api, b"1", representations=[PLAIN])))
    assert value == 7


@pytest.mark.parametrize("is_mixed", [False, True], ids=["alone", "mixed"])
def test_each_task_is_answered_in_the_form_that_it_accepts_whoever_shares_its_batch(is_mixed: bool) -> None:
    target = FunctionTarget(function="handlers:predict")
    spec = ApiSpec(name="predict", target=target, input=DataframeInput(), output=SeriesOutput(), batch=True)
    api = Inference(spec, lambda frame: frame["a"] * 2, {})
    representations = [None, None, PLAIN if is_mixed else None]
    tasks = [
        api.decode(Payload(b'[{"a": 1}]'), headers=HTTPHeaders({"accept": accept}), task_id="id")
        for accept in ("text/csv", "*/*", "text/csv")
    ]
    for task, representation in zip(tasks, representations, strict=True):
        task.representation = representation
    csv, json, last = api.answer(tasks)
    assert (csv.body, json.body) == (b"a\n2\n", b"[2]")
    assert last.tolist() == [2] if is_mixed else last == csv
