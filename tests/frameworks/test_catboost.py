"""CatBoost's files: what they say without the library, and how its models answer with it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from kappa.errors import ConfigurationError, MissingDependencyError
from kappa.frameworks.catboost import CatBoostModelArtifact
from kappa.spec.contracts import ModelNeeds
from tests.frameworks.zero_code import answers
from tests.inspection.samples import catboost as cbm

TABLE = pd.DataFrame({"age": [0.0, 1.0, 2.0, 3.0, 4.0, 5.0], "income": [1.0, 0.0, 1.0, 0.0, 1.0, 0.0]})
QUIET: dict[str, Any] = {"iterations": 3, "verbose": 0, "allow_writing_files": False}
REQUESTS = [[{"income": income, "age": age} for age, income in TABLE.to_numpy().tolist()]]


def test_a_file_tells_the_version_that_wrote_it_and_its_format_names_it(tmp_path: Path) -> None:
    artifact = CatBoostModelArtifact("m")
    (tmp_path / "model.bin").write_bytes(cbm())
    (tmp_path / "other.bin").write_bytes(b'{"features_info":{}}')
    assert artifact.needs_of_file(tmp_path / "model.bin") == ModelNeeds(("catboost",), {"catboost": "1.2.10"})
    assert [artifact.sniff(tmp_path / name) for name in ("model.bin", "other.bin")] == [None, None]
    assert [artifact.filename_of(tmp_path / name) for name in ("model.bin", "other.bin")] == ["model.cbm", "model.json"]


def test_without_the_library_its_name_is_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "catboost", None)
    with pytest.raises(MissingDependencyError, match="The artifact type `catboost` needs `catboost`"):
        CatBoostModelArtifact("m").load(tmp_path)


@pytest.mark.catboost
@pytest.mark.parametrize("form", ["cbm", "json"])
def test_its_own_file_answers_tables_by_their_columns_with_a_label_for_each_row(tmp_path: Path, form: str) -> None:
    import catboost

    model = catboost.CatBoostClassifier(**QUIET).fit(TABLE, ["a", "a", "b", "b", "c", "c"])
    model.save_model(tmp_path / "own.bin", format=form)
    assert answers(tmp_path, "catboost", "own.bin", REQUESTS) == [model.predict(TABLE)[:, 0].tolist()]
    chances = answers(tmp_path, "catboost", "own.bin", REQUESTS, method="predict_proba")
    assert np.allclose(chances, [model.predict_proba(TABLE)])


@pytest.mark.catboost
def test_a_model_without_a_class_of_its_own_is_kept_as_it_is_where_that_is_said(tmp_path: Path) -> None:
    import catboost

    model = catboost.CatBoost({**QUIET, "loss_function": "Logloss"}).fit(TABLE, [0, 0, 0, 1, 1, 1])
    with pytest.raises(ConfigurationError, match='`estimator = "CatBoost"` keeps the class'):
        CatBoostModelArtifact("model").save(model, tmp_path)
    CatBoostModelArtifact("model", estimator="CatBoost").save(model, tmp_path)
    options = 'estimator = "CatBoost"'
    assert answers(tmp_path, "catboost", "model.cbm", REQUESTS, options=options) == [model.predict(TABLE).tolist()]
