"""APIs that a model's own method answers: what the model knows of its columns holds for requests."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import joblib
import pandas as pd
import pytest
from sklearn.compose import make_column_transformer
from sklearn.linear_model import LinearRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

from kappa.adapters import DataframeInput
from kappa.build.project import read_project
from kappa.errors import BadInputError, ManifestError
from kappa.services.inference import Inference
from kappa.services.service import load_service
from kappa.services.source import ServiceSource
from kappa.types import Payload

HOUSES = pd.DataFrame({"area": [50.0, 80.0, 120.0], "rooms": [2, 3, 5], "town": ["Bern", "Chur", "Bern"]})
PRICES = [300.0, 420.0, 700.0]
KAPPAFILE = """\
kappafile = 1
[service]
name = "Houses"
[artifacts.model]
type = "sklearn"
path = "model.joblib"
[apis.predict]
artifact = "model"
method = "{method}"
input = {input}
"""


def pipeline() -> Any:
    encoded = make_column_transformer((OneHotEncoder(), ["town"]), remainder="passthrough")
    return make_pipeline(encoded, LinearRegression()).fit(HOUSES, PRICES)


def api(root: Path, model: Any, *, options: str = '"dataframe"', method: str = "predict") -> Inference:
    joblib.dump(model, root / "model.joblib")
    (root / "kappafile.toml").write_text(KAPPAFILE.format(method=method, input=options), encoding="utf-8")
    project = read_project(root)
    return load_service(ServiceSource.of_project(project.spec, project.sources, root=root), environ={}).apis["predict"]


def asked(answering: Inference, body: Any, media_type: str = "application/json") -> list[float]:
    data = body.encode() if isinstance(body, str) else json.dumps(body).encode()
    (answer,) = answering.run([answering.decode(Payload(data, media_type))])
    return [round(value, 6) for value in answer]


ROWS = HOUSES.to_dict("records")
BODIES = {
    "records": ROWS,
    "in another order": [dict(reversed(row.items())) for row in ROWS],
    "with another column": [{"id": 7, **row} for row in ROWS],
    "without names": HOUSES.to_numpy().tolist(),
    "by column": HOUSES.to_dict("list"),
}


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
def test_requests_are_brought_to_the_columns_that_the_model_was_fitted_with(body: Any, tmp_path: Path) -> None:
    assert asked(api(tmp_path, pipeline()), body) == PRICES


def test_csv_is_too(tmp_path: Path) -> None:
    assert asked(api(tmp_path, pipeline()), HOUSES[["town", "rooms", "area"]].to_csv(index=False), "text/csv") == PRICES


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ([{"aera": 50, "rooms": 2, "town": "Bern"}], "Missing columns: `area`"),
        ([[50, 2]], "this API takes 3, one per column"),
        ([{"area": 50, "rooms": 2}], "Missing columns: `town`"),
    ],
)
def test_what_lacks_a_column_is_refused_before_the_model(body: Any, reason: str, tmp_path: Path) -> None:
    answering = api(tmp_path, pipeline())
    with pytest.raises(BadInputError) as refused:
        answering.decode(Payload(json.dumps(body).encode()))
    assert refused.value.http_status == 422
    assert reason in str(refused.value)


def test_what_is_declared_wins(tmp_path: Path) -> None:
    options = '{ type = "dataframe", columns = ["area", "rooms"] }'
    answering = api(tmp_path, LinearRegression().fit(HOUSES[["rooms", "area"]], PRICES), options=options)
    assert isinstance(answering.spec.input, DataframeInput)
    assert answering.spec.input.columns == ("area", "rooms")


def test_a_model_that_knows_no_names_takes_any(tmp_path: Path) -> None:
    model = LinearRegression().fit(HOUSES[["area", "rooms"]].to_numpy(), PRICES)
    rows = HOUSES[["area", "rooms"]].to_numpy()
    assert asked(api(tmp_path, model), rows.tolist()) == [round(value, 6) for value in model.predict(rows)]


def test_a_method_that_the_model_has_not_is_said(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match=r"KF332\]: `model\.joblib` is a `Pipeline`, which has no method `proba`"):
        api(tmp_path, pipeline(), method="proba")
