"""Files that run or check a service elsewhere: a Compose file and a workflow, rendered for a project or a bundle."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from kappa.rendering.templates import Context

__all__ = ["ComposeContext", "WorkflowContext"]


@dataclass(frozen=True, slots=True)
class ComposeContext(Context):
    template: ClassVar[str] = "generate/compose.yaml.j2"

    name: str
    service: str
    """The name in small letters."""
    kappa_version: str
    image: str
    secrets: tuple[str, ...]
    has_gpu: bool


@dataclass(frozen=True, slots=True)
class WorkflowContext(Context):
    template: ClassVar[str] = "generate/github-action.yml.j2"

    name: str
    service: str
    kappa_version: str
    python_version: str
    kappafile: str
    """Its path in the repository."""
    lock: str
    """The path of the committed lock there; empty if there is none."""
    imports_code: bool
    """Whether a build imports the service's code, which then needs its packages."""
