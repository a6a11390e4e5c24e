"""The examples do what they show: each is trained, checked, tested and run by the commands that its README gives."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from kappa.cli.main import SECTIONS

ROOT = Path(__file__).parents[1]
EXAMPLES = sorted(path.parent.name for path in (ROOT / "examples").glob("*/kappafile.toml"))
TRAINED = ("*.joblib", "*.db", "*.pickle", "*.safetensors", "*.so", "*.spacy", "*.ubj", "__pycache__")
NEEDS = {
    "c_library": pytest.mark.skipif(shutil.which("cc") is None, reason="there is no C compiler `cc`"),
    "chained": pytest.mark.xgboost,
    "compiled_pipeline": pytest.mark.skl2onnx,
    "digits_cnn": pytest.mark.torch,
    "tabular_xgboost": pytest.mark.xgboost,
    "text_spacy": pytest.mark.spacy,
    "time_series": pytest.mark.statsmodels,
}
"""The mark of an example that needs more than scikit-learn."""


def run(*command: str | Path, cwd: Path, code: int = 0) -> str:
    """Run a command, check its exit code, and return what it printed."""
    finished = subprocess.run([*map(str, command)], cwd=cwd, capture_output=True, text=True, check=False)
    assert finished.returncode == code, finished.stderr
    return finished.stdout


def kappa(*arguments: str | Path, cwd: Path, code: int = 0) -> str:
    return run(sys.executable, "-m", "kappa", *arguments, cwd=cwd, code=code)


def trained(name: str, folder: Path) -> Path:
    """Copy an example without what training writes, and train it there."""
    project = folder / name
    shutil.copytree(ROOT / "examples" / name, project, ignore=shutil.ignore_patterns(*TRAINED))
    run(sys.executable, "train.py", cwd=project)
    return project


@pytest.fixture(scope="module", params=[pytest.param(name, marks=NEEDS.get(name, ())) for name in EXAMPLES])
def project(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return trained(request.param, tmp_path_factory.mktemp("example"))


def test_each_example_has_a_line_in_the_table() -> None:
    table = (ROOT / "examples" / "README.md").read_text(encoding="utf-8")
    assert sorted(re.findall(r"^\| \[`(\w+)`\]\(\1\) \|", table, re.MULTILINE)) == EXAMPLES


def test_example_is_valid(project: Path) -> None:
    kappa("validate", cwd=project)


def test_example_answers_its_examples_as_it_says(project: Path) -> None:
    results = json.loads(kappa("test", ".", "--format", "json", cwd=project))
    assert results
    assert [result for result in results if result["problems"]] == []


def test_training_gives_the_same_bytes_again(project: Path, tmp_path: Path) -> None:
    again = trained(project.name, tmp_path)
    written = {path for pattern in TRAINED for top in project.glob(pattern) for path in (top, *top.rglob("*"))}
    models = {
        path.relative_to(project): path.read_bytes()
        for path in written
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert models
    assert {name: (again / name).read_bytes() for name in models} == models


def test_example_has_a_readme_whose_commands_exist(project: Path) -> None:
    lines = (project / "README.md").read_text(encoding="utf-8").splitlines()
    commands = {line.split()[1] for line in lines if line.startswith("kappa ")}
    assert "test" in commands
    assert "python train.py" in "\n".join(lines)
    assert commands <= {command for section in SECTIONS.values() for command in section}


@pytest.mark.parametrize("project", ["diabetes"], indirect=True)
def test_unknown_patient_is_refused_and_the_others_are_answered(project: Path, tmp_path: Path) -> None:
    requests = tmp_path / "patients.jsonl"
    requests.write_text('{"patient": 17}\n{"patient": 9999}\n{"patient": 3}\n', encoding="utf-8")
    answer = kappa("run", ".", "predict", "--input-file", requests, cwd=project, code=9)
    first, second, third = json.loads(answer)
    assert (first, second) == ({"progression": 186.6}, None)
    assert third.keys() == {"progression"}


@pytest.mark.parametrize("project", ["diabetes"], indirect=True)
def test_variable_of_the_environment_wins_over_that_of_the_kappafile(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATIENTS_DB", str(tmp_path / "absent.db"))
    kappa("run", ".", "predict", "--input", '{"patient": 17}', cwd=project, code=9)


@pytest.mark.parametrize("project", [pytest.param("time_series", marks=NEEDS["time_series"])], indirect=True)
@pytest.mark.parametrize("months", [0, 61, True, "3"])
def test_months_that_make_no_sense_are_refused(project: Path, months: object) -> None:
    kappa("run", ".", "forecast", "--input", json.dumps({"months": months}), cwd=project, code=9)


@pytest.mark.parametrize("project", [pytest.param("c_library", marks=NEEDS["c_library"])], indirect=True)
def test_rows_that_c_would_read_beyond_are_refused(project: Path) -> None:
    kappa("run", ".", "predict", "--input", "[[48, 6]]", cwd=project, code=9)


@pytest.mark.index
@pytest.mark.engine
def test_example_is_built_and_its_bundle_answers_the_same(project: Path, tmp_path: Path) -> None:
    bundle = tmp_path / "bundle"
    assert kappa("build", "--output", bundle, cwd=project).splitlines()[-1] == str(bundle)
    shutil.move(bundle, tmp_path / "moved")
    results = json.loads(kappa("test", tmp_path / "moved", "--format", "json", cwd=tmp_path))
    assert results
    assert [result for result in results if result["problems"]] == []
