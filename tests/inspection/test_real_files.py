"""What is told of files that the frameworks themselves wrote, in an environment of their own."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from kappa.inspection.detection import inspect_path
from kappa.inspection.report import Model, Tensor
from tests.frameworks.environments import environment

pytestmark = [pytest.mark.engine, pytest.mark.index, pytest.mark.timeout(1800)]  # some GB are installed first

PACKAGES = (
    *(
        "catboost",
        "cloudpickle",
        "joblib",
        "keras",
        "lightgbm",
        "lz4",
        "mlflow-skinny",
        "onnx",
        "pandas",
        "safetensors",
    ),
    *("safetensors", "scikit-learn", "skl2onnx", "skops", "spacy", "statsmodels", "torch==2.13.0", "xgboost-cpu"),
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder of models, written in an environment of their own."""
    python = environment("files", PACKAGES)
    models = tmp_path_factory.mktemp("models")
    subprocess.run([python, Path(__file__).with_name("write_models.py"), models], check=True, timeout=280)
    return models


NAMES = ("age", "income", "tenure")
CLASSIFIER = {"feature_count": 3, "classes": (0, 1)}
EXPECTED: dict[str, tuple[str, dict[str, Any]]] = {
    "catboost.cbm": ("catboost", {"classes": ("no", "yes"), "certainty": "certain"}),
    "catboost.json": ("catboost", {"feature_names": NAMES, "classes": ("no", "yes")}),
    "forest.onnx": ("onnx", {"inputs": (Tensor("X", "float32", (-1, 3)),)}),
    "keras.keras": ("keras", {"made_of": "keras:Sequential", "inputs": (Tensor("row", "float32", (-1, 3)),)}),
    "keras.weights.h5": ("keras-weights", {"artifact_type": ""}),
    "lightgbm.joblib": ("joblib", {"made_of": "lightgbm.sklearn:LGBMClassifier", **CLASSIFIER}),
    "lightgbm.txt": ("lightgbm", {"feature_names": NAMES, **CLASSIFIER}),
    "mlflow": ("mlflow", {"feature_names": NAMES, "made_of": "sklearn.linear_model._base:LinearRegression"}),
    "model.safetensors": ("safetensors", {"weights": 4}),
    "pipeline.gz.joblib": ("joblib", {"made_of": "sklearn.pipeline:Pipeline", "feature_names": NAMES, **CLASSIFIER}),
    "pipeline.lz4.joblib": ("joblib", {"certainty": "likely"}),
    "pipeline.skops": ("skops", {"made_of": "sklearn.pipeline:Pipeline", "feature_names": NAMES, **CLASSIFIER}),
    "spacy": ("spacy", {"modules": ("spacy",)}),
    "statsmodels.pickle": (
        "pickle",
        {"made_of": "statsmodels.regression.linear_model:RegressionResultsWrapper", "artifact_type": "pickle"},
    ),
    "torch-export.pt2": ("torch-export", {"artifact_type": "pytorch", "inputs": (Tensor("input", "float32", (1, 3)),)}),
    "torch-legacy.pt": ("pytorch", {"weights": 4}),
    "torch-module.pt": ("pytorch", {"made_of": "torch.nn.modules.container:Sequential"}),
    "torch-script.pt": ("torchscript", {}),
    "torch-state.pt": ("pytorch", {"weights": 4}),
    "xgboost-booster.ubj": ("xgboost", {"made_of": "xgboost.core:Booster", "feature_count": 3}),
    "xgboost-classifier.json": ("xgboost", {"made_of": "xgboost.sklearn:XGBClassifier", "feature_names": NAMES}),
    "xgboost-classifier.ubj": ("xgboost", {"feature_names": NAMES, **CLASSIFIER}),
    "xgboost.joblib": ("joblib", {"made_of": "xgboost.sklearn:XGBClassifier", "feature_names": NAMES}),
}
UNSURE = {"pipeline.lz4.joblib", "statsmodels.pickle"}
"""Files of which nobody says that they are safe."""


def inspected(path: Path) -> Model:
    model = inspect_path(path)
    assert model is not None
    return model


@pytest.mark.parametrize("name", EXPECTED)
def test_a_file_that_its_framework_wrote_is_described(name: str, folder: Path) -> None:
    model = inspected(folder / name)
    kind, facts = EXPECTED[name]
    assert (model.kind, model.problem) == (kind, "")
    assert {key: getattr(model, key) for key in facts} == facts
    if model.verdict is not None:
        assert model.verdict.state == ("unknown" if name in UNSURE else "safe"), model.verdict


def test_versions_at_save_are_those_of_the_environment(folder: Path) -> None:
    installed = json.loads((folder / "versions.json").read_text())
    for name, distribution, package in (
        ("xgboost-classifier.ubj", "xgboost", "xgboost-cpu"),
        ("xgboost.joblib", "xgboost", "xgboost-cpu"),
        ("pipeline.skops", "scikit-learn", "scikit-learn"),
        ("pipeline.skops", "skops", "skops"),
        ("pipeline.gz.joblib", "scikit-learn", "scikit-learn"),
        ("keras.keras", "keras", "keras"),
        ("catboost.cbm", "catboost", "catboost"),
    ):
        assert inspected(folder / name).versions[distribution] == installed[package], name


def test_every_file_is_known(folder: Path) -> None:
    assert {path.name for path in folder.iterdir()} - {"versions.json"} == EXPECTED.keys()


@pytest.mark.parametrize("name", [name for name in EXPECTED if "." in name and name != "pipeline.lz4.joblib"])
def test_half_of_a_file_is_never_whole(name: str, folder: Path, tmp_path: Path) -> None:
    data = (folder / name).read_bytes()
    (tmp_path / name).write_bytes(data[: len(data) // 2])
    model = inspected(tmp_path / name)
    assert model.problem or model.certainty != "certain"
    assert model.verdict is None or model.verdict.state == "unknown"
