"""Every built-in artifact type passes the suite that types of others inherit, and the suite sees what is wrong."""

from __future__ import annotations

import json
import os
import pickle
import shutil
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from kappa.errors import optional_import
from kappa.frameworks.catboost import CatBoostModelArtifact
from kappa.frameworks.cloudpickle import CloudpickleArtifact
from kappa.frameworks.file import FileArtifact
from kappa.frameworks.frame import FrameArtifact
from kappa.frameworks.json import JSONArtifact
from kappa.frameworks.lightgbm import LightGBMModelArtifact
from kappa.frameworks.numpy import NumpyArtifact
from kappa.frameworks.onnx import OnnxModelArtifact
from kappa.frameworks.pickle import PickleArtifact
from kappa.frameworks.pytorch import PytorchModelArtifact
from kappa.frameworks.pytorch_lightning import PytorchLightningModelArtifact
from kappa.frameworks.sklearn import SklearnModelArtifact
from kappa.frameworks.skops import SkopsModelArtifact
from kappa.frameworks.text import TextFileArtifact
from kappa.frameworks.transformers import TransformersModelArtifact
from kappa.frameworks.xgboost import XgboostModelArtifact
from kappa.spec.contracts import ArtifactPlugin
from kappa.testing.artifacts import ArtifactSuite
from tests.frameworks import torch_models, transformers_models
from tests.frameworks.acme_words import WordsArtifact
from tests.frameworks.onnx_models import linear_model
from tests.inspection.samples import LIGHTGBM, catboost, keras, onnx, skops

LABELS = (["no", "yes", "no", "yes"], [3, 5, 7, 7], [False, True, True, False])
ROWS = np.array([[0.0, 1.0], [1.0, 0.0], [2.0, 1.0], [3.0, 0.0]])
ROWS_OF_3 = np.array([[0.0, 1.0, 2.0], [1.0, 0.5, 0.0]])
PREDICT = (
    "artifact.caller(model, 'predict', is_batch=True)(__import__('numpy').array([[0.0, 1.0], [3.0, 0.0]])).tolist()"
)
XGBOOST_JSON = b'{"learner":{},"version":[3,2,0]}'


class TestJSON(ArtifactSuite):
    artifact = JSONArtifact("model")
    question = "model"
    models: ClassVar = [{"classes": ["setosa", "ü"], "threshold": 0.5}, [], None]
    foreign: ClassVar = [b"{", b"\xff", b"", pickle.dumps(1), {"content.json": b"{}"}]


class TestText(ArtifactSuite):
    artifact = TextFileArtifact("model")
    question = "model"
    models: ClassVar = ["Zeile 1\r\nZeile ü\n", ""]
    foreign: ClassVar = [b"\xff", {"content.txt": b"a"}]


class TestLatin(ArtifactSuite):
    artifact = TextFileArtifact("model", encoding="latin-1")
    question = "model"
    models: ClassVar = ["ü"]


class TestPickle(ArtifactSuite):
    artifact = PickleArtifact("model")
    question = "repr(model)"
    models: ClassVar = [{"a": {1, 2}}, complex(1, 2)]
    foreign: ClassVar = [b"", b"a,b\n1,2\n", XGBOOST_JSON, {"object.pkl": pickle.dumps(1)}]


@pytest.mark.cloudpickle
class TestCloudpickle(ArtifactSuite):
    artifact = CloudpickleArtifact("model")
    question = "model([1]) if callable(model) else repr(model)"
    models: ClassVar = [{"a": {1, 2}}, lambda rows: [row * 2 for row in rows]]
    foreign: ClassVar = [b"", b"a,b\n1,2\n", XGBOOST_JSON, {"object.pkl": pickle.dumps(1)}]
    library: ClassVar = "cloudpickle"

    def is_same(self, one: Any, other: Any) -> bool:
        return bool(one([1]) == other([1]) == [2] if callable(one) else one == other)


class TestNumpy(ArtifactSuite):
    artifact = NumpyArtifact("model")
    question = "repr(model)"
    models: ClassVar = [ROWS, np.array(3), np.array(["a", "ü"]), {"weights": ROWS, "bias": np.zeros(2, "f2")}]
    foreign: ClassVar = [b"", b"PK\3\4", pickle.dumps(ROWS), skops(), b"\x93NUMPY\1\0\2\0{}", {"arrays": b""}]
    not_models: ClassVar = [[1], np.array([{}])]
    library: ClassVar = "numpy"


class TestPandas(ArtifactSuite):
    artifact = FrameArtifact("model")
    question = "model.to_json()"
    models: ClassVar = [pd.DataFrame({"a": [1, 2], "b": ["x", None]}), pd.DataFrame({"a": [1.5]}, index=["row"])]
    foreign: ClassVar = [b"", b"PAR1", b"PAR1PAR1", b"a,b\n1,2\n", {"frame.parquet": b""}]
    not_models: ClassVar = [{"a": [1]}, ROWS]
    library: ClassVar = "pandas"


@pytest.mark.polars
class TestPolars(ArtifactSuite):
    artifact = FrameArtifact("model", library="polars")
    question = "model.to_dicts()"
    models: ClassVar = []
    foreign: ClassVar = TestPandas.foreign
    not_models: ClassVar = [pd.DataFrame({"a": [1]})]
    library: ClassVar = "polars"

    @pytest.fixture(autouse=True)
    def with_models(self, monkeypatch: pytest.MonkeyPatch) -> None:
        import polars as pl

        monkeypatch.setattr(type(self), "models", [pl.DataFrame({"a": [1, 2], "b": ["x", None]})])

    def is_same(self, one: Any, other: Any) -> bool:
        return bool(one.equals(other))


class TestFile(ArtifactSuite):
    artifact = FileArtifact("model")
    question = "model.read_text()"
    models: ClassVar = []
    not_models: ClassVar = [1, None, "no such file"]

    @pytest.fixture(autouse=True)
    def with_models(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        (tmp_path / "weights").write_bytes(b"1")
        monkeypatch.setattr(type(self), "models", [tmp_path / "weights"])

    def is_same(self, one: Any, other: Any) -> bool:
        return bool(one.read_bytes() == other.read_bytes())


class TestSklearn(ArtifactSuite):
    artifact = SklearnModelArtifact("model")
    question = PREDICT
    models: ClassVar = [make_pipeline(StandardScaler(), LinearRegression()).fit(ROWS, [0.0, 1.0, 2.0, 3.0])]
    foreign: ClassVar = [b"", b"<html>", XGBOOST_JSON, {"model.joblib": pickle.dumps(1)}]
    library: ClassVar = "joblib"

    def is_same(self, one: Any, other: Any) -> bool:
        return type(one) is type(other) and one.predict(ROWS).tolist() == other.predict(ROWS).tolist()


@pytest.mark.xgboost
class TestXgboost(ArtifactSuite):
    artifact = XgboostModelArtifact("model")
    question = PREDICT
    models: ClassVar = []
    foreign: ClassVar = [b"", b"binf", b"{}", pickle.dumps(1), {"model.ubj": XGBOOST_JSON}]
    not_models: ClassVar = [LinearRegression(), {}]
    library: ClassVar = "xgboost"

    @pytest.fixture(autouse=True)
    def with_models(self, monkeypatch: pytest.MonkeyPatch) -> None:
        import xgboost

        booster = xgboost.train({}, xgboost.DMatrix(ROWS, [0.0, 1.0, 2.0, 3.0]), num_boost_round=2)
        estimator = xgboost.XGBRegressor(n_estimators=2).fit(ROWS, [0.0, 1.0, 2.0, 3.0])
        monkeypatch.setattr(type(self), "models", [booster, estimator])

    def is_same(self, one: Any, other: Any) -> bool:
        return type(one) is type(other) and bytes(self._booster(one).save_raw()) == bytes(
            self._booster(other).save_raw()
        )

    def _booster(self, model: Any) -> Any:
        return model.get_booster() if hasattr(model, "get_booster") else model


@pytest.mark.lightgbm
class TestLightGBM(ArtifactSuite):
    artifact = LightGBMModelArtifact("model")
    question = PREDICT
    models: ClassVar = []
    foreign: ClassVar = [b"", b"tree\nversion=v4\n", b'{"name": "tree"}', pickle.dumps(1), {"model.txt": LIGHTGBM}]
    not_models: ClassVar = [LinearRegression(), {}]
    library: ClassVar = "lightgbm"

    @pytest.fixture(autouse=True)
    def with_models(self, monkeypatch: pytest.MonkeyPatch) -> None:
        import lightgbm

        quiet = {"n_estimators": 2, "min_child_samples": 1, "verbose": -1}
        regressor = lightgbm.LGBMRegressor(**quiet).fit(ROWS, [0.0, 1.0, 2.0, 3.0])
        classifiers = [lightgbm.LGBMClassifier(**quiet).fit(ROWS, labels) for labels in LABELS]
        monkeypatch.setattr(type(self), "models", [regressor.booster_, regressor, *classifiers])

    def is_same(self, one: Any, other: Any) -> bool:
        return type(one) is type(other) and answers_of(one) == answers_of(other)


@pytest.mark.catboost
class TestCatBoost(ArtifactSuite):
    artifact = CatBoostModelArtifact("model")
    question = PREDICT
    models: ClassVar = []
    foreign: ClassVar = [b"", b"CBM1", b"CBM2\0\0\0\0", XGBOOST_JSON, pickle.dumps(1), {"model.cbm": catboost()}]
    not_models: ClassVar = [LinearRegression(), {}]
    library: ClassVar = "catboost"

    @pytest.fixture(autouse=True)
    def with_models(self, monkeypatch: pytest.MonkeyPatch) -> None:
        import catboost

        quiet = {"iterations": 2, "verbose": 0, "allow_writing_files": False}
        regressor = catboost.CatBoostRegressor(**quiet).fit(ROWS, [0.0, 1.0, 2.0, 3.0])
        classifiers = [catboost.CatBoostClassifier(**quiet).fit(ROWS, labels) for labels in LABELS]
        monkeypatch.setattr(type(self), "models", [regressor, *classifiers])

    def is_same(self, one: Any, other: Any) -> bool:
        return type(one) is type(other) and answers_of(one) == answers_of(other)


@pytest.mark.skops
class TestSkops(ArtifactSuite):
    artifact = SkopsModelArtifact("model")
    question = PREDICT
    models: ClassVar = [
        make_pipeline(StandardScaler(), LinearRegression()).fit(ROWS, [0.0, 1.0, 2.0, 3.0]),
        LogisticRegression().fit(ROWS, ["no", "yes", "no", "yes"]),
    ]
    foreign: ClassVar = [b"", b"PK\3\4", keras(), pickle.dumps(1), {"model.skops": skops()}]
    not_models: ClassVar = [{}, [1]]
    library: ClassVar = "skops"

    def is_same(self, one: Any, other: Any) -> bool:
        return type(one) is type(other) and answers_of(one) == answers_of(other)


@pytest.mark.onnx
class TestOnnx(ArtifactSuite):
    artifact = OnnxModelArtifact("model")
    question = "artifact.caller(model, 'predict', is_batch=True)([[1.0, 1.0, 1.0]])['scores'].tolist()"
    models: ClassVar = []
    foreign: ClassVar = [b"", b"{}", pickle.dumps(1), onnx(weights_in="w.bin"), {"a.onnx": b""}, {"w.bin": onnx()}]
    not_models: ClassVar = [{}, b"\x08\x08"]
    library: ClassVar = "onnxruntime"

    @pytest.fixture(autouse=True)
    def with_models(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(type(self), "models", [linear_model()])

    def is_same(self, one: Any, other: Any) -> bool:
        return bool(one.run(None, {"rows": np.ones((1, 3), "float32")})[0].tolist() == [[2.0, 2.0]])


class _OfTorch(ArtifactSuite):
    foreign: ClassVar = [b"", b"PK\3\4", keras(), pickle.dumps(1), XGBOOST_JSON, {"model.pt": b""}]
    not_models: ClassVar = [{}, LinearRegression()]
    library: ClassVar = "torch"

    def is_same(self, one: Any, other: Any) -> bool:
        first, second = (self.artifact.caller(model, "predict", is_batch=True)(ROWS_OF_3) for model in (one, other))
        return bool(first.tolist() == second.tolist())


@pytest.mark.torch
class TestPytorch(_OfTorch):
    artifact = PytorchModelArtifact("model")
    models: ClassVar = []

    @pytest.fixture(autouse=True)
    def with_models(self, monkeypatch: pytest.MonkeyPatch) -> None:
        models = [torch_models.linear(), torch_models.scripted(), torch_models.exported()]
        monkeypatch.setattr(type(self), "models", models)


@pytest.mark.torch
class TestWeightsOfPytorch(_OfTorch):
    artifact = PytorchModelArtifact("model", factory="tests.frameworks.torch_models:linear")
    models: ClassVar = []

    @pytest.fixture(autouse=True)
    def with_models(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(type(self), "models", [torch_models.linear()])


@pytest.mark.lightning
class TestPytorchLightning(_OfTorch):
    artifact = PytorchLightningModelArtifact("model")
    models: ClassVar = []

    @pytest.fixture(autouse=True)
    def with_models(self, monkeypatch: pytest.MonkeyPatch) -> None:
        models = [torch_models.lightning()]
        monkeypatch.setattr(type(self), "models", models)
        monkeypatch.setattr(type(self), "not_models", [{}, torch_models.linear()])


@pytest.mark.transformers
class TestTransformers(ArtifactSuite):
    artifact = TransformersModelArtifact("model")
    models: ClassVar = []
    foreign: ClassVar = [b"{}", {"config.json": b"{}"}, {"config.json": b'{"model_type": "bert"}'}]
    not_models: ClassVar = [{}, LinearRegression(), {"model": LinearRegression()}]
    library: ClassVar = "transformers"

    @pytest.fixture(autouse=True)
    def with_models(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(type(self), "models", [transformers_models.text_pipeline(), transformers_models.parts()])

    def is_same(self, one: Any, other: Any) -> bool:
        first, second = (
            (transformers_models.text_pipeline() if isinstance(model, dict) else model)(transformers_models.TEXTS)
            for model in (one, other)
        )
        return bool(first == second)


def answers_of(model: Any) -> dict[str, Any]:
    """Return what the methods of a model say of `ROWS`."""
    methods = [name for name in ("predict", "predict_proba") if hasattr(model, name)]
    return {name: np.asarray(getattr(model, name)(ROWS)).tolist() for name in methods}


# -- a type of another distribution, whose models are folders, and what the suite finds --------------------------------


class TestWords(ArtifactSuite):
    artifact = WordsArtifact("words")
    question = "model"
    models: ClassVar = [{"de": ["Iris"], "en": ["iris", "flower"]}]
    foreign: ClassVar = [b"{}", {"de.txt": b"Iris"}]


class _Pickles(WordsArtifact):
    def load(self, directory: Path) -> Any:
        pickle.loads(pickle.dumps(complex(1, 2)))
        return super().load(directory)


class _Forgets(WordsArtifact):
    def load(self, directory: Path) -> Any:
        return {**super().load(directory), "en": []}


class _Litters(WordsArtifact):
    def save(self, model: Any, directory: Path) -> None:
        super().save(model, directory)
        (directory / "notes").touch()


class _TakesAll(WordsArtifact):
    def problem_of(self, path: Path) -> str | None:
        return None


class _Crashes(WordsArtifact):
    def sniff(self, path: Path) -> str | None:
        for file in path.glob("*.json"):
            json.loads(file.read_bytes())
        return None


class _Links(WordsArtifact):
    def adopt(self, path: Path, directory: Path, *, link: bool = False) -> None:
        super().adopt(path, directory, link=True)
        if not link:
            whole = directory / self.filename
            aside = whole.resolve()
            whole.unlink()
            shutil.copytree(aside, whole)
            (whole / "more.txt").symlink_to(aside)


class _NeedsWhatItDoesNotName(WordsArtifact):
    def load(self, directory: Path) -> Any:
        with optional_import("acme-words", needed_for="the artifact type `acme.words`"):
            import joblib  # noqa: F401
        return super().load(directory)


class _KnowsItsProcess(WordsArtifact):
    def load(self, directory: Path) -> Any:
        return {**super().load(directory), "process": os.getpid()}


class _SaysItSurvivesAFork(_KnowsItsProcess):
    preload_safe: ClassVar[bool] = True


class _HasEveryMethod(WordsArtifact):
    def caller(self, model: Any, method: str, *, is_batch: bool) -> Any:
        return print


@pytest.mark.parametrize(
    ("kind", "claim"),
    [
        (_Pickles, "test_whether_it_is_a_pickle_is_true"),
        (_Forgets, "test_what_is_saved_is_loaded"),
        (_Litters, "test_a_model_is_saved_under_the_name_of_the_type_alone"),
        (_TakesAll, "test_foreign_models_are_refused_with_a_reason"),
        (_TakesAll, "test_a_file_is_no_folder_and_a_folder_no_file"),
        (_Links, "test_what_it_saved_can_be_adopted"),
        (_NeedsWhatItDoesNotName, "test_without_its_library_the_command_that_installs_it_is_told"),
        (WordsArtifact, "test_without_its_library_the_command_that_installs_it_is_told"),
        (_KnowsItsProcess, "test_what_is_adopted_answers_alike_in_a_fresh_process"),
        (_HasEveryMethod, "test_a_method_that_a_model_has_not_is_a_bundle_error_that_names_the_artifact"),
    ],
)
def test_the_suite_sees_what_is_wrong(kind: type[ArtifactPlugin], claim: str) -> None:
    class Suite(TestWords):
        artifact: ClassVar[Any] = kind("words")
        library: ClassVar = "joblib"

    with pytest.raises(AssertionError):
        getattr(Suite(), claim)()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are not forked here")
@pytest.mark.parametrize(
    ("question", "why"),
    [
        ("model['process']", "answers otherwise"),
        ("1 / (model['process'] == __import__('os').getpid())", "fails"),
        ("model['process'] == __import__('os').getpid() or __import__('threading').Event().wait()", "hangs"),
    ],
)
def test_the_suite_sees_a_model_that_does_not_survive_a_fork(question: str, why: str) -> None:
    class Suite(TestWords):
        artifact: ClassVar[Any] = _KnowsItsProcess("words")
        fork_timeout_s: ClassVar[int] = 1

    Suite.question = question
    Suite().test_models_that_were_loaded_before_a_fork_answer_after_it()  # it is not said to
    Suite.artifact = _SaysItSurvivesAFork("words")
    with pytest.raises(AssertionError, match=f"a model {why} in a forked process"):
        Suite().test_models_that_were_loaded_before_a_fork_answer_after_it()


def test_the_suite_sees_a_type_that_fails_on_damaged_models() -> None:
    class Suite(TestWords):
        artifact = _Crashes("words")

    with pytest.raises(ValueError):
        Suite().test_damaged_models_are_judged_without_running_or_failing()


def test_the_suite_sees_a_module_that_imports_a_framework(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = "import pandas\nfrom tests.frameworks.acme_words import WordsArtifact\nclass Heavy(WordsArtifact): pass\n"
    (tmp_path / "acme_heavy.py").write_text(source, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)

    class Heavy(WordsArtifact):
        pass

    Heavy.__module__ = "acme_heavy"

    class Suite(TestWords):
        artifact = Heavy("words")

    with pytest.raises(AssertionError, match=r"importing it imports .*pandas.*: do that inside its methods"):
        Suite().test_its_module_imports_nothing_heavy()
