"""The generated files of a bundle, compared whole with `tests/golden/bundle`.

``python tests/rendering/test_render.py`` writes the golden files anew; read the difference before committing it.
"""

from __future__ import annotations

import ast
from dataclasses import fields, replace
from pathlib import Path

import jinja2
import pytest

from kappa._resources import resource
from kappa.rendering.bundle import (
    ApiRow,
    DockerfileContext,
    DockerignoreContext,
    EntrypointContext,
    ExampleRequest,
    InitScriptContext,
    ManifestInContext,
    PackageContext,
    ReadmeContext,
    SetupContext,
)
from kappa.rendering.templates import Context, render

GOLDEN = Path(__file__).parents[1] / "golden" / "bundle"
VERSION = "20261122101222_9A0D55"

DOCKERFILE = DockerfileContext(
    name="ChurnScorer",
    version=VERSION,
    kappa_version="0.1.0",
    content_digest="sha256:9a0d55",
    base_image="python:3.11-slim",
    has_system_packages=False,
    has_build_packages=False,
    has_setup_script=False,
    has_conda_environment=False,
    has_artifacts=False,
    path="/opt/kappa/bin",
    variables={},
    labels={},
)
SETUP = SetupContext(
    name="ChurnScorer",
    package_version="20261122101222.10095957",
    kappa_version="0.1.0",
    summary="Scores customers.",
    requires_python=">=3.10",
    requirements=("falcon>=4.2", 'uvloop>=0.20; sys_platform != "win32"'),
    pins=("falcon==4.4.0", 'uvloop==0.23.0 ; sys_platform != "win32"'),
    files=("ChurnScorer/__init__.py", "ChurnScorer/it's.py", "setup.py"),
)
README = ReadmeContext(
    name="ChurnScorer",
    version=VERSION,
    kappa_version="0.1.0",
    python_version="3.11",
    image=f"churnscorer:{VERSION}",
    doc="",
    apis=(ApiRow("predict", "dataframe", "default", ""),),
    request=None,
    secrets="",
)

CASES: dict[str, Context] = {
    "minimal/Dockerfile": DOCKERFILE,
    "full/Dockerfile": replace(
        DOCKERFILE,
        base_image="registry.example.org:5000/team/python@sha256:0123",
        has_system_packages=True,
        has_build_packages=True,
        has_setup_script=True,
        has_conda_environment=True,
        has_artifacts=True,
        path="/opt/kappa/bin:/opt/conda/bin",
        variables={"REDIS_URL": "redis://features:6379/0", "GREETING": 'say "hi" for $5 \\o/'},
        labels={"team": "growth", "stage": "test"},
    ),
    "minimal/.dockerignore": DockerignoreContext(),
    "minimal/kappa-init.sh": InitScriptContext((), (), ("bash",), False),
    "full/kappa-init.sh": InitScriptContext(("libgomp1", "curl=8.5*", "o'reilly"), ("libpq-dev",), ("sh", "-eu"), True),
    "minimal/docker-entrypoint.sh": EntrypointContext(),
    "minimal/MANIFEST.in": ManifestInContext("ChurnScorer", False, False, False),
    "full/MANIFEST.in": ManifestInContext("ChurnScorer", True, True, True),
    "minimal/setup.py": replace(SETUP, pins=(), requirements=()),
    "full/setup.py": replace(SETUP, summary='Scores "customers" \\ it\'s'),
    "minimal/__init__.py": PackageContext("ChurnScorer", VERSION, "0.1.0", "kappa_ml-0.1.0-py3-none-any.whl"),
    "minimal/README.md": README,
    "full/README.md": replace(
        README,
        doc="Scores customers.\n\nHigher is worse.",
        apis=(
            ApiRow("predict", "dataframe", "json", "One score | per row."),
            ApiRow("v1/explain", "json", "default", ""),
        ),
        request=ExampleRequest("predict", '{"name": ["O\'Brien"]}'),
        secrets="`REDIS_PASSWORD`",
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_rendered_file_is_the_golden_one(name: str) -> None:
    assert render(CASES[name]) == (GOLDEN / name).read_text(encoding="utf-8")


def test_every_template_of_bundles_has_a_golden_file() -> None:
    templates = {entry.name.removesuffix(".j2") for entry in resource("templates", "bundle").iterdir()}
    assert {Path(name).name for name in CASES} == templates
    golden = {path.relative_to(GOLDEN).as_posix() for path in GOLDEN.rglob("*") if path.is_file()}
    assert golden == set(CASES)


@pytest.mark.parametrize("name", [name for name in CASES if name.endswith(".py")])
def test_rendered_python_compiles(name: str) -> None:
    ast.parse(render(CASES[name]))


def test_every_field_of_a_context_is_used_by_its_template() -> None:
    for context in CASES.values():
        source = resource("templates", *context.template.split("/")).read_text(encoding="utf-8")
        assert [field.name for field in fields(context) if field.name not in source] == []


def test_name_that_a_context_lacks_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(EntrypointContext, "template", "bundle/MANIFEST.in.j2")
    with pytest.raises(jinja2.UndefinedError, match="'has_setup_script' is undefined"):
        render(EntrypointContext())


if __name__ == "__main__":
    for name, context in CASES.items():
        (GOLDEN / name).parent.mkdir(parents=True, exist_ok=True)
        (GOLDEN / name).write_text(render(context), encoding="utf-8")
