"""`kappa validate`: every problem of a kappafile at once."""

from __future__ import annotations

import json
import sys
from typing import Any

from kappa.actions import ProjectTarget, check_target_project, resolve_target
from kappa.build.diagnostics import Diagnostic, display_path, render_text
from kappa.cli.arguments import format_option, target_argument
from kappa.cli.command import kappa_command
from kappa.cli.console import print_result, wants_colour
from kappa.errors import ManifestError, UsageError

__all__ = ["command"]


@kappa_command("validate", examples=["kappa validate", "kappa validate kappafile.toml --format json"])
@target_argument(default=".")
@format_option("text", "json")
def command(target: str, output_format: str) -> int:
    """Say everything that is wrong with a kappafile.

    TARGET is a kappafile or its directory, by default the current one. Nothing of the service's code is run. The exit
    code is 3 if there is an error; warnings alone leave it 0.
    """
    named = resolve_target(target)
    if not isinstance(named, ProjectTarget):
        raise UsageError(f"`{target}` is not a project but a bundle, which was validated when it was built.")
    file, found = check_target_project(named)
    if output_format == "json":
        print_result(json.dumps([_record(diagnostic) for diagnostic in found], indent=2))
    elif len(found):
        print_result(render_text(tuple(found), color=wants_colour(sys.stdout)))
    else:
        print_result(f"`{display_path(file)}` has no problems.")
    return ManifestError.exit_code if found.has_errors else 0


def _record(diagnostic: Diagnostic) -> dict[str, Any]:
    return {
        "code": diagnostic.code,
        "severity": diagnostic.severity,
        "message": diagnostic.message,
        "file": str(diagnostic.file),
        "line": diagnostic.span.line,
        "column": diagnostic.span.column,
        "path": diagnostic.path,
        "help": diagnostic.help,
        "replacement": diagnostic.replacement,
    }
