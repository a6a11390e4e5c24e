"""A function that asks for tasks can be called by hand: as a method, loaded or not, and as a plain function."""

from __future__ import annotations

import asyncio
import inspect
import json
from typing import Any

import pandas as pd
import pytest

import kappa
from kappa.adapters import DataframeInput, JsonInput, MultiFileInput
from kappa.bento import BentoService
from kappa.services.inference import Inference
from kappa.services.service import load_service
from kappa.services.source import ServiceSource
from kappa.spec.service import ApiSpec, FunctionTarget
from kappa.types import InferenceTask, Payload

DEFAULT = object()


class Asking(BentoService):
    """Says of its tasks what they hold."""

    @kappa.api(input=JsonInput(), batch=True)
    def batched(self, values: list[Any], tasks: list[InferenceTask]) -> list[Any]:
        return [[value, task.data, task.is_discarded] for value, task in zip(values, tasks, strict=True)]

    @kappa.api(input=JsonInput())
    def single(self, value: Any, task: InferenceTask) -> Any:
        return [value, task.data, task.http_headers["Accept"]]

    @kappa.api(input=JsonInput())
    async def awaited(self, value: Any, *, task: InferenceTask) -> Any:
        await asyncio.sleep(0)
        return [value, task.data]

    @kappa.api(input=DataframeInput(), batch=True)
    def rows(self, frame: Any, tasks: list[InferenceTask]) -> Any:
        return [len(tasks)] * len(frame)

    @kappa.api(input=MultiFileInput(input_names=("left", "right")), batch=True)
    def forms(self, lefts: Any, rights: Any, tasks: list[InferenceTask]) -> Any:
        return [[left, right, task.data] for left, right, task in zip(lefts, rights, tasks, strict=True)]

    @kappa.api(input=JsonInput())
    def optional(self, value: Any, task: Any = DEFAULT) -> Any:
        return [value, task is DEFAULT]


@pytest.fixture(params=["as it is", "loaded"])
def service(request: pytest.FixtureRequest) -> Any:
    made = Asking()
    return made if request.param == "as it is" else load_service(ServiceSource.of_instance(made)).as_object()


def test_methods_make_tasks_of_their_own(service: Any) -> None:
    assert service.batched([1, 2]) == [[1, 1, False], [2, 2, False]]
    assert service.batched(values=[1]) == [[1, 1, False]]
    assert service.single(5) == [5, 5, ""]
    assert asyncio.run(service.awaited(5)) == [5, 5]
    assert service.rows(pd.DataFrame({"a": [1, 2]})) == [1, 1]
    assert service.forms(["a", "b"], ["c", "d"]) == [["a", "c", ("a", "c")], ["b", "d", ("b", "d")]]
    assert service.optional(1) == [1, True]


def test_tasks_that_are_given_are_taken(service: Any) -> None:
    given = InferenceTask("mine")
    assert service.single(5, task=given) == service.single(5, given) == [5, "mine", ""]
    assert asyncio.run(service.awaited(5, task=given)) == [5, "mine"]


def test_a_server_gives_its_own(service: Any) -> None:
    apis = load_service(ServiceSource.of_instance(Asking())).apis
    assert json.loads(apis["single"].answer_payload(Payload(b"5")).body) == [5, 5, ""]
    assert apis["awaited"].is_async
    assert inspect.signature(Asking.single).parameters.keys() == {"self", "value", "task"}
    with pytest.raises(TypeError, match="missing 2 required positional arguments: 'value' and 'task'"):
        service.single()


def test_functions_make_tasks_of_their_own() -> None:
    def lengths(texts: list[str], model: str, tasks: list[InferenceTask]) -> list[Any]:
        return [[text, model, task.data] for text, task in zip(texts, tasks, strict=True)]

    spec = ApiSpec(name="p", target=FunctionTarget(function="h:f"), input="json", batch=True)
    assert Inference(spec, lengths, {"model": "m"}).call(["a", "b"]) == [["a", "m", "a"], ["b", "m", "b"]]


def test_a_task_needs_no_data() -> None:
    assert InferenceTask().data is None
    assert InferenceTask().task_id != InferenceTask().task_id
