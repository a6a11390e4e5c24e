"""The generated files of a bundle: one template each, and one context that says everything the template may use.

Whatever a user wrote reaches a template's text only through a quoting filter of the language it stands in: `shquote`,
`pystr`, `dockerquote`, `mdcell`. Names, versions and requirements are checked values that need none.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cache
from typing import Any, ClassVar

from kappa._resources import resource
from kappa.errors import ConfigurationError, said
from kappa.wording import one_of

__all__ = [
    "ApiRow",
    "Context",
    "DockerfileContext",
    "DockerignoreContext",
    "EntrypointContext",
    "ExampleRequest",
    "InitScriptContext",
    "ManifestInContext",
    "PackageContext",
    "ReadmeContext",
    "SetupContext",
    "dockerquote",
    "mdcell",
    "render",
    "render_dockerfile",
    "template_problem",
]


@dataclass(frozen=True, slots=True)
class Context:
    """What one template may use; ``template`` is its path below `templates/`."""

    template: ClassVar[str]


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


def render(context: Context) -> str:
    """Render the template of ``context``; a name that the context lacks is an error, never an empty text."""
    values = {field.name: getattr(context, field.name) for field in fields(context)}
    text: str = _environment().get_template(context.template).render(values)
    return text


def render_dockerfile(context: DockerfileContext, *, own: str = "") -> str:
    """Render the Dockerfile, through a user's ``own`` template that extends `Dockerfile.j2` if there is one.

    Raises `ConfigurationError` for a template that cannot be rendered.
    """
    if not own:
        return render(context)
    import jinja2

    values = {field.name: getattr(context, field.name) for field in fields(context)}
    try:
        return str(_environment().from_string(own).render(values))
    except jinja2.TemplateError as exc:
        raise ConfigurationError(f"The template of the Dockerfile cannot be rendered: {_said(exc)}.") from exc
    except Exception as exc:  # what the user's expressions raise
        raise ConfigurationError(f"The template of the Dockerfile cannot be rendered: {said(exc)}.") from exc


def template_problem(own: str) -> str | None:
    """Return why a text cannot be a user's template of the Dockerfile, as far as its syntax tells.

    A block that `Dockerfile.j2` does not have would be rendered nowhere.
    """
    import jinja2
    from jinja2 import nodes

    try:
        tree = _environment().parse(own)
    except jinja2.TemplateSyntaxError as exc:
        return _said(exc)
    parent = next((node.template for node in tree.body if isinstance(node, nodes.Extends)), None)
    if not isinstance(parent, nodes.Const) or parent.value != "Dockerfile.j2":
        return None
    blocks = set(_environment().get_template(DockerfileContext.template).blocks)
    for block in tree.body:
        if isinstance(block, nodes.Block) and block.name not in blocks:
            known = one_of(f"`{name}`" for name in sorted(blocks))
            return f"line {block.lineno}: there is no block `{block.name}` in `Dockerfile.j2`, which has {known}"
    return None


def _said(exc: Any) -> str:
    line = getattr(exc, "lineno", None)
    return f"{f'line {line}: ' if line else ''}{str(exc.message).rstrip('.')}"


def dockerquote(text: str) -> str:
    """Quote one line of text as a value of `ENV` or `LABEL`: nothing in it is expanded or ends it."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("$", "\\$")
    return f'"{escaped}"'


def mdcell(text: str) -> str:
    """Make text fit into one cell of a Markdown table."""
    return " ".join(text.split()).replace("\\", "\\\\").replace("|", "\\|")


@cache
def _environment() -> Any:
    import jinja2
    from jinja2.sandbox import SandboxedEnvironment

    def load(name: str) -> str | None:
        path = f"bundle/{name}" if name == "Dockerfile.j2" else name
        try:
            return resource("templates", *path.split("/")).read_text(encoding="utf-8")
        except FileNotFoundError:
            return None

    environment = SandboxedEnvironment(
        loader=jinja2.FunctionLoader(load),
        undefined=jinja2.StrictUndefined,
        autoescape=jinja2.select_autoescape(("html.j2",)),
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters.update(shquote=shlex.quote, pystr=repr, dockerquote=dockerquote, mdcell=mdcell)
    return environment
