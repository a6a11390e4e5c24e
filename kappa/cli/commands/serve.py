"""`kappa serve`: a bundle, or a project while it is edited."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any, Literal

import click

from kappa import actions
from kappa.cli.arguments import target_argument
from kappa.cli.command import kappa_command
from kappa.cli.serving import logging_as_asked, server_options, server_options_of
from kappa.errors import UsageError

__all__ = ["command"]

Server = Literal["gunicorn", "uvicorn"]

_USUAL_SERVER: Server = "uvicorn" if sys.platform == "win32" else "gunicorn"


@kappa_command(
    "serve",
    uses_store=True,
    examples=["kappa serve", "kappa serve IrisClassifier:latest", "kappa serve IrisClassifier:latest --port 8080"],
)
@target_argument(default=".")
@server_options
@click.option(
    "--server",
    type=click.Choice(["gunicorn", "uvicorn"]),
    help="What runs the application of a bundle.  [default: gunicorn; uvicorn on Windows]",
)
def command(target: str | actions.Target, server: Server | None, **options: Any) -> None:
    """Answer requests over HTTP, with a bundle or a project.

    TARGET is a project, by default the one here, or a bundle: a path, or a tag like `IrisClassifier:latest`. A project
    is served without building it, and anew within a second of every edit.
    """
    with logging_as_asked(**options):
        _serve(target, server, options)


def _serve(target: str | actions.Target, server: Server | None, options: Mapping[str, Any]) -> None:
    resolved = actions.resolve_target(target)
    chosen = server_options_of(resolved.spec, **options)
    if not isinstance(resolved, actions.ProjectTarget):
        actions.serve_bundle(resolved, chosen, program=server or _USUAL_SERVER)
    elif server is not None:
        raise UsageError("A project has a server of its own: build it first, and serve the bundle with `--server`.")
    elif options["workers"] not in (None, 1):
        raise UsageError("A project is served by one process: build it first, and serve the bundle with `--workers`.")
    elif options["management_port"] is not None:
        raise UsageError("A project has one port: build it first, and serve the bundle with `--management-port`.")
    else:
        actions.serve_project(resolved, chosen)
