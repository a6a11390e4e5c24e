"""`kappa inspect`."""

from __future__ import annotations

import json
import os
import pickle
import sys
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pytest
import sklearn
from click.testing import CliRunner
from sklearn.linear_model import LinearRegression

from kappa.cli.main import cli


class OfTheScript:
    """Stands for a class of a training script."""


class Bomb:
    def __reduce__(self) -> Any:
        return os.system, ("true",)


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def run(*words: str) -> tuple[int, str]:
    result = CliRunner().invoke(cli, ["inspect", *words])
    return result.exit_code, result.output


def test_an_estimator_is_told_with_the_command_that_serves_it(tmp_path: Path) -> None:
    joblib.dump(LinearRegression().fit(np.zeros((2, 3)), [0, 1]), tmp_path / "model.joblib")
    code, text = run("model.joblib")
    assert code == 0
    for words in (
        "kind        joblib, written by `joblib.dump`",
        "class       sklearn.linear_model._base:LinearRegression",
        "features    3, without names",
        f"saved with  scikit-learn {sklearn.__version__}",
        f"packages    joblib, numpy, scikit-learn=={sklearn.__version__}",
        "loading     safe",
        "`kappa init model.joblib` writes a kappafile for it.",
    ):
        assert words in text


def test_a_folder_is_looked_through_for_a_model(tmp_path: Path) -> None:
    (tmp_path / "models").mkdir()
    joblib.dump(LinearRegression(), tmp_path / "models/model.joblib")
    code, text = run("models")
    assert (code, text.splitlines()[0]) == (0, "models/model.joblib")


def test_json_has_everything(tmp_path: Path) -> None:
    joblib.dump(LinearRegression().fit(np.zeros((2, 3)), [0, 1]), tmp_path / "model.joblib")
    code, text = run("model.joblib", "--format", "json")
    tree = json.loads(text)
    assert code == 0
    assert (tree["path"], tree["kind"], tree["artifact_type"], tree["feature_count"]) == (
        "model.joblib",
        "joblib",
        "sklearn",
        3,
    )
    assert tree["verdict"] == {"state": "safe", "unknown": [], "dangerous": [], "reasons": []}


def test_what_runs_commands_is_refused_and_not_run(tmp_path: Path) -> None:
    (tmp_path / "model.pkl").write_bytes(pickle.dumps(Bomb()))
    code, text = run("model.pkl")
    assert code == 3
    assert "dangerous: do not load it" in text
    assert f"{os.system.__module__}:system" in text


def test_a_class_of_the_script_is_told_with_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(OfTheScript, "__module__", "__main__")
    monkeypatch.setattr(sys.modules["__main__"], "OfTheScript", OfTheScript, raising=False)
    (tmp_path / "model.pkl").write_bytes(pickle.dumps(OfTheScript()))
    code, text = run("model.pkl")
    assert code == 0
    assert "of the script  OfTheScript" in text
    assert "Move `OfTheScript`" in text


def test_modules_are_own_packages_or_unknown(tmp_path: Path) -> None:
    (tmp_path / "features.py").write_text("")
    named = b"".join(b"c%s\nThing\n0" % module for module in (b"features", b"catboost.core", b"nobodys_module.deep"))
    (tmp_path / "model.pkl").write_bytes(b"\x80\x02" + named + b"N.")
    code, text = run("model.pkl")
    assert code == 0
    for words in ("packages         catboost", "own modules      features", "unknown modules  nobodys_module"):
        assert words in text


def test_another_version_than_is_installed_is_told(tmp_path: Path) -> None:
    model = LinearRegression()
    state = pickle.dumps(model, protocol=0).replace(sklearn.__version__.encode(), b"0.1")
    (tmp_path / "model.pkl").write_bytes(state)
    code, text = run("model.pkl")
    assert code == 0
    assert f"It was saved with scikit-learn 0.1; {sklearn.__version__} is installed here." in text


@pytest.mark.parametrize(
    ("name", "data", "words"),
    [
        ("x.txt", b"", "it is empty"),
        ("x.txt", b"Once upon a time\n", "it has the format of no model that is known"),
        ("x.pkl", b"\x80\x05\x95", "it ends too soon"),
        ("x.joblib", b"\x78\x9c" + b"garbage", "it cannot be unpacked"),
    ],
    ids=["empty", "text", "truncated", "garbage"],
)
def test_what_is_not_a_whole_model_is_refused(name: str, data: bytes, words: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(data)
    code, text = run(name)
    assert code == 3
    assert f"Not read to its end: {words}" in text


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "a model's file, or a folder"),
        (("absent.pkl",), "There is no file or folder `absent.pkl`."),
        (("empty",), "The folder `empty` is not a model, and no model's file is in it."),
        ((os.devnull,), f"`{os.devnull}` is neither a file nor a folder."),
    ],
    ids=["nothing", "absent", "empty folder", "a device"],
)
def test_what_is_not_there_is_told(words: tuple[str, ...], message: str, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    code, text = run(*words)
    assert code == 2
    assert message in text
