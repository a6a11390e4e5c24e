"""Models compiled to ONNX: converted, proven and answering as before, of every library that can be."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pandas as pd
import pytest
from sklearn.compose import ColumnTransformer
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.ensemble import (
    ExtraTreesRegressor,
    GradientBoostingClassifier,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
)
from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LinearRegression, LogisticRegression, RidgeClassifier, SGDClassifier
from sklearn.model_selection import GridSearchCV
from sklearn.multiclass import OneVsRestClassifier
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler
from sklearn.svm import SVC, LinearSVC
from sklearn.tree import DecisionTreeClassifier

from kappa.actions.building import build_project, project_to_build
from kappa.errors import BuildError, BundleError, KappaError, ManifestError
from kappa.log import Kind, listening
from kappa.services.bundle import open_bundle
from kappa.services.service import LoadedService, load_service
from kappa.services.source import ServiceSource
from kappa.types import Payload

pytestmark = [pytest.mark.skl2onnx, pytest.mark.engine]

RANDOM = np.random.default_rng(7)
NUMBERS = RANDOM.normal(size=(300, 4))
GAPS = np.where(RANDOM.random(NUMBERS.shape) < 0.1, np.nan, NUMBERS)
TWO = (NUMBERS[:, 0] + NUMBERS[:, 1] * NUMBERS[:, 2] > 0).astype(int)
THREE = TWO + (NUMBERS[:, 3] > 0.5)
TEXTS = np.where(TWO == 1, "yes", "no")
AMOUNTS = NUMBERS[:, 0] * 3 - NUMBERS[:, 2]
FILMS = pd.DataFrame(
    {
        "length": RANDOM.integers(60, 200, 300),
        "price": np.where(RANDOM.random(300) < 0.2, np.nan, RANDOM.normal(10, 3, 300)),
        "unused": np.arange(300),
        "country of origin": RANDOM.choice(["France", "Japan", "Côte d'Ivoire"], 300),
        "review": RANDOM.choice(["A good film!", "bad, BAD film", "so-so; don't", "naïve café in Zürich"], 300),
    }
)


def columns(scaler: Any = "passthrough", **options: Any) -> ColumnTransformer:
    numbers = Pipeline([("fill", SimpleImputer()), ("scale", scaler)])
    return ColumnTransformer(
        [
            ("numbers", numbers, ["length", "price"]),
            ("country", OneHotEncoder(handle_unknown="ignore", sparse_output=False), ["country of origin"]),
            ("review", TfidfVectorizer(ngram_range=(1, 2)), "review"),
        ],
        **options,
    )


def xgboost(name: str, **options: Any) -> Any:
    return getattr(pytest.importorskip("xgboost"), name)(n_estimators=10, **options)


def lightgbm(name: str, **options: Any) -> Any:
    return getattr(pytest.importorskip("lightgbm"), name)(n_estimators=10, verbose=-1, **options)


MODELS: Mapping[str, tuple[Callable[[], Any], Any, Any]] = {
    "a forest": (lambda: RandomForestClassifier(20, random_state=0), NUMBERS, TWO),
    "a forest of texts": (lambda: RandomForestClassifier(9, random_state=0), NUMBERS, TEXTS),
    "a forest of true and false": (lambda: RandomForestClassifier(9, random_state=0), NUMBERS, TWO == 1),
    "a tree": (lambda: DecisionTreeClassifier(random_state=0), NUMBERS, THREE),
    "random trees": (lambda: ExtraTreesRegressor(9, random_state=0), NUMBERS, AMOUNTS),
    "a support vector machine": (SVC, NUMBERS, TEXTS),
    "gradient boosting": (lambda: GradientBoostingClassifier(n_estimators=9), NUMBERS, THREE),
    "boosting with gaps": (lambda: HistGradientBoostingClassifier(max_iter=9), GAPS, TEXTS),
    "boosting of three classes": (lambda: HistGradientBoostingClassifier(max_iter=9), GAPS, THREE),
    "boosting of amounts": (lambda: HistGradientBoostingRegressor(max_iter=9), GAPS, AMOUNTS),
    "a scaled forest": (
        lambda: make_pipeline(SimpleImputer(), StandardScaler(), RandomForestClassifier(9, random_state=0)),
        GAPS,
        THREE,
    ),
    "a transformer": (StandardScaler, NUMBERS, None),
    "a pipeline of columns": (lambda: Pipeline([("columns", columns()), ("it", LogisticRegression())]), FILMS, TEXTS),
    "a scaled pipeline of columns": (
        lambda: Pipeline([("columns", columns(StandardScaler())), ("it", LogisticRegression())]),
        FILMS,
        THREE,
    ),
    "boosting of columns": (
        lambda: Pipeline(
            [("columns", columns(sparse_threshold=0)), ("it", HistGradientBoostingClassifier(max_iter=9))]
        ),
        FILMS,
        TEXTS,
    ),
    "a model of texts": (
        lambda: make_pipeline(CountVectorizer(), LogisticRegression()),
        FILMS["review"].tolist(),
        TEXTS,
    ),
    "XGBoost": (lambda: xgboost("XGBClassifier"), GAPS, TWO),
    "XGBoost of three classes": (lambda: xgboost("XGBClassifier"), GAPS, THREE),
    "XGBoost of amounts": (lambda: xgboost("XGBRegressor"), GAPS, AMOUNTS),
    "LightGBM": (lambda: lightgbm("LGBMClassifier"), GAPS, TEXTS),
    "LightGBM of three classes": (lambda: lightgbm("LGBMClassifier"), GAPS, THREE),
    "LightGBM of amounts": (lambda: lightgbm("LGBMRegressor"), GAPS, AMOUNTS),
}


def fitted(name: str) -> tuple[Any, Any]:
    make, rows, labels = MODELS[name]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return make().fit(rows, labels), rows


KAPPAFILE = """\
kappafile = 1
[service]
name = "Service"
[artifacts.model]
type = "sklearn"
path = "model.joblib"
compile = {compiled}
[apis.answer]
{target}
input = {adapter}
[bundle]
resolver = "installed"
[security]
pickle = "allow"
{more}
"""


def write(
    folder: Path,
    model: Any,
    *,
    compiled: str = '{ samples = "none" }',
    target: str = 'artifact = "model"',
    adapter: str = '"ndarray"',
    more: str = "",
) -> Path:
    folder.mkdir(exist_ok=True)
    joblib.dump(model, folder / "model.joblib")
    text = KAPPAFILE.format(compiled=compiled, target=target, adapter=adapter, more=more)
    (folder / "kappafile.toml").write_text(text, encoding="utf-8")
    return folder


def build(project: Path, *, no_try: bool = True) -> Path:
    return build_project(lambda: project_to_build(project), output=project / "bundle", no_try=no_try).directory


def load(bundle: Path) -> LoadedService:
    return load_service(ServiceSource.of_bundle(open_bundle(bundle), on_path=False), environ={})


def compiled(model: Any, folder: Path, **options: Any) -> Any:
    """Return the compiled model of the bundle of a service with nothing but a model."""
    return load(build(write(folder, model, **options))).artifacts.model


def refused(project: Path) -> list[tuple[str, int, str]]:
    with pytest.raises(ManifestError) as caught:
        build(project)
    assert not (project / "bundle").exists()
    return [(problem.code, problem.span.line, problem.message) for problem in caught.value.diagnostics]


@pytest.mark.parametrize("name", MODELS)
def test_a_compiled_model_answers_as_before(name: str, tmp_path: Path) -> None:
    model, rows = fitted(name)
    target = 'artifact = "model"' + ("" if hasattr(model, "predict") else '\nmethod = "transform"')
    twin = compiled(model, tmp_path / "project", target=target)
    assert repr(twin) == f"<{type(model).__name__}, compiled to ONNX>"
    offered = [method for method in ("predict", "predict_proba", "transform") if method in vars(twin)]
    assert offered == (["predict", "predict_proba"] if hasattr(model, "predict_proba") else offered[:1])
    for method in offered:
        before, after = getattr(model, method)(rows), getattr(twin, method)(rows)
        assert (before.dtype, before.shape) == (after.dtype, after.shape)
        if before.dtype.kind == "f":
            np.testing.assert_allclose(after, before, rtol=1e-4, atol=1e-5)
        else:
            assert (before == after).all()
    if hasattr(model, "classes_"):
        assert twin.classes_.dtype == model.classes_.dtype
        assert (twin.classes_ == model.classes_).all()
    if hasattr(model, "n_features_in_"):
        assert twin.n_features_in_ == model.n_features_in_
    assert hasattr(twin, "feature_names_in_") == hasattr(model, "feature_names_in_")


SCORED: Mapping[str, tuple[Callable[[], Any], Any, Any]] = {
    "logistic regression": (LogisticRegression, NUMBERS, TEXTS),
    "logistic regression of three": (LogisticRegression, NUMBERS, THREE),
    "linear support vectors": (LinearSVC, NUMBERS, THREE),
    "scaled support vectors": (lambda: make_pipeline(StandardScaler(), LinearSVC()), NUMBERS, TWO),
    "support vectors": (SVC, NUMBERS, TEXTS),
    "ridge": (RidgeClassifier, NUMBERS, THREE),
    "stochastic gradients": (lambda: SGDClassifier(random_state=0), NUMBERS, TWO),
    "discriminants": (LinearDiscriminantAnalysis, NUMBERS, THREE),
    "boosting": (lambda: HistGradientBoostingClassifier(max_iter=9), GAPS, TEXTS),
    "boosting of three": (lambda: HistGradientBoostingClassifier(max_iter=9), GAPS, THREE),
    "columns": (lambda: Pipeline([("columns", columns()), ("it", LogisticRegression(max_iter=2000))]), FILMS, TEXTS),
}


@pytest.mark.parametrize("name", SCORED)
def test_a_decision_function_is_compiled_too(name: str, tmp_path: Path) -> None:
    make, rows, labels = SCORED[name]
    model = make().fit(rows, labels)
    adapter = '"dataframe"' if rows is FILMS else '"ndarray"'
    target = 'artifact = "model"\nmethod = "decision_function"'
    twin = compiled(model, tmp_path / "project", target=target, adapter=adapter)
    before, after = model.decision_function(rows), twin.decision_function(rows)
    assert (before.dtype, before.shape) == (after.dtype, after.shape)
    np.testing.assert_allclose(after, before, rtol=1e-4, atol=1e-5)
    assert (twin.predict(rows) == model.predict(rows)).all()
    if hasattr(model, "predict_proba"):
        np.testing.assert_allclose(twin.predict_proba(rows), model.predict_proba(rows), rtol=1e-4, atol=1e-5)


def test_what_a_decision_function_shares_with_the_labels_is_in_the_graph_once(tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx")
    model = HistGradientBoostingClassifier(max_iter=9).fit(GAPS, TEXTS)
    bundle = build(write(tmp_path / "project", model))
    graph = onnx.load(bundle / "Service" / "artifacts" / "model" / "model.onnx").graph
    assert [node.op_type for node in graph.node].count("TreeEnsembleRegressor") == 1
    assert [output.name for output in graph.output][2:] == ["decision_function"]


def test_a_decision_function_without_conversion_is_left_out_unless_it_is_asked_for(tmp_path: Path) -> None:
    model = OneVsRestClassifier(LogisticRegression()).fit(NUMBERS, THREE)
    twin = compiled(model, tmp_path / "project")
    assert (twin.predict(NUMBERS) == model.predict(NUMBERS)).all()
    if "decision_function" not in vars(twin):
        with pytest.raises(AttributeError, match="a compiled `OneVsRestClassifier` has no `decision_function`: "):
            twin.decision_function(NUMBERS)
        target = 'artifact = "model"\nmethod = "decision_function"'
        ((code, _, message),) = refused(write(tmp_path / "other", model, target=target))
        assert code in ("KF350", "KF351")
        assert "decision_function" in message


def test_votes_that_are_equal_have_the_outcome_that_they_had(tmp_path: Path) -> None:
    forest = RandomForestClassifier(10, random_state=0, max_depth=3).fit(NUMBERS, TWO)
    rows = RANDOM.normal(size=(20_000, 4))
    tied = np.abs(forest.predict_proba(rows)[:, 0] - 0.5) < 0.02
    assert tied.sum() > 100
    twin = compiled(forest, tmp_path / "project")
    assert (twin.predict(rows[tied]) == forest.predict(rows[tied])).all()


def test_what_the_model_refuses_is_refused_as_before(tmp_path: Path) -> None:
    twin = compiled(fitted("a pipeline of columns")[0], tmp_path / "project")
    assert twin.predict(FILMS.assign(price=np.nan)).shape == (300,)
    with pytest.raises(ValueError, match="`review` holds None, where the model takes text"):
        twin.predict(FILMS.assign(review=None))
    with pytest.raises(ValueError, match="`price` holds an infinite value"):
        twin.predict(FILMS.assign(price=np.inf))
    with pytest.raises(ValueError, match="columns are missing: `review`"):
        twin.predict(FILMS.drop(columns="review"))
    forest = compiled(fitted("a support vector machine")[0], tmp_path / "other")
    with pytest.raises(ValueError, match="`column 2` holds a missing value"):
        forest.predict([[0.0, 1.0, np.nan, 2.0]])
    with pytest.raises(ValueError, match="rows of 4 columns"):
        forest.predict([[0.0]])


def test_a_number_that_float32_does_not_hold_is_refused_by_forests_as_before(tmp_path: Path) -> None:
    forest = fitted("a forest")[0]
    twin = compiled(forest, tmp_path / "project")
    largest = float(np.finfo("float32").max)
    for row in ([0.0, largest, 0.0, 0.0], [0.0, 0.0, -largest, 0.0]):
        assert twin.predict([row]) == forest.predict([row])
        with np.errstate(over="ignore"), pytest.raises(ValueError, match="too large"):
            forest.predict([[value * 2 for value in row]])
        with pytest.raises(ValueError, match="holds a number beyond float32, which the model does not take"):
            twin.predict([[value * 2 for value in row]])
    boosted = fitted("boosting with gaps")[0]
    rows = [[1e300, -1e300, float("nan"), float("inf")]]
    assert compiled(boosted, tmp_path / "other").predict(rows) == boosted.predict(rows)


def test_another_attribute_is_an_error_that_names_it(tmp_path: Path) -> None:
    twin = compiled(fitted("a forest")[0], tmp_path / "project")
    with pytest.raises(
        AttributeError, match="a compiled `RandomForestClassifier` has no `estimators_`; it has `predict`"
    ):
        twin.estimators_  # noqa: B018 - it raises
    assert [node.name for node in twin.session.get_inputs()] == ["columns"]


def test_columns_have_names_in_the_graph_that_do_not_depend_on_theirs(tmp_path: Path) -> None:
    model, _ = fitted("a pipeline of columns")
    twin = compiled(model, tmp_path / "project")
    names = [node.name for node in twin.session.get_inputs()]
    assert names == ["column_0", "column_1", "column_3", "column_4"]
    assert list(twin.feature_names_in_) == list(FILMS.columns)


FILM = {"length": 90, "price": None, "unused": 0, "country of origin": "Japan", "review": "A GOOD film"}
EXAMPLE = """
[[examples]]
name = "one film"
api = "answer"
input = [{ length = 90, unused = 0, "country of origin" = "Japan", review = "A GOOD film", price = 9.5 }]
"""
"""TOML has no null."""


def test_the_bundle_holds_no_pickle_and_no_training_framework_and_says_what_was_proven(tmp_path: Path) -> None:
    model, _ = fitted("a pipeline of columns")
    FILMS.head(20).to_csv(tmp_path / "films.csv", index=False)
    project = write(
        tmp_path / "project", model, compiled='{ samples = "films.csv" }', adapter='"dataframe"', more=EXAMPLE
    )
    shutil.move(tmp_path / "films.csv", project)
    (project / "kappafile.toml").write_text(
        (project / "kappafile.toml").read_text(encoding="utf-8").replace('"allow"', '"forbid"'), encoding="utf-8"
    )
    bundle = build(project)
    packed = sorted(path.name for path in (bundle / "Service" / "artifacts" / "model").iterdir())
    assert packed == ["compiled.json", "model.onnx"]
    lock = (bundle / "requirements.txt").read_text(encoding="utf-8")
    assert "onnxruntime==" in lock
    assert "scikit-learn==" not in lock
    (artifact,) = open_bundle(bundle).manifest.artifacts
    proof = artifact.compiled
    assert proof is not None
    assert (proof.to, proof.methods) == ("onnx", ("predict", "predict_proba", "decision_function"))
    assert (proof.examples, proof.samples, proof.equal_labels) == (1, 20, 1.0)
    assert proof.drawn > 200
    assert 0 < proof.largest_difference < 1e-5
    assert proof.largest_at
    assert {"skl2onnx", "onnxruntime", "scikit-learn"} <= proof.versions.keys()
    service = load(bundle)
    answer = service.apis["answer"].answer_payload(Payload(json.dumps([FILM]).encode()))
    assert json.loads(answer.body) == model.predict(pd.DataFrame([FILM]).fillna({"price": np.nan})).tolist()


def test_a_bundle_answers_where_the_training_framework_is_absent(tmp_path: Path) -> None:
    bundle = build(write(tmp_path / "project", fitted("a forest of texts")[0]))
    code = (
        "import sys\nfor name in ('sklearn', 'scipy', 'joblib', 'pandas', 'skl2onnx'):\n    sys.modules[name] = None\n"
        "from kappa.cli.main import main\nmain()\n"
    )
    arguments = [sys.executable, "-c", code, "run", str(bundle), "answer", "--input", "[[9, 9, 9, 9]]"]
    done = subprocess.run(arguments, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) in (["yes"], ["no"])


def test_what_was_compiled_once_is_taken_again(tmp_path: Path) -> None:
    project = write(tmp_path / "project", fitted("a tree")[0])
    steps: list[str] = []

    def listen(message: str, kind: Kind) -> None:
        if message.startswith("Compiling"):
            steps.append(message)

    with listening(listen):
        first = build(project)
        files = {path.name: path.read_bytes() for path in (first / "Service/artifacts/model").iterdir()}
        second = build(project)
        assert {path.name: path.read_bytes() for path in (second / "Service/artifacts/model").iterdir()} == files
        joblib.dump(fitted("a forest")[0], project / "model.joblib")
        build(project)
    assert steps == ["Compiling `model` to ONNX, and asking both models the same rows"] * 2


def test_what_was_compiled_and_is_damaged_is_compiled_again(tmp_path: Path) -> None:
    project = write(tmp_path / "project", fitted("a tree")[0])
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KAPPA_HOME", str(tmp_path / "home"))
        build_project(lambda: project_to_build(project), output=tmp_path / "first", no_try=True)
        (graph,) = (tmp_path / "home" / "compiled").glob("*/model.onnx")
        graph.unlink()
        assert load(build(project)).artifacts.model.n_features_in_ == 4


def test_a_function_gets_the_compiled_model_and_its_examples_prove_it(tmp_path: Path) -> None:
    more = '[[examples]]\nname = "two"\napi = "answer"\ninput = [[0.5, 1, 2, 3], [1, 2, 3, 4]]\n'
    target = 'function = "handlers:answer"\nbatch = true'
    project = write(tmp_path / "project", fitted("a forest")[0], compiled='"onnx"', target=target, more=more)
    code = "def answer(rows, model):\n    return model.predict_proba(X=rows[:, ::-1])[:, 0]\n"
    (project / "handlers.py").write_text(code, encoding="utf-8")
    bundle = build(project, no_try=False)
    (artifact,) = open_bundle(bundle).manifest.artifacts
    assert artifact.compiled is not None
    assert artifact.compiled.examples == 2


@contextmanager
def thresholds(folder: Path, changed: str) -> Iterator[None]:
    """Let the processes that convert trees change their thresholds, as a converter with a mistake would."""
    site = folder / "site"
    site.mkdir()
    (site / "sitecustomize.py").write_text(
        "import kappa.build.compile.converters as converters\n"
        "_nodes = converters._Nodes\n"
        "def changed(leaves, feature, threshold, *rest):\n"
        f"    return _nodes(leaves, feature, {changed}, *rest)\n"
        "converters._Nodes = changed\n",
        encoding="utf-8",
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(site))
        yield


def test_a_model_that_answers_otherwise_is_refused_with_the_rows(tmp_path: Path) -> None:
    project = write(tmp_path / "project", fitted("boosting with gaps")[0], compiled='{ samples = "rows.csv" }')
    np.savetxt(project / "rows.csv", NUMBERS[:10], delimiter=",", header="a,b,c,d", comments="")
    with thresholds(tmp_path, "threshold + (feature == 1) * 1e-3"):
        ((code, line, message),) = refused(project)
    assert (code, line) == ("KF351", 7)
    assert message.startswith("The artifact `model` cannot be compiled: Converted to ONNX, ")
    assert "- drawn row " in message
    assert "column 1=" in message


def test_rows_between_the_widths_of_numbers_are_found(tmp_path: Path) -> None:
    """skl2onnx' own converter rounds the thresholds of boosting to float32: rows at them tell it apart."""
    model, _ = fitted("boosting with gaps")
    project = write(tmp_path / "project", model)
    with thresholds(tmp_path, "threshold.astype('float32').astype('float64')"):
        ((code, _, message),) = refused(project)
    assert code == "KF351"
    assert "- drawn row " in message


UNCONVERTIBLE: Mapping[str, tuple[Callable[[], Any], Any, Any, str]] = {
    "a function in a pipeline": (
        lambda: make_pipeline(StandardScaler(), FunctionTransformer(np.abs), LogisticRegression()),
        NUMBERS,
        TWO,
        "step `functiontransformer` cannot be converted to ONNX",
    ),
    "text that is taken apart by characters": (
        lambda: Pipeline(
            [
                ("columns", ColumnTransformer([("review", TfidfVectorizer(analyzer="char"), "review")])),
                ("it", LogisticRegression()),
            ]
        ),
        FILMS,
        TWO,
        "step `columns.review` cannot be converted to ONNX: text is converted with",
    ),
    "stop words between words that are joined": (
        lambda: make_pipeline(CountVectorizer(stop_words="english", ngram_range=(1, 2)), LogisticRegression()),
        FILMS["review"].tolist(),
        TWO,
        "step `countvectorizer` cannot be converted to ONNX: `stop_words` are left out before",
    ),
    "a text in place of missing ones": (
        lambda: make_pipeline(
            ColumnTransformer(
                [
                    (
                        "country",
                        make_pipeline(SimpleImputer(strategy="constant", fill_value="none"), OneHotEncoder()),
                        ["country of origin"],
                    )
                ]
            ),
            LogisticRegression(),
        ),
        FILMS,
        TWO,
        "step `columntransformer.country.simpleimputer` cannot be converted to ONNX: missing text has no conversion",
    ),
    "texts in columns without names": (
        lambda: make_pipeline(ColumnTransformer([("country", OneHotEncoder(), [3])]), LogisticRegression()),
        FILMS.to_numpy(dtype=object),
        TWO,
        "columns of text are converted where the model was fitted with a frame",
    ),
    "frames as answers": (
        lambda: StandardScaler().set_output(transform="pandas"),
        FILMS[["length"]],
        None,
        "its `transform` returns a `DataFrame`, and a compiled model returns arrays",
    ),
    "boosting of lines": (
        lambda: xgboost("XGBClassifier", booster="gblinear"),
        NUMBERS,
        TWO,
        "a booster `gblinear` has no conversion",
    ),
    "splits by category": (
        lambda: HistGradientBoostingClassifier(max_iter=3, categorical_features=[0]),
        np.column_stack([TWO, NUMBERS[:, 1:]]),
        TWO,
        "its splits by category have no conversion",
    ),
    "several outputs": (
        lambda: RandomForestClassifier(3),
        NUMBERS,
        np.column_stack([TWO, THREE]),
        "a model with several outputs has no conversion",
    ),
}


@pytest.mark.parametrize("name", UNCONVERTIBLE)
def test_a_model_that_cannot_be_converted_names_the_step_and_why(name: str, tmp_path: Path) -> None:
    make, rows, labels, reason = UNCONVERTIBLE[name]
    ((code, line, message),) = refused(write(tmp_path / "project", make().fit(rows, labels)))
    assert (code, line) == ("KF350", 7)
    assert reason in message


def test_examples_that_do_not_ask_the_model_prove_nothing(tmp_path: Path) -> None:
    more = '[[examples]]\nname = "two"\napi = "answer"\ninput = [[0.5, 1, 2, 3]]\n'
    target = 'function = "handlers:answer"\nbatch = true'
    project = write(tmp_path / "project", fitted("a tree")[0], compiled='"onnx"', target=target, more=more)
    (project / "handlers.py").write_text("def answer(rows, model):\n    return [1] * len(rows)\n", encoding="utf-8")
    ((code, _, message),) = refused(project)
    assert (code, message) == (
        "KF352",
        "The artifact `model` cannot be compiled: No example asks the model anything, and no samples are named.",
    )


def test_examples_that_the_model_refuses_prove_nothing(tmp_path: Path) -> None:
    model, rows = fitted("a model of texts")
    more = '[[examples]]\nname = "one"\napi = "answer"\ninput = "a text by itself"\n'
    project = write(tmp_path / "project", model, compiled='"onnx"', adapter='"string"', more=more)
    ((code, _, message),) = refused(project)
    assert code == "KF352"
    assert "The examples could not be answered: the example `one`: ValueError: Iterable over raw text" in message
    twin = compiled(model, tmp_path / "other")
    assert (twin.predict(rows[:2]) == model.predict(rows[:2])).all()
    with pytest.raises(ValueError, match="the model takes a list of texts, not a `str`"):
        twin.predict("a text by itself")


def test_samples_without_a_column_of_the_model_are_refused(tmp_path: Path) -> None:
    project = write(
        tmp_path / "project", fitted("a pipeline of columns")[0], compiled='{ samples = "rows.csv" }', more=""
    )
    FILMS.drop(columns="price").head(3).to_csv(project / "rows.csv", index=False)
    ((code, _, message),) = refused(project)
    assert code == "KF352"
    assert "`rows.csv` has no column `price`, which the model takes." in message


def test_samples_of_another_kind_are_refused_with_their_row(tmp_path: Path) -> None:
    project = write(tmp_path / "project", fitted("a pipeline of columns")[0], compiled='{ samples = "rows.csv" }')
    FILMS.assign(length=[90, "long", *[1] * 298]).head(3).to_csv(project / "rows.csv", index=False)
    ((code, _, message),) = refused(project)
    assert code == "KF352"
    assert "`rows.csv` cannot be asked: `length` of its row 2 is 'long', and no number." in message
    model = make_pipeline(CountVectorizer(), LogisticRegression()).fit(FILMS["review"].tolist(), TWO)
    project = write(tmp_path / "other", model, compiled='{ samples = "rows.json" }')
    (project / "rows.json").write_text('[{"text": "good"}, {"text": 7}]', encoding="utf-8")
    ((code, _, message),) = refused(project)
    assert code == "KF352"
    assert "`rows.json` cannot be asked: `text` of its row 2 is 7, and no text." in message


def test_code_that_imports_the_training_framework_keeps_it_and_is_named(tmp_path: Path) -> None:
    target = 'function = "handlers:answer"\nbatch = true'
    more = "[env]\ninfer_pip_packages = true\n"
    project = write(tmp_path / "project", fitted("a tree")[0], target=target, more=more)
    code = "import sklearn.utils\ndef answer(rows, model):\n    return model.predict(rows)\n"
    (project / "handlers.py").write_text(code, encoding="utf-8")
    lines: list[str] = []
    with listening(lambda message, kind: lines.append(message) if kind == "warning" else None):
        bundle = build(project)
    (line,) = [line for line in lines if "is compiled" in line]
    assert "`model` is compiled and needs no `scikit-learn`, but the code imports it (handlers.py:1)" in line
    assert "scikit-learn==" in (bundle / "requirements.txt").read_text(encoding="utf-8")


def test_a_model_packed_from_python_is_compiled_too(tmp_path: Path) -> None:
    (tmp_path / "priced.py").write_text(
        "import kappa\nfrom kappa.adapters import NdarrayInput\n"
        "from kappa.frameworks.sklearn import SklearnModelArtifact\n"
        '@kappa.files(resolver="installed")\n@kappa.security(pickle="allow")\n'
        '@kappa.artifacts([SklearnModelArtifact("model", compile="onnx")])\n'
        '@kappa.example("one", api="price", input=[[1.0]])\n'
        "class Priced(kappa.BentoService):\n"
        "    @kappa.api(input=NdarrayInput(), batch=True)\n"
        "    def price(self, rows):\n"
        "        return self.artifacts.model.predict(rows)\n",
        encoding="utf-8",
    )
    code = (
        "from priced import Priced\nfrom sklearn.linear_model import LinearRegression\n"
        "service = Priced()\nservice.pack('model', LinearRegression().fit([[1.0], [2.0]], [1.0, 2.0]))\n"
        "print(service.save_to_dir('bundle'))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (artifact,) = open_bundle(tmp_path / "bundle").manifest.artifacts
    assert artifact.compiled is not None
    service = load(tmp_path / "bundle")
    assert type(service.artifacts.model).__name__ == "CompiledModel"
    assert json.loads(service.apis["price"].answer_payload(Payload(b"[[3.0]]")).body) == pytest.approx([3.0])


def test_the_option_of_the_command_compiles_what_the_kappafile_does_not(tmp_path: Path) -> None:
    project = write(tmp_path / "project", fitted("a tree")[0], compiled='"onnx"')
    file = project / "kappafile.toml"
    text = file.read_text(encoding="utf-8").replace('compile = "onnx"\n', "")
    example = '[[examples]]\nname = "one"\napi = "answer"\ninput = [[1, 2, 3, 4]]\n'
    file.write_text(text + example, encoding="utf-8")
    for chosen in (["*"], ["model"]):
        plain = project_to_build(project, compiled=chosen)
        assert [artifact.compiling is not None for artifact in plain.spec.artifacts] == [True]
    with pytest.raises(KappaError, match="`--compile other`: the artifact `other` is not declared"):
        project_to_build(project, compiled=["other"])


def test_a_forbidden_pickle_that_could_be_compiled_says_so(tmp_path: Path) -> None:
    project = write(tmp_path / "project", fitted("a tree")[0], compiled='"onnx"')
    file = project / "kappafile.toml"
    text = file.read_text(encoding="utf-8").replace('compile = "onnx"\n', "").replace('"allow"', '"forbid"')
    file.write_text(text, encoding="utf-8")
    with pytest.raises(ManifestError, match='Write `compile = "onnx"` under it: the bundle then holds no pickle'):
        project_to_build(project, compiled=["model"])


def test_a_compiled_model_without_its_runtime_names_it(tmp_path: Path) -> None:
    bundle = build(write(tmp_path / "project", fitted("a tree")[0]))
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "onnxruntime", None)
        with pytest.raises(KappaError, match="needs `onnxruntime`"):
            load(bundle)


def test_a_method_that_the_model_does_not_have_is_an_error(tmp_path: Path) -> None:
    project = write(tmp_path / "project", LinearRegression().fit(NUMBERS, AMOUNTS))
    file = project / "kappafile.toml"
    text = file.read_text(encoding="utf-8").replace(
        'artifact = "model"', 'artifact = "model"\nmethod = "predict_proba"'
    )
    file.write_text(text, encoding="utf-8")
    with pytest.raises((BundleError, ManifestError), match="predict_proba"):
        build(project, no_try=False)


@pytest.mark.parametrize("kind", ["xgboost", "lightgbm"])
def test_a_file_that_the_library_wrote_is_compiled(kind: str, tmp_path: Path) -> None:
    model = xgboost("XGBClassifier") if kind == "xgboost" else lightgbm("LGBMClassifier")
    model.fit(GAPS, TWO)
    project = write(tmp_path / "project", model)
    file = project / "kappafile.toml"
    name = "model.ubj" if kind == "xgboost" else "model.txt"
    if kind == "xgboost":
        model.save_model(project / name)
    else:
        from kappa.frameworks.lightgbm import LightGBMModelArtifact

        LightGBMModelArtifact("model").save(model, project)
    text = file.read_text(encoding="utf-8").replace('"sklearn"', f'"{kind}"').replace("model.joblib", name)
    file.write_text(text, encoding="utf-8")
    twin = load(build(project)).artifacts.model
    assert (twin.predict(GAPS) == model.predict(GAPS)).all()
    lock = (project / "bundle" / "requirements.txt").read_text(encoding="utf-8")
    assert kind not in lock.replace("kappa", "")


SHOPS = FILMS.assign(shop=RANDOM.integers(100, 140, 300), sold=RANDOM.random(300) < 0.5)
"""Numbers and truth values that are categories, more of them than a build draws numbers for."""


@pytest.mark.parametrize("unknown", ["ignore", "error"])
def test_a_number_between_categories_is_none_of_them(unknown: str, tmp_path: Path) -> None:
    encoder = OneHotEncoder(handle_unknown=unknown)
    model = make_pipeline(ColumnTransformer([("shop", encoder, ["shop", "sold"])]), LogisticRegression())
    model.fit(SHOPS, TWO)
    twin = compiled(model, tmp_path / "project")
    for shop in (104, 104.5, 99.0, float("nan")):
        rows = SHOPS.head(3).assign(shop=shop)
        if unknown == "ignore" or shop == 104:
            np.testing.assert_allclose(twin.predict_proba(rows), model.predict_proba(rows), rtol=1e-5)
        else:
            with pytest.raises(Exception, match=r"OneHotEncoder|missing value"):
                twin.predict(rows)


def test_the_columns_of_xgboost_may_have_any_names(tmp_path: Path) -> None:
    rows = pd.DataFrame(GAPS, columns=["f2", "price of it", "f0", "é"])
    model = xgboost("XGBClassifier").fit(rows, THREE)
    names = model.get_booster().feature_names
    twin = compiled(model, tmp_path / "project")
    assert (twin.predict(rows) == model.predict(rows)).all()
    assert model.get_booster().feature_names == names == list(twin.feature_names_in_)


def test_columns_are_taken_by_their_places_where_the_model_does_so(tmp_path: Path) -> None:
    """LightGBM writes other names than those of the frame."""
    rows = pd.DataFrame(GAPS, columns=["a b", "c", "d", "e"])
    model = lightgbm("LGBMClassifier").fit(rows, TWO)
    example = '[[examples]]\nname = "one"\napi = "answer"\ninput = [{ "a b" = 1, c = 2, d = 3, e = 4 }]\n'
    adapter = '{ type = "dataframe", columns = ["a b", "c", "d", "e"] }'
    twin = compiled(model, tmp_path / "project", compiled='"onnx"', adapter=adapter, more=example)
    assert list(twin.feature_names_in_) == ["a_b", "c", "d", "e"]
    assert (twin.predict(rows) == model.predict(rows)).all()


def test_columns_that_no_step_takes_may_hold_anything_and_may_be_absent(tmp_path: Path) -> None:
    frame = FILMS.assign(title="a title")
    model = Pipeline([("columns", columns()), ("it", LogisticRegression(max_iter=2000))]).fit(frame, TEXTS)
    project = write(tmp_path / "project", model, compiled='{ samples = "films.csv" }')
    frame.drop(columns="unused").head(9).to_csv(project / "films.csv", index=False)
    bundle = build(project)
    (artifact,) = open_bundle(bundle).manifest.artifacts
    assert artifact.compiled is not None
    assert artifact.compiled.samples == 9
    rows = frame.drop(columns=["unused", "title"])
    assert (load(bundle).artifacts.model.predict(rows) == model.predict(rows)).all()


def test_missing_values_of_pandas_are_missing_values(tmp_path: Path) -> None:
    model, _ = fitted("a pipeline of columns")
    rows = FILMS.head(4).astype({"length": "Int64", "country of origin": "string"})
    rows.loc[1, ["length", "country of origin"]] = pd.NA
    twin = compiled(model, tmp_path / "project")
    np.testing.assert_allclose(twin.predict_proba(rows), model.predict_proba(rows), rtol=1e-5)
    boosted = HistGradientBoostingClassifier(max_iter=3).fit(FILMS[["length", "price"]], TWO)
    twin = compiled(boosted, tmp_path / "other")
    assert (twin.predict(rows[["length", "price"]]) == boosted.predict(rows[["length", "price"]])).all()


def test_the_model_that_a_search_has_chosen_is_compiled(tmp_path: Path) -> None:
    pipeline = Pipeline([("columns", columns()), ("it", LogisticRegression(max_iter=2000))])
    search = GridSearchCV(pipeline, {"it__C": [0.1, 1.0]}, cv=2).fit(FILMS, TEXTS)
    twin = compiled(search, tmp_path / "project")
    assert (twin.predict(FILMS) == search.predict(FILMS)).all()


def test_numbers_of_float32_are_answered_in_float64(tmp_path: Path) -> None:
    rows = NUMBERS.astype("float32")
    model = LinearRegression().fit(rows, AMOUNTS)
    assert model.predict(rows).dtype == "float32"
    example = '[[examples]]\nname = "one"\napi = "answer"\ninput = [[1, 2, 3, 4]]\n'
    adapter = '{ type = "ndarray", dtype = "float32" }'
    twin = compiled(model, tmp_path / "project", compiled='"onnx"', adapter=adapter, more=example)
    np.testing.assert_allclose(twin.predict(rows), model.predict(rows), rtol=1e-4)


def test_columns_of_float32_are_rounded_before_the_model_is_asked(tmp_path: Path) -> None:
    model = LinearRegression().fit(pd.DataFrame({"size": [0.0, 1.0]}), [0.0, 1.0])
    adapter = '{ type = "dataframe", columns = { size = "float32" } }'
    service = load(build(write(tmp_path / "project", model, adapter=adapter)))
    answer = service.apis["answer"].answer_payload(Payload(b'[{"size": 0.1}]'))
    assert json.loads(answer.body) == pytest.approx([float(np.float32(0.1))], rel=1e-12)


def test_the_share_of_equal_labels_is_of_rows(tmp_path: Path) -> None:
    model = OneVsRestClassifier(LogisticRegression()).fit(NUMBERS, np.column_stack([TWO, 1 - TWO, TWO]))
    (artifact,) = open_bundle(build(write(tmp_path / "project", model))).manifest.artifacts
    assert artifact.compiled is not None
    assert artifact.compiled.equal_labels == 1.0


def test_a_process_that_dies_says_how(tmp_path: Path) -> None:
    target = 'function = "handlers:answer"\nbatch = true'
    more = '[[examples]]\nname = "two"\napi = "answer"\ninput = [[0.5, 1, 2, 3]]\n'
    project = write(tmp_path / "project", fitted("a tree")[0], target=target, more=more)
    endings = {
        "os.kill(os.getpid(), signal.SIGKILL)": "its process was ended by SIGKILL, as it is when",
        "os._exit(3)": "its process ended with exit code 3 and without an answer",
    }
    for line, message in endings.items():
        code = f"import os, signal\ndef answer(rows, model):\n    {line}\n"
        (project / "handlers.py").write_text(code, encoding="utf-8")
        with pytest.raises(BuildError, match=f"Compiling `model` failed: {message}"):
            build(project)


def test_an_exception_that_nobody_expects_is_told(tmp_path: Path) -> None:
    broken = tmp_path / "site"
    broken.mkdir()
    (broken / "sitecustomize.py").write_text(
        "import kappa.build.compile.compiler as compiler\ndef draw(*args): raise ZeroDivisionError('of it')\n"
        "compiler.draw = draw\n",
        encoding="utf-8",
    )
    project = write(tmp_path / "project", fitted("a tree")[0])
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(broken))
        with pytest.raises(BuildError, match="`model` cannot be compiled: ZeroDivisionError: of it"):
            build(project)


def test_a_model_that_refuses_every_row_says_why(tmp_path: Path) -> None:
    frame = pd.DataFrame({"age": NUMBERS[:, 0], "town": pd.Categorical(TEXTS)})
    model = lightgbm("LGBMClassifier").fit(frame, THREE)
    ((code, _, message),) = refused(write(tmp_path / "project", model))
    assert code == "KF352"
    assert "refuses each row that it was asked: ValueError: train and valid dataset categorical_feature" in message
