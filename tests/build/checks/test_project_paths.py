"""Every key whose text is a path is known as one, and is relative to the file of the class that says it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, get_args

import pytest
from pydantic import BaseModel

from kappa.actions.serving import project_files
from kappa.build.bundle.plan import plan_build
from kappa.build.class_project import read_class_project
from kappa.build.code.classes import read_class
from kappa.build.code.declarations import Declaration
from kappa.build.code.modules import CodeBase, search_path
from kappa.build.combining import combine
from kappa.build.manifest.positions import TreePath
from kappa.build.manifest.shapes import fields_of, items_of, table_of
from kappa.build.project import check_kappafile, read_project
from kappa.errors import ConfigurationError
from kappa.plugins import ARTIFACTS, INPUT_ADAPTERS, OUTPUT_ADAPTERS
from kappa.spec.contracts import Spec, field_docs
from kappa.spec.declarations import DECLARATIONS
from kappa.spec.document import Kappafile
from kappa.spec.project_paths import NamesPath, path_mark
from kappa.spec.service import ServiceSpec
from tests.build.projects import write

ABOUT_PATHS = re.compile(r"\b(path|file|folder|pattern|script|template)s?\b", re.IGNORECASE)
NOT_PATHS = {
    ("ApiSpec", "route"): "a part of a URL",
    ("ApiTable", "route"): "a part of a URL",
    ("Kappafile", "requires_kappa"): "versions",
    ("PytorchModelArtifact", "factory"): "a function",
    ("TextFileArtifact", "encoding"): "an encoding",
    ("FileOutput", "filename"): "a name that clients see",
    ("FileOutput", "media_type"): "a media type",
    ("ImageInput", "accept_image_formats"): "extensions",
    ("AnnotatedImageInput", "accept_image_formats"): "extensions",
    ("MultiImageInput", "accept_image_formats"): "extensions",
    ("MultiImageInput", "input_names"): "names in a form",
    ("MultiFileInput", "input_names"): "names in a form",
}
"""Texts that are about files without being paths in the project, and what they are."""


def parts() -> Iterator[type[BaseModel]]:
    """Yield every part of a declaration: what both front ends share, and all plugins."""
    found: dict[type[BaseModel], None] = {}

    def add(kind: Any) -> None:
        if isinstance(kind, type) and issubclass(kind, BaseModel) and kind not in found:
            found[kind] = None
            for field in kind.model_fields.values():
                add(field.annotation)
        for part in get_args(kind):
            add(part)

    add(ServiceSpec)
    add(Kappafile)
    for registry in (INPUT_ADAPTERS, OUTPUT_ADAPTERS, ARTIFACTS):
        for name in registry.builtins:
            add(registry.load(name))
    yield from found


FIELDS = [(part, name) for part in parts() for name in part.model_fields]


def is_marked(part: type[BaseModel], name: str) -> bool:
    return path_mark(part.model_fields[name]) is not None


def test_what_speaks_of_files_is_a_path_or_known_not_to_be_one() -> None:
    about = {
        (part.__name__, name)
        for part, name in FIELDS
        if re.search(r"\bstr\b", repr(part.model_fields[name].annotation))
        and ABOUT_PATHS.search(field_docs(part).get(part.model_fields[name].alias or name, ""))
        and not is_marked(part, name)
    }
    assert about == NOT_PATHS.keys()


# -- in a kappafile ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Key:
    """A key of a kappafile that names a path, and the tables that it stands in."""

    path: TreePath
    mark: NamesPath
    options: Mapping[str, Any]
    """What stands beside it in its table."""
    is_list: bool

    def document(self, text: str) -> str:
        """Return a kappafile that says it, as YAML."""
        value: Any = {**self.options, str(self.path[-1]): [text] if self.is_list else text}
        for part in reversed(self.path[1:-1]):
            value = [value] if isinstance(part, int) else {part: value}
        tables: dict[str, dict[str, Any]] = {"service": {"name": "Service"}, "apis": {"predict": PREDICT}}
        top = str(self.path[0])
        table = {**tables.get(top, {}), **value} if isinstance(value, dict) else value
        if self.path[:2] == ("apis", "predict"):
            table = {"predict": {**PREDICT, **table["predict"]}}
        return json.dumps({"kappafile": 1, **tables, top: table})


PREDICT = {"function": "handlers:predict", "input": {"type": "dataframe", "columns": {"a": "int64"}}}
BESIDE: Mapping[str, Mapping[str, Any]] = {
    "artifacts": {"type": "json"},
    "examples": {"name": "one", "api": "predict"},
}
"""What else a table needs."""


def keys() -> Iterator[Key]:
    """Yield every key of a kappafile that names a path, options of plugins included."""
    for top, field in fields_of(Kappafile).items():
        names: dict[str, str | int] = {"apis": "predict", "artifacts": "model", "examples": 0}
        name = names.get(top)
        path: TreePath = (top,) if name is None else (top, name)
        inner = field.annotation if name is None else items_of(field.annotation, [] if name == 0 else {})
        if (model := table_of(inner)) is not None:
            yield from marked(model, path, BESIDE.get(top, {}))
    for registry, path in ((INPUT_ADAPTERS, ("apis", "predict", "input")), (ARTIFACTS, ("artifacts", "model"))):
        for kind in registry.builtins:
            yield from marked(registry.load(kind), path, {"type": kind})


def marked(model: type[Spec], path: TreePath, options: Mapping[str, Any]) -> Iterator[Key]:
    for key, field in fields_of(model).items():
        if (mark := path_mark(field)) is not None:
            is_list = items_of(field.annotation, []) is not None
            yield Key((*path, key), mark, options, is_list)


KEYS = {".".join(map(str, key.path)): key for key in keys()}
CONFINED = [name for name, key in KEYS.items() if key.mark.is_confined]
READ = [name for name, key in KEYS.items() if key.mark.kind == "file"]
PACKED = [name for name, key in KEYS.items() if key.mark.packed not in (None, "image")]
FILES = {
    "env.pyproject": '[project]\nname = "mine"\nversion = "1"\ndependencies = []\n',
    "env.dockerfile_template": '{% extends "Dockerfile.j2" %}\n',
    "env.conda_env_yml_file": "dependencies: []\n",
    "env.requirements_txt_file": "redis==5.0.1\n",
}
"""What must be in the file that a key names, where rows as JSON would be refused."""


def project_with(name: str, text: str, root: Path) -> Path:
    """Write a project whose kappafile says one path, and files where it may lead."""
    content = FILES.get(name, '[{"a": 1}]')
    files = {"kappafile.yaml": KEYS[name].document(text), "handlers.py": "def predict(frame): ..."}
    files |= {"project/named.json": content, "named.json": content, "project/folder/named.json": content}
    for file in ("kappafile.yaml", "handlers.py"):
        files[f"project/{file}"] = files.pop(file)
    return write(root, files) / "project"


def test_keys_of_every_table_are_among_them() -> None:
    assert {"service", "env", "bundle", "artifacts", "apis", "examples"} == {key.path[0] for key in KEYS.values()}


@pytest.mark.parametrize("name", CONFINED)
def test_a_path_stays_in_the_project(name: str, tmp_path: Path) -> None:
    root = project_with(name, "../named.json", tmp_path)
    path = [*map(str, KEYS[name].path), *(["0"] if KEYS[name].is_list else [])]
    problems = {(one.code, one.path) for one in check_kappafile(root / "kappafile.yaml")[1] if one.is_error}
    assert problems == {("KF303", "/" + "/".join(path))}


@pytest.mark.parametrize("name", READ)
def test_a_file_that_is_missing_is_reported_where_it_is_named(name: str, tmp_path: Path) -> None:
    root = project_with(name, "absent.json", tmp_path)
    problems = {(one.code, one.path) for one in check_kappafile(root / "kappafile.yaml")[1] if one.is_error}
    assert problems == {("KF302", "/" + "/".join(map(str, KEYS[name].path)))}


@pytest.mark.parametrize("name", READ)
def test_a_file_that_a_project_names_is_watched(name: str, tmp_path: Path) -> None:
    root = project_with(name, "named.json", tmp_path)
    assert root / "named.json" in project_files(root)


@pytest.mark.parametrize("name", PACKED)
def test_a_file_that_a_key_packs_is_in_the_bundle(name: str, tmp_path: Path) -> None:
    mark = KEYS[name].mark
    root = project_with(name, "folder" if mark.kind == "folder" else "folder/named.json", tmp_path)
    plan = plan_build(read_project(root), version=None, labels={}, environ={})
    places = {
        "code": (plan.includes, "folder/named.json"),
        "examples": (plan.examples, "folder/named.json"),
        "web_static_content": (plan.static_content, "web_static_content/named.json"),
    }
    files, place = places[str(mark.packed)]
    assert files == {PurePosixPath(place): root / "folder" / "named.json"}


# -- in a class --------------------------------------------------------------------------------------------------------

OF_CLASSES = [name for name, key in KEYS.items() if key.path[0] != "artifacts"]
"""Where models are, a class does not say."""


def declared_class(name: str, text: str) -> tuple[str, tuple[str | int, ...]]:
    """Return a class that says one path, and where it then is in its specification."""
    key = KEYS[name]
    part = next(part for part in DECLARATIONS if key.path[: len(part.key)] == part.key)
    last, value = str(key.path[-1]), repr([text] if key.is_list else text)
    written: dict[str, tuple[str, tuple[str | int, ...]]] = {
        "key": (f"{part.decorators[0]}({value})", (part.field,)),
        "table": (f"{part.decorators[0]}({last}={value})", (part.field, last, *([0] if key.is_list else []))),
        "list": (f'{part.decorators[0]}("one", api="predict", {last}={value})', (part.field, 0, last)),
        "members": ('name("Service")', (part.field, 0, *key.path[2:])),
    }
    decorator, place = written[part.kind]
    options = f"{last}={value}" if part.kind == "members" else 'columns=["a"]'
    source = (
        "import kappa\nfrom kappa.adapters import DataframeInput\n\n\n"
        f"@kappa.{decorator}\nclass Service(kappa.BentoService):\n"
        f"    @kappa.api(input=DataframeInput({options}), batch=True)\n    def predict(self, frame):\n"
        "        return frame\n"
    )
    return source, place


@pytest.mark.parametrize("name", OF_CLASSES)
@pytest.mark.parametrize(
    ("text", "path"), [("some.txt", "pkg/sub/some.txt"), ("../some.txt", "pkg/some.txt")], ids=["beside", "above"]
)
def test_a_path_is_relative_to_the_file_of_the_class(name: str, text: str, path: str, tmp_path: Path) -> None:
    source, place = declared_class(name, text)
    write(tmp_path, {"pkg/sub/declared.py": source, "pkg/sub/some.txt": "a\n1\n", "pkg/some.txt": "a\n1\n"})
    code = CodeBase(search_path(tmp_path))
    module = code.resolve("pkg.sub.declared")
    assert module is not None
    declaration = read_class(code, module, "Service")
    assert isinstance(declaration, Declaration)
    value: Any = combine(None, declaration, tmp_path)
    for part in place:
        value = value[part] if isinstance(part, int) else getattr(value, part)
    assert value == path


@pytest.mark.parametrize("name", [name for name in OF_CLASSES if name in CONFINED])
def test_a_path_of_a_class_stays_in_the_project(name: str, tmp_path: Path) -> None:
    source, _ = declared_class(name, "../named.json")
    write(tmp_path, {"project/declared.py": source, "named.json": FILES.get(name, '[{"a": 1}]')})
    project = read_class_project("declared:Service", tmp_path / "project")
    with pytest.raises(ConfigurationError) as error:
        plan_build(project, version=None, labels={}, environ={})
    assert f"`{tmp_path / 'named.json'}` lies outside the project `{tmp_path / 'project'}`." in str(error.value)


@pytest.mark.parametrize("text", ["#!/bin/bash", "echo one\necho two"])
def test_a_script_that_a_class_says_itself_stays_as_it_is(text: str, tmp_path: Path) -> None:
    declared = (
        "import kappa\nfrom kappa.adapters import JsonInput\n\n\n"
        f"@kappa.env(setup_sh={text!r})\nclass Service(kappa.BentoService):\n"
        "    @kappa.api(input=JsonInput())\n    def predict(self, value):\n        return value\n"
    )
    write(tmp_path, {"pkg/declared.py": declared})
    assert read_class_project("pkg.declared:Service", tmp_path).spec.env.setup_sh == text


# -- names that no file can have ---------------------------------------------------------------------------------------

LONG = "a" * 300
TOO_LONG = {
    "a folder of it": ("[bundle]", f'exclude = ["x/{LONG}/y"]'),
    "a long way": ("[bundle]", f'include = ["{"a/" * 60_000}"]'),
    "modules": ("[bundle]", f'modules = ["{LONG}"]'),
    "a module below one": ("[bundle]", f'modules = ["x.{LONG}"]'),
    "setup": ("[service]", f'setup = "{LONG}:f"'),
    "class": ("[service]", f'class = "x.{LONG}:C"'),
    "a function": ("[apis.x]", f'input = "json"\nfunction = "{LONG}:f"'),
    "a schema": ("[apis.x]", f'function = "handlers:f"\ninput = {{ type = "json", schema = "{LONG}:X" }}'),
}


@pytest.mark.parametrize("name", [name for name, key in KEYS.items() if not key.mark.or_script])
def test_a_path_that_no_file_can_have_is_refused_where_it_stands(name: str, tmp_path: Path) -> None:
    root = project_with(name, LONG, tmp_path)
    path = [*map(str, KEYS[name].path), *(["0"] if KEYS[name].is_list else [])]
    problems = {(one.code, one.path) for one in check_kappafile(root / "kappafile.yaml")[1] if one.is_error}
    assert problems == {("KF204", "/" + "/".join(path))}


@pytest.mark.parametrize("key", TOO_LONG)
def test_a_name_that_no_file_can_have_is_refused_where_it_stands(key: str, tmp_path: Path) -> None:
    table, text = TOO_LONG[key]
    service = "" if table == "[service]" else '[service]\nname = "Service"\n'
    document = f"kappafile = 1\n{service}{table}\n{text}\n"
    root = write(tmp_path, {"kappafile.toml": document, "handlers.py": "def f(x): ..."})
    problems = [one for one in check_kappafile(root / "kappafile.toml")[1] if one.code == "KF204"]
    assert [one.span.line for one in problems] == [document.count("\n")]


def test_a_script_that_is_a_path_is_held_to_that_too(tmp_path: Path) -> None:
    text = f'kappafile = 1\n[service]\nname = "Service"\n[env]\nsetup_sh = "{LONG}"\n'
    root = write(tmp_path, {"kappafile.toml": text})
    assert "KF302" in {one.code for one in check_kappafile(root / "kappafile.toml")[1]}
