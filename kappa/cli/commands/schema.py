"""`kappa schema`: the JSON Schemas that editors and CI check documents with."""

from __future__ import annotations

import click

from kappa import spec
from kappa.cli.command import kappa_command
from kappa.cli.console import print_result

__all__ = ["command"]


@kappa_command("schema", examples=["kappa schema > kappafile.schema.json", "kappa schema bundle"])
@click.argument("document", type=click.Choice(["kappafile", "bundle"]), default="kappafile")
def command(document: spec.DocumentName) -> None:
    """Print the JSON Schema that editors check a kappafile with.

    It knows the adapters and artifact types that are installed here. DOCUMENT is `kappafile`, by default, or `bundle`
    for the `kappa.yml` of a bundle. Editors check a kappafile as it is
    written when its first line is `#:schema ./kappafile.schema.json` in TOML, or
    `# yaml-language-server: $schema=./kappafile.schema.json` in YAML.
    """
    print_result(spec.schema_text(document).rstrip())
