"""A bundle runs on the packages of the extra `runtime` alone; what only building needs may be absent."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterable
from importlib.metadata import Distribution, distribution, distributions
from inspect import getmodulename
from pathlib import Path

import pytest
import tomli
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from kappa._files import sha256_of_file, walk_files
from kappa.spec.document import Kappafile
from kappa.spec.manifest import BundleManifest, ResolvedArtifact, ResolvedEnv

ROOT = Path(__file__).parents[1]

KAPPAFILE = """
kappafile = 1

[service]
name = "Doubler"

[artifacts.factor]
type = "json"
path = "factor.json"

[apis.double]
function = "doubling:double"
input = "json"
batch = true
"""

HANDLERS = """
def double(values, factor):
    return [value * factor for value in values]
"""

ONLY_RUNTIME = """
import sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ABSENT:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Absent())
"""

SERVE_AND_ASK = """
import asyncio, json, sys
from pathlib import Path
from falcon.testing import ASGIConductor
from kappa.server.http.app import create_app
from kappa.server.parent import AwaitedStart
from kappa.server.served import Served
from kappa.services.bundle import open_bundle
from kappa.services.source import ServiceSource

async def main():
    parent = AwaitedStart()
    app = create_app([Served.of(ServiceSource.of_bundle(open_bundle(Path(sys.argv[1]))))], parent=parent)
    async with ASGIConductor(app) as client:
        await asyncio.wait_for(parent.outcome, 60)
        answer = await client.simulate_post("/double", json=21)
        return {"status": answer.status_code, "body": answer.json}

print(json.dumps(asyncio.run(main())))
"""

RUN = """
import sys
from kappa.cli.bundle import command
command(sys.argv.pop(1))()
"""


EVERY_COMMAND = """
import json, os, sys
from click.testing import CliRunner
from kappa.cli.main import SECTIONS, cli

project, bundle = sys.argv[1:]
os.chdir(project)
ARGUMENTS = {
    "completion": ["bash"],
    "containerize": [bundle],
    "delete": ["--all", "--yes"],
    "generate": ["github-action"],
    "get": ["Doubler:latest"],
    "info": [bundle],
    "open-api-spec": ["."],
    "run": [".", "double", "--input", "21"],
    "serve-gunicorn": ["."],
    "tune": ["."],
    "verify": ["--all"],
}
results = {}
for name in (name for commands in SECTIONS.values() for name in commands):
    if name != "reload":  # it would reload whatever server runs here
        result = CliRunner().invoke(cli, [name, *ARGUMENTS.get(name, [])], prog_name="kappa")
        results[name] = [result.exit_code, result.stderr]
print(json.dumps(results))
"""


def closure(requirements: Iterable[str]) -> set[str]:
    """Return the distributions that ``requirements`` bring here, by their canonical names."""
    found: set[str] = set()
    waiting = [Requirement(line) for line in requirements]
    while waiting:
        requirement = waiting.pop()
        name = canonicalize_name(requirement.name)
        is_asked = requirement.marker is None or requirement.marker.evaluate({"extra": ""})
        if is_asked and name not in found:
            found.add(name)
            waiting += map(Requirement, distribution(name).requires or [])
    return found


def absent_modules() -> list[str]:
    """Return the modules of all packages that are installed here and are no part of `runtime`."""
    project = tomli.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    runtime = closure(project["optional-dependencies"]["runtime"]) | {"kappa-ml"}
    brought: dict[bool, set[str]] = {True: set(), False: set()}
    for each in distributions():
        brought[canonicalize_name(each.name) in runtime] |= top_level_modules(each)
    return sorted(brought[False] - brought[True])


def top_level_modules(installed: Distribution) -> set[str]:
    names = {
        path.parts[0] if len(path.parts) > 1 else getmodulename(path.name) or ""
        for path in installed.files or []
        if path.suffix in {".py", ".so", ".pyd"}
    }
    return {name for name in names if name.isidentifier()}


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a bundle by hand whose model is JSON and whose code needs no package."""
    directory = tmp_path_factory.mktemp("bundle")
    package = directory / "Doubler"
    (package / "artifacts" / "factor").mkdir(parents=True)
    (package / "artifacts" / "factor" / "content.json").write_text("2", encoding="utf-8")
    (package / "__init__.py").touch()
    (package / "doubling.py").write_text(HANDLERS, encoding="utf-8")
    manifest = BundleManifest(
        kappa_version="0.1.0",
        version="1",
        created_at="2026-01-01T00:00:00Z",
        service=Kappafile.model_validate(tomli.loads(KAPPAFILE)).to_spec(),
        env=ResolvedEnv(python_version="3.11", docker_base_image="python:3.11-slim", requirements=(), resolver="none"),
        artifacts=(ResolvedArtifact(name="factor", size_bytes=1),),
        content_digest="sha256:" + "0" * 64,
        files={path.as_posix(): sha256_of_file(directory / path) for path in walk_files(directory)},
    ).sealed()
    for folder in (directory, package):
        (folder / "kappa.yml").write_text(manifest.to_yaml(), encoding="utf-8")
    return directory


def run_with_only_runtime(code: str, *arguments: str | Path) -> str:
    """Run ``code`` in a process that finds no package outside of `runtime`, and return what it printed."""
    prelude = ONLY_RUNTIME.replace("ABSENT", repr(absent_modules()))
    command = [sys.executable, "-c", prelude + code, *map(str, arguments)]
    finished = subprocess.run(command, capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stderr
    return finished.stdout


def test_what_is_absent_cannot_be_imported() -> None:
    assert {"jinja2", "numpy", "pandas", "rich", "tomli"} <= set(absent_modules())
    code = "try:\n    import pandas\nexcept ModuleNotFoundError:\n    print('absent')"
    assert run_with_only_runtime(code) == "absent\n"


def test_a_bundle_is_served_and_answers_with_the_runtime_packages_alone(bundle: Path) -> None:
    assert json.loads(run_with_only_runtime(SERVE_AND_ASK, bundle)) == {"status": 200, "body": 42}


def test_a_bundle_runs_from_its_own_command_with_the_runtime_packages_alone(bundle: Path) -> None:
    assert run_with_only_runtime(RUN, bundle / "Doubler", "run", "double", "--input", "21") == "42\n"


def test_a_bundle_describes_itself_with_the_runtime_packages_alone(bundle: Path) -> None:
    document = json.loads(run_with_only_runtime(RUN, bundle / "Doubler", "open-api-spec"))
    assert "/double" in document["paths"]


def test_every_command_that_needs_more_than_the_runtime_packages_says_so(tmp_path: Path, bundle: Path) -> None:
    (tmp_path / "kappafile.toml").write_text(KAPPAFILE, encoding="utf-8")
    (tmp_path / "doubling.py").write_text(HANDLERS, encoding="utf-8")
    (tmp_path / "factor.json").write_text("2", encoding="utf-8")
    without_engine = "import os\nos.environ['PATH'] = ''\n"
    results = json.loads(run_with_only_runtime(without_engine + EVERY_COMMAND, tmp_path, bundle))
    assert not [said for code, said in results.values() if code == 70]
    incomplete = {name for name, (code, _) in results.items() if code == 10}
    assert incomplete >= {"build", "generate", "lock", "open-api-spec", "run", "serve", "test", "validate"}
    for name in incomplete:
        assert "needs `kappa-ml`, which is not installed here. Run `pip install path/to/kappa`.\n" in results[name][1]
