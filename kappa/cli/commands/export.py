"""`kappa export`: a bundle as one file."""

from __future__ import annotations

import json
from pathlib import Path

import click

from kappa import actions
from kappa.cli.arguments import bundle_argument, format_option
from kappa.cli.command import kappa_command
from kappa.cli.console import print_result
from kappa.cli.progress import showing_bytes

__all__ = ["command"]


@kappa_command(
    "export",
    uses_store=True,
    examples=["kappa export IrisClassifier:latest", "kappa export IrisClassifier:1.0 --output backup/iris.kappa"],
)
@bundle_argument("target")
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Write to this file.  [default: `Name-version.kappa` in the current directory]",
)
@click.option("--force", is_flag=True, help="Replace the file if it exists.")
@format_option("text", "json")
def command(target: str, output: Path | None, *, force: bool, output_format: str) -> None:
    """Write a bundle as one file.

    TARGET is a bundle: a tag, an alias, or a path. The file is a tar of the verified bundle; `kappa import` takes it on
    any machine, and the bundle keeps its digest. The last line on stdout is the file's path.
    """
    with showing_bytes("Exporting") as watch:
        file = actions.export_bundle(target, output, is_replaced=force, on_progress=watch)
    print_result(json.dumps({"path": str(file)}) if output_format == "json" else str(file))
