"""Every key whose text is a path is known as one, and is relative to the file of the class that says it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
from pydantic import BaseModel

from kappa.build.class_project import read_class_project
from kappa.build.code.classes import read_class
from kappa.build.code.declarations import Declaration
from kappa.build.code.modules import CodeBase, search_path
from kappa.build.combining import combine
from kappa.build.project import check_kappafile
from kappa.plugins import ARTIFACTS, INPUT_ADAPTERS, OUTPUT_ADAPTERS
from kappa.spec.contracts import field_docs
from kappa.spec.document import Kappafile
from kappa.spec.service import ServiceSpec
from tests.build.projects import write

MARKED = re.compile(r"\bNamesPath\b")
ABOUT_PATHS = re.compile(r"\b(path|file|folder|pattern|script|template)s?\b", re.IGNORECASE)
NOT_PATHS = {
    ("ApiSpec", "route"): "a part of a URL",
    ("ApiTable", "route"): "a part of a URL",
    ("Kappafile", "requires_kappa"): "versions",
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
    return MARKED.search(repr(part.model_fields[name])) is not None


def test_what_speaks_of_files_is_a_path_or_known_not_to_be_one() -> None:
    about = {
        (part.__name__, name)
        for part, name in FIELDS
        if re.search(r"\bstr\b", repr(part.model_fields[name].annotation))
        and ABOUT_PATHS.search(field_docs(part).get(part.model_fields[name].alias or name, ""))
        and not is_marked(part, name)
    }
    assert about == NOT_PATHS.keys()


SAID = {
    ("EnvSpec", "requirements_txt_file"): ('@kappa.env(requirements_txt_file="{}")', "env.requirements_txt_file"),
    ("EnvSpec", "pyproject"): ('@kappa.env(pyproject="{}")', "env.pyproject"),
    ("EnvSpec", "conda_env_yml_file"): ('@kappa.env(conda_env_yml_file="{}")', "env.conda_env_yml_file"),
    ("EnvSpec", "setup_sh"): ('@kappa.env(setup_sh="{}")', "env.setup_sh"),
    ("EnvSpec", "dockerfile_template"): ('@kappa.env(dockerfile_template="{}")', "env.dockerfile_template"),
    ("FilesSpec", "include"): ('@kappa.files(include=["{}"])', "files.include.0"),
    ("FilesSpec", "exclude"): ('@kappa.files(exclude=["{}"])', "files.exclude.0"),
    ("FilesSpec", "paths"): ('@kappa.files(paths=["{}"])', "files.paths.0"),
    ("ExampleSpec", "input_file"): ('@kappa.example("one", api="predict", input_file="{}")', "examples.0.input_file"),
    ("ServiceSpec", "web_static_content"): ('@kappa.web_static_content("{}")', "web_static_content"),
    ("DataframeInput", "columns_from"): ("", "apis.0.input.columns_from"),
}
"""How a class says each path, and where it then is in its specification."""
OF_KAPPAFILES = {("ServiceTable", "web_static_content"), ("ArtifactTable", "path")}
"""Are relative to the kappafile, which alone can say them."""


def test_each_path_has_a_case() -> None:
    marked = {(part.__name__, name) for part, name in FIELDS if is_marked(part, name)}
    assert marked == SAID.keys() | OF_KAPPAFILES


@pytest.mark.parametrize("key", SAID, ids=".".join)
@pytest.mark.parametrize(
    ("text", "path"), [("some.txt", "pkg/sub/some.txt"), ("../some.txt", "pkg/some.txt")], ids=["beside", "above"]
)
def test_a_path_is_relative_to_the_file_of_the_class(
    key: tuple[str, str], text: str, path: str, tmp_path: Path
) -> None:
    decorator, place = SAID[key]
    columns = f'columns_from="{text}"' if not decorator else 'columns=["a"]'
    declared = (
        "import kappa\nfrom kappa.adapters import DataframeInput\n\n\n"
        f"{decorator.format(text)}\nclass Service(kappa.BentoService):\n"
        f"    @kappa.api(input=DataframeInput({columns}), batch=True)\n    def predict(self, frame):\n"
        "        return frame\n"
    )
    files = {"pkg/sub/declared.py": declared, "pkg/sub/some.txt": "a\n1\n", "pkg/some.txt": "a\n1\n"}
    write(tmp_path, files)
    code = CodeBase(search_path(tmp_path))
    module = code.resolve("pkg.sub.declared")
    assert module is not None
    declaration = read_class(code, module, "Service")
    assert isinstance(declaration, Declaration)
    value: Any = combine(None, declaration, tmp_path)
    for part in place.split("."):
        value = value[int(part)] if part.isdecimal() else getattr(value, part)
    assert value == path


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
    "include": ("[bundle]", f'include = ["{LONG}"]'),
    "exclude": ("[bundle]", f'exclude = ["x/{LONG}/y"]'),
    "paths": ("[bundle]", f'paths = ["../{LONG}"]'),
    "modules": ("[bundle]", f'modules = ["{LONG}"]'),
    "a module below one": ("[bundle]", f'modules = ["x.{LONG}"]'),
    "a long way": ("[bundle]", f'include = ["{"a/" * 60_000}"]'),
    "requirements_txt_file": ("[env]", f'requirements_txt_file = "{LONG}"'),
    "pyproject": ("[env]", f'pyproject = "{LONG}"'),
    "conda_env_yml_file": ("[env]", f'conda_env_yml_file = "{LONG}"'),
    "dockerfile_template": ("[env]", f'dockerfile_template = "{LONG}"'),
    "web_static_content": ("[service]", f'web_static_content = "{LONG}"'),
    "setup": ("[service]", f'setup = "{LONG}:f"'),
    "class": ("[service]", f'class = "x.{LONG}:C"'),
    "a model": ("[artifacts.m]", f'type = "json"\npath = "{LONG}"'),
    "a function": ("[apis.x]", f'input = "json"\nfunction = "{LONG}:f"'),
    "a sample": ("[apis.x]", f'function = "handlers:f"\ninput = {{ type = "dataframe", columns_from = "{LONG}" }}'),
    "a schema": ("[apis.x]", f'function = "handlers:f"\ninput = {{ type = "json", schema = "{LONG}:X" }}'),
    "an example": ("[[examples]]", f'name = "x"\napi = "x"\ninput_file = "{LONG}"'),
}


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
