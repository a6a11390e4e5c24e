"""From a kappafile to a project: the specification, where the models are, and how long it takes to say so."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from kappa.build.manifest.keys import template_of
from kappa.build.manifest.shapes import fields_of, items_of, table_of
from kappa.build.manifest.words import words_of_others
from kappa.build.project import check_kappafile, read_project
from kappa.errors import UsageError
from kappa.log import Kind, listening
from kappa.spec.contracts import Spec
from kappa.spec.document import ArtifactTable, Kappafile
from kappa.spec.service import ArtifactMethod, FunctionTarget

ROOT = Path(__file__).parents[2]
MINIMAL = """\
kappafile = 1
[service]
name = "IrisClassifier"
[artifacts.model]
type = "json"
path = "models/model.json"
metadata = { rows = 150 }
[apis.predict]
artifact = "model"
input = "dataframe"
"""


def minimal(root: Path) -> Path:
    (root / "models").mkdir(parents=True)
    (root / "models" / "model.json").write_text("{}")
    (root / "kappafile.toml").write_text(MINIMAL)
    return root


def test_a_minimal_kappafile_gives_the_service_and_its_sources(tmp_path: Path) -> None:
    project = read_project(minimal(tmp_path / "p"))
    (api,) = project.spec.apis
    assert (project.root, project.file) == (tmp_path / "p", tmp_path / "p" / "kappafile.toml")
    assert (project.spec.name, api.name, api.target) == ("IrisClassifier", "predict", ArtifactMethod(artifact="model"))
    assert api.batch is True
    assert project.sources["model"].path == tmp_path / "p" / "models" / "model.json"
    assert project.sources["model"].metadata == {"rows": 150}


def test_a_directory_and_its_file_are_the_same_project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = minimal(tmp_path / "p")
    monkeypatch.chdir(root)
    assert read_project(Path()) == read_project(root / "kappafile.toml") == read_project(Path("kappafile.toml"))


def test_the_three_syntaxes_give_one_project(tmp_path: Path) -> None:
    toml, yaml, tool = (minimal(tmp_path / name) for name in ("toml", "yaml", "tool"))
    (yaml / "kappafile.toml").unlink()
    (yaml / "kappafile.yaml").write_text(
        "kappafile: 1\nservice: {name: IrisClassifier}\n"
        "artifacts: {model: {type: json, path: models/model.json, metadata: {rows: 150}}}\n"
        "apis: {predict: {artifact: model, input: dataframe}}\n"
    )
    (tool / "kappafile.toml").unlink()
    (tool / "pyproject.toml").write_text(
        "[tool.kappa]\n" + MINIMAL.replace("[service]", "[tool.kappa.service]").replace("[a", "[tool.kappa.a")
    )
    assert read_project(toml).spec == read_project(yaml).spec == read_project(tool).spec


@pytest.mark.parametrize("name", ["iris", "diabetes", "zero_code"])
def test_the_examples_have_no_problem(name: str) -> None:
    file = ROOT / "examples" / name / "kappafile.toml"
    models = re.findall(r'path = "(model\.\w+)"', file.read_text())
    if not all((file.parent / model).is_file() for model in models):
        pytest.skip("the example's model is not trained yet")
    project, found = check_kappafile(file)
    assert list(found) == []
    assert project is not None


def test_the_example_of_every_key_is_good_where_its_files_exist(tmp_path: Path) -> None:
    root = tmp_path / "project"
    root.mkdir()
    text = (ROOT / "kappafile.example.toml").read_text(encoding="utf-8")
    (root / "kappafile.toml").write_text(text, encoding="utf-8")
    for name, content in {
        "static/index.html": "",
        "../common/__init__.py": "",
        "requirements.txt": "redis\n",
        "pyproject.toml": (
            '[project]\nname = "churn"\nversion = "1"\ndependencies = ["redis"]\n'
            "[project.optional-dependencies]\ngpu = []\n[dependency-groups]\nserve = []\n"
        ),
        "environment.yml": "dependencies: [libgdal]\n",
        "setup.sh": "",
        "Dockerfile.j2": '{% extends "Dockerfile.j2" %}',
        "lookup/a.csv": "",
        "plugins/eu.py": "",
        "greeting.txt": "Hello",
        "samples/customers.csv": "tenure\n3\n",
        "handlers.py": (
            "def connect():\n    return {'db': 1}\ndef disconnect(db): ...\n"
            "def predict(df, model, db): ...\ndef greet(value, greeting, db): ...\n"
            "def answer(value): ...\ndef answer_two(one, other): ...\nclass Customer: ...\n"
        ),
    }.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(content)
    (root / "model.joblib").write_bytes(b"\x80\x04N.")
    project, found = check_kappafile(root / "kappafile.toml")
    told = [(problem.code, problem.severity) for problem in found]
    assert told == [*[("KF208", "warning")] * 7, ("KF318", "warning")]
    assert project is not None
    assert {type(api.target) for api in project.spec.apis} == {ArtifactMethod, FunctionTarget}


def test_warnings_are_logged_with_their_place(tmp_path: Path) -> None:
    root = minimal(tmp_path / "p")
    with (root / "kappafile.toml").open("a") as file:
        file.write('[bundle]\ninclude = ["*.csv"]\n')
    lines: list[tuple[str, Kind]] = []
    with listening(lambda message, kind: lines.append((message, kind))):
        read_project(root)
    assert lines == [("kappafile.toml:12: `*.csv` matches no file.", "warning")]


def test_a_missing_kappafile_is_an_error_with_its_name(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"There is no kappafile or directory `.*kappafile\.toml`\."):
        read_project(tmp_path / "kappafile.toml")


def test_every_word_of_others_means_a_key_that_exists() -> None:
    for table, words in words_of_others().items():
        for word, target in words.items():
            path = tuple(target.split("."))
            assert is_key(path), f"{word} in {table} means {target}"
            assert word not in keys_of(table), f"{word} is a key of {table} itself"


def keys_of(table: tuple[str, ...]) -> set[str]:
    model: type[Spec] | None = Kappafile
    for part in table:
        if part in ("NAME", "NUMBER"):
            continue
        assert model is not None
        annotation = fields_of(model)[part].annotation
        model = table_of(annotation) or table_of(items_of(annotation, {})) or table_of(items_of(annotation, []))
    keys = set(fields_of(model)) if model is not None else set()
    return (keys - {"plugin"}) | {"type"} if model is ArtifactTable else keys


def is_key(path: tuple[str, ...]) -> bool:
    *table, key = path
    return key in ("NAME", "NUMBER") or key in keys_of(tuple(table))


def test_tables_of_the_users_own_names_have_one_template() -> None:
    assert [template_of(path) for path in ((), ("env",), ("apis", "x"), ("examples", 3))] == [
        (),
        ("env",),
        ("apis", "NAME"),
        ("examples", "NUMBER"),
    ]


UNNEEDED = ("alembic", "falcon", "gunicorn", "http.client", "jinja2", "numpy", "pandas", "rich", "sqlalchemy", "tinydb")


def test_checking_a_kappafile_imports_nothing_heavy(tmp_path: Path) -> None:
    root = minimal(tmp_path / "p")
    code = (
        "import sys\nfrom pathlib import Path\nfrom kappa.build.project import check_kappafile\n"
        f"project, found = check_kappafile(Path({str(root / 'kappafile.toml')!r}))\nassert project, list(found)\n"
        "print(*sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert loaded.isdisjoint(
        {*UNNEEDED, "kappa.services.service", "kappa.build.code.classes", "ruamel.yaml", "kappa.build.packages.lock"}
    )
