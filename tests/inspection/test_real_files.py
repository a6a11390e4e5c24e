"""What is told of files that the frameworks themselves wrote, in an environment of their own.

The frameworks that go together with no others write theirs where their own tests run (`make test-frameworks`).
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

from kappa.inspection.detection import inspect_path
from kappa.inspection.report import Model, Tensor
from kappa.plugins import ARTIFACTS
from tests.frameworks.environments import environment

pytestmark = [pytest.mark.engine, pytest.mark.index, pytest.mark.timeout(1800)]  # some GB are installed first

PACKAGES = (
    *(
        "catboost",
        "cloudpickle",
        "gguf",
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
    "catboost.cbm": ("catboost", {"feature_names": NAMES, "classes": ("no", "yes"), "certainty": "certain"}),
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
    "tiny.gguf": (
        "gguf",
        {"weights": 3, "remarks": ("`general.architecture` is `llama`.", "`general.name` is `Tiny`.")},
    ),
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


# -- by frameworks that need an environment of their own ---------------------------------------------------------------

H2O = pytest.param("h2o", "mojo.zip", marks=pytest.mark.h2o)
PYSPARK = pytest.param("pyspark", "pyspark", marks=pytest.mark.spark)
TENSORFLOW = pytest.param("tensorflow-cpu", "saved-model", marks=pytest.mark.tensorflow)
TRANSFORMERS = pytest.param("transformers", "transformers", marks=pytest.mark.transformers)
EXPECTED_ELSEWHERE: dict[str, tuple[str, str, dict[str, Any]]] = {
    "mojo.zip": ("h2o", "h2o", {"feature_names": NAMES, "feature_count": 3, "classes": ("no", "yes")}),
    "pyspark": ("pyspark", "pyspark", {"feature_names": NAMES, "made_of": "org.apache.spark.ml:PipelineModel"}),
    "saved-model": (
        "tensorflow",
        "tensorflow",
        {
            "inputs": (Tensor("rows", "float32", (-1, 3)),),
            "outputs": (Tensor("scores", "float32", (-1, 2)),),
            "remarks": ("Its signatures are `serving_default`.",),
        },
    ),
    "transformers": (
        "transformers",
        "transformers",
        {"made_of": "transformers:BertForSequenceClassification", "classes": ("glad", "sad")},
    ),
}
CUT = {
    "mojo.zip": "mojo.zip",
    "pyspark": "pyspark/stages",
    "saved-model": "saved-model/saved_model.pb",
    "transformers": "transformers/model.safetensors",
}
"""What is cut of each: a file, or of a folder of folders the last one."""


@pytest.fixture
def elsewhere(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """Return the folder with the model of a framework that is installed here."""
    command = [sys.executable, Path(__file__).with_name("write_models.py"), tmp_path, request.param]
    done = subprocess.run(command, capture_output=True, text=True, timeout=280, check=False)
    assert done.returncode == 0, done.stderr
    return tmp_path


INSTALLED_AS = {"tensorflow": "tensorflow-cpu"}
"""The distribution that is installed here, where the model names another of the same version."""

each_elsewhere = pytest.mark.parametrize(
    ("elsewhere", "name"), [H2O, PYSPARK, TENSORFLOW, TRANSFORMERS], indirect=["elsewhere"]
)


@each_elsewhere
def test_a_model_of_a_framework_with_an_environment_of_its_own_is_described(elsewhere: Path, name: str) -> None:
    model = inspected(elsewhere / name)
    distribution, kind, facts = EXPECTED_ELSEWHERE[name]
    assert (model.kind, model.artifact_type, model.certainty, model.problem) == (kind, kind, "certain", "")
    assert model.versions == {distribution: version(INSTALLED_AS.get(distribution, distribution))}
    assert {key: getattr(model, key) for key in facts} == facts


@each_elsewhere
def test_a_part_of_such_a_model_is_never_whole(elsewhere: Path, name: str) -> None:
    part = elsewhere / CUT[name]
    if part.is_dir():
        shutil.rmtree(max(part.iterdir()))
    else:
        part.write_bytes(part.read_bytes()[: part.stat().st_size // 2])
    artifact_type = EXPECTED_ELSEWHERE[name][1]
    assert inspected(elsewhere / name).problem or ARTIFACTS.load(artifact_type)("m").problem_of(elsewhere / name)
