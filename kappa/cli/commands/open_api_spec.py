"""`kappa open-api-spec`: the OpenAPI document of a service."""

from __future__ import annotations

import json

from kappa import actions
from kappa.cli.arguments import target_argument
from kappa.cli.command import kappa_command
from kappa.cli.console import print_result

__all__ = ["command"]


@kappa_command(
    "open-api-spec",
    examples=["kappa open-api-spec IrisClassifier:latest > openapi.json", "kappa open-api-spec ."],
)
@target_argument(takes_projects=True)
def command(target: str | actions.Target) -> None:
    """Print the OpenAPI document of a service.

    TARGET is a bundle (a path or a tag like `IrisClassifier:latest`), a kappafile or its directory.
    """
    print_result(json.dumps(actions.resolve_target(target).openapi(), indent=2))
