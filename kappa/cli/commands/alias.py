"""`kappa alias`: names of versions that can move."""

from __future__ import annotations

import json
from collections.abc import Sequence

import click

from kappa import actions
from kappa.cli.arguments import bundle_argument, format_option
from kappa.cli.command import kappa_command
from kappa.cli.console import print_note, print_result
from kappa.cli.tables import text_table, yaml_text
from kappa.errors import UsageError
from kappa.tag import Tag

__all__ = ["command"]


@kappa_command(
    "alias",
    uses_store=True,
    examples=[
        "kappa alias IrisClassifier:20261122195729_851BAB production",
        "kappa alias IrisClassifier",
        "kappa alias IrisClassifier:production --history",
        "kappa alias IrisClassifier:2.0 production --expect 1.0",
        "kappa alias IrisClassifier:production --delete",
    ],
)
@bundle_argument("target")
@click.argument("alias", required=False)
@click.option("--history", "is_history", is_flag=True, help="Show what the alias named, the newest first.")
@click.option("--delete", "is_deletion", is_flag=True, help="Remove the alias; the version that it names stays.")
@click.option(
    "--expect",
    metavar="VERSION",
    help="Change the alias only if it names this version now; empty if there must be none.",
)
@format_option("table", "json", "yaml")
def command(
    target: str, alias: str | None, expect: str | None, *, is_history: bool, is_deletion: bool, output_format: str
) -> None:
    """Let an alias name a version, and show aliases.

    With ALIAS, `NAME:ALIAS` means the version TARGET from now on, wherever a bundle is wanted. With a name alone, its
    aliases are listed, with a tag those of its version; `--history` and `--delete` take `NAME:ALIAS`.
    """
    if sum((alias is not None, is_history, is_deletion)) > 1:
        raise UsageError("Give only one of an alias to set, `--history` and `--delete`.")
    if expect is not None and alias is None and not is_deletion:
        raise UsageError("`--expect` goes with an alias to set, or with `--delete`.")
    if alias is not None:
        _print_change(actions.set_alias(target, alias, expect=expect), output_format)
    elif is_deletion:
        _print_change(actions.delete_alias(target, expect=expect), output_format)
    elif is_history:
        changes = actions.alias_history(target)
        keys = ("changed_at", "version", "previous", "changed_by")
        _print_rows(keys, [_fields(change) for change in changes], output_format)
        if not changes:
            print_note(f"`{target}` never was an alias.")
    else:
        aliases = actions.aliases_of(target)
        _print_rows(("alias", "version", "changed_at"), [_fields(alias) for alias in aliases], output_format)
        if not aliases:
            print_note(f"`{target}` has no alias: `kappa alias NAME:VERSION ALIAS` sets one.")


def _fields(value: object) -> dict[str, str | None]:
    """Return the fields of an alias or of a change, as JSON has them."""
    names = ("namespace", "name", "alias", "version", "previous", "changed_at", "changed_by")
    fields = {name: getattr(value, name) for name in names if hasattr(value, name)}
    return {**fields, "changed_at": fields["changed_at"].strftime("%Y-%m-%dT%H:%M:%SZ")}


def _print_change(change: object, output_format: str) -> None:
    fields = _fields(change)
    if output_format != "table":
        print_result(json.dumps(fields, indent=2) if output_format == "json" else yaml_text(fields))
        return
    is_other = fields["previous"] not in (None, fields["version"])
    before = f", and no longer {fields['previous']}" if is_other else ""
    now = f"names {fields['version']}" if fields["version"] else "is gone"
    alias = Tag(str(fields["name"]), str(fields["alias"]), str(fields["namespace"]))
    print_note(f"`{alias}` {now}{before}.")


def _print_rows(keys: Sequence[str], rows: Sequence[dict[str, str | None]], output_format: str) -> None:
    if output_format == "json":
        print_result(json.dumps(list(rows), indent=2))
    elif output_format == "yaml":
        print_result(yaml_text(list(rows)))
    else:
        head = [key.upper() for key in keys]
        print_result(text_table([head, *([row.get(key) or "-" for key in keys] for row in rows)]))
