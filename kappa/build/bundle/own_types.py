"""Artifact types and adapters that are classes of the service's own code: packing models by them, and their needs."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from kappa.build.code.child import Runner, run_program, send_order
from kappa.build.packages.lock import Lock
from kappa.build.project import Project
from kappa.errors import BuildError, ConfigurationError
from kappa.log import log
from kappa.services.loading import paths_on_path
from kappa.spec.contracts import ArtifactPlugin

__all__ = ["adopt_by_class", "say_needs"]


def adopt_by_class(
    plugin: ArtifactPlugin, path: Path, directory: Path, *, project: Project, lock: Lock, run: Runner = run_program
) -> None:
    """Let the class that ``plugin`` names put a model's file into a folder, which is there and empty.

    Raises `BuildError` if it cannot, and `ConfigurationError` for a pickle where the project forbids them.
    """
    name, root = plugin.name, project.root
    order = {
        "artifact": plugin.model_dump(mode="json", by_alias=True),
        "path": str(path.resolve()),
        "directory": str(directory),
        "root": str(root),
        "paths": project.spec.files.paths,
        "on_path": paths_on_path(root),
    }
    reply = send_order([sys.executable, "-m", "kappa.build.code.adopt_models"], order, run=run)
    outcome = reply.answer or {"problem": f"the process ended with {reply.exit_code}"}
    if "problem" in outcome:
        raise BuildError(f"The model of the artifact `{name}` cannot be kept as `{plugin.type}`: {outcome['problem']}")
    if outcome["is_pickle"] and project.spec.security.pickle == "forbid":
        raise ConfigurationError(
            f"The artifact `{name}` would be packed as a pickle, which `pickle` in `[security]` forbids."
        )
    say_needs(plugin.type, outcome["requires"], lock)


def say_needs(reference: str, requirements: Iterable[str], lock: Lock) -> None:
    """Warn of what a class of the service's own code needs, and the lock has not."""
    for text in requirements:
        if canonicalize_name(Requirement(text).name) not in lock.versions:
            log(f"`{reference}` needs `{text}`, which the bundle has not: name it in `pip_packages`.", kind="warning")
