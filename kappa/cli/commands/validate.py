"""`kappa validate`: every problem of a kappafile at once."""

from __future__ import annotations

import json
from typing import Any

from kappa.actions import ProjectTarget, read_target_project, resolve_target
from kappa.cli.arguments import format_option, target_argument
from kappa.cli.command import kappa_command
from kappa.cli.console import print_note, print_result
from kappa.errors import ManifestError, UsageError

__all__ = ["command"]


@kappa_command("validate", examples=["kappa validate", "kappa validate kappafile.toml --format json"])
@target_argument(default=".")
@format_option("text", "json")
def command(target: str, output_format: str) -> None:
    """Say everything that is wrong with a kappafile.

    TARGET is a kappafile or its directory, by default the current one. Nothing of the service's code is run. The exit
    code is 3 if there is an error; warnings alone leave it 0.
    """
    found = resolve_target(target)
    if not isinstance(found, ProjectTarget):
        raise UsageError(f"`{target}` is not a project but a bundle, which was validated when it was built.")
    try:
        project = read_target_project(found)
    except ManifestError as exc:
        if output_format == "json":
            print_result(json.dumps([_record(diagnostic) for diagnostic in exc.diagnostics], indent=2))
        raise
    if output_format == "json":
        print_result("[]")
    else:
        print_note(f"`{project.file or project.root}` declares `{project.spec.name}` and has no errors.")


def _record(diagnostic: Any) -> dict[str, Any]:
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
