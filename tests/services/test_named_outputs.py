"""The key `outputs`: which of several outputs by name an API answers."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from kappa.build.class_project import read_class_project
from kappa.build.project import check_kappafile, read_project
from kappa.errors import BundleError, InferenceFailedError
from kappa.frameworks.onnx import OnnxModelArtifact
from kappa.services.inference import Inference
from kappa.services.openapi import openapi_document
from kappa.spec.service import ApiSpec, EnvSpec, FunctionTarget, ServiceSpec
from kappa.types import InferenceError, Payload
from tests.frameworks.onnx_models import linear_model
from tests.frameworks.zero_code import answers, problems

KAPPAFILE = """\
kappafile = 1
[service]
name = "Service"
[artifacts.model]
type = "onnx"
path = "model.onnx"
[apis.predict]
artifact = "model"
input = "ndarray"
outputs = ["label", "scroes"]
"""


def inference(function: Any, *, batch: bool, outputs: tuple[str, ...] = ("label",)) -> Inference:
    target = FunctionTarget(function="handlers:predict")
    return Inference(ApiSpec(name="predict", target=target, input="json", outputs=outputs, batch=batch), function, {})


def asked(api: Inference, *values: Any) -> list[Any]:
    return api.run([api.decode(Payload(json.dumps(value).encode())) for value in values])


def test_a_batch_is_answered_with_the_outputs_that_are_named() -> None:
    def predict(values: list[int]) -> Mapping[str, Any]:
        return {"score": [value / 2 for value in values], "label": values, "more": values}

    assert asked(inference(predict, batch=True), 1, 2) == [{"label": 1}, {"label": 2}]
    both = inference(predict, batch=True, outputs=("more", "score"))
    assert [list(value.items()) for value in asked(both, 3)] == [[("more", 3), ("score", 1.5)]]


def test_a_single_request_is_too_and_an_error_is_left_as_it_is() -> None:
    def predict(value: int) -> Any:
        return {"label": value, "score": 0.5} if value else InferenceError("no")

    api = inference(predict, batch=False)
    assert asked(api, 1) == [{"label": 1}]
    (error,) = asked(api, 0)
    assert error.err_msg == "no"


def test_an_async_function_is_too() -> None:
    async def predict(value: int) -> Any:
        return {"label": value, "score": 0.5}

    api = inference(predict, batch=False)

    async def ask() -> Any:
        (answer,) = await api.answer_async([api.decode(Payload(b"1"))])
        return json.loads(answer.body)

    assert asyncio.run(ask()) == {"label": 1}


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"score": [1]}, r"returned no output `label`, which `outputs` names; it returned `score`\."),
        ([1], r"returned a `list`, and `outputs` names those of a mapping\."),
    ],
)
def test_what_lacks_a_named_output_is_an_error_that_names_it(value: Any, message: str) -> None:
    with pytest.raises(InferenceFailedError, match=message):
        asked(inference(lambda values: value, batch=True), 1)


def test_names_are_said_once(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(b"")
    (tmp_path / "kappafile.toml").write_text(KAPPAFILE.replace("scroes", "label"), encoding="utf-8")
    _, diagnostics = check_kappafile(tmp_path / "kappafile.toml")
    assert ("KF204", "/apis/predict/outputs") in [(one.code, one.path) for one in diagnostics]


def test_the_document_says_what_an_answer_holds() -> None:
    api = inference(lambda value: value, batch=False, outputs=("label", "score")).spec
    document = openapi_document(ServiceSpec(name="Service", apis=(api,), env=EnvSpec()), version="1")
    answer = document["paths"]["/predict"]["post"]["responses"]["200"]["content"]["application/json"]
    assert answer == {
        "schema": {"type": "object", "properties": {"label": {}, "score": {}}, "required": ["label", "score"]}
    }


@pytest.mark.onnx
def test_an_output_that_the_file_does_not_have_is_told_with_its_place(tmp_path: Path) -> None:
    OnnxModelArtifact("model").save(linear_model(), tmp_path)
    for path in (".", "folder"):
        (tmp_path / "folder").mkdir(exist_ok=True)
        (tmp_path / "folder" / "m.onnx").write_bytes((tmp_path / "model.onnx").read_bytes())
        text = KAPPAFILE.replace('"model.onnx"', f'"{"model.onnx" if path == "." else path}"')
        (tmp_path / "kappafile.toml").write_text(text, encoding="utf-8")
        (problem,) = [one for one in check_kappafile(tmp_path / "kappafile.toml")[1] if one.is_error]
        assert (problem.code, problem.path, problem.help) == (
            "KF336",
            "/apis/predict/outputs/1",
            "Did you mean `scores`?",
        )
    assert problems(tmp_path, "onnx", "model.onnx", input_adapter='"ndarray"\noutputs = ["scores"]') == []


@pytest.mark.onnx
def test_a_session_computes_the_outputs_that_are_named_alone(tmp_path: Path) -> None:
    artifact = OnnxModelArtifact("model")
    artifact.save(linear_model(), tmp_path)
    requests = [[[1.0, 2.0, 3.0]], [[3.0, 0.0, 0.0]]]
    adapter = '"ndarray"\noutputs = ["label"]'
    assert answers(tmp_path, "onnx", "model.onnx", requests, input_adapter=adapter) == [{"label": [1]}, {"label": [0]}]
    called = artifact.caller(artifact.load(tmp_path), "predict", is_batch=True)
    assert list(artifact.for_outputs(called, ("label",))(requests[0])) == ["label"]
    assert list(called(requests[0])) == ["scores", "label"]
    with pytest.raises(BundleError, match=r"`model` has no output `lable`; it has `scores`, `label`\."):
        artifact.for_outputs(called, ("lable",))


def test_both_front_ends_know_it(tmp_path: Path) -> None:
    (tmp_path / "outputs_of_class.py").write_text(
        "import kappa\nfrom kappa.adapters import JsonInput\n\nclass Service(kappa.BentoService):\n"
        '    @kappa.api(input=JsonInput(), outputs=["label"])\n    def predict(self, value): ...\n',
        encoding="utf-8",
    )
    (tmp_path / "kappafile.toml").write_text(
        'kappafile = 1\n[service]\nname = "Service"\n[apis.predict]\nfunction = "outputs_of_class:f"\ninput = "json"\n'
        'outputs = ["label"]\n',
        encoding="utf-8",
    )
    by_class = read_class_project("outputs_of_class:Service", tmp_path).spec
    (tmp_path / "outputs_of_class.py").write_text("def f(value): ...\n", encoding="utf-8")
    assert [spec.apis[0].outputs for spec in (by_class, read_project(tmp_path).spec)] == [("label",), ("label",)]
