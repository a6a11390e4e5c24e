"""Models of the frameworks of the group `core`, in one bundle: locked as installed, and asked by many at once."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kappa.services.bundle import open_bundle
from kappa.services.versions import versions_pinned
from tests.conftest import ENGINES
from tests.frameworks.onnx_models import linear_model
from tests.server.conftest import Running

pytestmark = pytest.mark.engine

CHANCE = np.random.default_rng(0)
ROWS = CHANCE.random((60, 3))
LABELS = (ROWS.sum(axis=1) > 1.5).astype(int)
ASKED = ROWS.tolist()[:48]

TABLES = """
[artifacts.{name}]
type = "{name}"
path = "{name}.model"

[apis.{name}]
artifact = "{name}"
input = "ndarray"
method = "{method}"
"""


def write_catboost(path: Path) -> None:
    import catboost

    catboost.CatBoostClassifier(iterations=5, verbose=0, allow_writing_files=False).fit(ROWS, LABELS).save_model(
        str(path)
    )


def write_lightgbm(path: Path) -> None:
    import lightgbm

    lightgbm.LGBMRegressor(n_estimators=5, min_child_samples=2, verbose=-1).fit(ROWS, LABELS).booster_.save_model(path)


def write_onnx(path: Path) -> None:
    path.write_bytes(linear_model().SerializeToString())


def write_sklearn(path: Path) -> None:
    import joblib
    from sklearn.ensemble import RandomForestClassifier

    joblib.dump(RandomForestClassifier(5, random_state=0).fit(ROWS, LABELS), path)


def write_skops(path: Path) -> None:
    import skops.io
    from sklearn.linear_model import LogisticRegression

    skops.io.dump(LogisticRegression().fit(ROWS, LABELS), path)


def write_xgboost(path: Path) -> None:
    import xgboost

    file = path.with_suffix(".ubj")  # which says the format
    xgboost.XGBClassifier(n_estimators=5).fit(ROWS, LABELS).save_model(file)
    file.rename(path)


FRAMEWORKS: dict[str, tuple[Callable[[Path], None], str, tuple[str, ...]]] = {
    "catboost": (write_catboost, "predict_proba", ("catboost",)),
    "lightgbm": (write_lightgbm, "predict", ("lightgbm",)),
    "onnx": (write_onnx, "predict", ("onnxruntime",)),
    "sklearn": (write_sklearn, "predict_proba", ("scikit-learn",)),
    "skops": (write_skops, "predict_proba", ("skops", "scikit-learn")),
    "xgboost": (write_xgboost, "predict_proba", ("xgboost-cpu", "scikit-learn")),
}
"""Each writes a model, and has a method that is asked and the distributions that the lock pins."""

each = pytest.mark.parametrize(
    "name", [pytest.param(name, marks=() if name == "sklearn" else getattr(pytest.mark, name)) for name in FRAMEWORKS]
)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build a bundle with a model of each framework that is installed here."""
    project, bundle = tmp_path_factory.mktemp("project"), tmp_path_factory.mktemp("built") / "bundle"
    tables = ['kappafile = 1\n[service]\nname = "Core"\n[security]\npickle = "allow"\n']
    for name, (write, method, packages) in FRAMEWORKS.items():
        if name == "sklearn" or ENGINES[name]() is None:
            write(project / f"{name}.model")
            tables.append(TABLES.format(name=name, method=method))
            if "xgboost-cpu" in packages:
                tables.append('[env]\npip_packages = ["xgboost-cpu"]\n')
    (project / "kappafile.toml").write_text("".join(tables), encoding="utf-8")
    build = [sys.executable, "-m", "kappa", "build", "--resolver", "installed", "--output", str(bundle)]
    done = subprocess.run(build, cwd=project, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return bundle


@pytest.fixture(scope="module")
def server(bundle: Path) -> Iterator[Running]:
    command = [sys.executable, "-m", "kappa", "serve-gunicorn", str(bundle), "--host", "127.0.0.1", "--port", "0"]
    running = Running(command)
    try:
        running.wait_for("Ready.")
        yield running
    finally:
        running.stop()
        assert running.process.stderr is not None
        running.process.stderr.close()


@each
def test_requests_at_the_same_time_get_the_answers_that_each_gets_alone(name: str, server: Running) -> None:
    def ask(row: list[float]) -> Any:
        return server.post(f"/{name}", [row])

    alone = [ask(row) for row in ASKED]
    with ThreadPoolExecutor(16) as pool:
        together = list(pool.map(ask, ASKED * 3))
    for answer, expected in zip(together, alone * 3, strict=True):
        assert close(answer, expected)
    assert len({json.dumps(answer) for answer in alone}) > 1


def close(answer: Any, expected: Any) -> bool:
    """Return whether two answers are the same but for how a batch rounds."""
    if isinstance(expected, dict):
        return answer.keys() == expected.keys() and all(close(answer[name], expected[name]) for name in expected)
    return bool(np.allclose(answer, expected, rtol=1e-6, atol=1e-9))


@each
def test_the_lock_has_the_versions_that_are_installed(name: str, bundle: Path) -> None:
    pinned = versions_pinned((bundle / "requirements.txt").read_text(encoding="utf-8"))
    packages = FRAMEWORKS[name][2]
    assert {package: pinned[package] for package in packages} == {package: version(package) for package in packages}


def test_the_manifest_has_the_versions_that_the_models_were_saved_with(bundle: Path) -> None:
    saved = {artifact.name: artifact.versions for artifact in open_bundle(bundle).manifest.artifacts}
    assert saved["sklearn"] == {"scikit-learn": version("scikit-learn")}
