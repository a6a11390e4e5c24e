"""One key, one place: a field that is added to a model, and nothing else, is a key everywhere.

A copy of Kappa gets two fields, an option of APIs and a path of the service; what `make generate` writes is written. A
process that imports the copy then uses both keys in each way that there is.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
pytestmark = pytest.mark.engine
COPIED = (
    *("kappa", "schemas", "templates", "kappafile.example.toml", "docs/generate.py", "docs/reference"),
    *("tests/promises.toml", "tests/frameworks/groups.toml", "tests/golden/mistakes.json"),
)
OPTION = '''    experimental_limit: Annotated[int, Field(ge=1)] = 7
    """How many may be had at once."""
'''
PATH = '''    experimental_file: Annotated[PathText | None, NamesPath(packed="code")] = None
    """What is looked up."""
'''

KAPPAFILE = {
    "kappafile": 1,
    "service": {"name": "Service", "experimental_file": "data/table.csv"},
    "apis": {"predict": {"function": "handlers:predict", "input": "json", "experimental_limit": 3}},
}
CLASS = """
import kappa
from kappa.adapters import JsonInput

@kappa.experimental_file("data/table.csv")
class Service(kappa.BentoService):
    @kappa.api(input=JsonInput(), experimental_limit=3)
    def predict(self, value): ...
"""
USES = """
import json
import sys
from pathlib import Path

from kappa.actions.serving import project_files
from kappa.build.bundle.plan import plan_build
from kappa.build.class_project import read_class_project
from kappa.build.manifest.explain import explain, render_text
from kappa.build.project import check_kappafile, read_project
from kappa.services.declaring import declared_spec


def said(spec):
    (api,) = spec.apis
    return spec.experimental_file, api.experimental_limit, spec.model_dump(mode="json")["experimental_file"]


def problems(folder):
    (file,) = Path(folder).glob("kappafile.*")
    return [[one.code, one.path, one.span.line, one.message] for one in check_kappafile(file)[1]]


root = Path.cwd()
toml, yaml = read_project(root / "toml"), read_project(root / "yaml")
by_class = read_class_project("pkg.handlers:Service", root / "class")
sys.path.insert(0, "class")
from pkg.handlers import Service

plan = plan_build(toml, version=None, labels={}, environ={})
print(json.dumps({
    "toml": said(toml.spec),
    "yaml": said(yaml.spec),
    "class read": said(by_class.spec),
    "class imported": said(declared_spec(Service)),
    "packed": [str(path) for path in plan.includes],
    "watched": (root / "toml" / "data" / "table.csv") in project_files(root / "toml"),
    "option": render_text(explain("apis.NAME.experimental_limit")),
    "path": render_text(explain("service.experimental_file")),
    "problems": {folder: problems(folder) for folder in ("wrong", "outside", "twice")},
}))
"""


def add(file: Path, model: str, field: str) -> None:
    """Add a field to a model."""
    text = file.read_text(encoding="utf-8")
    head, name, body = text.partition(f"class {model}(Spec):\n")
    doc, quotes, rest = body.partition('"""\n\n')
    assert name
    assert quotes
    file.write_text(f"{head}{name}{doc}{quotes}{field}{rest}", encoding="utf-8")


def toml_of(tree: Mapping[str, Any]) -> str:
    service, api = tree["service"], tree["apis"]["predict"]
    tables = {"[service]": service, "[apis.predict]": api}
    lines = [
        [header, *(f"{key} = {json.dumps(value)}" for key, value in table.items())] for header, table in tables.items()
    ]
    return "\n".join(["kappafile = 1", *(line for table in lines for line in table)]) + "\n"


def write(root: Path, files: Mapping[str, str]) -> None:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text, encoding="utf-8")


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a copy of Kappa whose models have one more option and one more path."""
    root = tmp_path_factory.mktemp("copy")
    for name in COPIED:
        target = root / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / name, target)
    add(root / "kappa" / "spec" / "service.py", "ApiOptions", OPTION)
    add(root / "kappa" / "spec" / "service.py", "ServiceFacts", PATH)
    run(root, "docs/generate.py", cwd=root)
    return root


def run(copy: Path, *arguments: str, cwd: Path) -> str:
    environ = {**os.environ, "PYTHONPATH": str(copy)}
    done = subprocess.run(
        [sys.executable, *arguments], cwd=cwd, env=environ, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def uses(copy: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Return what comes of using both keys."""
    root = tmp_path_factory.mktemp("projects")
    kappafile: Any = KAPPAFILE
    service, (api,) = kappafile["service"], kappafile["apis"].values()
    wrong = {
        "service": {**service, "experimental_file": "data/tabel.csv"},
        "apis": {"predict": {**api, "experimental_limit": "many"}},
    }
    outside = {
        "service": {**service, "experimental_file": "../table.csv"},
        "apis": {"predict": {**api, "experimental_limt": 3}},
    }
    twice = 'kappafile = 1\n[service]\nclass = "handlers:Service"\nexperimental_file = "data/table.csv"\n'
    write(
        root,
        {
            "toml/kappafile.toml": toml_of(KAPPAFILE),
            "yaml/kappafile.yaml": json.dumps(KAPPAFILE),
            "wrong/kappafile.toml": toml_of(wrong),
            "outside/kappafile.toml": toml_of(outside),
            "twice/kappafile.toml": twice,
            "twice/handlers.py": CLASS,
            "class/pkg/handlers.py": CLASS,
            "class/pkg/data/table.csv": "a\n1\n",
            "uses.py": USES,
            **{f"{folder}/handlers.py": "def predict(value): ..." for folder in ("toml", "yaml", "wrong", "outside")},
            **{f"{folder}/data/table.csv": "a\n1\n" for folder in ("toml", "yaml", "wrong", "outside", "twice")},
            "table.csv": "a\n1\n",
        },
    )
    told: dict[str, Any] = json.loads(run(copy, "uses.py", cwd=root))
    return told


def test_both_front_ends_and_a_class_say_it(uses: dict[str, Any]) -> None:
    assert uses["toml"] == uses["yaml"] == ["data/table.csv", 3, "data/table.csv"]
    assert uses["class read"] == ["pkg/data/table.csv", 3, "pkg/data/table.csv"]
    assert uses["class imported"] == ["data/table.csv", 3, "data/table.csv"]


def test_the_path_is_packed_and_watched(uses: dict[str, Any]) -> None:
    assert uses["packed"] == ["data/table.csv"]
    assert uses["watched"]


def test_mistakes_in_it_are_told_with_their_place(uses: dict[str, Any]) -> None:
    assert uses["problems"] == {
        "wrong": [
            ["KF302", "/service/experimental_file", 4, "There is no file `data/tabel.csv`."],
            ["KF202", "/apis/predict/experimental_limit", 8, "`experimental_limit` must be a whole number, not text."],
        ],
        "outside": [
            ["KF303", "/service/experimental_file", 4, "`../table.csv` is outside of the project."],
            ["KF201", "/apis/predict/experimental_limt", 9, "`experimental_limt` is not a key of `[apis.predict]`."],
        ],
        "twice": [["KF401", "/service/experimental_file", 4, "`experimental_file` is set here and by the class."]],
    }


def test_it_is_explained(uses: dict[str, Any]) -> None:
    assert uses["option"].startswith(
        "apis.NAME.experimental_limit: a whole number at least 1\n\nHow many may be had at once.\n\nDefault: 7"
    )
    assert uses["path"].startswith("service.experimental_file: text\n\nWhat is looked up.")


def test_it_is_in_the_schemas(copy: Path) -> None:
    for name, tables in (("kappafile", ("ApiTable", "ServiceTable")), ("bundle", ("ApiSpec", "ServiceSpec"))):
        definitions = json.loads((copy / "schemas" / f"{name}.schema.json").read_text(encoding="utf-8"))["$defs"]
        api, service = (definitions[table]["properties"] for table in tables)
        assert api["experimental_limit"] == {
            "description": "How many may be had at once.",
            "type": "integer",
            "default": 7,
            "minimum": 1,
        }
        assert service["experimental_file"]["description"] == "What is looked up."


def test_it_is_in_the_reference(copy: Path) -> None:
    page = (copy / "docs" / "reference" / "kappafile.md").read_text(encoding="utf-8")
    assert "| `experimental_limit` | a whole number at least 1 | `7` | How many may be had at once. |" in page
    assert "| `experimental_file` | text |  | What is looked up. |" in page
    python = (copy / "docs" / "reference" / "python.md").read_text(encoding="utf-8")
    assert "@kappa.experimental_file(experimental_file)" in python
    assert "    experimental_limit=7,\n" in python


def test_it_is_in_the_types_of_the_decorators(copy: Path) -> None:
    types = (copy / "kappa" / "__init__.pyi").read_text(encoding="utf-8")
    assert "def experimental_file(experimental_file: str) -> _Decorator:" in types
    assert "    experimental_limit: int = ...,\n" in types
