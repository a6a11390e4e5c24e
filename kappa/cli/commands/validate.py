"""`kappa validate`: every problem of kappafiles at once."""

from __future__ import annotations

import sys

import click
from click.shell_completion import CompletionItem

from kappa import actions
from kappa.cli.arguments import format_option
from kappa.cli.command import kappa_command
from kappa.cli.console import print_result
from kappa.errors import ManifestError
from kappa.terminal import wants_colour

__all__ = ["command"]


def _complete(_: click.Context, __: click.Parameter, incomplete: str) -> list[CompletionItem]:
    return [CompletionItem(incomplete, type="file")]


@kappa_command(
    "validate",
    examples=[
        "kappa validate",
        "kappa validate services/*/kappafile.toml",
        "kappa validate --format github",
        "kappa validate --format sarif > kappa.sarif",
    ],
)
@click.argument("targets", metavar="[TARGET]...", nargs=-1, shell_complete=_complete)
@format_option("text", "json", "github", "sarif")
def command(targets: tuple[str, ...], output_format: actions.ReportForm) -> int:
    """Report every problem of kappafiles.

    Each TARGET is a kappafile or its directory, by default the current one. Nothing of the service's code is run. The
    exit code is 3 if there is an error; warnings alone leave it 0.
    """
    files, problems = actions.check_kappafiles(targets or (".",))
    text = actions.report(problems, output_format, files=files, color=wants_colour(sys.stdout))
    if text:
        print_result(text)
    return ManifestError.exit_code if any(problem.is_error for problem in problems) else 0
