"""`kappa prune`: old versions go."""

from __future__ import annotations

import json
from collections.abc import Collection
from datetime import datetime, timezone

import click

from kappa import actions
from kappa.cli.arguments import format_option
from kappa.cli.command import kappa_command
from kappa.cli.console import is_terminal, print_note, print_result
from kappa.cli.durations import read_duration
from kappa.cli.tables import bundle_table
from kappa.errors import UsageError
from kappa.labels import parse_selector
from kappa.tag import Tag
from kappa.wording import size_of

__all__ = ["command"]


@kappa_command(
    "prune",
    uses_store=True,
    examples=[
        "kappa prune --keep 10 --older-than 90d --dry-run",
        "kappa prune IrisClassifier --keep 3",
        "kappa prune --older-than 30d --labels 'stage=test' --yes",
    ],
)
@click.argument("name", required=False)
@click.option("--keep", type=click.IntRange(min=1), metavar="NUMBER", help="Keep this many versions, the newest.")
@click.option("--older-than", metavar="TIME", help="Keep what was built within this time, e.g. `12h` or `90d`.")
@click.option("--labels", "selector", metavar="SELECTOR", help="Only bundles with these labels; the others stay.")
@click.option("--dry-run", is_flag=True, help="Only say what would be deleted, and why.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@format_option("text", "json")
def command(
    name: str | None,
    keep: int | None,
    older_than: str | None,
    selector: str | None,
    *,
    dry_run: bool,
    yes: bool,
    output_format: str,
) -> None:
    """Delete old versions of a service, or of every service.

    With `--keep`, those go that are not among the newest of their service; with `--older-than`, those that were built
    longer ago; with both, those to which both applies. With `--labels` the others are not counted either. A version
    that an alias names stays, and so does the newest one of each service. Nothing is deleted without a question,
    unless `--yes` answers it. `kappa gc` then frees the room that deleted bundles of a server take.
    """
    if dry_run and yes:
        raise UsageError("`--dry-run` and `--yes` contradict each other: give one.")
    pruning = actions.plan_pruning(
        name,
        keep=keep,
        older_than=read_duration(older_than, option="--older-than") if older_than is not None else None,
        labels=parse_selector(selector) if selector is not None else (),
    )
    is_text = output_format == "text"
    if is_text:
        for judged in pruning.protected:
            print_note(f"`{judged.record.tag}` stays: {judged.reason}.")
    if dry_run:
        if is_text and not pruning.superfluous:
            print_note("Nothing would be deleted.")
        else:
            print_result(_table(pruning) if is_text else _as_json(pruning, deleted=None))
        return
    if not pruning.superfluous:
        print_note("There is nothing to delete.")
    elif not yes:
        _ask(pruning)
    deleted = actions.delete_bundles(pruning.tags)
    if is_text:
        for tag in deleted:
            print_result(str(tag))
    else:
        print_result(_as_json(pruning, deleted=deleted))


def _ask(pruning: actions.Pruning) -> None:
    """Show what would be deleted, and ask; raises `UsageError` without a terminal, `click.Abort` for a no."""
    print_note(_table(pruning))
    if not is_terminal():
        raise UsageError("This is not a terminal, so nothing was deleted. Pass `--yes` to delete without asking.")
    number = len(pruning.superfluous)
    click.confirm(f"Delete {'this bundle' if number == 1 else f'these {number} bundles'}?", abort=True, err=True)


def _table(pruning: actions.Pruning) -> str:
    judged = pruning.superfluous
    more = {
        "SIZE": lambda row: size_of(judged[row].record.size_bytes),
        "WHY": lambda row: judged[row].reason,
    }
    views = [(str(bundle.record.tag), bundle.record.view) for bundle in judged]
    return bundle_table(views, now=datetime.now(timezone.utc), more=more)


def _as_json(pruning: actions.Pruning, *, deleted: Collection[Tag] | None) -> str:
    tree = {
        "deleted": [_tree(judged) for judged in pruning.superfluous if deleted is None or judged.record.tag in deleted],
        "kept": [_tree(judged) for judged in pruning.protected],
        "is_dry_run": deleted is None,
    }
    return json.dumps(tree, indent=2)


def _tree(judged: actions.Judged) -> dict[str, object]:
    record = judged.record
    return {
        "tag": str(record.tag),
        "bundle_digest": record.bundle_digest,
        "created_at": record.created_at.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "size_bytes": record.size_bytes,
        "reason": judged.reason,
    }
