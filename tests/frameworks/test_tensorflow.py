"""SavedModels: what is none, what they say without TensorFlow, and how their signatures answer with it."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

from kappa.errors import BadInputError, BundleError, MissingDependencyError
from kappa.frameworks.tensorflow import TensorflowSavedModelArtifact
from kappa.spec.contracts import ModelNeeds
from kappa.testing.artifacts import ArtifactSuite
from tests.frameworks.zero_code import answers, problems
from tests.inspection.samples import saved_model

ROWS = [[1.0, 2.0, 3.0], [3.0, 0.0, 0.0]]
ANSWERS = [{"scores": [[4.0, 5.0]], "label": [1]}, {"scores": [[3.0, 0.0]], "label": [0]}]


def two_signatures() -> Any:
    """Return a module that scores rows, and greets by name and age."""
    import tensorflow as tf

    class Model(tf.Module):  # type: ignore[misc] # TensorFlow has no types
        def __init__(self) -> None:
            super().__init__()
            self.weights = tf.Variable([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])

        @tf.function(input_signature=[tf.TensorSpec([None, 3], tf.float32, name="rows")])  # type: ignore[untyped-decorator]
        def score(self, rows: Any) -> dict[str, Any]:
            scores = rows @ self.weights
            return {"scores": scores, "label": tf.argmax(scores, axis=1)}

        @tf.function(  # type: ignore[untyped-decorator]
            input_signature=[
                tf.TensorSpec([None], tf.string, name="name"),
                tf.TensorSpec([None, 1], tf.int64, name="age"),
            ]
        )
        def greet(self, name: Any, age: Any) -> dict[str, Any]:
            return {"text": tf.strings.join([name, tf.strings.as_string(age[:, 0])], " ")}

    return Model()


def write(folder: Path, **functions: str) -> Path:
    """Write a SavedModel, whose signatures are functions of the module's by name, as TensorFlow does."""
    import tensorflow as tf

    module = two_signatures()
    signatures = {name: getattr(module, function) for name, function in functions.items()}
    tf.saved_model.save(module, str(folder), signatures=signatures)
    return folder


def pretended(folder: Path, content: bytes) -> Path:
    (folder / "variables").mkdir(parents=True)
    (folder / "saved_model.pb").write_bytes(content)
    return folder


def test_a_folder_tells_the_version_that_wrote_it_and_what_is_wrong_with_it(tmp_path: Path) -> None:
    artifact = TensorflowSavedModelArtifact("m")
    whole, cut = pretended(tmp_path / "whole", saved_model()), pretended(tmp_path / "cut", saved_model()[:-9])
    assert artifact.needs_of_file(whole) == ModelNeeds(("tensorflow",), {"tensorflow": "2.18.0"})
    assert [artifact.problem_of(path) for path in (whole, cut)] == [None, "it ends too soon"]
    (tmp_path / "empty").mkdir()
    assert artifact.problem_of(tmp_path / "empty") == "it holds no `saved_model.pb`"
    (whole / "variables").rmdir()
    assert artifact.problem_of(whole) == "it has no folder `variables`"
    assert artifact.problem_of(cut / "saved_model.pb") == "it is a file, and such a model is a folder"


def test_a_folder_of_another_kind_is_refused_by_validate(tmp_path: Path) -> None:
    (tmp_path / "digits").mkdir()
    (tmp_path / "digits" / "config.json").write_text("{}", encoding="utf-8")
    pretended(tmp_path / "saved", saved_model())
    assert problems(tmp_path, "tensorflow", "digits") == ["KF309"]
    assert problems(tmp_path, "tensorflow", "saved") == []


def test_without_the_library_its_name_is_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorflow", None)
    with pytest.raises(MissingDependencyError, match="The artifact type `tensorflow` needs `tensorflow`"):
        TensorflowSavedModelArtifact("m").load(tmp_path)


@pytest.mark.tensorflow
@pytest.mark.parametrize("adapter", ['"ndarray"', '"dataframe"', '"tf_tensor"'])
def test_serving_default_answers_each_request_with_the_outputs_by_name(tmp_path: Path, adapter: str) -> None:
    write(tmp_path / "own", serving_default="score", greet="greet")
    assert answers(tmp_path, "tensorflow", "own", [[row] for row in ROWS], input_adapter=adapter) == ANSWERS


@pytest.mark.tensorflow
def test_the_only_signature_is_the_one_that_is_meant_whatever_it_is_called(tmp_path: Path) -> None:
    write(tmp_path / "own", rate="score")
    assert answers(tmp_path, "tensorflow", "own", [[ROWS[0]]], input_adapter='"ndarray"') == ANSWERS[:1]


@pytest.mark.tensorflow
def test_a_method_names_a_signature_whose_inputs_are_columns_of_their_types(tmp_path: Path) -> None:
    write(tmp_path / "own", serving_default="score", greet="greet")
    requests = [[{"age": 3, "name": "Ulm"}, {"age": 4, "name": "Ü"}]]
    expected = [{"text": ["Ulm 3", "Ü 4"]}]
    assert answers(tmp_path, "tensorflow", "own", requests, method="greet") == expected


@pytest.mark.tensorflow
def test_columns_beside_those_of_the_signature_are_left_out(tmp_path: Path) -> None:
    write(tmp_path / "own", serving_default="greet")
    requests = [[{"city": "Bonn", "age": 3, "name": "Ulm"}]]
    assert answers(tmp_path, "tensorflow", "own", requests) == [{"text": ["Ulm 3"]}]


@pytest.mark.tensorflow
def test_what_is_no_input_of_the_signature_is_the_clients_error(tmp_path: Path) -> None:
    artifact = TensorflowSavedModelArtifact("model")
    write(tmp_path / "model", serving_default="score", greet="greet")
    model = artifact.load(tmp_path)
    with pytest.raises(BadInputError, match=r"The input `rows` has the shape \[-1, 3\] and not \[1, 2\]\."):
        artifact.caller(model, "predict", is_batch=True)([[1, 2]])
    with pytest.raises(BadInputError, match="The input `name` takes texts alone"):
        artifact.caller(model, "greet", is_batch=True)({"name": [None], "age": [1]})


@pytest.mark.tensorflow
def test_a_signature_that_there_is_not_is_told_with_those_that_there_are(tmp_path: Path) -> None:
    artifact = TensorflowSavedModelArtifact("model")
    write(tmp_path / "model", one="score", other="greet")
    model = artifact.load(tmp_path)
    with pytest.raises(BundleError, match="no signature `serving_default`; it has `one`, `other`"):
        artifact.caller(model, "predict", is_batch=True)
    with pytest.raises(BundleError, match="no signature `rate`; it has `one`, `other`"):
        artifact.caller(model, "rate", is_batch=True)


@pytest.mark.tensorflow
def test_a_model_without_signatures_answers_by_its_own_function(tmp_path: Path) -> None:
    import tensorflow as tf

    class Doubler(tf.Module):  # type: ignore[misc]
        @tf.function  # type: ignore[untyped-decorator]
        def predict(self, rows: Any) -> Any:
            return 2 * rows

    module = Doubler()
    module.predict(tf.constant([1.0]))
    artifact = TensorflowSavedModelArtifact("model")
    artifact.save(module, tmp_path)
    loaded = artifact.load(tmp_path)
    assert artifact.caller(loaded, "predict", is_batch=False)(tf.constant([2.0])).numpy().tolist() == [4.0]


@pytest.mark.tensorflow
def test_what_was_loaded_is_kept_with_its_signatures(tmp_path: Path) -> None:
    artifact = TensorflowSavedModelArtifact("model")
    write(tmp_path / "model", serving_default="score", greet="greet")
    (tmp_path / "again").mkdir()
    artifact.save(artifact.load(tmp_path), tmp_path / "again")
    again = artifact.caller(artifact.load(tmp_path / "again"), "predict", is_batch=True)
    assert {name: array.tolist() for name, array in again(np.array(ROWS[:1])).items()} == json.loads(
        json.dumps(ANSWERS[0])
    )


@pytest.mark.tensorflow
class TestTensorflow(ArtifactSuite):
    artifact = TensorflowSavedModelArtifact("model")
    models: ClassVar = []
    foreign: ClassVar = [b"", {"keras_metadata.pb": b""}, {"saved_model.pb": saved_model()}, {"saved_model.pb": b""}]
    not_models: ClassVar = [[1.0], {}]
    library: ClassVar = "tensorflow"

    @pytest.fixture(autouse=True)
    def with_models(self, monkeypatch: pytest.MonkeyPatch) -> None:
        import tensorflow as tf

        module = tf.Module()
        module.weight = tf.Variable([2.0])
        module.double = tf.function(
            lambda rows: {"double": rows * module.weight}, input_signature=[tf.TensorSpec([None], tf.float32)]
        )
        monkeypatch.setattr(type(self), "models", [module])

    def is_same(self, one: Any, other: Any) -> bool:
        return bool(one.weight.numpy().tolist() == other.weight.numpy().tolist())
