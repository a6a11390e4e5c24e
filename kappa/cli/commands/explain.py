"""`kappa explain`: what a key or a code means."""

from __future__ import annotations

from typing import Literal

import click

from kappa import actions
from kappa.cli.arguments import format_option
from kappa.cli.command import kappa_command
from kappa.cli.console import print_result

__all__ = ["command"]


@kappa_command(
    "explain",
    examples=["kappa explain env.pip_packages", "kappa explain input.dataframe", "kappa explain KF201"],
)
@click.argument("name", metavar="[KEY|CODE]", required=False)
@format_option("text", "json")
def command(name: str | None, output_format: Literal["text", "json"]) -> None:
    """Explain a key of a kappafile, or the code of a problem.

    KEY is a dotted path, such as `env.python` or `apis.predict.route`, its last word where no other key ends so, or
    `input.`, `output.` or `artifact.` and a type. Without KEY or CODE, all of them are listed.
    """
    print_result(actions.explain_name(name, output_format))
