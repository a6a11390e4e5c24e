"""`kappa import`: a bundle from one file."""

from __future__ import annotations

import json
from pathlib import Path

from kappa import actions
from kappa.cli.arguments import file_argument, format_option
from kappa.cli.command import kappa_command
from kappa.cli.console import print_note, print_result
from kappa.cli.progress import showing_bytes

__all__ = ["command"]


@kappa_command(
    "import",
    uses_store=True,
    examples=["kappa import IrisClassifier-1.0.kappa", "kappa import backup/iris.kappa --format json"],
)
@file_argument("file", meaning="an archive that `kappa export` wrote, e.g. `IrisClassifier-1.0.kappa`.")
@format_option("text", "json")
def command(file: Path, *, output_format: str) -> None:
    """Take a bundle from one file into the store.

    FILE is what `kappa export` wrote. Its names, types, sizes and digests are checked; one that is not a whole bundle
    is refused, and nothing is kept. The last line on stdout is the bundle's path.
    """
    with showing_bytes("Importing") as watch:
        bundle = actions.import_bundle(file, on_progress=watch)
    if output_format == "json":
        print_result(json.dumps(bundle.to_tree(), indent=2))
        return
    print_note(f"`{bundle.tag}` {'was there already' if bundle.was_there else 'is in the store now'}.")
    print_result(str(bundle.path))
