"""Engines: what builds, keeps, pushes and runs images, and which one of this machine is used.

Docker and podman are used through their commands, which take the same arguments and know the user's contexts, logins
and rootless set-up. Where no command is installed, Docker's API is used through its SDK.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Literal, Protocol

from kappa.containers.commands import connect_command
from kappa.containers.images import ImageFacts
from kappa.containers.request import ImageRequest
from kappa.containers.sdk import connect_sdk
from kappa.errors import ContainerError, MissingDependencyError

__all__ = ["BUILDERS", "Builder", "Engine", "Running", "choose_engine"]

Builder = Literal["auto", "docker", "podman", "sdk"]
BUILDERS: tuple[Builder, ...] = ("auto", "docker", "podman", "sdk")
"""What ``--builder`` may name; `auto` is the first of the others that answers."""


class Running(Protocol):
    """A container that runs an image, gone when its block ends."""

    @property
    def url(self) -> str:
        """Where its port 5000 is reached from here."""

    def has_ended(self) -> bool: ...

    def logs(self) -> str: ...


class Engine(Protocol):
    """One way to an engine. Failures are `ContainerError`, and leave nothing running."""

    @property
    def title(self) -> str:
        """What people call it, e.g. ``Docker (BuildKit)``."""

    def build(self, request: ImageRequest) -> ImageFacts:
        """Build one image under all its tags."""

    def push(self, image: str) -> str:
        """Push an image and return its digest in the registry."""

    def pin(self, image: str) -> str:
        """Return ``name:tag@sha256:…`` for what a registry has under ``name:tag`` now."""

    def run(self, image: str, *, variables: Mapping[str, str]) -> AbstractContextManager[Running]:
        """Run an image on a free port of this machine; variables without a value are never on a command line."""


def choose_engine(builder: Builder, *, environ: Mapping[str, str]) -> Engine:
    """Return the engine that ``builder`` names; raises `ContainerError` that says what was tried."""
    if builder == "sdk":
        return connect_sdk(environ)
    problems = []
    for name in ("docker", "podman") if builder == "auto" else (builder,):
        if (command := shutil.which(name, path=environ.get("PATH"))) is None:
            problems.append(f"`{name}` is not installed.")
            continue
        try:
            return connect_command(command, environ)
        except ContainerError as exc:
            problems.append(str(exc))
    if builder == "auto" and shutil.which("docker", path=environ.get("PATH")) is None:
        try:
            return connect_sdk(environ)
        except (ContainerError, MissingDependencyError) as exc:
            problems.append(str(exc))
    raise ContainerError(" ".join(["There is no engine to build images with.", *dict.fromkeys(problems)]))
