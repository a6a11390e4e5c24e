"""Keras models compiled to ONNX, on whichever backend is here: they answer as before, by the names that they have."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kappa.build.compile.calls import Calls
from kappa.build.compile.converters import ConversionError
from kappa.build.compile.networks import compiled_network, network_of
from kappa.errors import BadInputError
from kappa.frameworks.compiled import CompiledArtifact
from kappa.frameworks.keras import KerasModelArtifact

pytestmark = [
    pytest.mark.keras,
    pytest.mark.engine,
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # Keras' with NumPy 2, and its exporters'
]

RANDOM = np.random.default_rng(3)


@pytest.fixture(autouse=True)
def with_exporter() -> None:
    import keras

    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript" if keras.backend.backend() == "torch" else "tf2onnx")


def dense() -> Any:
    from keras import Sequential, layers

    hidden = (layers.Dense(16, activation="relu"), layers.BatchNormalization())
    return Sequential([layers.Input((4,), name="row"), *hidden, layers.Dense(3, activation="softmax")])


def pictures() -> Any:
    from keras import Sequential, layers

    seen = (layers.Conv2D(4, 3, activation="relu"), layers.MaxPooling2D(), layers.Flatten(), layers.Dropout(0.5))
    return Sequential([layers.Input((8, 8, 1)), *seen, layers.Dense(10)])


def several(*, by_name: bool) -> Any:
    from keras import Model, layers

    age, income = (layers.Input((1,), name=name) for name in ("age", "income"))
    both = layers.Add(name="sum")([age, income]), layers.Subtract(name="rest")([age, income])
    return Model([age, income], dict(zip(("sum", "rest"), both, strict=True)) if by_name else [*both])


COLUMNS = {"age": np.array([[30.0]]), "income": np.array([[2.5]])}
MODELS: Mapping[str, tuple[Callable[[], Any], Any]] = {
    "dense": (dense, RANDOM.normal(size=(1, 4))),
    "pictures": (pictures, RANDOM.random((2, 8, 8, 1))),
    "a list of outputs": (lambda: several(by_name=False), COLUMNS),
    "outputs by name": (lambda: several(by_name=True), COLUMNS),
}


def network_and_proof(model: Any, argument: Any, folder: Path) -> tuple[Any, Mapping[str, Any]]:
    artifact, calls = KerasModelArtifact("model", compile="onnx"), Calls()
    network = network_of(artifact, model)
    assert network is not None
    calls.made.append(("example", "predict", network.inputs(argument)))
    outcome = compiled_network(artifact, network, output=folder, root=folder, calls=calls)
    return CompiledArtifact(name="model").load(folder), outcome["proof"]


@pytest.mark.parametrize("name", MODELS)
def test_a_compiled_model_of_keras_answers_as_before(name: str, tmp_path: Path) -> None:
    make, argument = MODELS[name]
    model = make()
    network, proof = network_and_proof(model, argument, tmp_path)
    before = KerasModelArtifact("model").caller(model, "predict", is_batch=True)
    after = CompiledArtifact(name="model").caller(network, "predict", is_batch=True)
    for times in (1, 50):
        many: Any = (
            {key: np.repeat(value, times, axis=0) for key, value in argument.items()}
            if isinstance(argument, dict)
            else np.repeat(argument, times, axis=0)
        )
        expected, actual = before(many), after(many)
        if isinstance(expected, Mapping):
            assert expected.keys() == actual.keys()
            for key in expected:
                np.testing.assert_allclose(actual[key], expected[key], rtol=1e-4, atol=1e-5)
        else:
            np.testing.assert_allclose(actual, expected, rtol=1e-4, atol=1e-5)
    assert proof["methods"] == ["predict", "predict_on_batch"]
    assert proof["drawn"] == 48
    assert proof["largest_difference"] < 1e-5


def test_several_inputs_are_taken_in_their_order_too(tmp_path: Path) -> None:
    network, _ = network_and_proof(several(by_name=False), COLUMNS, tmp_path)
    total, rest = network.predict(COLUMNS["age"], COLUMNS["income"])
    assert (total.tolist(), rest.tolist()) == ([[32.5]], [[27.5]])
    with pytest.raises(BadInputError, match="takes the inputs `age`, `income`, not `age`"):
        network(age=COLUMNS["age"])


def test_a_model_that_does_not_say_what_it_takes_is_refused() -> None:
    import keras

    with pytest.raises(ConversionError, match="begin it with an `Input`"):
        network_of(KerasModelArtifact("model"), keras.Sequential([keras.layers.Dense(2)]))
