"""Which engine of this machine is used.

Docker and podman are used through their commands, which take the same arguments and know the user's contexts, logins
and rootless set-up. Where no command is installed, Docker's API is used through its SDK.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping

from kappa.containers.commands import connect_command
from kappa.containers.engine import Engine
from kappa.containers.sdk import connect_sdk
from kappa.errors import ContainerError, MissingDependencyError
from kappa.images import BuilderName

__all__ = ["choose_engine"]


def choose_engine(builder: BuilderName, *, environ: Mapping[str, str]) -> Engine:
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
