"""Artifact types and adapters that the service's own code brings work in every place where Kappa's own do."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

import kappa
from kappa.actions.building import plan_of
from kappa.actions.serving import served_target
from kappa.actions.targets import BundleTarget, open_target
from kappa.bento import BentoService
from kappa.build.bundle.plan import BuildPlan
from kappa.build.class_project import project_of
from kappa.build.packages.lock import Lock
from kappa.errors import BundleError, ConfigurationError
from kappa.services.bundle import open_bundle
from kappa.services.declaring import declared_spec
from kappa.services.service import load_service
from kappa.services.snapshot import write_snapshot
from kappa.services.source import ServiceSource
from kappa.spec.service import ServiceSpec
from kappa.spec.views import metadata_view
from kappa.types import Payload

SeedLock = Callable[[BuildPlan], Lock]

pytestmark = pytest.mark.usefixtures("fresh_modules")

TYPES = """\
from typing import Literal
from kappa.adapters import JsonInput, JsonOutput
from kappa.spec.contracts import ArtifactPlugin, InputAdapter, OutputAdapter
from kappa.types import Answer

class NumberArtifact(ArtifactPlugin):
    type: Literal["number"] = "number"
    base: int = 10
    filename = "number.txt"

    def save(self, model, directory):
        (directory / self.filename).write_text(str(model))

    def load(self, directory):
        return int((directory / self.filename).read_text(), self.base)

class LinesInput(InputAdapter):
    type: Literal["lines"] = "lines"
    strip: bool = True

    def decode(self, payload):
        text = payload.data.decode()
        return (text.strip() if self.strip else text).split("\\n")

    def request_content(self):
        return {"text/x-lines": {"schema": {"type": "string"}}}

class LoudInput(JsonInput):
    def decode(self, payload):
        return f"{super().decode(payload)}!"

class LinesOutput(OutputAdapter):
    type: Literal["lines"] = "lines"

    def encode(self, value, *, accept=""):
        return Answer("\\n".join(map(str, value)).encode(), "text/x-lines")

    def response_content(self):
        return {"text/x-lines": {"schema": {"type": "string"}}}
"""
SERVICE = """\
import kappa
from kappa.adapters import JsonOutput
from own_types import LinesInput, LinesOutput, LoudInput, NumberArtifact

@kappa.artifacts([NumberArtifact("factor", base=16)])
class Multiplier(kappa.BentoService):
    @kappa.api(input=LinesInput(strip=False), output=LinesOutput())
    def multiply(self, lines):
        return [int(line or 0) * self.artifacts.factor for line in lines]

    @kappa.api(input=LoudInput(), output=JsonOutput())
    def shout(self, value):
        return value
"""
SCRIPT = f"""\
{TYPES}
{SERVICE.replace("from own_types import LinesInput, LinesOutput, LoudInput, NumberArtifact", "")}
if __name__ == "__main__":
    print(Multiplier().pack("factor", 20).save())
"""
ASKED, ANSWERED = Payload(b"1\n2\n"), b"32\n64\n0"


@pytest.fixture
def multiplier(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> BentoService:
    monkeypatch.setattr(sys, "meta_path", [*sys.meta_path])
    root = tmp_path / "project"
    root.mkdir()
    (root / "own_types.py").write_text(TYPES, encoding="utf-8")
    (root / "multiplier.py").write_text(SERVICE, encoding="utf-8")
    sys.path.insert(0, str(root))
    importlib.invalidate_caches()
    service: BentoService = importlib.import_module("multiplier").Multiplier()
    return service.pack("factor", 20)


@pytest.fixture
def saved(multiplier: BentoService, seed_lock: SeedLock) -> Path:
    seed_lock(plan_of(project_of(multiplier)))
    return Path(multiplier.save())


def test_manifest_says_where_the_classes_are_and_is_read_without_them(saved: Path) -> None:
    for module in ("multiplier", "own_types"):
        sys.modules.pop(module)
    manifest = open_bundle(saved).manifest
    tree = manifest.to_tree()["service"]
    assert tree["artifacts"] == [{"type": "own_types:NumberArtifact", "name": "factor", "base": 16}]
    assert [api["input"]["type"] for api in tree["apis"]] == ["own_types:LinesInput", "own_types:LoudInput"]
    assert tree["apis"][0]["output"]["type"] == "own_types:LinesOutput"
    assert "own_types" not in sys.modules
    view = metadata_view(manifest)
    assert view["artifacts"][0]["artifactType"] == "NumberArtifact"
    assert [(api["InputType"], api["outputType"]) for api in view["apis"]] == [
        ("LinesInput", "LinesOutput"),
        ("LoudInput", "JsonOutput"),
    ]
    assert view["apis"][0]["inputConfig"]["strip"] is False
    assert (saved / "Multiplier" / "own_types.py").is_file()


@pytest.mark.parametrize("is_taken", [True, False], ids=["beside the project's own", "alone"])
def test_bundle_is_loaded_with_its_own_classes(saved: Path, is_taken: bool) -> None:
    if not is_taken:
        for module in ("multiplier", "own_types"):
            sys.modules.pop(module)
        sys.path.pop(0)
    service = load_service(ServiceSource.of_bundle(open_bundle(saved), on_path=False))
    assert service.apis["multiply"].answer_payload(ASKED).body == ANSWERED
    assert service.apis["shout"].answer_payload(Payload(b'"a"')).body == b'"a!"'
    assert type(service.spec.artifacts[0]).__name__ == "NumberArtifact"
    assert kappa.load(saved).artifacts.factor == 32


def test_it_answers_before_it_is_saved(multiplier: BentoService) -> None:
    assert (
        load_service(ServiceSource.of_instance(multiplier)).apis["multiply"].answer_payload(Payload(b"1")).body == b"20"
    )


def test_it_is_run_and_served(saved: Path) -> None:
    with open_target(BundleTarget(saved)) as service:
        assert service.apis["multiply"].answer_payload(ASKED).body == ANSWERED
    assert served_target(BundleTarget(saved)).load().apis["multiply"].answer_payload(ASKED).body == ANSWERED


def test_declaration_is_read_back_as_it_was_written(multiplier: BentoService) -> None:
    spec = declared_spec(type(multiplier))
    again = ServiceSpec.model_validate(json.loads(json.dumps(spec.model_dump(mode="json", by_alias=True))))
    assert again.model_dump(mode="json", by_alias=True) == spec.model_dump(mode="json", by_alias=True)


def test_a_class_reads_what_it_wrote(multiplier: BentoService) -> None:
    (artifact,) = declared_spec(type(multiplier)).artifacts
    assert type(artifact).model_validate(artifact.model_dump()) == artifact
    assert type(artifact).model_validate_json(artifact.model_dump_json()) == artifact


def test_types_of_a_script_are_those_of_its_file(multiplier: BentoService, seed_lock: SeedLock, tmp_path: Path) -> None:
    seed_lock(plan_of(project_of(multiplier)))
    root = tmp_path / "script"
    root.mkdir()
    (root / "train.py").write_text(SCRIPT, encoding="utf-8")
    done = subprocess.run([sys.executable, "train.py"], cwd=root, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    saved = Path(done.stdout.strip())
    assert open_bundle(saved).manifest.to_tree()["service"]["artifacts"][0]["type"] == "train:NumberArtifact"
    assert (
        load_service(ServiceSource.of_bundle(open_bundle(saved))).apis["multiply"].answer_payload(ASKED).body
        == ANSWERED
    )


def test_development_server_gets_them_too(multiplier: BentoService, tmp_path: Path) -> None:
    project = project_of(multiplier)
    folder = tmp_path / "handed over"
    folder.mkdir()
    write_snapshot(project.spec, project.sources, root=project.root, folder=folder)
    source = ServiceSource.of_snapshot(folder)
    assert source.spec.artifacts[0].class_name == "NumberArtifact"
    assert load_service(source).apis["multiply"].answer_payload(ASKED).body == ANSWERED


def test_class_inside_of_a_function_is_refused(multiplier: BentoService) -> None:
    from own_types import NumberArtifact  # type: ignore[import-not-found]

    class Hidden(NumberArtifact):  # type: ignore[misc]
        pass

    project = project_of(multiplier)
    spec = project.spec.model_copy(update={"artifacts": (Hidden("factor"),)})
    with pytest.raises(ConfigurationError, match="is defined inside of a function, from where no server could import"):
        plan_of(replace(project, spec=spec))


def test_what_is_no_such_class_is_refused_by_name(multiplier: BentoService) -> None:
    spec = declared_spec(type(multiplier))
    tree = spec.model_dump(mode="json", by_alias=True)
    tree["artifacts"][0]["type"] = "own_types:LinesInput"
    source = ServiceSource.of_project(ServiceSpec.model_validate(tree), {}, root=project_of(multiplier).root)
    with pytest.raises(BundleError, match="`own_types:LinesInput` is not a class of the family `ArtifactPlugin`"):
        load_service(source)


def test_only_its_own_code_can_pack_a_model(multiplier: BentoService, tmp_path: Path) -> None:
    tree = declared_spec(type(multiplier)).model_dump(mode="json", by_alias=True)
    (artifact,) = ServiceSpec.model_validate(tree).artifacts
    with pytest.raises(ConfigurationError, match="`own_types:NumberArtifact`, which only its own code can pack"):
        artifact.adopt(tmp_path / "model", tmp_path)


@pytest.mark.engine
def test_development_server_serves_them(multiplier: BentoService) -> None:
    from urllib.request import Request, urlopen

    url = multiplier.start_dev_server(port=0 if os.name == "nt" else None)
    try:
        with urlopen(Request(f"{url}/multiply", b"1\n2", method="POST")) as answer:
            assert answer.read() == b"32\n64"
    finally:
        multiplier.stop_dev_server()
