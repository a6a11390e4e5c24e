"""The arguments of the commands that work on a project."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click

from kappa.choices import ALL_MODELS
from kappa.environment import expanded
from kappa.errors import UsageError
from kappa.plugins import RESOLVERS

__all__ = ["artifact_option", "compile_option", "models_of", "project_arguments", "project_of", "resolver_option"]


def project_arguments(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the argument `TARGET` and the option `--file`, which `project_of` reads."""
    argument = click.argument("target", type=click.Path(path_type=Path), required=False)
    option = click.option(
        "-f",
        "--file",
        type=click.Path(path_type=Path),
        help="The kappafile.  [default: the one of the current directory]",
    )
    return argument(option(command))


def project_of(target: Path | None, file: Path | None) -> Path:
    """Return the kappafile or directory that is meant; raises `UsageError` when two are named."""
    if target is not None and file is not None:
        raise UsageError(f"Both `{target}` and `--file {file}` name a kappafile; give one.")
    return target or file or Path()


def artifact_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add `--artifact`, which `models_of` reads."""
    return click.option(
        "--artifact",
        "artifacts",
        metavar="NAME=PATH",
        multiple=True,
        help="Path of a model, instead of the kappafile's; a class's models need it. Repeatable.",
    )(command)


def models_of(artifacts: Sequence[str]) -> dict[str, Path]:
    """Return the paths of models by the names of artifacts; raises `UsageError`."""
    models: dict[str, Path] = {}
    for text in artifacts:
        name, separator, path = text.partition("=")
        if not (separator and name and path) or name in models:
            raise UsageError(f"`--artifact {text}`: write it as `NAME=PATH`, once for each model.")
        models[name] = expanded(path)
    return models


def compile_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add `--compile`, which `project_to_build` of the actions takes."""
    return click.option(
        "--compile",
        "compiled",
        is_flag=False,
        flag_value=ALL_MODELS,
        multiple=True,
        metavar="[ARTIFACT]",
        help="Compile this model to ONNX, or each that can be; repeatable.",
    )(command)


def resolver_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add `--resolver`."""
    return click.option(
        "--resolver",
        metavar="|".join(sorted(RESOLVERS.builtins)),
        help="The resolver that pins the packages.  [default: as the kappafile says, or pip-compile]",
    )(command)
