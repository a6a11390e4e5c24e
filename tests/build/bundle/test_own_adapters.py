"""A kappafile names adapters of the service's own code, as it does artifact types."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest

from kappa.actions.targets import resolve_target
from kappa.build.bundle.builder import build_bundle
from kappa.build.bundle.plan import BuildPlan, plan_build
from kappa.build.class_project import read_class_project
from kappa.build.project import check_kappafile, read_project
from kappa.errors import BundleError, ConfigurationError, KappaError
from kappa.log import Kind, listening
from kappa.services.bundle import open_bundle
from kappa.services.service import LoadedService, load_service
from kappa.services.source import ServiceSource
from kappa.types import Payload
from tests.build.projects import write

pytestmark = pytest.mark.usefixtures("fresh_modules")

TYPES = """\
from typing import Literal
from kappa.adapters import DataframeInput, JsonInput
from kappa.spec.contracts import InputAdapter, OutputAdapter
from kappa.types import Answer

class LinesInput(InputAdapter):
    supports_single = False
    type: Literal["lines"] = "lines"
    strip: bool = True
{more}
    def decode(self, payload):
        text = payload.data.decode()
        return (text.strip() if self.strip else text).split("\\n")

    def rows_of(self, form):
        return len(form)

    def merge(self, forms):
        return [line for form in forms for line in form]

    def request_content(self):
        return {"text/x-lines": {"schema": {"type": "string"}}}

class LinesOutput(OutputAdapter):
    type: Literal["lines"] = "lines"

    def encode(self, value, *, accept=""):
        return Answer("\\n".join(map(str, value)).encode(), "text/x-lines")

    def response_content(self):
        return {"text/x-lines": {"schema": {"type": "string"}}}

class Inherited(LinesInput):
    pass

class Table(DataframeInput):
    pass

class Whole(JsonInput):
    supports_batch = False

class Computed(JsonInput):
    supports_single = not True

class Pair(JsonInput):
    @property
    def part_names(self):
        return ("left", "right")
"""
KAPPAFILE = """\
kappafile = 1
[service]
name = "Service"
[bundle]
resolver = "installed"
[apis.lengths]
function = "handlers:lengths"
input = { type = "own.types:LinesInput", strip = false }
output = "own.types:LinesOutput"
"""
HANDLERS = "def lengths(lines):\n    return [len(line) for line in lines]\n"
CONTENT = {"text/x-lines": {"schema": {"type": "string"}}}


def project(root: Path, *, old: str = "", new: str = "", more: str = "", handlers: str = HANDLERS) -> Path:
    types = TYPES.replace("{more}", more)
    write(root, {"own/types.py": types, "handlers.py": handlers, "kappafile.toml": KAPPAFILE.replace(old, new)})
    return root / "kappafile.toml"


def with_input(root: Path, name: str, *further: str) -> Path:
    return project(root, old='{ type = "own.types:LinesInput", strip = false }', new="\n".join([name, *further]))


def planned(file: Path) -> BuildPlan:
    return plan_build(read_project(file), version=None, labels={}, environ=os.environ)


def loaded(file: Path) -> LoadedService:
    read = read_project(file)
    return load_service(ServiceSource.of_project(read.spec, read.sources, root=read.root), environ={})


def built(plan: BuildPlan, bundle: Path) -> list[str]:
    """Build a project; return the warnings."""
    warnings: list[str] = []

    def listen(message: str, kind: Kind) -> None:
        if kind == "warning":
            warnings.append(message)

    with listening(listen):
        build_bundle(plan, bundle, environ=os.environ)
    return warnings


def test_a_bundle_is_built_with_them_and_answers(tmp_path: Path) -> None:
    file = project(tmp_path / "project")
    assert list(check_kappafile(file)[1]) == []
    assert built(planned(file), tmp_path / "bundle") == []
    assert "own" not in sys.modules
    (api,) = open_bundle(tmp_path / "bundle").manifest.to_tree()["service"]["apis"]
    assert (api["input"]["type"], api["input"]["strip"], api["batch"]) == ("own.types:LinesInput", False, True)
    assert api["output"] == {"type": "own.types:LinesOutput"}
    assert (tmp_path / "bundle" / "Service" / "own" / "types.py").is_file()
    docs = json.loads((tmp_path / "bundle" / "docs.json").read_text())["paths"]["/lengths"]["post"]
    assert (docs["requestBody"]["content"], docs["responses"]["200"]["content"]) == (CONTENT, CONTENT)
    assert resolve_target(str(tmp_path / "bundle")).openapi()["paths"]["/lengths"]["post"] == docs
    answer = (
        load_service(ServiceSource.of_bundle(open_bundle(tmp_path / "bundle"), on_path=False))
        .apis["lengths"]
        .answer_payload(Payload(b"one\nthree\n"))
    )
    assert (answer.body, answer.media_type) == (b"3\n5\n0", "text/x-lines")


def test_the_project_answers_as_it_is(tmp_path: Path) -> None:
    assert loaded(project(tmp_path)).apis["lengths"].answer_payload(Payload(b"four")).body == b"4"


def test_those_of_a_class_are_documented_in_its_bundle_too(tmp_path: Path) -> None:
    declared = (
        "import kappa\nfrom own.types import LinesInput, LinesOutput\n\n\n@kappa.files(resolver='installed')\n"
        "class Service(kappa.BentoService):\n    @kappa.api(input=LinesInput(), output=LinesOutput())\n"
        "    def lengths(self, lines):\n        return [len(line) for line in lines]\n"
    )
    root = write(tmp_path / "project", {"declared_adapters.py": declared})
    project(root, more="    def requires(self):\n        return ('surely-absent>=1', 'click')\n").unlink()
    read = read_class_project("declared_adapters:Service", root)
    assert built(plan_build(read, version=None, labels={}, environ=os.environ), tmp_path / "bundle") == [
        "`own.types:LinesInput` needs `surely-absent>=1`, which the bundle has not: name it in `pip_packages`."
    ]
    docs = json.loads((tmp_path / "bundle" / "docs.json").read_text())["paths"]["/lengths"]["post"]
    assert (docs["requestBody"]["content"], docs["responses"]["200"]["content"]) == (CONTENT, CONTENT)


BATCHES = {"LinesInput": True, "Inherited": True, "Table": True, "Whole": False}


@pytest.mark.parametrize("name", BATCHES)
def test_batch_is_what_the_class_means_where_nothing_is_said(name: str, tmp_path: Path) -> None:
    file = with_input(tmp_path, f'"own.types:{name}"')
    is_batched = BATCHES[name]
    assert read_project(file).spec.apis[0].batch is is_batched
    assert "own" not in sys.modules
    file = with_input(tmp_path, f'"own.types:{name}"', f"batch = {str(not is_batched).lower()}")
    (problem,) = check_kappafile(file)[1]
    assert (problem.code, problem.span.line, problem.replacement) == ("KF308", 9, str(is_batched).lower())
    assert f"`own.types:{name}`" in problem.message


def test_batch_that_only_the_class_can_tell_is_an_error_when_it_is_loaded(tmp_path: Path) -> None:
    file = with_input(tmp_path, '"own.types:Computed"')
    assert list(check_kappafile(file)[1]) == []
    with pytest.raises(ConfigurationError, match=r"The API `lengths`: .* always brings rows: set `batch = true`\."):
        loaded(file)


def test_how_many_arguments_it_makes_is_not_guessed(tmp_path: Path) -> None:
    file = with_input(tmp_path, '"own.types:Pair"')
    (tmp_path / "handlers.py").write_text("def lengths(left, right):\n    return [left, right]\n")
    assert list(check_kappafile(file)[1]) == []
    assert loaded(file).apis["lengths"].spec.input.part_names == ("left", "right")


WRONG = {
    "a module that is not there": ("own.types:LinesOutput", "own.type:LinesOutput", "KF304", 9),
    "a class that is not there": ("own.types:LinesInput", "own.types:LineInput", "KF305", 8),
    "what is no reference": ("own.types:LinesInput", "own.types:", "KF205", 8),
    "a type of nobody's": ("own.types:LinesOutput", "acme.lines", "KF205", 9),
}


@pytest.mark.parametrize("name", WRONG)
def test_one_that_is_not_there_is_an_error_with_its_place(name: str, tmp_path: Path) -> None:
    old, new, code, line = WRONG[name]
    (problem,) = check_kappafile(project(tmp_path, old=old, new=new))[1]
    assert (problem.code, problem.span.line) == (code, line)


FAILS: dict[str, tuple[dict[str, str], str]] = {
    "an option that it does not have": (
        {"old": "strip", "new": "strap"},
        "`own.types:LinesInput` has no option `strap`",
    ),
    "a value that is not right": ({"old": "false", "new": '"so"'}, "`own.types:LinesInput`: `strip` is not right"),
    "a module that cannot be imported": ({"more": "    import json.surely_absent\n"}, "No module named 'json.surely"),
    "another family": ({"old": "LinesInput", "new": "LinesOutput"}, "is not a class of the family `InputAdapter`"),
}


@pytest.mark.parametrize("name", FAILS)
def test_what_only_importing_it_tells_ends_a_build_and_a_start_with_its_words(name: str, tmp_path: Path) -> None:
    changes, words = FAILS[name]
    file = project(tmp_path, **changes)
    with pytest.raises(ConfigurationError) as caught:
        planned(file)
    assert words in str(caught.value)
    with pytest.raises(BundleError) as raised:
        loaded(file)
    assert words in str(raised.value)


def test_an_adapter_that_cannot_say_what_requests_look_like_ends_the_build(tmp_path: Path) -> None:
    file = project(tmp_path)
    types = tmp_path / "own" / "types.py"
    types.write_text(
        types.read_text().replace("def request_content(self):", "def request_content(self):\n        1 / 0")
    )
    with pytest.raises(
        KappaError, match=r"`own\.types:LinesInput` cannot be asked what requests look like: ZeroDivision"
    ):
        planned(file)
