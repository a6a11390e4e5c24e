"""`kappa delete`: remove bundles from the store."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime, timezone

import click

from kappa import actions
from kappa.cli.arguments import bundles_at_hand, format_option, targets_argument
from kappa.cli.command import kappa_command
from kappa.cli.console import is_terminal, print_note, print_result
from kappa.cli.queries import stored_table
from kappa.errors import UsageError
from kappa.labels import parse_selector
from kappa.spec.store import Query

__all__ = ["command"]


@kappa_command(
    "delete",
    uses_store=True,
    examples=[
        "kappa delete IrisClassifier:20261122195729_851BAB",
        "kappa delete IrisClassifier --labels 'stage=test' --yes",
        "kappa delete IrisClassifier --all",
    ],
)
@targets_argument
@click.option("--labels", "selector", metavar="SELECTOR", help="Only bundles with these labels.")
@click.option("--all", "everything", is_flag=True, help="Every version of the names given; without a name, everything.")
@click.option("--force", is_flag=True, help="Delete those that an alias names, too.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@format_option("text", "json")
def command(
    targets: Sequence[str], selector: str | None, *, everything: bool, force: bool, yes: bool, output_format: str
) -> None:
    """Remove bundles from the store.

    Each TARGET is one bundle, by tag or digest, or a name together with `--labels` or `--all`. Nothing is deleted that
    is not named, and nothing without a question, unless `--yes` answers it.
    """
    if not targets and selector is None and not everything:
        raise UsageError(
            f"Nothing is named: give a bundle, or `--labels` or `--all`. {bundles_at_hand(click.get_current_context())}"
        )
    labels = parse_selector(selector) if selector is not None else ()
    is_query = selector is not None or everything
    query = Query(selector=labels, namespace=actions.default_namespace()) if is_query else None
    bundles = actions.bundles_to_delete(targets, query)
    if not bundles:
        print_note("There is no such bundle; nothing was deleted.")
    elif not yes:
        _ask(bundles)
    deleted = actions.delete_bundles([bundle.record.tag for bundle in bundles], force=force)
    if output_format == "json":
        print_result(json.dumps([str(tag) for tag in deleted], indent=2))
    else:
        for tag in deleted:
            print_result(str(tag))


def _ask(bundles: Sequence[actions.StoredBundle]) -> None:
    """Show what would be deleted and ask; raises `UsageError` without a terminal, `click.Abort` for a no."""
    print_note(stored_table(bundles, now=datetime.now(timezone.utc)))
    if not is_terminal():
        raise UsageError("This is not a terminal, so nothing was deleted. Pass `--yes` to delete without asking.")
    noun = "this bundle" if len(bundles) == 1 else f"these {len(bundles)} bundles"
    click.confirm(f"Delete {noun}?", abort=True, err=True)
