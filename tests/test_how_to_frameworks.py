"""The how-to about models of any framework is true: its files make a project that answers as the page shows."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from kappa.cli.main import cli

PAGE = Path(__file__).parents[1] / "docs" / "how-to" / "serve-any-framework.md"
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)

ONNXRUNTIME = """\
from pathlib import Path
from types import SimpleNamespace


class InferenceSession:
    def __init__(self, path):
        self.factor = float(Path(path).read_text())

    def get_inputs(self):
        return [SimpleNamespace(name="x")]

    def run(self, outputs, inputs):
        assert outputs is None and inputs["x"].dtype == "float32"
        return [inputs["x"] * self.factor]
"""
"""As much of the package as the page uses; its model is a number."""


HEAD = 'kappafile = 1\n[service]\nname = "Service"\n'


FRAMEWORKS = [
    "Arrays, tables and files",
    pytest.param("LightGBM", marks=pytest.mark.lightgbm),
    pytest.param("skops", marks=pytest.mark.skops),
    pytest.param("H2O", marks=pytest.mark.h2o),
    pytest.param("PySpark", marks=[pytest.mark.spark, pytest.mark.timeout(1800)]),
    pytest.param("MLflow", marks=pytest.mark.mlflow),
    pytest.param("ONNX", marks=pytest.mark.onnx),
    pytest.param("PyTorch", marks=pytest.mark.torch),
    pytest.param("Transformers", marks=pytest.mark.transformers),
    pytest.param("statsmodels", marks=pytest.mark.statsmodels),
    pytest.param("CatBoost", marks=pytest.mark.catboost),
    pytest.param("TensorFlow", marks=pytest.mark.tensorflow),
    pytest.param("Keras", marks=pytest.mark.keras),
    pytest.param("spaCy", marks=pytest.mark.spacy),
]


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_the_example_of_a_framework_answers_as_the_page_shows_and_from_a_bundle(framework: str, tmp_path: Path) -> None:
    project = tmp_path / "project"
    command, answer = write_project(framework, project)
    assert shortened(run(project, "-m", *shlex.split(command))) == answer
    run(project, "-m", "kappa", "build", "--resolver", "installed")
    of_bundle = command.replace("run .", "run Service:latest")
    assert shortened(run(tmp_path, "-m", *shlex.split(of_bundle))) == answer


def write_project(framework: str, project: Path) -> tuple[str, str]:
    """Make the project of a framework's section, train its model, and return the command that asks, and the answer."""
    section = PAGE.read_text(encoding="utf-8").partition(f"\n## {framework}\n")[2].partition("\n## ")[0]
    blocks = dict(BLOCK.findall(section))
    modules = [text for language, text in BLOCK.findall(section) if language == "python"]
    command, answer = blocks["console"].strip().removeprefix("$ ").split("\n")
    project.mkdir()
    (project / "kappafile.toml").write_text(HEAD + blocks["toml"], encoding="utf-8")
    for text in modules:
        (project / text.partition("\n")[0].removeprefix("# ")).write_text(text, encoding="utf-8")
    run(project, "train.py")
    (project / "train.py").unlink()
    return command, answer


def run(folder: Path, *words: str) -> str:
    done = subprocess.run([sys.executable, *words], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def shortened(answer: str) -> str:
    """Leave two decimals of each number, as the page does: the others differ between machines."""
    return re.sub(r"(\.\d\d)\d+", r"\1…", answer)


def test_an_included_model_is_loaded_by_a_setup(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    blocks = BLOCK.findall(PAGE.read_text(encoding="utf-8"))
    kappafile = next(text for language, text in blocks if language == "toml" and "setup" in text)
    handlers = next(text for language, text in blocks if language == "python" and "def setup" in text)
    (tmp_path / "kappafile.toml").write_text(kappafile, encoding="utf-8")
    (tmp_path / "handlers.py").write_text(handlers, encoding="utf-8")
    (tmp_path / "onnxruntime.py").write_text(ONNXRUNTIME, encoding="utf-8")
    (tmp_path / "digits.onnx").write_text("2", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    done = CliRunner().invoke(cli, ["run", ".", "predict", "--input", "[[0.1, 0.9], [0.8, 0.2]]"], prog_name="kappa")
    assert done.output == "[1,0]\n"
    assert "$ kappa run . predict --input '[[0.1, 0.9], [0.8, 0.2]]'\n[1,0]" in PAGE.read_text(encoding="utf-8")
    for name in ("handlers", "onnxruntime"):
        sys.modules.pop(name, None)  # a module of the service with the name of another one is kept apart


def test_every_piece_of_python_compiles() -> None:
    for language, text in BLOCK.findall(PAGE.read_text(encoding="utf-8")):
        if language == "python":
            compile(text, str(PAGE), "exec")
