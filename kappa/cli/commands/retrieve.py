"""`kappa retrieve`: a bundle as a folder of the user's."""

from __future__ import annotations

import click

from kappa import actions
from kappa.cli.arguments import bundle_argument
from kappa.cli.command import kappa_command
from kappa.cli.console import print_result
from kappa.cli.progress import showing_bytes

__all__ = ["command"]


@kappa_command(
    "retrieve",
    examples=[
        "kappa retrieve ModelServe --target_dir=~/bentoml_bundle/",
        "kappa retrieve IrisClassifier:latest --target_dir dist/iris",
        "kappa retrieve IrisClassifier:production",
    ],
)
@bundle_argument("bento")
@click.option("--target_dir", metavar="TEXT", help="Directory to put artifacts into. Defaults to pwd.")
def command(bento: str, target_dir: str | None) -> None:
    """Retrieves BentoService artifacts into a target directory

    BENTO is a bundle: a name, which means its newest version, a tag, an alias or a path. The directory becomes the
    bundle. It must be absent or empty: what is there is never overwritten. Without `--target_dir` it is the service's
    name in the current directory. Its path is the last line on stdout.
    """
    with showing_bytes("Retrieving") as watch:
        directory = actions.retrieve_bundle(bento, target_dir, on_progress=watch)
    print_result(str(directory))
