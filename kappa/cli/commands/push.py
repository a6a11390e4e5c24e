"""`kappa push`: from the store of this machine to the team's."""

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
    "push",
    uses_store=True,
    examples=[
        "kappa push IrisClassifier:latest",
        "kappa push IrisClassifier:1.0 WineGrower:2.1",
        "kappa push dist/iris",
    ],
)
@bundles_argument
@format_option("text", "json")
def command(targets: Sequence[str], *, output_format: str) -> None:
    """Send bundles of this machine to the Gamma server.

    Each TARGET is a bundle in the store of this machine, or a path. Only files that the server lacks move; what breaks
    off goes on where it was when the command is given again. A version that is there already stays as it is.
    """
    moved = []
    for target in targets:
        with showing_bytes(f"Pushing {target}") as watch:
            bundle = actions.push_bundle(target, on_progress=watch)
        moved.append(bundle)
        if output_format == "text":
            print_note(f"`{bundle.tag}` {'was there already' if bundle.was_there else 'is there now'}.")
            if not bundle.is_latest:
                print_note(f"`{bundle.tag.service}:latest` stays another version, which was built later.")
            print_result(str(bundle.tag))
    if output_format == "json":
        print_result(json.dumps([bundle.to_tree() for bundle in moved], indent=2))
