"""`kappa pull`: from the team's store to that of this machine."""

from __future__ import annotations

import json
from collections.abc import Sequence

from kappa import actions
from kappa.cli.arguments import bundles_argument, format_option
from kappa.cli.command import kappa_command
from kappa.cli.console import print_note, print_result
from kappa.cli.progress import showing_bytes

__all__ = ["command"]


@kappa_command(
    "pull",
    uses_store=True,
    examples=["kappa pull IrisClassifier:latest", "kappa pull IrisClassifier:production WineGrower:2.1"],
)
@bundles_argument
@format_option("text", "json")
def command(targets: Sequence[str], *, output_format: str) -> None:
    """Bring bundles of the Gamma server into the store of this machine.

    Each TARGET is a tag, an alias, or a name, which means its newest version. Every file is verified as it comes. The
    bundles can then be used without the server, with `--local`.
    """
    moved = []
    for target in targets:
        with showing_bytes(f"Pulling {target}") as watch:
            bundle = actions.pull_bundle(target, on_progress=watch)
        moved.append(bundle)
        if output_format == "text":
            print_note(f"`{bundle.tag}` {'was there already' if bundle.was_there else 'is there now'}.")
            print_result(str(bundle.path))
    if output_format == "json":
        print_result(json.dumps([bundle.to_tree() for bundle in moved], indent=2))
