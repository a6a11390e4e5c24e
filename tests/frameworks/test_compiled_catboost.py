"""CatBoost's models compiled to ONNX: labels, missing numbers, and what the library does not export."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from kappa.actions.building import build_project, project_to_build
from kappa.errors import ManifestError
from kappa.services.bundle import open_bundle
from kappa.services.service import LoadedService, load_service
from kappa.services.source import ServiceSource
from kappa.types import Payload

pytestmark = [pytest.mark.catboost, pytest.mark.skl2onnx, pytest.mark.engine]

RANDOM = np.random.default_rng(11)
NUMBERS = RANDOM.normal(size=(300, 4))
GAPS = np.where(RANDOM.random(NUMBERS.shape) < 0.1, np.nan, NUMBERS)
FRAME = pd.DataFrame(GAPS, columns=["age", "größe", "income in €", "tenure"])
TWO = (NUMBERS[:, 0] + NUMBERS[:, 1] * NUMBERS[:, 2] > 0).astype(int)
THREE = TWO + (NUMBERS[:, 3] > 0.5)
TEXTS = np.array(["no", "perhaps", "yes"])[THREE]
AMOUNTS = NUMBERS[:, 0] * 3 - NUMBERS[:, 2]
ODD = np.array([[0.0, -0.0, 1e300, -1e300], [np.inf, -np.inf, np.nan, 1e-40], [3.4e38, -3.4e38, 1.0, np.nan]])


def catboost(name: str, **options: Any) -> Any:
    library = pytest.importorskip("catboost")
    quiet = {"iterations": 12, "depth": 4, "verbose": False, "allow_writing_files": False, "thread_count": 1}
    return getattr(library, name)(**{**quiet, **options})


MODELS: Mapping[str, tuple[Callable[[], Any], Any, Any]] = {
    "two classes": (lambda: catboost("CatBoostClassifier"), GAPS, TWO),
    "two texts": (lambda: catboost("CatBoostClassifier"), GAPS, np.where(TWO == 1, "yes", "no")),
    "three texts": (lambda: catboost("CatBoostClassifier"), GAPS, TEXTS),
    "three classes of a table": (lambda: catboost("CatBoostClassifier"), FRAME, THREE),
    "amounts": (lambda: catboost("CatBoostRegressor"), GAPS, AMOUNTS),
    "amounts of a table": (lambda: catboost("CatBoostRegressor"), FRAME, AMOUNTS),
    "amounts without gaps": (lambda: catboost("CatBoostRegressor"), NUMBERS, AMOUNTS),
    "gaps that are large": (lambda: catboost("CatBoostClassifier", nan_mode="Max"), GAPS, TWO),
}


def write(folder: Path, model: Any, *, more: str = "", compiled: str = '{ samples = "none" }') -> Path:
    folder.mkdir(exist_ok=True)
    model.save_model(str(folder / "model.cbm"))
    (folder / "kappafile.toml").write_text(
        'kappafile = 1\n[service]\nname = "Service"\n'
        f'[artifacts.model]\ntype = "catboost"\npath = "model.cbm"\ncompile = {compiled}\n'
        '[apis.predict]\nartifact = "model"\ninput = "dataframe"\n[bundle]\nresolver = "installed"\n' + more,
        encoding="utf-8",
    )
    return folder


def build(project: Path, *, no_try: bool = True) -> Path:
    return build_project(lambda: project_to_build(project), output=project / "bundle", no_try=no_try).directory


def load(bundle: Path) -> LoadedService:
    return load_service(ServiceSource.of_bundle(open_bundle(bundle), on_path=False), environ={})


@pytest.mark.parametrize("name", MODELS)
def test_a_compiled_model_of_catboost_answers_as_before(name: str, tmp_path: Path) -> None:
    make, rows, labels = MODELS[name]
    model = make().fit(rows, labels)
    twin = load(build(write(tmp_path / "project", model))).artifacts.model
    assert repr(twin) == f"<{type(model).__name__}, compiled to ONNX>"
    as_rows = (lambda array: pd.DataFrame(array, columns=FRAME.columns)) if rows is FRAME else np.array
    for asked in (rows, as_rows(RANDOM.normal(size=(2000, 4)) * 5), as_rows(ODD), rows[:1]):
        try:
            before = model.predict(asked)
        except Exception:  # noqa: BLE001 - a model without gaps refuses them
            with pytest.raises(ValueError, match="missing"):
                twin.predict(asked)
            continue
        after = twin.predict(asked)
        assert before.shape == after.shape
        if before.dtype.kind == "f":
            np.testing.assert_allclose(after, before, rtol=1e-4, atol=1e-5)
            continue
        assert (before == after).all()
        np.testing.assert_allclose(twin.predict_proba(asked), model.predict_proba(asked), rtol=1e-4, atol=1e-5)
        assert twin.classes_.tolist() == np.asarray(model.classes_).tolist()


def test_the_service_answers_as_before_and_holds_nothing_of_catboost(tmp_path: Path) -> None:
    model = catboost("CatBoostClassifier").fit(FRAME, TEXTS)
    row = '{ age = 1.0, "größe" = 2.0, "income in €" = 0.5, tenure = 1 }'
    example = f'[[examples]]\nname = "one"\napi = "predict"\ninput = [{row}]\n'
    bundle = build(write(tmp_path / "project", model, more=example, compiled='"onnx"'), no_try=False)
    lock = (bundle / "requirements.txt").read_text(encoding="utf-8")
    assert "onnxruntime==" in lock
    assert "catboost==" not in lock
    (artifact,) = open_bundle(bundle).manifest.artifacts
    assert artifact.compiled is not None
    assert (artifact.compiled.examples, artifact.compiled.equal_labels) == (1, 1.0)
    assert artifact.compiled.largest_difference < 1e-5
    rows = FRAME.head(5)
    answer = load(bundle).apis["predict"].answer_payload(Payload(rows.to_json(orient="records").encode()))
    assert json.loads(answer.body) == model.predict(rows)[:, 0].tolist()


def test_what_catboost_does_not_export_says_so_and_names_the_column(tmp_path: Path) -> None:
    rows = FRAME.assign(age=np.where(TWO == 1, "a", "b"))
    model = catboost("CatBoostClassifier", cat_features=["age"]).fit(rows, THREE)
    with pytest.raises(ManifestError) as caught:
        build(write(tmp_path / "project", model))
    (problem,) = caught.value.diagnostics
    assert (problem.code, problem.span.line) == ("KF350", 7)
    assert "its column `age` holds categories, which CatBoost exports to no ONNX" in problem.message


def test_a_loss_that_only_its_own_class_knows_is_refused(tmp_path: Path) -> None:
    options = {"iterations": 3, "verbose": False, "allow_writing_files": False, "loss_function": "Logloss"}
    model = pytest.importorskip("catboost").CatBoost(options).fit(NUMBERS, TWO)
    project = write(tmp_path / "project", model)
    text = (project / "kappafile.toml").read_text(encoding="utf-8")
    (project / "kappafile.toml").write_text(
        text.replace('type = "catboost"', 'type = "catboost"\nestimator = "CatBoost"'), encoding="utf-8"
    )
    with pytest.raises(ManifestError, match="a `CatBoost` of classes returns raw scores"):
        build(project)
