"""`kappa label`: set and remove the labels of a bundle."""

from __future__ import annotations

import json
from collections.abc import Sequence

import click

from kappa import actions
from kappa.cli.arguments import bundle_argument, format_option
from kappa.cli.command import kappa_command
from kappa.cli.console import print_result
from kappa.cli.tables import yaml_text

__all__ = ["command"]


@kappa_command(
    "label",
    uses_store=True,
    examples=[
        "kappa label IrisClassifier:1.0 stage=live team=growth",
        "kappa label IrisClassifier:1.0 stage:live,team:growth",
        "kappa label IrisClassifier:latest stage-",
        "kappa label IrisClassifier:production",
    ],
)
@bundle_argument("target")
@click.argument("changes", metavar="[KEY=VALUE | KEY-]...", nargs=-1)
@format_option("table", "json", "yaml")
def command(target: str, changes: Sequence[str], *, output_format: str) -> None:
    """Set and remove labels of a bundle.

    TARGET is a tag, an alias, or a name, which means its newest version. `KEY=VALUE` or `KEY:VALUE` sets a label,
    `KEY-` removes one; without either, nothing changes. The labels that it has then are printed. The bundle itself
    stays as it was built.
    """
    labels = dict(actions.label_bundle(target, actions.parse_label_changes(changes)).record.labels)
    if output_format == "json":
        print_result(json.dumps(labels, indent=2))
    elif output_format == "yaml":
        print_result(yaml_text(labels))
    else:
        for key, value in sorted(labels.items()):
            print_result(f"{key}={value}")
