"""A model that is a folder: checked, packed file by file, verified, and loaded from a project and from a bundle."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from kappa.build.bundle.builder import build_bundle
from kappa.build.bundle.plan import plan_build
from kappa.build.code.model_names import needs_of_file
from kappa.build.project import check_kappafile, read_project
from kappa.errors import BundleError
from kappa.services.bundle import open_bundle
from kappa.services.service import load_service
from kappa.services.source import ServiceSource
from kappa.spec.contracts import ArtifactPlugin, ModelNeeds, model_files
from kappa.types import Payload
from tests.build.projects import write

pytestmark = pytest.mark.usefixtures("fresh_modules")

FILES = {
    "own_words.py": """\
from typing import Literal
from kappa.spec.contracts import ArtifactPlugin, ModelNeeds

class WordsArtifact(ArtifactPlugin):
    type: Literal["words"] = "words"
    filename = "words"
    takes = "folder"

    def load(self, directory):
        root = directory / "words"
        return {str(path.relative_to(root)): path.read_text() for path in root.rglob("*.txt")}
""",
    "handlers.py": "def predict(value, words):\n    return words[value]\n",
    "model/de.txt": "Schwertlilie",
    "model/build/en.txt": "iris",
    "model/__pycache__/de.txt": "left over",
    "kappafile.toml": """\
kappafile = 1
[service]
name = "Service"
[bundle]
resolver = "installed"
[artifacts.words]
type = "own_words:WordsArtifact"
path = "model"
[apis.predict]
function = "handlers:predict"
input = "json"
""",
}
PACKED = {"Service/artifacts/words/words/de.txt", "Service/artifacts/words/words/build/en.txt"}


@pytest.fixture
def project(tmp_path: Path) -> Path:
    return write(tmp_path / "project", FILES)


def test_a_project_answers_with_it(project: Path) -> None:
    assert list(check_kappafile(project / "kappafile.toml")[1]) == []
    read = read_project(project)
    service = load_service(ServiceSource.of_project(read.spec, read.sources, root=read.root), environ={})
    assert service.apis["predict"].answer_payload(Payload(b'"build/en.txt"')).body == b'"iris"'


def test_a_bundle_holds_its_files_and_notices_when_one_changes(project: Path, tmp_path: Path) -> None:
    plan = plan_build(read_project(project), version=None, labels={}, environ=os.environ)
    build_bundle(plan, tmp_path / "bundle", environ=os.environ)
    bundle = open_bundle(tmp_path / "bundle")
    assert {path for path in bundle.manifest.files if "/artifacts/" in path} == PACKED
    assert bundle.manifest.artifacts[0].size_bytes == len("Schwertlilie") + len("iris")
    bundle.verify()
    loaded = load_service(ServiceSource.of_bundle(open_bundle(tmp_path / "bundle"), on_path=False))
    assert loaded.apis["predict"].answer_payload(Payload(b'"de.txt"')).body == b'"Schwertlilie"'
    (tmp_path / "bundle" / "Service/artifacts/words/words/build/en.txt").write_text("rose")
    with pytest.raises(BundleError, match=r"words/build/en\.txt"):
        bundle.verify()


def test_a_link_in_it_is_refused_before_anything_is_built(project: Path) -> None:
    (project / "model" / "fr.txt").symlink_to(project / "model" / "de.txt")
    (problem,) = check_kappafile(project / "kappafile.toml")[1]
    assert (problem.code, problem.message) == (
        "KF309",
        "`model` is not a model of type `own_words:WordsArtifact`: `fr.txt` in it is a link.",
    )


@pytest.mark.parametrize(("text", "later_ns"), [("other", 0), ("rose", 1_000)], ids=["its size", "its time"])
def test_the_names_in_it_are_read_again_when_a_file_deep_inside_changes(
    project: Path, text: str, later_ns: int
) -> None:
    class Words(ArtifactPlugin):
        type: str = "words"
        takes = "folder"

        def needs_of_file(self, path: Path) -> ModelNeeds:
            return ModelNeeds(((path / "build" / "en.txt").read_text(),))

    plugin, model = Words("words"), project / "model"
    changed = model / "build" / "en.txt"
    assert needs_of_file(plugin, model).modules == ("iris",)
    newest_ns = max(path.stat().st_mtime_ns for path in model_files(model))
    changed.write_text(text)
    os.utime(changed, ns=(newest_ns, newest_ns + later_ns))
    assert needs_of_file(plugin, model).modules == (text,)
