"""LightGBM's files: what they say without the library, and how its models answer with it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from kappa.errors import ConfigurationError, MissingDependencyError
from kappa.frameworks.lightgbm import LightGBMModelArtifact
from kappa.spec.contracts import ModelNeeds
from tests.frameworks.zero_code import answers, problems
from tests.inspection.samples import LIGHTGBM

ROWS = np.array([[0.0, 1.0], [1.0, 0.0], [2.0, 1.0], [3.0, 0.0]])
BOOSTER = ModelNeeds(("lightgbm",), made_of="lightgbm.basic:Booster")
ESTIMATOR = ModelNeeds(("lightgbm", "sklearn"), made_of="lightgbm.sklearn:LGBMClassifier")


@pytest.mark.parametrize(
    ("line", "needs"),
    [
        (b"", BOOSTER),
        (b'\nkappa_estimator:{"class": "LGBMClassifier"}\n', ESTIMATOR),
        (b'\nkappa_estimator:{"class": "Booster.__init__"}\n', BOOSTER),
        (b"\nkappa_estimator:[\n", BOOSTER),
    ],
    ids=["none", "estimator", "another class", "damaged"],
)
def test_a_file_tells_whether_it_is_of_an_estimator(tmp_path: Path, line: bytes, needs: ModelNeeds) -> None:
    path = tmp_path / "model.txt"
    path.write_bytes(LIGHTGBM + line + b"\npandas_categorical:null\n")
    artifact = LightGBMModelArtifact("m")
    assert (artifact.sniff(path), artifact.claims(path)) == (None, True)
    assert artifact.needs_of_file(path) == needs


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b'{"name": "tree", "version": "v4"}', "it is what `dump_model` returned, which LightGBM does not read"),
        (LIGHTGBM[:60], "it ends too soon"),
        (b"tree of life\n", "it does not begin as LightGBM's text does, which `save_model` writes"),
    ],
)
def test_a_file_that_is_not_a_model_is_refused_with_the_reason(tmp_path: Path, data: bytes, reason: str) -> None:
    (tmp_path / "model.txt").write_bytes(data)
    assert (LightGBMModelArtifact("m").sniff(tmp_path / "model.txt") or "").startswith(reason)


def test_without_the_library_its_name_is_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "lightgbm", None)
    with pytest.raises(MissingDependencyError, match="The artifact type `lightgbm` needs `lightgbm`"):
        LightGBMModelArtifact("m").load(tmp_path)


@pytest.mark.lightgbm
def test_an_objective_that_is_a_function_is_refused(tmp_path: Path) -> None:
    import lightgbm

    model = lightgbm.LGBMRegressor(objective=lambda y, score: (score - y, np.ones_like(y)))
    with pytest.raises(ConfigurationError, match="The objective of the artifact `m` is a function"):
        LightGBMModelArtifact("m").save(model, tmp_path)


@pytest.mark.lightgbm
def test_its_own_file_and_its_estimators_answer_tables_by_their_columns(tmp_path: Path) -> None:
    import lightgbm

    table = pd.DataFrame(ROWS, columns=["age", "income"])
    quiet: dict[str, Any] = {"n_estimators": 3, "min_child_samples": 1, "verbose": -1}
    model = lightgbm.LGBMClassifier(**quiet).fit(table, ["no", "yes", "yes", "no"])
    requests = [[{"income": income, "age": age} for age, income in ROWS.tolist()]]
    model.booster_.save_model(tmp_path / "own.txt")
    lightgbm.Booster(model_file=tmp_path / "own.txt")
    booster = model.booster_.predict(table).tolist()
    assert answers(tmp_path, "lightgbm", "own.txt", requests) == [booster]
    LightGBMModelArtifact("model").save(model, tmp_path)
    assert lightgbm.Booster(model_file=tmp_path / "model.txt").predict(table).tolist() == booster
    assert answers(tmp_path, "lightgbm", "model.txt", requests) == [model.predict(table).tolist()]
    chances = answers(tmp_path, "lightgbm", "model.txt", requests, method="predict_proba")
    assert chances == [model.predict_proba(table).tolist()]


def test_columns_that_the_library_numbered_have_no_names(tmp_path: Path) -> None:
    (tmp_path / "model.txt").write_bytes(LIGHTGBM.replace(b"age income", b"Column_0 Column_1"))
    table = '{ type = "dataframe", columns = { age = "float64", income = "float64" } }'
    assert problems(tmp_path, "lightgbm", "model.txt", input_adapter=table) == []
    single = '{ type = "dataframe", columns = { age = "float64" } }'
    assert problems(tmp_path, "lightgbm", "model.txt", input_adapter=single) == ["KF334"]
