"""Keras models: what is none, what they say without Keras, and how they answer on each backend."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

from kappa.errors import BadInputError, BundleError, MissingDependencyError
from kappa.frameworks.keras import KerasModelArtifact
from kappa.spec.contracts import ModelNeeds
from kappa.testing.artifacts import ArtifactSuite
from tests.frameworks.zero_code import answers, problems
from tests.inspection import samples

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # Keras' with NumPy 2

ROWS = [[1.0, 2.0, 3.0], [3.0, 0.0, 0.0]]
LAMBDA = {"module": "keras.layers", "class_name": "Lambda", "config": {"name": "code"}}
HDF5 = b"\x89HDF\r\n\x1a\n" + bytes(5) + b"\x08\x08\x00" + bytes(24) + (96).to_bytes(8, "little") + bytes(48)
LAYERS = """\
import keras


@keras.saving.register_keras_serializable(package="acme")
class Double(keras.layers.Layer):
    def call(self, rows):
        return rows * 2
"""
TRAIN = """\
import sys

import keras
import numpy as np

from layers import Double

net = keras.Sequential([keras.layers.Input((3,)), Double(), keras.layers.Dense(2, use_bias=False)])
net.layers[-1].set_weights([np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])])
net.save("net.keras")
"""
KAPPAFILE = """\
kappafile = 1
[service]
name = "Net"
[artifacts.model]
type = "keras"
path = "net.keras"
custom_objects = ["layers:Double"]
[apis.predict]
input = "ndarray"
artifact = "model"
"""


def linear() -> Any:
    """Return a model of two sums of three numbers."""
    import keras

    net = keras.Sequential([keras.layers.Input((3,), name="row"), keras.layers.Dense(2, use_bias=False)])
    net.layers[-1].set_weights([np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])])
    return net


def by_name(outputs: str) -> Any:
    """Return a model of two inputs, each a column, and two outputs, which are a list or have names."""
    import keras

    age, income = (keras.layers.Input((1,), name=name) for name in ("age", "income"))
    both = keras.layers.Add(name="sum")([age, income]), keras.layers.Subtract(name="rest")([age, income])
    return keras.Model([age, income], [*both] if outputs == "list" else dict(zip(("sum", "rest"), both, strict=True)))


@pytest.mark.keras
class TestKeras(ArtifactSuite):
    artifact = KerasModelArtifact("model")
    models: ClassVar = []
    foreign: ClassVar = [
        *(b"", b"PK\3\4", samples.skops(), pickle.dumps(1), HDF5[:-1], samples.keras(layer=LAMBDA)),
        {"model.keras": samples.keras()},
    ]
    not_models: ClassVar = [{}, [1.0]]
    library: ClassVar = "keras"

    @pytest.fixture(autouse=True)
    def with_models(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(type(self), "models", [linear()])

    def is_same(self, one: Any, other: Any) -> bool:
        rows = np.array(ROWS)
        return bool(one.predict_on_batch(rows).tolist() == other.predict_on_batch(rows).tolist())


def test_a_file_tells_the_version_that_wrote_it_and_its_format_names_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(sys.modules, "keras", raising=False)
    (tmp_path / "zip.bin").write_bytes(samples.keras())
    (tmp_path / "hdf5.bin").write_bytes(HDF5)
    artifact = KerasModelArtifact("m", backend="jax")
    versions = {"keras": "3.15.1"}
    assert artifact.needs_of_file(tmp_path / "zip.bin") == ModelNeeds(("keras", "jax"), versions)
    paths = [tmp_path / name for name in ("zip.bin", "hdf5.bin")]
    assert [artifact.sniff(path) for path in paths] == [None, None]
    assert [artifact.filename_of(path) for path in paths] == ["model.keras", "model.h5"]
    (tmp_path / "hdf5.bin").write_bytes(HDF5[:-1])
    assert artifact.sniff(tmp_path / "hdf5.bin") == "it ends too soon"


def test_the_backend_is_the_one_that_is_named_in_the_file_or_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "keras", raising=False)
    monkeypatch.setenv("KERAS_BACKEND", "torch")
    assert KerasModelArtifact("m").requires() == ("keras", "torch")
    assert KerasModelArtifact("m", backend="jax").requires() == ("keras", "jax")


def test_code_in_a_layer_is_refused_where_it_is_not_asked_for_and_is_a_pickle_where_it_is(tmp_path: Path) -> None:
    (tmp_path / "net.keras").write_bytes(samples.keras(layer=LAMBDA))
    assert problems(tmp_path, "keras", "net.keras") == ["KF309"]
    forbidden = '[security]\npickle = "forbid"'
    assert problems(tmp_path, "keras", "net.keras", options="safe_mode = false") == []
    assert problems(tmp_path, "keras", "net.keras", options=f"safe_mode = false\n{forbidden}") == ["KF315"]
    (tmp_path / "net.keras").write_bytes(samples.keras())
    assert problems(tmp_path, "keras", "net.keras", options=forbidden) == []


def test_without_the_library_its_name_is_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "keras", None)
    with pytest.raises(MissingDependencyError, match="The artifact type `keras` needs `keras`"):
        KerasModelArtifact("m").load(tmp_path)


@pytest.mark.keras
@pytest.mark.parametrize("extension", ["keras", "h5"])
@pytest.mark.parametrize("adapter", ['"ndarray"', '"dataframe"'])
@pytest.mark.filterwarnings("ignore")
def test_its_own_file_answers_rows_whatever_it_is_called(tmp_path: Path, extension: str, adapter: str) -> None:
    linear().save(tmp_path / f"own.{extension}")
    (tmp_path / f"own.{extension}").rename(tmp_path / "own.bin")
    requests = [[row] for row in ROWS]
    assert answers(tmp_path, "keras", "own.bin", requests, input_adapter=adapter) == [[[4.0, 5.0]], [[3.0, 0.0]]]


@pytest.mark.keras
@pytest.mark.parametrize("outputs", ["list", "dict"])
def test_columns_of_a_table_are_inputs_and_several_outputs_have_names(tmp_path: Path, outputs: str) -> None:
    by_name(outputs).save(tmp_path / "own.keras")
    requests = [[{"income": 2, "age": 1, "city": "Ulm"}], [{"age": 3, "income": 4}]]
    expected = [{"sum": [[3.0]], "rest": [[-1.0]]}, {"sum": [[7.0]], "rest": [[-1.0]]}]
    assert answers(tmp_path, "keras", "own.keras", requests) == expected


@pytest.mark.keras
def test_a_first_row_is_as_wide_as_the_only_input_and_has_the_names_of_several(tmp_path: Path) -> None:
    artifact = KerasModelArtifact("m")
    assert artifact.input_for(tmp_path) == "ndarray"
    assert artifact.first_row(linear()) == [1.5] * 3
    assert artifact.first_row(by_name("list")) == {"age": 1, "income": 1}


@pytest.mark.keras
def test_what_is_no_input_of_the_model_is_the_clients_error(tmp_path: Path) -> None:
    artifact = KerasModelArtifact("model")
    artifact.save(linear(), tmp_path)
    predict = artifact.caller(artifact.load(tmp_path), "predict", is_batch=True)
    with pytest.raises(BadInputError, match=r"The input `row` has the shape \[-1, 3\] and not \[1, 2\]\."):
        predict([[1, 2]])


@pytest.mark.keras
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("extension", ["keras", "h5"])
def test_code_in_a_file_is_not_run(tmp_path: Path, extension: str) -> None:
    import keras

    net = keras.Sequential([keras.layers.Input((3,)), keras.layers.Lambda(lambda rows: rows * 2)])
    net.save(tmp_path / f"model.{extension}")
    with pytest.raises((BundleError, ValueError), match="Lambda"):
        KerasModelArtifact("model").load(tmp_path)
    loaded = KerasModelArtifact("model", safe_mode=False).load(tmp_path)
    assert loaded.predict_on_batch(np.array(ROWS)).tolist() == [[2.0, 4.0, 6.0], [6.0, 0.0, 0.0]]


@pytest.mark.keras
def test_a_process_has_one_backend(tmp_path: Path) -> None:
    import keras

    artifact = KerasModelArtifact("model")
    artifact.save(linear(), tmp_path)
    other: Any = "torch" if keras.backend.backend() != "torch" else "jax"
    with pytest.raises(BundleError, match=f"needs Keras' backend `{other}`, and this process runs Keras on"):
        KerasModelArtifact("model", backend=other).load(tmp_path)


def in_a_process(folder: Path, *words: str, backend: str) -> str:
    environ = {**os.environ, "KERAS_BACKEND": backend}
    done = subprocess.run(
        [sys.executable, *words], cwd=folder, env=environ, capture_output=True, text=True, check=False
    )
    return done.stdout if done.returncode == 0 else done.stderr


@pytest.mark.keras
@pytest.mark.engine
@pytest.mark.parametrize("backend", ["tensorflow", "jax", "torch"])
def test_a_layer_of_the_service_answers_on_each_backend_and_one_that_is_not_named_is_told(
    tmp_path: Path, backend: str
) -> None:
    files = {"layers.py": LAYERS, "train.py": TRAIN, "kappafile.toml": KAPPAFILE}
    for name, text in files.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    assert in_a_process(tmp_path, "train.py", backend=backend) == ""
    asked = ("-m", "kappa", "run", ".", "predict", "--input", json.dumps(ROWS))
    assert json.loads(in_a_process(tmp_path, *asked, backend=backend)) == [[8.0, 10.0], [6.0, 0.0]]
    if backend == "jax":
        (tmp_path / "kappafile.toml").write_text(KAPPAFILE.replace("custom_objects", "# "), encoding="utf-8")
        text = in_a_process(tmp_path, *asked, backend=backend)
        assert "is made of `Double`, which is not Keras' own" in text
        assert 'custom_objects = ["MODULE:Double"]' in text
