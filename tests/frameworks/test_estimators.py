"""What scikit-learn's estimators are given and how their answers are cut, whatever type of artifact keeps them."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier, VotingClassifier
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from kappa.adapters import DataframeInput
from kappa.frameworks.pickle import PickleArtifact
from kappa.frameworks.sklearn import SklearnModelArtifact
from kappa.services.inference import Inference
from kappa.spec.contracts import ArtifactPlugin
from kappa.spec.service import ApiSpec, ArtifactMethod
from kappa.types import Payload

ROWS = np.array([[0.0, 1.0], [1.0, 0.0], [2.0, 1.0], [3.0, 0.0]])
NAMED = pd.DataFrame(ROWS, columns=["a", "b"])
CLASSES = [0, 0, 1, 1]
TYPES = [SklearnModelArtifact("model"), PickleArtifact("model")]

each_type = pytest.mark.parametrize("artifact", TYPES, ids=["sklearn", "pickle"])


def watched(estimator: type, seen: list[type]) -> Any:
    """Return an estimator that notes what it is given, and seems to be scikit-learn's own."""

    class Watched(estimator):  # type: ignore[misc]
        def predict(self, X: Any) -> Any:
            seen.append(type(X))
            return [int(row[0] > 1.5) for row in np.asarray(X)]

    Watched.__module__ = estimator.__module__
    return Watched


@each_type
def test_a_plain_estimator_gets_the_values_of_a_frame_whatever_it_was_fitted_with(artifact: ArtifactPlugin) -> None:
    seen: list[type] = []
    spec = ApiSpec(
        name="predict", target=ArtifactMethod(artifact="model"), input=DataframeInput(), output="default", batch=True
    )

    def asked(model: Any, body: bytes) -> Any:
        api = Inference(spec, artifact.caller(model, "predict", is_batch=True), {})
        return api.answer([api.decode(Payload(body, "application/json"))])[0].body

    estimator = watched(SVC, seen)
    by_position, by_name = estimator().fit(ROWS, CLASSES), estimator().fit(NAMED, CLASSES)
    assert asked(by_position, b"[[3.0, 0.5], [0.0, 0.5]]") == b"[1,0]"
    assert asked(by_position, b"[[3, 0], [0, 1]]") == b"[1,0]"
    assert asked(by_name, b'[{"a": 3.0, "b": 0.5}]') == b"[1]"
    assert seen == [np.ndarray, np.ndarray, np.ndarray]


@each_type
@pytest.mark.parametrize("method", ["predict", "decision_function"])
def test_an_estimator_fitted_with_names_answers_a_frame_of_them_as_before_and_never_warns(
    artifact: ArtifactPlugin, method: str
) -> None:
    model = SVC().fit(NAMED, CLASSES)
    called = artifact.caller(model, method, is_batch=True)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert called(NAMED).tolist() == getattr(model, method)(NAMED).tolist()
    assert model.feature_names_in_.tolist() == ["a", "b"]


@pytest.mark.parametrize("names", [["b", "a"], ["a", "c"]], ids=["order", "another"])
def test_an_estimator_fitted_with_names_says_itself_what_is_wrong_with_others(names: list[str]) -> None:
    called = SklearnModelArtifact("model").caller(SVC().fit(NAMED, CLASSES), "predict", is_batch=True)
    with pytest.raises(ValueError, match="The feature names should match those"):
        called(pd.DataFrame(ROWS, columns=names))


def test_an_estimator_that_holds_one_that_knows_names_gets_the_frame() -> None:
    seen: list[type] = []
    model = watched(HistGradientBoostingClassifier, seen)(categorical_features=["b"]).fit(NAMED, CLASSES)
    SklearnModelArtifact("model").caller(model, "predict", is_batch=True)(NAMED)
    assert seen == [pd.DataFrame]


@pytest.mark.parametrize(
    ("kind", "estimators"),
    [
        pytest.param(Pipeline, [("scale", StandardScaler()), ("classify", SVC())], id="pipeline"),
        pytest.param(VotingClassifier, [("classify", SVC())], id="named-estimators"),
    ],
)
def test_an_estimator_that_may_go_by_column_gets_the_frame(kind: type, estimators: list[Any]) -> None:
    seen: list[type] = []
    model = watched(kind, seen)(estimators).fit(ROWS, CLASSES)
    SklearnModelArtifact("model").caller(model, "predict", is_batch=True)(NAMED)
    assert seen == [pd.DataFrame]


def test_a_frame_with_a_column_of_texts_stays_one() -> None:
    seen: list[type] = []
    model = watched(SVC, seen)().fit(ROWS, CLASSES)
    mixed = pd.DataFrame({"a": ["x"], "b": [1.0]})
    with pytest.raises(TypeError):
        SklearnModelArtifact("model").caller(model, "predict", is_batch=True)(mixed)
    assert seen == [pd.DataFrame]


@each_type
def test_several_outputs_are_rows_in_a_batch_and_what_the_model_returns_otherwise(artifact: ArtifactPlugin) -> None:
    model = RandomForestClassifier(n_estimators=2, random_state=0).fit(ROWS, np.stack([CLASSES, CLASSES], axis=1))
    expected = model.predict_proba(ROWS)
    rows = artifact.caller(model, "predict_proba", is_batch=True)(ROWS)
    assert [[output.tolist() for output in row] for row in rows] == [
        [output[number].tolist() for output in expected] for number in range(len(ROWS))
    ]
    alone = artifact.caller(model, "predict_proba", is_batch=False)(ROWS)
    assert [output.tolist() for output in alone] == [output.tolist() for output in expected]


def test_messages_name_the_models_own_method() -> None:
    spec = ApiSpec(
        name="predict", target=ArtifactMethod(artifact="model"), input=DataframeInput(), output="default", batch=True
    )

    class Short(SVC):  # type: ignore[misc] # scikit-learn has no types
        def predict(self, X: Any) -> Any:
            return [1]

    Short.__module__ = SVC.__module__
    model = Short().fit(ROWS, CLASSES)
    api = Inference(spec, SklearnModelArtifact("model").caller(model, "predict", is_batch=True), {})
    with pytest.raises(Exception, match=r"^`Short\.predict` \(`test_estimators\.py:\d+`, API `predict`\) was given 2"):
        api.run([api.decode(Payload(b"[[1, 2], [3, 4]]", "application/json"))])


def test_a_method_that_is_awaited_stays_one() -> None:
    class Slow:
        async def predict_proba(self, rows: Any) -> Any:
            return rows

    called = PickleArtifact("model").caller(Slow(), "predict_proba", is_batch=True)
    spec = ApiSpec(
        name="predict",
        target=ArtifactMethod(artifact="model", method="predict_proba"),
        input=DataframeInput(),
        output="default",
        batch=True,
    )
    assert Inference(spec, called, {}).is_async
