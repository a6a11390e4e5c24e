"""What `batch` is where nobody says: the same in a kappafile and in Python."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.cluster import KMeans
from sklearn.decomposition import PCA
from sklearn.ensemble import IsolationForest, RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.mixture import GaussianMixture
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

import kappa
from kappa.adapters import AnnotatedImageInput, DataframeInput, JsonInput, JsonOutput, NdarrayInput, StringInput
from kappa.bento import BentoService
from kappa.frameworks.sklearn import SklearnModelArtifact
from kappa.services.declaring import declared_spec
from kappa.services.inference import Inference
from kappa.spec.contracts import InputAdapter
from kappa.spec.document import Kappafile
from kappa.spec.service import ApiSpec
from kappa.types import Payload


def spec_of(**api: Any) -> ApiSpec:
    document = {
        "kappafile": 1,
        "service": {"name": "Demo"},
        "artifacts": {
            "model": {"type": "sklearn", "path": "m"},
            "booster": {"type": "xgboost", "path": "m"},
            "any": {"type": "pickle", "path": "m"},
        },
        "apis": {"predict": api},
    }
    return Kappafile.model_validate(document).to_spec().apis[0]


@pytest.mark.parametrize(
    ("api", "batch"),
    [
        ({"artifact": "model", "input": "ndarray"}, True),
        ({"artifact": "model", "method": "predict_proba", "input": "ndarray"}, True),
        ({"artifact": "model", "method": "transform", "input": "pytorch_tensor"}, True),
        ({"artifact": "booster", "input": "ndarray"}, True),
        ({"artifact": "model", "input": "ndarray", "batch": False}, False),
        ({"artifact": "model", "method": "kneighbors", "input": "ndarray"}, False),
        ({"artifact": "any", "input": "ndarray"}, False),
        ({"artifact": "any", "input": "dataframe"}, True),
        ({"artifact": "model", "input": "json"}, False),  # a request is one item, and a batch a list of them
        ({"function": "h:f", "input": "ndarray"}, False),
        ({"function": "h:f", "input": "dataframe"}, True),
        ({"function": "h:f", "input": "tf_tensor"}, True),
        ({"function": "h:f", "input": "json"}, False),
        ({"function": "h:f", "input": "ndarray", "batch": True}, True),
    ],
    ids=str,
)
def test_a_kappafile_without_a_word_about_batch(api: dict[str, Any], batch: bool) -> None:
    assert spec_of(**api).batch is batch


def test_what_is_isolated_is_batched_by_default_too() -> None:
    assert spec_of(artifact="model", input="ndarray", isolate_failures=True).isolate_failures


@pytest.mark.parametrize(
    ("adapter", "batch"),
    [(DataframeInput(), True), (NdarrayInput(), False), (JsonInput(), False), (StringInput(), False),
     (AnnotatedImageInput(), False)],
    ids=lambda value: getattr(value, "type", None),
)  # fmt: skip
def test_a_method_without_a_word_about_batch_is_as_in_a_kappafile(adapter: InputAdapter, batch: bool) -> None:
    class Service(BentoService):
        @kappa.api(input=adapter, output=JsonOutput())
        def predict(self, value: Any) -> Any:
            return value

    Service.__qualname__ = "Service"
    (declared,) = declared_spec(Service).apis
    assert declared.batch is batch
    assert spec_of(function="h:f", input=adapter.type).batch is batch


X = np.array([[0.0, 1.0], [1.0, 0.0], [2.0, 1.5], [3.0, 0.2], [0.5, 0.5], [2.5, 0.1], [4.0, 1.0], [0.1, 2.0]])
Y = np.array([0, 0, 1, 1, 0, 1, 1, 0])
MODELS = [
    LogisticRegression(),
    RandomForestClassifier(n_estimators=3, random_state=0),
    KNeighborsClassifier(2),
    SVC(),
    KMeans(2, n_init=1, random_state=0),
    GaussianMixture(2, random_state=0),
    IsolationForest(n_estimators=3, random_state=0),
    StandardScaler(),
    PCA(2),
    make_pipeline(StandardScaler(), LogisticRegression()),
]


@pytest.mark.parametrize("model", MODELS, ids=lambda model: type(model).__name__)
def test_the_methods_of_sklearn_that_are_batched_take_rows_one_by_one(model: Any) -> None:
    fitted = model.fit(X, Y)
    tried = [method for method in SklearnModelArtifact.row_methods if hasattr(fitted, method)]
    for method in tried:
        if method == "predict_log_proba" and isinstance(model, RandomForestClassifier | KNeighborsClassifier):
            continue  # log of 0
        together = getattr(fitted, method)(X)
        alone = np.concatenate([getattr(fitted, method)(X[i : i + 1]) for i in range(len(X))])
        np.testing.assert_allclose(together, alone)
    assert tried


@pytest.mark.parametrize("rows", [1, 2, 3])
def test_probabilities_of_several_outputs_belong_to_their_rows(rows: int) -> None:
    model = RandomForestClassifier(n_estimators=3, random_state=0).fit(X, np.stack([Y, 1 - Y], axis=1))
    called = SklearnModelArtifact("model").caller(model, "predict_proba", is_batch=True)
    api = Inference(spec_of(artifact="model", method="predict_proba", input="ndarray"), called, {})
    tasks = [api.decode(Payload(str([row.tolist()]).encode(), "application/json")) for row in X[:rows]]
    assert api.answer(tasks) == [api.answer([task])[0] for task in tasks]
    first = model.predict_proba(X[:1])
    assert np.array(api.run(tasks[:1])[0]).tolist() == [[first[0][0].tolist(), first[1][0].tolist()]]
