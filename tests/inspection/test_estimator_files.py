"""What is told of pickles and joblib files that scikit-learn's models are kept in."""

from __future__ import annotations

import hashlib
import pickle
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pandas as pd
import pytest
import sklearn
from sklearn.compose import make_column_transformer
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from kappa.inspection.detection import inspect_path
from kappa.inspection.report import Model, Step

ROWS = pd.DataFrame({"age": np.arange(40.0), "income": np.arange(40.0) % 7, "town": ["Ulm", "Rom"] * 20})
LABELS = np.where(ROWS["age"] > 20, "yes", "no")


def inspected(path: Path) -> Model:
    model = inspect_path(path)
    assert model is not None
    return model


def fitted() -> Any:
    columns = make_column_transformer((StandardScaler(), ["age", "income"]), (OneHotEncoder(), ["town"]))
    return make_pipeline(columns, RandomForestClassifier(3, random_state=0)).fit(ROWS, LABELS)


@pytest.fixture(scope="module")
def pipeline() -> Any:
    return fitted()


PACKINGS = [0, 3, ("zlib", 3), ("gzip", 3), ("bz2", 3), ("xz", 3), ("lzma", 3)]


@pytest.mark.parametrize("compress", PACKINGS, ids=str)
def test_a_pipeline_is_described_whatever_compresses_it(pipeline: Any, compress: Any, tmp_path: Path) -> None:
    joblib.dump(pipeline, tmp_path / "model.joblib", compress=compress)
    model = inspected(tmp_path / "model.joblib")
    assert (model.kind, model.certainty, model.artifact_type, model.problem) == ("joblib", "certain", "sklearn", "")
    assert model.made_of == "sklearn.pipeline:Pipeline"
    assert model.steps[:2] == (
        Step("columntransformer", "sklearn.compose._column_transformer:ColumnTransformer"),
        Step("columntransformer.standardscaler", "sklearn.preprocessing._data:StandardScaler"),
    )
    assert (model.feature_names, model.feature_count) == (("age", "income", "town"), 3)
    assert model.classes == ("no", "yes")
    assert model.versions == {"scikit-learn": sklearn.__version__}
    assert model.verdict is not None
    assert model.verdict.state == "safe", model.verdict


@pytest.mark.parametrize("protocol", range(6))
def test_the_same_is_told_of_every_protocol(pipeline: Any, protocol: int, tmp_path: Path) -> None:
    (tmp_path / "model.pkl").write_bytes(pickle.dumps(pipeline, protocol=protocol))
    model = inspected(tmp_path / "model.pkl")
    assert (model.kind, model.made_of, model.problem) == ("pickle", "sklearn.pipeline:Pipeline", "")
    assert (model.feature_names, model.classes) == (("age", "income", "town"), ("no", "yes"))
    assert model.verdict is not None
    assert model.verdict.state == "safe", model.verdict


def test_a_search_is_told_by_its_best_estimator(tmp_path: Path) -> None:
    search = GridSearchCV(LogisticRegression(), {"C": [1.0]}, cv=2).fit(ROWS[["age"]].to_numpy(), LABELS)
    joblib.dump(search, tmp_path / "search.joblib")
    model = inspected(tmp_path / "search.joblib")
    assert model.steps == (Step("best_estimator_", "sklearn.linear_model._logistic:LogisticRegression"),)
    assert (model.feature_names, model.feature_count, model.classes) == ((), 1, ("no", "yes"))


def test_a_model_that_was_fitted_without_names_has_a_count(tmp_path: Path) -> None:
    joblib.dump(StandardScaler().fit(np.zeros((3, 5))), tmp_path / "x.joblib")
    model = inspected(tmp_path / "x.joblib")
    assert (model.feature_names, model.feature_count) == ((), 5)


def test_what_lz4_compressed_is_known_by_its_signature_alone(tmp_path: Path) -> None:
    (tmp_path / "x.joblib").write_bytes(b"\x04\x22\x4d\x18" + bytes(40))
    model = inspected(tmp_path / "x.joblib")
    assert (model.kind, model.certainty, model.problem) == ("joblib", "likely", "")
    assert model.verdict is not None
    assert model.verdict.state == "unknown"
    assert "lz4" in model.remarks[0]


def test_the_size_and_the_digest_are_those_of_the_file(tmp_path: Path) -> None:
    (tmp_path / "x.pkl").write_bytes(pickle.dumps({"a": 1}))
    model = inspected(tmp_path / "x.pkl")
    assert model.size_bytes == (tmp_path / "x.pkl").stat().st_size
    assert model.sha256 == hashlib.sha256((tmp_path / "x.pkl").read_bytes()).hexdigest()
    assert model.made_of == ""


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.999])
def test_a_file_that_ends_too_soon_is_told(pipeline: Any, share: float, tmp_path: Path) -> None:
    joblib.dump(pipeline, tmp_path / "whole.joblib")
    data = (tmp_path / "whole.joblib").read_bytes()
    (tmp_path / "part.joblib").write_bytes(data[: int(len(data) * share)])
    model = inspected(tmp_path / "part.joblib")
    assert (model.kind, model.is_truncated, model.problem) == ("joblib", True, "it ends too soon")
    assert model.verdict is not None
    assert model.verdict.state == "unknown"
