"""`kappa rollback`: an alias goes back to what it named before."""

from __future__ import annotations

import json

import click

from kappa import actions
from kappa.cli.arguments import format_option
from kappa.cli.command import KappaArgument, kappa_command
from kappa.cli.console import print_note, print_result
from kappa.cli.tables import yaml_text
from kappa.tag import Tag

__all__ = ["command"]


@kappa_command(
    "rollback",
    uses_store=True,
    examples=[
        "kappa rollback IrisClassifier production",
        "kappa rollback IrisClassifier production --dry-run",
        "kappa rollback growth/IrisClassifier production --format json",
    ],
)
@click.argument(
    "name", cls=KappaArgument, meaning=lambda _: "the name of a service: `kappa list` shows which there are."
)
@click.argument(
    "alias", cls=KappaArgument, meaning=lambda _: "an alias of that service: `kappa alias NAME` lists them."
)
@click.option("--dry-run", is_flag=True, help="Only say what would move.")
@format_option("text", "json", "yaml")
def command(name: str, alias: str, *, dry_run: bool, output_format: str) -> None:
    """Let an alias name the version again that it named before.

    A second rollback undoes the first. Nothing is changed where that version was deleted, or where somebody else moves
    the alias at the same time; `kappa alias NAME:ALIAS --history` shows who moved it when.
    """
    rollback = actions.roll_back_alias(name, alias, dry_run=dry_run)
    tag, at = rollback.tag, rollback.changed_at
    if output_format != "text":
        fields = {
            "namespace": tag.namespace,
            "name": tag.name,
            "alias": rollback.alias,
            "version": tag.version,
            "previous": rollback.previous,
            "changed_at": None if at is None else at.strftime("%Y-%m-%dT%H:%M:%SZ"),
        }
        print_result(json.dumps(fields, indent=2) if output_format == "json" else yaml_text(fields))
        return
    moved, previous = Tag(tag.name, rollback.alias, tag.namespace), rollback.previous
    if at is None:
        instead = "" if previous is None else f", not {previous}"
        print_note(f"`{moved}` would name {tag.version} again{instead}; nothing was changed.")
    else:
        print_note(f"`{moved}` names {tag.version} again; it {f'named {previous}' if previous else 'was deleted'}.")
