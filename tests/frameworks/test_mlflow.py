"""Folders of MLflow's: what they say without it, and how their models answer with it."""

from __future__ import annotations

import pickle
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any, ClassVar

import pandas as pd
import pytest
from sklearn.linear_model import LinearRegression

from kappa.build.bundle.plan import plan_build
from kappa.build.project import read_project
from kappa.errors import BadInputError, ConfigurationError, MissingDependencyError
from kappa.frameworks.mlflow import MlflowModelArtifact
from kappa.testing.artifacts import ArtifactSuite
from tests.frameworks.zero_code import answers, problems
from tests.inspection import samples

MLMODEL = """\
mlflow_version: 3.17.2
flavors:
  python_function: {{loader_module: {loader}, model_path: {file}, python_version: 3.11.7, code: {code}}}
  other: {{}}
signature:
  inputs: '[{{"type": "double", "name": "age", "required": true}}]'
"""


def folder_of(folder: Path, *, loader: str = "mlflow.sklearn", file: str = "model.pkl", code: str = "null") -> Path:
    folder.mkdir()
    (folder / "MLmodel").write_text(MLMODEL.format(loader=loader, file=file, code=code), encoding="utf-8")
    (folder / "model.pkl").write_bytes(b"\x80\x02cfeatures\nScale\n)\x81.")
    (folder / "requirements.txt").write_text("mlflow==3.17.2\nscikit-learn==1.9.1\npandas<3\n", encoding="utf-8")
    return folder


def test_a_folder_names_its_requirements_with_the_small_distribution_of_mlflow(tmp_path: Path) -> None:
    needs = MlflowModelArtifact("m").needs_of_file(folder_of(tmp_path / "model"))
    assert needs.modules == ("features",)
    assert needs.versions == {"mlflow-skinny": "3.17.2", "scikit-learn": "1.9.1"}
    assert needs.requirements == ("scikit-learn==1.9.1", "pandas<3")


def test_the_modules_that_a_model_brings_are_not_looked_for_in_the_project(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "model", code="code")
    (folder / "code").mkdir()
    (folder / "code" / "features.py").touch()
    assert MlflowModelArtifact("m").needs_of_file(folder).modules == ()


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"file": "weights.bin"}, "its `MLmodel` names `weights.bin`, which is not in it"),
        ({"file": "../model.pkl"}, "its `MLmodel` names `../model.pkl`, which is not in it"),
        ({"file": "{"}, "its `MLmodel` is not YAML"),
    ],
)
def test_a_folder_that_is_not_whole_is_refused(change: dict[str, str], reason: str, tmp_path: Path) -> None:
    (tmp_path / "model.pkl").touch()
    assert MlflowModelArtifact("m").problem_of(folder_of(tmp_path / "model", **change)) == reason


def test_a_flavour_that_mlflow_calls_by_itself_is_needed(tmp_path: Path) -> None:
    (tmp_path / "MLmodel").write_text("flavors: {sklearn: {pickled_model: model.pkl}}", encoding="utf-8")
    assert "names no flavour `python_function`" in (MlflowModelArtifact("m").problem_of(tmp_path) or "")


def test_whether_loading_runs_code_is_told_by_the_loader_and_the_file_of_the_model(tmp_path: Path) -> None:
    artifact = MlflowModelArtifact("m")
    lightgbm = folder_of(tmp_path / "text", loader="mlflow.lightgbm")
    (lightgbm / "model.pkl").write_bytes(samples.LIGHTGBM)
    skops = folder_of(tmp_path / "skops")
    (skops / "model.pkl").write_bytes(samples.skops())
    trusting = folder_of(tmp_path / "trusting")
    (trusting / "model.pkl").write_bytes(samples.skops())
    (trusting / "MLmodel").write_text(
        (trusting / "MLmodel").read_text().replace("other: {}", "sklearn: {skops_trusted_types: [os.system]}")
    )
    inert = [artifact.needs_of_file(folder).is_pickle for folder in (lightgbm, skops)]
    assert inert == [False, False]
    with_code = folder_of(tmp_path / "code", loader="mlflow.lightgbm", code="code")
    (with_code / "model.pkl").write_bytes(samples.LIGHTGBM)
    strange = folder_of(tmp_path / "strange", loader="features")
    (strange / "model.pkl").write_bytes(samples.LIGHTGBM)
    pickled = folder_of(tmp_path / "pickled")
    assert all(artifact.needs_of_file(folder).is_pickle for folder in (trusting, with_code, strange, pickled))


def test_pickles_that_are_forbidden_refuse_a_folder_that_has_one(tmp_path: Path) -> None:
    folder_of(tmp_path / "model")
    (tmp_path / "features.py").write_text("class Scale: pass\n", encoding="utf-8")
    forbidden = '[security]\npickle = "forbid"'
    assert "KF315" in problems(tmp_path, "mlflow", "model", options=forbidden)
    assert problems(tmp_path, "mlflow", "model") == []


def test_a_bundle_gets_what_the_folder_lists_where_the_user_names_no_other(tmp_path: Path) -> None:
    folder_of(tmp_path / "model")
    (tmp_path / "features.py").write_text("class Scale: pass\n", encoding="utf-8")
    problems(tmp_path, "mlflow", "model", options='[env]\npip_packages = ["scikit-learn>=1"]')
    plan = plan_build(read_project(tmp_path), version=None, labels={}, environ={})
    wanted = {requirement.text for requirement in plan.requirements}
    assert wanted >= {"mlflow-skinny==3.17.2", "scikit-learn>=1", "pandas<3"}  # the pandas here is newer


def test_without_the_library_its_name_is_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mlflow", None)
    with pytest.raises(MissingDependencyError, match="The artifact type `mlflow` needs `mlflow-skinny`"):
        MlflowModelArtifact("m").load(tmp_path)


TABLE = pd.DataFrame({"age": [20.0, 30.0, 40.0, 50.0], "rooms": [1, 2, 3, 4]})
REQUESTS = [
    [{"rooms": rooms, "age": int(age)} for age, rooms in TABLE.itertuples(index=False)],
    [{"age": 20, "rooms": 1}],
]
in_its_own = pytest.mark.filterwarnings("ignore")  # of MLflow's: its advice is a warning


def saved(folder: Path, **options: Any) -> Any:
    """Save an estimator as MLflow does, and return it."""
    import mlflow.sklearn
    from sklearn.linear_model import LogisticRegression

    model = LogisticRegression().fit(TABLE, ["no", "no", "yes", "yes"])
    typed = TABLE.astype({"age": "float32", "rooms": "int32"})
    signature = mlflow.models.infer_signature(typed, model.predict(TABLE))
    listed = [f"{name}=={version(name)}" for name in ("mlflow-skinny", "scikit-learn")]  # MLflow takes seconds for that
    mlflow.sklearn.save_model(model, folder, signature=signature, pip_requirements=listed, **options)
    return model


@in_its_own
@pytest.mark.mlflow
@pytest.mark.parametrize("form", ["skops", "cloudpickle"])
def test_its_own_folder_answers_tables_by_their_columns_whatever_number_json_has(tmp_path: Path, form: str) -> None:
    model = saved(tmp_path / "own", serialization_format=form)
    expected = model.predict(TABLE).tolist()
    assert answers(tmp_path, "mlflow", "own", REQUESTS) == [expected, expected[:1]]
    needs = MlflowModelArtifact("m").needs_of_file(tmp_path / "own")
    assert needs.is_pickle == (form == "cloudpickle")
    assert needs.versions.keys() >= {"mlflow-skinny", "scikit-learn"}


@in_its_own
@pytest.mark.mlflow
@pytest.mark.parametrize(
    "row", [{"age": "old", "rooms": 1}, {"age": 1.0, "rooms": 1.5}, {"age": 1.0}], ids=["text", "fraction", "column"]
)
def test_a_table_against_the_signature_is_the_clients_error(row: dict[str, Any], tmp_path: Path) -> None:
    saved(tmp_path / "model")
    artifact = MlflowModelArtifact("model")
    model = artifact.load(tmp_path)
    assert artifact.feature_names_of(model) == ("age", "rooms")
    with pytest.raises(BadInputError, match=r"age|rooms"):
        artifact.caller(model, "predict", is_batch=True)(pd.DataFrame([row]))


@in_its_own
@pytest.mark.mlflow
def test_an_array_is_brought_to_the_type_of_the_signature(tmp_path: Path) -> None:
    import mlflow.sklearn

    rows = TABLE.to_numpy(dtype="float32")
    model = LinearRegression().fit(rows, [1.0, 2.0, 3.0, 4.0])
    signature = mlflow.models.infer_signature(rows, model.predict(rows))
    mlflow.sklearn.save_model(model, tmp_path / "own", signature=signature, pip_requirements=["scikit-learn"])
    adapter = '{ type = "ndarray", shape = [2] }'
    got = answers(tmp_path, "mlflow", "own", [[[20.0, 1.0]], [[20, 1]]], input_adapter=adapter)
    assert got == [[pytest.approx(1.0, rel=1e-4)]] * 2


def test_a_first_kappafile_takes_arrays_of_a_model_that_knows_no_names(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "model")
    artifact = MlflowModelArtifact("m")
    assert artifact.input_for(folder) == "dataframe"
    (folder / "MLmodel").write_text((folder / "MLmodel").read_text().partition("signature")[0])
    (folder / "model.pkl").write_bytes(pickle.dumps(LinearRegression().fit([[1.0, 2.0]], [1.0])))
    assert artifact.input_for(folder) == "ndarray"


@in_its_own
@pytest.mark.mlflow
def test_a_model_of_another_flavour_is_no_pickle_where_its_file_is_none(tmp_path: Path) -> None:
    import lightgbm
    import mlflow.lightgbm

    model = lightgbm.train({"verbose": -1, "min_data_in_leaf": 1}, lightgbm.Dataset(TABLE, [0.0, 1.0, 2.0, 3.0]), 2)
    mlflow.lightgbm.save_model(model, tmp_path / "own", pip_requirements=["lightgbm"])
    assert answers(tmp_path, "mlflow", "own", [TABLE.to_dict("records")]) == [
        pytest.approx(model.predict(TABLE).tolist())
    ]
    assert not MlflowModelArtifact("m").needs_of_file(tmp_path / "own").is_pickle


@in_its_own
@pytest.mark.mlflow
def test_a_model_that_mlflow_loaded_is_refused_with_what_to_do(tmp_path: Path) -> None:
    saved(tmp_path / "model")
    artifact = MlflowModelArtifact("model")
    with pytest.raises(ConfigurationError, match="name the folder that it was loaded from in `path`"):
        artifact.save(artifact.load(tmp_path), tmp_path / "model")


@in_its_own
@pytest.mark.mlflow
class TestMlflow(ArtifactSuite):
    artifact = MlflowModelArtifact("model")
    models: ClassVar = []
    foreign: ClassVar = [b"", {"model.pkl": b""}, {"MLmodel": b"{"}, {"MLmodel": samples.MLMODEL.encode()}]
    not_models: ClassVar = [LinearRegression(), {}]
    library: ClassVar = "mlflow"
    question = "model.predict(__import__('numpy').ones((1, 2))).tolist()"

    @pytest.fixture(autouse=True)
    def with_models(self, monkeypatch: pytest.MonkeyPatch) -> None:
        import mlflow.pyfunc

        class Double(mlflow.pyfunc.PythonModel):  # type: ignore[misc]
            def predict(self, model_input, params=None):  # type: ignore[no-untyped-def]  # MLflow reads the types
                return model_input * 2

        monkeypatch.setattr(type(self), "models", [Double()])

    def is_same(self, one: Any, other: Any) -> bool:
        return bool((one.predict(TABLE) == other.predict(TABLE)).all(axis=None))
