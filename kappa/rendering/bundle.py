"""The generated files of a bundle: one template and one context each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from kappa.rendering.templates import Context, extension_problem, render, render_extension

__all__ = [
    "ApiRow",
    "DockerfileContext",
    "DockerignoreContext",
    "EntrypointContext",
    "ExampleRequest",
    "InitScriptContext",
    "ManifestInContext",
    "PackageContext",
    "ReadmeContext",
    "SetupContext",
    "dockerfile_problem",
    "render_dockerfile",
]


@dataclass(frozen=True, slots=True)
class DockerfileContext(Context):
    template: ClassVar[str] = "bundle/Dockerfile.j2"

    name: str
    version: str
    kappa_version: str
    content_digest: str
    base_image: str
    has_system_packages: bool
    has_build_packages: bool
    has_setup_script: bool
    has_conda_environment: bool
    has_artifacts: bool
    path: str
    """Where the image's own programs are, before those of its base."""
    variables: Mapping[str, str]
    labels: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class DockerignoreContext(Context):
    template: ClassVar[str] = "bundle/.dockerignore.j2"


@dataclass(frozen=True, slots=True)
class InitScriptContext(Context):
    template: ClassVar[str] = "bundle/kappa-init.sh.j2"

    system_packages: tuple[str, ...]
    build_packages: tuple[str, ...]
    setup_shell: tuple[str, ...]
    """The command that runs `setup.sh`."""
    brings_python: bool
    """Whether a base image without the right Python gets it, because Kappa chose that image."""


@dataclass(frozen=True, slots=True)
class EntrypointContext(Context):
    template: ClassVar[str] = "bundle/docker-entrypoint.sh.j2"


@dataclass(frozen=True, slots=True)
class ManifestInContext(Context):
    template: ClassVar[str] = "bundle/MANIFEST.in.j2"

    name: str
    has_setup_script: bool
    has_conda_environment: bool
    has_examples: bool


@dataclass(frozen=True, slots=True)
class SetupContext(Context):
    template: ClassVar[str] = "bundle/setup.py.j2"

    name: str
    package_version: str
    """The version as PEP 440 has it."""
    kappa_version: str
    summary: str
    requires_python: str
    requirements: tuple[str, ...]
    pins: tuple[str, ...]
    files: tuple[str, ...]
    """Every file of the bundle, by its path: what else lies there is not installed."""


@dataclass(frozen=True, slots=True)
class PackageContext(Context):
    template: ClassVar[str] = "bundle/__init__.py.j2"

    name: str
    version: str
    kappa_version: str
    wheel_name: str


@dataclass(frozen=True, slots=True)
class ApiRow:
    """One line of the README's table."""

    path: str
    input: str
    output: str
    summary: str


@dataclass(frozen=True, slots=True)
class ExampleRequest:
    """A request for the README to show: ``body`` is JSON on one line."""

    path: str
    body: str


@dataclass(frozen=True, slots=True)
class ReadmeContext(Context):
    template: ClassVar[str] = "bundle/README.md.j2"

    name: str
    version: str
    kappa_version: str
    python_version: str
    image: str
    doc: str
    apis: tuple[ApiRow, ...]
    request: ExampleRequest | None
    secrets: str


def render_dockerfile(context: DockerfileContext, *, template: str = "") -> str:
    """Render the Dockerfile, through the user's ``template`` that extends `Dockerfile.j2` if there is one.

    Raises `ConfigurationError` for a template that cannot be rendered.
    """
    return render_extension(context, template, shown="the Dockerfile") if template else render(context)


def dockerfile_problem(template: str) -> str | None:
    """Return why a text cannot be a user's template of the Dockerfile, as far as its syntax tells."""
    return extension_problem(DockerfileContext, template)
