"""`kappa info`: the manifest of a bundle."""

from __future__ import annotations

import json

from kappa import actions
from kappa.cli.arguments import format_option, target_argument
from kappa.cli.command import kappa_command
from kappa.cli.console import print_result

__all__ = ["command"]


@kappa_command(
    "info",
    uses_store=True,
    examples=["kappa info IrisClassifier:latest", "kappa info IrisClassifier:latest --format json | jq .service.apis"],
)
@target_argument()
@format_option("yaml", "json")
def command(target: str | actions.Target, output_format: str) -> None:
    """Print the manifest of a bundle.

    TARGET is a bundle: a path, or a tag like `IrisClassifier:latest`.
    """
    manifest = actions.find_bundle(target).bundle.manifest
    is_json = output_format == "json"
    print_result(json.dumps(manifest.to_tree(), indent=2) if is_json else manifest.to_yaml().rstrip("\n"))
