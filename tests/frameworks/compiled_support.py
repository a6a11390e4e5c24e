"""Convert a model of each kind, and write what became of it: `python -m tests.frameworks.compiled_support`.

Writes `docs/reference/compiled.md`. What is converted there is asked the rows that a build draws.
"""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Callable, Mapping
from datetime import datetime, timezone
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sklearn import (
    cluster,
    compose,
    ensemble,
    feature_extraction,
    impute,
    linear_model,
    naive_bayes,
    neighbors,
    neural_network,
    pipeline,
    preprocessing,
    svm,
    tree,
)

from kappa.build.compile.calls import Calls
from kappa.build.compile.compiler import compiled, failure_of
from kappa.build.compile.networks import compiled_network
from kappa.build.compile.torch_models import TorchNetwork
from kappa.frameworks.pytorch import PytorchModelArtifact
from kappa.frameworks.sklearn import SklearnModelArtifact
from tests.frameworks import compiled_nets
from tests.frameworks.environments import ROOT

__all__ = ["KINDS", "main", "rows"]

PAGE = ROOT / "docs" / "reference" / "compiled.md"
RANDOM = np.random.default_rng(3)
NUMBERS = RANDOM.normal(size=(200, 4))
GAPS = np.where(RANDOM.random(NUMBERS.shape) < 0.1, np.nan, NUMBERS)
LABELS = np.where(NUMBERS[:, 0] + NUMBERS[:, 1] > 0, "yes", "no")
THREE = (NUMBERS[:, 0] > 0).astype(int) + (NUMBERS[:, 1] > 0.5)
AMOUNTS = NUMBERS[:, 0] * 3 - NUMBERS[:, 2]
TABLE = pd.DataFrame(
    {
        "age": RANDOM.integers(18, 90, 200),
        "fare": GAPS[:, 0],
        "town": RANDOM.choice(["Rome", "Oslo", "Bern"], 200),
        "note": RANDOM.choice(["a good day", "bad weather", "good, good!"], 200),
    }
)


def columns(*steps: tuple[str, Any, Any]) -> Callable[[], Any]:
    """Return what makes a pipeline that brings columns to a logistic regression."""
    return lambda: pipeline.Pipeline(
        [("columns", compose.ColumnTransformer([*steps])), ("it", linear_model.LogisticRegression(max_iter=1000))]
    )


def of(module: str, name: str, **options: Any) -> Callable[[], Any]:
    def make() -> Any:
        return getattr(__import__(module), name)(**options)

    return make


def _plus_one(values: Any) -> Any:
    return values + 1


TEXT = feature_extraction.text
QUIET = {"iterations": 50, "verbose": False, "allow_writing_files": False}
NETWORKS: Mapping[str, tuple[str, tuple[int, ...]]] = {
    "`Linear`, `ReLU`, `BatchNorm1d`, `Softmax`": ("dense", (1, 4)),
    "`Conv2d`, `MaxPool2d`, `Flatten`, `Dropout`": ("pictures", (1, 1, 8, 8)),
    "`TransformerEncoderLayer`": ("attention", (1, 3, 8)),
    "weights of float64": ("doubles", (1, 4)),
    "several outputs": ("several", (1, 4)),
    "outputs by name": ("mapping", (1, 4)),
    "code that branches by numbers": ("branches", (5, 4)),
    "code that fixes the number of rows": ("fixed_rows", (5, 4)),
}
"""Modules of PyTorch by what they are called in the table, each with its function of `compiled_nets` and the shape that
it takes."""
KINDS: Mapping[str, tuple[Callable[[], Any], Any, Any]] = {
    "`LogisticRegression`": (linear_model.LogisticRegression, NUMBERS, LABELS),
    "`LinearRegression`": (linear_model.LinearRegression, NUMBERS, AMOUNTS),
    "`Ridge`": (linear_model.Ridge, NUMBERS, AMOUNTS),
    "`SGDClassifier`": (lambda: linear_model.SGDClassifier(random_state=0), NUMBERS, LABELS),
    "`SVC`": (svm.SVC, NUMBERS, LABELS),
    "`LinearSVC`": (svm.LinearSVC, NUMBERS, LABELS),
    "`StandardScaler`, `LinearSVC`": (
        lambda: pipeline.make_pipeline(preprocessing.StandardScaler(), svm.LinearSVC()),
        NUMBERS,
        LABELS,
    ),
    "`RidgeClassifier`": (linear_model.RidgeClassifier, NUMBERS, LABELS),
    "`LogisticRegression`, three classes": (linear_model.LogisticRegression, NUMBERS, THREE),
    "`SVC`, three classes": (svm.SVC, NUMBERS, THREE),
    "`SVR`": (svm.SVR, NUMBERS, AMOUNTS),
    "`DecisionTreeClassifier`": (lambda: tree.DecisionTreeClassifier(random_state=0), NUMBERS, LABELS),
    "`DecisionTreeRegressor`": (lambda: tree.DecisionTreeRegressor(random_state=0), NUMBERS, AMOUNTS),
    "`RandomForestClassifier`": (lambda: ensemble.RandomForestClassifier(random_state=0), NUMBERS, LABELS),
    "`RandomForestRegressor`": (lambda: ensemble.RandomForestRegressor(random_state=0), NUMBERS, AMOUNTS),
    "`RandomForestClassifier`, missing values": (
        lambda: ensemble.RandomForestClassifier(random_state=0),
        GAPS,
        LABELS,
    ),
    "`ExtraTreesClassifier`": (lambda: ensemble.ExtraTreesClassifier(random_state=0), NUMBERS, LABELS),
    "`GradientBoostingClassifier`": (lambda: ensemble.GradientBoostingClassifier(random_state=0), NUMBERS, LABELS),
    "`GradientBoostingRegressor`": (lambda: ensemble.GradientBoostingRegressor(random_state=0), NUMBERS, AMOUNTS),
    "`HistGradientBoostingClassifier`, missing values": (ensemble.HistGradientBoostingClassifier, GAPS, LABELS),
    "`HistGradientBoostingRegressor`, missing values": (ensemble.HistGradientBoostingRegressor, GAPS, AMOUNTS),
    "`HistGradientBoostingClassifier`, splits by category": (
        lambda: ensemble.HistGradientBoostingClassifier(categorical_features=[0]),
        np.column_stack([RANDOM.integers(0, 5, 200), NUMBERS[:, 1:]]),
        LABELS,
    ),
    "`AdaBoostClassifier`": (lambda: ensemble.AdaBoostClassifier(random_state=0), NUMBERS, LABELS),
    "`BaggingClassifier`": (lambda: ensemble.BaggingClassifier(random_state=0), NUMBERS, LABELS),
    "`VotingClassifier`": (
        lambda: ensemble.VotingClassifier(
            [("a", linear_model.LogisticRegression()), ("b", naive_bayes.GaussianNB())], voting="soft"
        ),
        NUMBERS,
        LABELS,
    ),
    "`IsolationForest`": (lambda: ensemble.IsolationForest(random_state=0), NUMBERS, None),
    "`GaussianNB`": (naive_bayes.GaussianNB, NUMBERS, LABELS),
    "`KNeighborsClassifier`": (neighbors.KNeighborsClassifier, NUMBERS, LABELS),
    "`MLPClassifier`": (lambda: neural_network.MLPClassifier((8,), random_state=0), NUMBERS, LABELS),
    "`KMeans`": (lambda: cluster.KMeans(3, random_state=0), NUMBERS, None),
    "`StandardScaler`": (preprocessing.StandardScaler, NUMBERS, None),
    "`ColumnTransformer`: numbers, `SimpleImputer`, `StandardScaler`": (
        columns(("n", pipeline.make_pipeline(impute.SimpleImputer(), preprocessing.StandardScaler()), ["age", "fare"])),
        TABLE,
        LABELS,
    ),
    "`ColumnTransformer`: text, `OneHotEncoder`": (
        columns(("t", preprocessing.OneHotEncoder(handle_unknown="ignore"), ["town"]), ("n", "passthrough", ["age"])),
        TABLE,
        LABELS,
    ),
    "`ColumnTransformer`: text, `OneHotEncoder` that refuses the unknown": (
        columns(("t", preprocessing.OneHotEncoder(), ["town"]), ("n", "passthrough", ["age"])),
        TABLE,
        LABELS,
    ),
    "`ColumnTransformer`: text, `OrdinalEncoder`": (
        columns(
            ("t", preprocessing.OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1), ["town"]),
            ("n", "passthrough", ["age"]),
        ),
        TABLE,
        LABELS,
    ),
    "`ColumnTransformer`: text, `SimpleImputer` of the most frequent": (
        columns(
            (
                "t",
                pipeline.make_pipeline(
                    impute.SimpleImputer(strategy="most_frequent"), preprocessing.OneHotEncoder(handle_unknown="ignore")
                ),
                ["town"],
            )
        ),
        TABLE,
        LABELS,
    ),
    "`ColumnTransformer`: text, `TfidfVectorizer`": (columns(("t", TEXT.TfidfVectorizer(), "note")), TABLE, LABELS),
    "`ColumnTransformer`: text, `CountVectorizer`": (columns(("t", TEXT.CountVectorizer(), "note")), TABLE, LABELS),
    "`ColumnTransformer`: text, `HashingVectorizer`": (columns(("t", TEXT.HashingVectorizer(), "note")), TABLE, LABELS),
    "`FunctionTransformer` with a function": (
        lambda: pipeline.make_pipeline(preprocessing.FunctionTransformer(_plus_one), linear_model.LogisticRegression()),
        NUMBERS,
        LABELS,
    ),
    "`PolynomialFeatures`": (
        lambda: pipeline.make_pipeline(preprocessing.PolynomialFeatures(), linear_model.LogisticRegression()),
        NUMBERS,
        LABELS,
    ),
    "XGBoost's `XGBClassifier`, missing values": (of("xgboost", "XGBClassifier"), GAPS, (LABELS == "yes").astype(int)),
    "XGBoost's `XGBRegressor`, missing values": (of("xgboost", "XGBRegressor"), GAPS, AMOUNTS),
    "LightGBM's `LGBMClassifier`, missing values": (of("lightgbm", "LGBMClassifier", verbose=-1), GAPS, LABELS),
    "LightGBM's `LGBMRegressor`, missing values": (of("lightgbm", "LGBMRegressor", verbose=-1), GAPS, AMOUNTS),
    "CatBoost's `CatBoostClassifier`, missing values": (of("catboost", "CatBoostClassifier", **QUIET), GAPS, LABELS),
    "CatBoost's `CatBoostClassifier`, three classes": (of("catboost", "CatBoostClassifier", **QUIET), GAPS, THREE),
    "CatBoost's `CatBoostRegressor`, missing values": (of("catboost", "CatBoostRegressor", **QUIET), GAPS, AMOUNTS),
    "CatBoost's `CatBoostClassifier`, columns of categories": (
        of("catboost", "CatBoostClassifier", cat_features=["town", "note"], **QUIET),
        TABLE,
        LABELS,
    ),
    "CatBoost's `CatBoostClassifier`, trees that are not symmetric": (
        of("catboost", "CatBoostClassifier", grow_policy="Lossguide", **QUIET),
        GAPS,
        LABELS,
    ),
}
"""Models by what they are called in the table, each with what it is fitted on."""


def rows() -> list[str]:
    """Return a row of the table for each kind."""
    artifact = SklearnModelArtifact(name="model", compile={"samples": "none"})
    lines = []
    for name, (make, values, labels) in KINDS.items():
        with warnings.catch_warnings(), tempfile.TemporaryDirectory() as folder:
            warnings.simplefilter("ignore")
            model = make().fit(values) if labels is None else make().fit(values, labels)
            try:
                proof = compiled(artifact, model, output=Path(folder), root=Path())["proof"]
            except Exception as exc:  # noqa: BLE001 - what is not one of a build's problems is raised there
                message = failure_of(exc)["message"].removeprefix("It cannot be converted to ONNX: ")
                reason = " ".join(message.splitlines()[0].rstrip(":").split())
                lines.append(f"| {name} | no | | {reason.replace('|', ' ')} |")
                continue
        methods = ", ".join(f"`{method}`" for method in proof["methods"])
        lines.append(f"| {name} | yes | {methods} | {proof['largest_difference']:.0e} |")
    return lines


def network_rows() -> list[str]:
    """Return a row of the table for each module of PyTorch."""
    artifact, lines = PytorchModelArtifact("model", compile="onnx"), []
    for name, (make, shape) in NETWORKS.items():
        with tempfile.TemporaryDirectory() as folder:
            try:
                network = TorchNetwork(getattr(compiled_nets, make)().eval(), artifact)
                calls = Calls(made=[("one", "predict", network.inputs(RANDOM.normal(size=shape)))])
                outcome = compiled_network(artifact, network, output=Path(folder), root=Path(), calls=calls)
            except Exception as exc:  # noqa: BLE001 - what is not one of a build's problems is raised there
                message = failure_of(exc)["message"].removeprefix("It cannot be converted to ONNX: ")
                lines.append(f"| {name} | no | {message} |")
                continue
        notes = "".join(f"; {note}" for note in outcome["notes"])
        lines.append(f"| {name} | yes | {outcome['proof']['largest_difference']:.0e}{notes} |")
    return lines


def main() -> None:
    packages = (
        *("scikit-learn", "xgboost-cpu", "lightgbm", "catboost", "torch"),
        *("skl2onnx", "onnxmltools", "onnxscript", "onnxruntime"),
    )
    versions = ", ".join(f"{name} {version(name)}" for name in packages)
    table, networks = "\n".join(rows()), "\n".join(network_rows())
    PAGE.write_text(
        f"""# Compiled models

Written by `python -m tests.frameworks.compiled_support`; do not edit.

Each model was fitted on some drawn rows, converted to ONNX and asked what a build draws: see [how a model is served
without its training framework](../how-to/compile-to-onnx.md). The last column is the largest difference of a number, or
the reason why there is no compiled model.

| model | compiled | methods | |
|---|---|---|---|
{table}

## Modules of PyTorch

| module | compiled | |
|---|---|---|
{networks}

{datetime.now(timezone.utc):%Y-%m-%d}, {versions}.
""",
        encoding="utf-8",
    )


if __name__ == "__main__":
    main()
