"""skops' files: what they say without the library, and how its estimators answer with it."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from kappa.errors import BundleError, MissingDependencyError
from kappa.frameworks.skops import SkopsModelArtifact
from tests.frameworks.zero_code import answers, problems
from tests.inspection import samples

TABLE = pd.DataFrame({"age": [0.0, 1.0, 2.0, 3.0], "income": [1.0, 0.0, 1.0, 0.0]})
REQUESTS = [[{"income": income, "age": age} for age, income in TABLE.to_numpy().tolist()]]


class Own(LogisticRegression):  # type: ignore[misc]
    """An estimator that skops does not know."""


def test_a_file_tells_its_class_and_the_versions_that_wrote_it(tmp_path: Path) -> None:
    artifact = SkopsModelArtifact("m")
    (tmp_path / "model.bin").write_bytes(samples.skops())
    (tmp_path / "other.skops").write_bytes(samples.keras())
    needs = artifact.needs_of_file(tmp_path / "model.bin")
    assert (needs.versions, needs.made_of) == (
        {"scikit-learn": "1.9.1", "skops": "0.16.0"},
        "sklearn.preprocessing._data:StandardScaler",
    )
    assert artifact.sniff(tmp_path / "model.bin") is None
    assert artifact.sniff(tmp_path / "other.skops") == "it is not an archive as `skops.io.dump` writes it"


def test_pickles_that_are_forbidden_leave_it_alone(tmp_path: Path) -> None:
    (tmp_path / "model.skops").write_bytes(samples.skops())
    forbidden = '[security]\npickle = "forbid"'
    assert problems(tmp_path, "skops", "model.skops", options=forbidden) == []


def test_without_the_library_its_name_is_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "skops", None)
    with pytest.raises(MissingDependencyError, match="The artifact type `skops` needs `skops`"):
        SkopsModelArtifact("m").load(tmp_path)


@pytest.mark.skops
def test_its_own_file_answers_tables_by_their_columns(tmp_path: Path) -> None:
    import skops.io

    model = make_pipeline(StandardScaler(), LogisticRegression()).fit(TABLE, ["no", "yes", "no", "yes"])
    skops.io.dump(model, tmp_path / "own.bin")
    assert answers(tmp_path, "skops", "own.bin", REQUESTS) == [model.predict(TABLE).tolist()]
    chances = answers(tmp_path, "skops", "own.bin", REQUESTS, method="predict_proba")
    assert np.allclose(chances, [model.predict_proba(TABLE)])


@pytest.mark.skops
def test_what_skops_does_not_know_is_loaded_only_where_it_is_trusted(tmp_path: Path) -> None:
    name = f"{Own.__module__}.{Own.__qualname__}"
    SkopsModelArtifact("model").save(Own().fit(TABLE, [0, 1, 0, 1]), tmp_path)
    with pytest.raises(BundleError, match=rf'write `trusted = \["{name}"\]` beside its type'):
        SkopsModelArtifact("model").load(tmp_path)
    loaded = SkopsModelArtifact("model", trusted=(name,)).load(tmp_path)
    assert loaded.predict(TABLE).tolist() == [0, 1, 0, 1]
