"""`kappa reload`: a running server serves the new version, without a failed request."""

from __future__ import annotations

import json

import click

from kappa import actions
from kappa.cli.arguments import format_option
from kappa.cli.command import kappa_command
from kappa.cli.console import print_result

__all__ = ["command"]


@kappa_command("reload", examples=["kappa reload", "kappa reload --port 3000"])
@click.option(
    "-p", "--port", type=click.IntRange(1, 65535), help="The port of the server, if more than one runs on this machine."
)
@click.option(
    "--timeout",
    "timeout_s",
    type=click.FloatRange(min=0, min_open=True),
    default=600.0,
    show_default=True,
    metavar="SECONDS",
    help="How long to wait for the new version; the server goes on with it all the same.",
)
@format_option("text", "json")
def command(port: int | None, timeout_s: float, output_format: str) -> None:
    """Load a new version into a running server.

    The server looks again for what it was started with: `Name:latest` is the newest version by then, a path whatever
    bundle is there now. Its workers load it one after the other, beside the version that they serve, and change over
    when they can answer. If it cannot be loaded or fails one of its examples, everything stays as it was, and the exit
    code says why. SIGHUP to the server does the same.
    """
    services = actions.reload_server(port, timeout_s=timeout_s)
    print_result(json.dumps(services, indent=2) if output_format == "json" else "\n".join(services))
