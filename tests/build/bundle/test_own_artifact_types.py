"""A kappafile names an artifact type of the service's own code, whose class packs the model's file."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from kappa.build.bundle.builder import build_bundle
from kappa.build.bundle.plan import BuildPlan, plan_build
from kappa.build.class_project import read_class_project
from kappa.build.project import check_kappafile, read_project
from kappa.errors import BuildError, ConfigurationError
from kappa.log import Kind, listening
from kappa.services.bundle import open_bundle
from kappa.services.service import load_service
from kappa.services.source import ServiceSource
from kappa.types import Payload
from tests.build.projects import write

pytestmark = pytest.mark.usefixtures("fresh_modules")

TYPES = """\
from typing import Literal
class Artifact: pass
from kappa.spec.contracts import ArtifactPlugin

class NumberArtifact(ArtifactPlugin):
    type: Literal["number"] = "number"
    base: int = 10
    filename = "number.txt"
{more}
    def sniff(self, path):
        return None if path.read_text().strip().isalnum() else "it holds no number"

    def adopt(self, path, directory, *, link=False):
        number = int(path.read_text(), self.base)
        (directory / self.filename).write_text(str(number))

    def load(self, directory):
        return int((directory / self.filename).read_text())
"""
KAPPAFILE = """\
kappafile = 1
[service]
name = "Service"
[bundle]
resolver = "installed"
[artifacts.factor]
type = "own.types:NumberArtifact"
path = "factor.txt"
base = 16
[apis.predict]
function = "handlers:predict"
input = "json"
"""
HANDLERS = "def predict(value, factor):\n    return value * factor\n"


def project(root: Path, *, kappafile: str = KAPPAFILE, factor: str = "10\n", more: str = "", before: str = "") -> Path:
    files = {"own/types.py": before + TYPES.format(more=more), "handlers.py": HANDLERS, "factor.txt": factor}
    write(root, {**files, "kappafile.toml": kappafile})
    return root / "kappafile.toml"


def planned(file: Path) -> BuildPlan:
    return plan_build(read_project(file), version=None, labels={}, environ=os.environ)


def built(file: Path, bundle: Path) -> list[str]:
    """Build a project; return the warnings."""
    warnings: list[str] = []

    def listen(message: str, kind: Kind) -> None:
        if kind == "warning":
            warnings.append(message)

    plan = planned(file)
    with listening(listen):
        build_bundle(plan, bundle, environ=os.environ)
    return warnings


def test_its_class_packs_the_model_and_reads_it(tmp_path: Path) -> None:
    file = project(tmp_path / "project")
    assert list(check_kappafile(file)[1]) == []
    assert built(file, tmp_path / "bundle") == []
    (artifact,) = open_bundle(tmp_path / "bundle").manifest.to_tree()["service"]["artifacts"]
    assert artifact == {"type": "own.types:NumberArtifact", "name": "factor", "base": 16}
    assert (tmp_path / "bundle" / "Service" / "artifacts" / "factor" / "number.txt").read_text() == "16"
    assert (tmp_path / "bundle" / "Service" / "own" / "types.py").is_file()
    assert "own" not in sys.modules
    assert (
        load_service(ServiceSource.of_bundle(open_bundle(tmp_path / "bundle"), on_path=False))
        .apis["predict"]
        .answer_payload(Payload(b"2"))
        .body
        == b"32"
    )


def test_the_project_answers_as_it_is(tmp_path: Path) -> None:
    read = read_project(project(tmp_path))
    service = load_service(ServiceSource.of_project(read.spec, read.sources, root=read.root), environ={})
    assert service.apis["predict"].answer_payload(Payload(b"2")).body == b"32"


def test_a_file_for_an_artifact_of_a_class_is_packed_by_its_type(tmp_path: Path) -> None:
    declared = (
        "import kappa\nfrom kappa.adapters import JsonInput\nfrom own.types import NumberArtifact\n\n\n"
        "@kappa.artifacts([NumberArtifact('factor', base=16)])\n@kappa.files(resolver='installed')\n"
        "class Service(kappa.BentoService):\n    @kappa.api(input=JsonInput())\n"
        "    def predict(self, value):\n        return value * self.artifacts.factor\n"
    )
    root = write(tmp_path / "project", {"declared_own.py": declared})
    project(root).unlink()
    read = read_class_project("declared_own:Service", root, models={"factor": root / "factor.txt"})
    plan = plan_build(read, version=None, labels={}, environ=os.environ)
    build_bundle(plan, tmp_path / "bundle", environ=os.environ)
    assert (
        load_service(ServiceSource.of_bundle(open_bundle(tmp_path / "bundle"), on_path=False))
        .apis["predict"]
        .answer_payload(Payload(b"2"))
        .body
        == b"32"
    )


WRONG = {
    "a module that is not there": ("own.type:NumberArtifact", "KF304", "There is no module `own.type`."),
    "a class that is not there": ("own.types:NumberArtifct", "KF305", "`own.types` defines no `NumberArtifct`."),
    "what is no reference": ("own.types:", "KF205", "There is no artifact type `own.types:`."),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_type_that_is_not_there_is_an_error_with_its_place(name: str, tmp_path: Path) -> None:
    kind, code, message = WRONG[name]
    file = project(tmp_path, kappafile=KAPPAFILE.replace("own.types:NumberArtifact", kind))
    (problem,) = check_kappafile(file)[1]
    assert (problem.code, problem.message, problem.span.line) == (code, message, 7)


FAILS = {
    "no such model": ({"factor": "-"}, "it holds no number"),
    "a model that it cannot read": ({"factor": "xyz"}, "ValueError: invalid literal"),
    "an option that it does not have": ({"kappafile": KAPPAFILE.replace("base", "bass")}, "bass"),
    "a module that cannot be imported": ({"before": "import json.surely_absent\n"}, "No module named 'json.surely"),
    "another kind of class": (
        {"kappafile": KAPPAFILE.replace("NumberArtifact", "Literal")},
        "is not a class of the family",
    ),
    "a process that ends": ({"before": "import os\nos._exit(3)\n"}, "the process ended with 3"),
}


@pytest.mark.parametrize("name", FAILS)
def test_what_its_class_cannot_pack_ends_the_build_with_its_words(name: str, tmp_path: Path) -> None:
    changes, words = FAILS[name]
    file = project(tmp_path / "project", **changes)
    with pytest.raises(
        BuildError, match=r"The model of the artifact `factor` cannot be kept as `own\.types:"
    ) as caught:
        built(file, tmp_path / "bundle")
    assert words in str(caught.value)
    assert not (tmp_path / "bundle").exists()


IS_PICKLE = {
    "each of its files": "    is_pickle = True\n",
    "this file": (
        "    def needs_of_file(self, path):\n"
        "        from kappa.spec.contracts import ModelNeeds\n"
        "        return ModelNeeds(is_pickle=True)\n"
    ),
}


@pytest.mark.parametrize("more", IS_PICKLE.values(), ids=IS_PICKLE.keys())
def test_a_pickle_of_its_own_is_forbidden_too(more: str, tmp_path: Path) -> None:
    forbidding = f'{KAPPAFILE}[security]\npickle = "forbid"\n'
    file = project(tmp_path / "project", kappafile=forbidding, more=more)
    with pytest.raises(ConfigurationError, match="`factor` would be packed as a pickle, which `pickle` in"):
        built(file, tmp_path / "bundle")


def test_what_its_class_needs_and_the_lock_has_not_is_a_warning(tmp_path: Path) -> None:
    more = "    def requires(self):\n        return ('surely-absent>=1', 'click')\n"
    assert built(project(tmp_path / "project", more=more), tmp_path / "bundle") == [
        "`own.types:NumberArtifact` needs `surely-absent>=1`, which the bundle has not: name it in `pip_packages`."
    ]
