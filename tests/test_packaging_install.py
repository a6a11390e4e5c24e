"""What a stranger does: installs Kappa alone, builds, moves the bundle, installs it elsewhere, and asks it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
pytestmark = [pytest.mark.index, pytest.mark.engine]

FILES = {
    "kappafile.toml": """
kappafile = 1

[service]
name = "Doubler"

[artifacts.factor]
type = "json"
path = "factor.json"

[apis.double]
function = "doubling:double"
input = "json"
batch = true

[[examples]]
name = "the answer"
api = "double"
input = 21
expect = 42
""",
    "factor.json": "2",
    "doubling.py": "def double(values, factor):\n    return [value * factor for value in values]\n",
}


class Environment:
    """A virtual environment of its own, whose commands see nothing of this one."""

    def __init__(self, folder: Path) -> None:
        venv.create(folder, with_pip=True)
        self.commands = folder / ("Scripts" if sys.platform == "win32" else "bin")
        self.variables = {key: value for key, value in os.environ.items() if key not in {"PYTHONPATH", "VIRTUAL_ENV"}}

    def run(self, command: str, *arguments: str | Path, cwd: Path) -> str:
        finished = subprocess.run(
            [self.commands / command, *arguments],
            cwd=cwd,
            env=self.variables,
            capture_output=True,
            text=True,
            check=False,
        )
        assert finished.returncode == 0, f"{command} {arguments}\n{finished.stdout}\n{finished.stderr}"
        return finished.stdout

    def install(self, *what: str | Path) -> None:
        self.run("python", "-m", "pip", "install", "--quiet", *what, cwd=Path.cwd())


@pytest.fixture(scope="module")
def installed_kappa(tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """Install the wheel of this checkout, without any extra, into an empty environment."""
    folder = tmp_path_factory.mktemp("installed")
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder / "dist")]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    environment = Environment(folder / "venv")
    environment.install(*(folder / "dist").iterdir())
    return environment


@pytest.fixture(scope="module")
def bundle(installed_kappa: Environment, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build a project with the installed Kappa, and move the bundle."""
    project = tmp_path_factory.mktemp("project")
    for name, text in FILES.items():
        (project / name).write_text(text, encoding="utf-8")
    installed_kappa.run("kappa", "build", "--output", project / "bundle", cwd=project)
    moved = tmp_path_factory.mktemp("elsewhere") / "moved bundle"
    shutil.move(project / "bundle", moved)
    shutil.rmtree(project)
    return moved


def test_kappa_alone_is_complete(installed_kappa: Environment, tmp_path: Path) -> None:
    assert installed_kappa.run("python", "-m", "pip", "check", cwd=tmp_path) == "No broken requirements found.\n"
    assert installed_kappa.run("kappa", "explain", "apis.NAME.batch", cwd=tmp_path)


def test_kappa_alone_builds_tests_and_runs(installed_kappa: Environment, bundle: Path, tmp_path: Path) -> None:
    assert installed_kappa.run("kappa", "test", bundle, cwd=tmp_path) == "ok      double: the answer\n"
    assert installed_kappa.run("kappa", "run", bundle, "double", "--input", "4", cwd=tmp_path) == "8\n"


def test_moved_bundle_answers_from_an_empty_environment(bundle: Path, tmp_path: Path) -> None:
    before = sorted(path.relative_to(bundle) for path in bundle.rglob("*"))
    environment = Environment(tmp_path / "venv")
    environment.install(bundle)
    assert sorted(path.relative_to(bundle) for path in bundle.rglob("*")) == before
    assert environment.run("python", "-m", "pip", "check", cwd=tmp_path) == "No broken requirements found.\n"
    assert environment.run("Doubler", "run", "double", "--input", "4", cwd=tmp_path) == "8\n"
    names = {
        each["name"]
        for each in json.loads(environment.run("python", "-m", "pip", "list", "--format", "json", cwd=tmp_path))
    }
    assert "kappa-ml" not in names
    assert "pandas" not in names
