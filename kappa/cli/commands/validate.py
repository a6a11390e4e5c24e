"""`kappa validate`: every problem of kappafiles at once."""

from __future__ import annotations

import sys
from pathlib import Path

import click
from click.shell_completion import CompletionItem

from kappa.build.manifest.diagnostics import Diagnostic, display_path, render_text
from kappa.build.manifest.kappafile import kappafile_at
from kappa.build.manifest.reports import render_github, render_json, render_sarif
from kappa.build.project import check_kappafile
from kappa.cli.arguments import format_option
from kappa.cli.command import kappa_command
from kappa.cli.console import print_result, wants_colour
from kappa.errors import ManifestError

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
def command(targets: tuple[str, ...], output_format: str) -> int:
    """Report every problem of kappafiles.

    Each TARGET is a kappafile or its directory, by default the current one. Nothing of the service's code is run. The
    exit code is 3 if there is an error; warnings alone leave it 0.
    """
    files: list[Path] = []
    found: list[Diagnostic] = []
    for target in targets or (".",):
        file = _kappafile_of(target)
        if file not in files:
            files.append(file)
            found += check_kappafile(file)[1]
    if output_format == "json":
        print_result(render_json(found))
    elif output_format == "sarif":
        print_result(render_sarif(found))
    elif output_format == "github":
        if found:
            print_result(render_github(found))
    elif found:
        print_result(render_text(found, color=wants_colour(sys.stdout)))
    else:
        print_result("\n".join(f"`{display_path(file)}` has no problems." for file in files))
    return ManifestError.exit_code if any(diagnostic.is_error for diagnostic in found) else 0


def _kappafile_of(target: str) -> Path:
    """Return the kappafile that a target is or has; bundles, which were validated when they were built, have none."""
    return kappafile_at(Path(target).expanduser().resolve())
