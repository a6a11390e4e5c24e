"""Modules of a service may be called like those that Kappa imports: each finds its own, in projects and bundles."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from importlib.machinery import PathFinder
from pathlib import Path

import pytest

from kappa.build.class_project import read_class_project
from kappa.build.packages.distributions import top_modules
from kappa.build.packages.installed import with_needs
from kappa.services.modules_of_others import MODULES_OF_OTHERS

ROOT = Path(__file__).parents[2]
BUILD_TOOLS = frozenset({"onnx", "onnxmltools", "onnxscript", "pip", "piptools", "pytest", "skl2onnx", "tf2onnx", "uv"})
"""Are imported where no service is loaded, or by a process of their own."""
APIS = ("predict", "asked", "scored")
INSTALLED = sorted(name for name in MODULES_OF_OTHERS if PathFinder.find_spec(name) is not None)
RUNTIME = ("click", "falcon", "gunicorn", "httpx", "numpy", "orjson", "pandas", "prometheus-client", "pydantic", "rich")

HANDLERS = """\
from {name} import F, Own
def predict(value):
    return [value, F]
def asked(value):
    import {name}
    return {name}.F
def scored(value, model):
    return model.score()
"""


def test_the_table_has_all_that_kappa_imports() -> None:
    found = set()
    for file in (ROOT / "kappa").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_bytes())):
            if isinstance(node, ast.Import):
                found |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and not node.level:
                found.add((node.module or "").partition(".")[0])
    assert found - sys.stdlib_module_names - {"kappa"} - BUILD_TOOLS - MODULES_OF_OTHERS == set()


def test_the_table_has_what_that_needs_in_turn() -> None:
    needed = with_needs(RUNTIME)
    brought = {
        module
        for module, owners in top_modules().items()
        if module.isidentifier() and not module.startswith("_") and "mypyc" not in module
        for owner in owners
        if owner.lower().replace("_", "-").replace(".", "-") in needed
    }
    assert brought - MODULES_OF_OTHERS == set()


LOAD = """
import json, sys
from pathlib import Path
from kappa.build.project import read_project
from kappa.services.service import load_service
from kappa.services.source import ServiceSource

answers = {}
for name in json.loads(sys.argv[2]):
    root = Path(sys.argv[1]) / name
    project = read_project(root)
    service = load_service(ServiceSource.of_project(project.spec, project.sources, root=root)).as_object()
    answers[name] = [service.predict(1), service.asked(1), service.scored(1)]
import click, pandas
assert callable(click.command) and pandas.DataFrame({"a": [1]}).shape == (1, 1)
print(json.dumps(answers))
"""


LOAD_CODE = """
import json, sys
from pathlib import Path
from kappa.services.loading import code_of_bundle, import_reference

answers = {}
for name in json.loads(sys.argv[2]):
    code = code_of_bundle(Path(sys.argv[1]) / name, name, on_path=True)
    answers[name] = import_reference(f"handlers_{name}:asked", code)(1)
import click, pandas
assert callable(click.command) and pandas.DataFrame({"a": [1]}).shape == (1, 1)
print(json.dumps(answers))
"""


def write_project(root: Path, name: str) -> None:
    root.mkdir()
    (root / "kappafile.toml").write_text(
        'kappafile = 1\n[service]\nname = "Service"\n[security]\npickle = "allow"\n'
        '[artifacts.model]\ntype = "pickle"\npath = "model.pkl"\n[bundle]\nresolver = "installed"\n'
        + "".join(f'[apis.{api}]\nfunction = "handlers_{name}:{api}"\ninput = "json"\n' for api in APIS),
        encoding="utf-8",
    )
    (root / f"{name}.py").write_text(
        f"F = {name!r}\nclass Own:\n    def score(self):\n        return F.upper()\n", encoding="utf-8"
    )
    (root / f"handlers_{name}.py").write_text(HANDLERS.format(name=name), encoding="utf-8")
    (root / "model.pkl").write_bytes(b"\x80\x02c%s\nOwn\n)\x81." % name.encode())


@pytest.mark.parametrize(
    ("text", "answers"),
    [
        pytest.param(LOAD, {name: [[1, name], name, name.upper()] for name in INSTALLED}, id="projects"),
        pytest.param(LOAD_CODE, {name: name for name in INSTALLED}, id="bundles"),
    ],
)
def test_each_finds_its_own(text: str, answers: dict[str, object], tmp_path: Path) -> None:
    for name in INSTALLED:
        write_project(tmp_path / name, name)
    command = [sys.executable, "-c", text, str(tmp_path), json.dumps(INSTALLED)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == answers


CLASS = """\
import kappa
from kappa.adapters import JsonInput
from click import F

names = [F]

@kappa.files(resolver="installed", include=[*names])
class Own(kappa.BentoService):
    @kappa.api(input=JsonInput())
    def predict(self, value):
        return [value, F]
"""


def test_a_class_that_must_be_imported_is_known_by_its_own_name(tmp_path: Path) -> None:
    (tmp_path / "service.py").write_text(CLASS, encoding="utf-8")
    (tmp_path / "click.py").write_text("F = 'mine'\n", encoding="utf-8")
    spec = read_class_project("service:Own", tmp_path).spec
    assert (spec.service_class, spec.files.include) == ("service:Own", ("mine",))


def test_other_projects_are_imported_under_their_own_names(tmp_path: Path) -> None:
    (tmp_path / "handlers.py").write_text("def predict(value):\n    return __name__\n", encoding="utf-8")
    (tmp_path / "numpy").mkdir()
    (tmp_path / "numpy" / "notes.py").touch()  # a folder without `__init__.py` is no package beside one
    text = "print(import_reference('handlers:predict', code_of_project(Path.cwd()))(1))"
    text = f"from kappa.services.loading import code_of_project, import_reference\nfrom pathlib import Path\n{text}"
    done = subprocess.run([sys.executable, "-c", text], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.stdout == "handlers\n", done.stderr
