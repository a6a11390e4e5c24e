"""A method that a model's class does not have is told by its file and the class's source, without loading either."""

from __future__ import annotations

import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import joblib
import pytest
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LinearRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from kappa.build.project import check_kappafile

X, Y = [[0.0], [1.0], [2.0], [3.0]], [0, 1, 0, 1]
MODELS: dict[str, Any] = {
    "line": LinearRegression().fit(X, Y),
    "forest": RandomForestClassifier(2).fit(X, Y),
    "scaled line": make_pipeline(StandardScaler(), LinearRegression()).fit(X, Y),
    "scaler": StandardScaler().fit(X),
}


def problems(folder: Path, method: str) -> list[tuple[str, str, str]]:
    kappafile = folder / "kappafile.toml"
    kappafile.write_text(
        'kappafile = 1\n[service]\nname = "Service"\n[security]\npickle = "allow"\n'
        '[artifacts.model]\ntype = "sklearn"\npath = "model.joblib"\n'
        f'[apis.answer]\nartifact = "model"\nmethod = "{method}"\ninput = "ndarray"\n',
        encoding="utf-8",
    )
    return [(one.code, one.message, one.help) for one in check_kappafile(kappafile)[1] if one.code != "KF343"]


@pytest.mark.parametrize(
    ("name", "method", "expected"),
    [
        ("line", "predict_proba", "`model.joblib` is a `LinearRegression`, which has no method `predict_proba`."),
        ("line", "score", None),
        ("forest", "predict_proba", None),
        (
            "forest",
            "predict_probs",
            "`model.joblib` is a `RandomForestClassifier`, which has no method `predict_probs`.",
        ),
        ("scaler", "transform", None),
        ("scaler", "predict_proba", "`model.joblib` is a `StandardScaler`, which has no method `predict_proba`."),
        ("scaled line", "predict_proba", None),  # a pipeline's class has it; whether its last step does, the try tells
    ],
)
@pytest.mark.parametrize("compress", [0, 3])
def test_what_the_class_does_not_define_is_an_error(
    name: str, method: str, expected: str | None, compress: int, tmp_path: Path
) -> None:
    joblib.dump(MODELS[name], tmp_path / "model.joblib", compress=compress)
    found = problems(tmp_path, method)
    assert [(code, message) for code, message, _ in found] == ([("KF332", expected)] if expected else [])
    assert [help_ for *_, help_ in found if method == "predict_probs"] == (
        ["Did you mean `predict_proba`?"] if method == "predict_probs" else []
    )


UNSURE = {
    "an attribute that is made": "    def __getattr__(self, name): ...",
    "a base that is made": "class M(type('B', (), {})): pass",
    "a decorator": "@(lambda c: c)\nclass M: pass",
    "a base that is nowhere": "try:\n    from absent import B\nexcept ImportError:\n    B = object\nclass M(B): pass",
}


@pytest.mark.parametrize("name", UNSURE)
def test_what_only_loading_it_could_tell_is_no_error(name: str, tmp_path: Path) -> None:
    text = UNSURE[name] if "class M" in UNSURE[name] else f"class M:\n{UNSURE[name]}"
    (tmp_path / "own_model.py").write_text(f"{text}\n", encoding="utf-8")
    code = "import pickle, own_model; pickle.dump(own_model.M(), open('model.joblib', 'wb'))"
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True)
    assert problems(tmp_path, "anything") == []


@pytest.mark.parametrize("value", [{"a": 1}, [LinearRegression()], print], ids=["a dict", "a list", "a function"])
def test_what_is_no_object_of_a_class_is_not_judged(value: Any, tmp_path: Path) -> None:
    (tmp_path / "model.joblib").write_bytes(pickle.dumps(value))
    assert problems(tmp_path, "anything") == []
