"""`kappa generate`: files that run or check a service elsewhere."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import click

from kappa import actions
from kappa._files import write_atomically
from kappa.cli.arguments import choice_argument, target_argument
from kappa.cli.command import EXAMPLE_TAG, kappa_command
from kappa.cli.console import print_note, print_result
from kappa.errors import UsageError

__all__ = ["command"]


@kappa_command(
    "generate",
    examples=[
        f"kappa generate compose {EXAMPLE_TAG} --output compose.yaml",
        "kappa generate github-action --output .github/workflows/service.yml",
    ],
)
@choice_argument("document", "compose", "github-action")
@target_argument(default=".")
@click.option(
    "--output", type=click.Path(path_type=Path), metavar="FILE", help="Write to this file, which must not exist."
)
@click.option("--force", is_flag=True, help="Replace the file if it exists.")
def command(document: Literal["compose", "github-action"], target: str, output: Path | None, *, force: bool) -> None:
    """Write a Compose file or a workflow for a service.

    `compose` runs the image of a bundle with Docker Compose: read-only, without rights, with the secrets that it needs.
    `github-action` validates, builds and tests a project on every change, and pushes its image. TARGET is a bundle or a
    project, by default that of the current directory. Without `--output` the text goes to stdout.
    """
    meant = actions.resolve_target(target)
    if document == "compose":
        text = actions.compose_file(meant)
    elif isinstance(meant, actions.ProjectTarget):
        text = actions.github_workflow(meant)
    else:
        raise UsageError(f"`{target}` is a bundle, and a workflow builds one: name the project.")
    if output is None:
        print_result(text.rstrip("\n"))
        return
    if output.exists() and not force:
        raise UsageError(f"`{output}` is there already; `--force` replaces it.")
    try:
        write_atomically(output, text.encode())
    except OSError as exc:
        raise UsageError(f"`{output}` could not be written: {exc.strerror}.") from exc
    print_note(f"Wrote `{output}`.")
