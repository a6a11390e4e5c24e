"""`kappa explain`: what a key or a code means."""

from __future__ import annotations

import json
from dataclasses import asdict

import click

from kappa.build.manifest.explain import explain, keys, render_overview, render_text
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
def command(name: str | None, output_format: str) -> None:
    """Explain a key of a kappafile, or the code of a problem.

    KEY is a dotted path, such as `env.python` or `apis.predict.route`, its last word where no other key ends so, or
    `input.`, `output.` or `artifact.` and a type. Without KEY or CODE, all of them are listed.
    """
    if name is None:
        if output_format == "json":
            print_result(json.dumps([asdict(key) for key in keys().values()], indent=2, ensure_ascii=False))
        else:
            print_result(render_overview())
        return
    found = explain(name)
    print_result(
        json.dumps(asdict(found), indent=2, ensure_ascii=False) if output_format == "json" else render_text(found)
    )
