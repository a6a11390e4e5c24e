"""ONNX models: what is no such model, and how a session answers arrays, tables and JSON."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from kappa.errors import BadInputError, BundleError, MissingDependencyError
from kappa.frameworks.onnx import OnnxModelArtifact
from tests.frameworks.onnx_models import linear_model, sum_model
from tests.frameworks.zero_code import answers, problems
from tests.inspection.samples import onnx as onnx_bytes

ROWS = [[1.0, 2.0, 3.0], [3.0, 0.0, 0.0]]
ANSWERS = [{"scores": [[4.0, 5.0]], "label": [1]}, {"scores": [[3.0, 0.0]], "label": [0]}]


def test_weights_in_another_file_ask_for_the_folder(tmp_path: Path) -> None:
    folder = tmp_path / "digits"
    folder.mkdir()
    (folder / "model.onnx").write_bytes(onnx_bytes(weights_in="w.bin"))
    artifact = OnnxModelArtifact("m")
    absent = "its weights are in `w.bin`, which is not beside it"
    assert [artifact.problem_of(path) for path in (folder, folder / "model.onnx")] == [absent, absent]
    (folder / "w.bin").touch()
    assert artifact.problem_of(folder) is None
    reason = "its weights are in `w.bin` beside it: name the folder that holds both"
    assert artifact.problem_of(folder / "model.onnx") == reason
    (folder / "other.onnx").touch()
    assert artifact.problem_of(folder) == "it holds 2 files `*.onnx`, and must hold one"


def test_a_provider_on_a_gpu_requires_its_package() -> None:
    providers = ("CUDAExecutionProvider", "CPUExecutionProvider")
    requirements = [OnnxModelArtifact("m").requires(), OnnxModelArtifact("m", providers=providers).requires()]
    assert requirements == [("onnxruntime",), ("onnxruntime-gpu",)]


def test_a_file_of_another_kind_is_refused_by_validate(tmp_path: Path) -> None:
    (tmp_path / "digits.onnx").write_bytes(b"PK\3\4")
    assert problems(tmp_path, "onnx", "digits.onnx") == ["KF309"]


def test_without_the_library_its_name_is_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(MissingDependencyError, match="The artifact type `onnx` needs `onnxruntime`"):
        OnnxModelArtifact("m").load(tmp_path)


@pytest.mark.onnx
@pytest.mark.parametrize("adapter", ['"ndarray"', '"dataframe"'])
def test_an_array_or_a_table_is_the_only_input_and_each_request_gets_the_outputs_by_name(
    tmp_path: Path, adapter: str
) -> None:
    OnnxModelArtifact("model").save(linear_model(), tmp_path)
    assert answers(tmp_path, "onnx", "model.onnx", [[row] for row in ROWS], input_adapter=adapter) == ANSWERS


@pytest.mark.onnx
def test_columns_of_a_table_are_inputs_by_their_names(tmp_path: Path) -> None:
    OnnxModelArtifact("model").save(sum_model(), tmp_path)
    requests = [[{"income": 2, "age": 1, "city": "Ulm"}], [{"age": 3, "income": 4}]]
    assert answers(tmp_path, "onnx", "model.onnx", requests) == [{"sum": [[3.0]]}, {"sum": [[7.0]]}]


@pytest.mark.onnx
def test_a_model_in_a_folder_brings_its_weights(tmp_path: Path) -> None:
    import onnx

    (tmp_path / "digits").mkdir()
    onnx.save(
        linear_model(), tmp_path / "digits" / "m.onnx", save_as_external_data=True, location="w.bin", size_threshold=0
    )
    assert (tmp_path / "digits" / "w.bin").stat().st_size > 0
    requests = [[row] for row in ROWS]
    assert answers(tmp_path, "onnx", "digits", requests, input_adapter='"ndarray"') == ANSWERS


@pytest.mark.onnx
def test_what_is_no_input_of_the_model_is_the_clients_error(tmp_path: Path) -> None:
    artifact = OnnxModelArtifact("model")
    artifact.save(sum_model(), tmp_path)
    predict = artifact.caller(artifact.load(tmp_path), "predict", is_batch=False)
    for argument, message in [
        ({"age": [1.0]}, r"takes the inputs `age`, `income`, not `age`\."),
        ([1.0], r"takes several inputs, `age`, `income`: send them by name\."),
        ({"age": ["x"], "income": [1.0]}, "`age` cannot be made an array of `float32`"),
    ]:
        with pytest.raises(BadInputError, match=message):
            predict(argument)


@pytest.mark.onnx
def test_a_model_of_a_fixed_length_is_not_batched(tmp_path: Path) -> None:
    artifact = OnnxModelArtifact("model")
    artifact.save(linear_model(first=1), tmp_path)
    session: Any = artifact.load(tmp_path)
    with pytest.raises(BundleError, match="takes exactly 1 at a time: write `batch = false`"):
        artifact.caller(session, "predict", is_batch=True)
    assert artifact.caller(session, "predict", is_batch=False)([ROWS[0]])["label"].tolist() == [1]


@pytest.mark.onnx
def test_a_provider_that_is_not_there_is_an_error_and_not_the_cpu(tmp_path: Path) -> None:
    artifact = OnnxModelArtifact("model")
    artifact.save(linear_model(), tmp_path)
    with pytest.raises(BundleError, match="asks for `MyProvider`, which this ONNX Runtime does not have"):
        OnnxModelArtifact("model", providers=("MyProvider",)).load(tmp_path)
    assert artifact.load(tmp_path).get_session_options().intra_op_num_threads == 1


@pytest.mark.onnx
def test_options_of_a_session_are_those_of_the_artifact(tmp_path: Path) -> None:
    OnnxModelArtifact("model").save(linear_model(), tmp_path)
    options = [
        OnnxModelArtifact("model", **given).load(tmp_path).get_session_options()
        for given in ({}, {"threads": 2, "inter_op_threads": 3, "optimization": "none"})
    ]
    assert [
        (one.intra_op_num_threads, one.inter_op_num_threads, one.execution_mode.name, one.graph_optimization_level.name)
        for one in options
    ] == [(1, 1, "ORT_SEQUENTIAL", "ORT_ENABLE_ALL"), (2, 3, "ORT_PARALLEL", "ORT_DISABLE_ALL")]
