"""A small service without third-party models: as a project, and as a bundle made by hand."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import tomli
from click.testing import CliRunner, Result

from kappa._files import sha256_of_file, walk_files, write_atomically
from kappa.actions.building import plan_of
from kappa.build.packages.lock import Lock
from kappa.cli.main import cli
from kappa.spec.document import Kappafile
from kappa.spec.manifest import BundleManifest, ResolvedArtifact, ResolvedEnv

Kappa = Callable[..., Result]

SOURCE = '''\
def scale(values, factor, offset, tasks):
    """Multiply, and add the offset; refuse what is no number."""
    print("user code prints")
    for value, task in zip(values, tasks):
        if not isinstance(value, (int, float)):
            task.discard("not a number")
    return [value * factor + offset for value in values if isinstance(value, (int, float))]


def explode(value):
    raise RuntimeError("it broke")


def offset():
    return {"offset": 1}
'''

KAPPAFILE = """\
kappafile = 1

[service]
name = "Scaler"
doc = "Scales numbers."
setup = "{module}:offset"
labels = {{ team = "growth" }}

[artifacts.factor]
type = "json"
path = "factor.json"
metadata = {{ accuracy = 0.5, rounds = 3 }}

[apis.scale]
function = "{module}:scale"
input = "json"
output = "json"
batch = true

[apis.explode]
function = "{module}:explode"
input = "json"

[[examples]]
name = "a number"
api = "scale"
input = 2
expect = 21

[[examples]]
name = "a file"
api = "scale"
input_file = "samples/three.json"
expect = 31.0
tolerance = 0.5
"""


@pytest.fixture
def kappa() -> Kappa:
    """Call the command line in this process, as `kappa ARGUMENTS…`."""

    def call(*arguments: object) -> Result:
        return CliRunner().invoke(cli, [str(argument) for argument in arguments], prog_name="kappa")

    return call


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Make a project in a folder of its own and go there; its module has a name that no other test uses."""
    root = tmp_path / "project"
    module = f"scaler_{tmp_path.name.replace('-', '_')}_{os.getpid()}"
    (root / "samples").mkdir(parents=True)
    (root / "kappafile.toml").write_text(KAPPAFILE.format(module=module), encoding="utf-8")
    (root / f"{module}.py").write_text(SOURCE, encoding="utf-8")
    (root / "factor.json").write_text("10", encoding="utf-8")
    (root / "samples" / "three.json").write_text("3", encoding="utf-8")
    monkeypatch.chdir(root)
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield root
    sys.modules.pop(module, None)


@pytest.fixture
def make_bundle(project: Path) -> Callable[..., Path]:
    """Return a function that turns the project into a bundle, without resolving packages."""

    def make(directory: Path, *, version: str = "1.0", created: str = "2026-01-02T03:04:05Z") -> Path:
        package = directory / "Scaler"
        (package / "artifacts" / "factor").mkdir(parents=True)
        (package / "artifacts" / "factor" / "content.json").write_text("10", encoding="utf-8")
        (package / "__init__.py").touch()
        for source in project.glob("*.py"):
            shutil.copy(source, package)
        shutil.copytree(project / "samples", directory / "examples" / "samples")
        manifest = BundleManifest(
            kappa_version="0.1.0",
            version=version,
            created_at=created,
            service=Kappafile.model_validate(tomli.loads((project / "kappafile.toml").read_text())).to_spec(),
            env=ResolvedEnv(
                python_version="3.11",
                docker_base_image="python:3.11-slim",
                requirements=("falcon>=4.2", "pydantic>=2.9"),
                resolver="none",
            ),
            artifacts=(ResolvedArtifact(name="factor", metadata={"accuracy": 0.5, "rounds": 3}, size_bytes=2),),
            labels={"team": "growth"},
            content_digest="sha256:" + "0" * 64,
            files={path.as_posix(): sha256_of_file(directory / path) for path in walk_files(directory)},
        )
        text = manifest.sealed().to_yaml()
        for folder in (directory, package):
            (folder / "kappa.yml").write_text(text, encoding="utf-8")
        return directory

    return make


@pytest.fixture
def bundle(make_bundle: Callable[..., Path], kappa_home: Path) -> Path:
    """Put the bundle `Scaler:1.0` into the store and return its directory."""
    return make_bundle(kappa_home / "repository" / "Scaler" / "1.0")


@pytest.fixture
def lockable(project: Path, kappa_home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the project, with a lock at hand so that nothing is resolved, and with one time for all builds."""
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1767323045")
    asked = plan_of(project).lock_inputs
    lock = Lock(asked.digest, asked.python, asked.platform, "pip-compile 7.6", "falcon==4.4.0 --hash=sha256:00\n")
    write_atomically(kappa_home / "locks" / asked.digest.replace(":", "-"), lock.text.encode())
    return project
