"""`kappa delete`: remove bundles from the store."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime, timezone

import click
from click.core import ParameterSource

from kappa import actions
from kappa.cli.arguments import bundles_at_hand, format_option, targets_argument
from kappa.cli.command import kappa_command
from kappa.cli.console import is_terminal, print_note, print_result
from kappa.cli.queries import stored_table
from kappa.errors import UsageError
from kappa.labels import parse_selector
from kappa.spec.store import Query
from kappa.tag import Tag

__all__ = ["command"]

_SHOWN = 5


@kappa_command(
    "delete",
    uses_store=True,
    examples=[
        "kappa delete IrisClassifier:20261122195729_851BAB",
        "kappa delete IrisClassifier --labels 'stage=test' --yes",
        "kappa delete IrisClassifier --all",
        "kappa delete IrisClassifier:1.0 --forget",
        "kappa delete IrisClassifier:1.0 --forget --db-url postgresql://kappa@db:5432/kappa",
    ],
)
@targets_argument
@click.option("--labels", "selector", metavar="SELECTOR", help="Only bundles with these labels.")
@click.option("--all", "everything", is_flag=True, help="Every version of the names given; without a name, everything.")
@click.option("--force", is_flag=True, help="Delete those that an alias names, too.")
@click.option("--forget", is_flag=True, help="Free the tags as well, those of bundles deleted before, too.")
@click.option(
    "--db-url",
    envvar="KAPPA_GAMMA_DB_URL",
    show_envvar=True,
    help="The database of a Gamma server, on its host: `--forget` frees tags there, of bundles that were deleted.",
)
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@format_option("text", "json")
@click.pass_context
def command(
    ctx: click.Context,
    targets: Sequence[str],
    selector: str | None,
    *,
    everything: bool,
    force: bool,
    forget: bool,
    db_url: str | None,
    yes: bool,
    output_format: str,
) -> None:
    """Remove bundles from the store.

    Each TARGET is one bundle, by tag or digest, or a name together with `--labels` or `--all`. Nothing is deleted that
    is not named, and nothing without a question, unless `--yes` answers it.

    On a Gamma server the tag of a deleted bundle stays reserved for its bytes: whoever has it written down gets these
    or nothing. `--forget` frees it, and another bundle may have it. Who runs a server may do that, on its host, with
    `--db-url`. In the store of this machine, where a build may take the tag in any case, it frees it for servers of
    this store, too.
    """
    if not targets and selector is None and not everything:
        raise UsageError(
            f"Nothing is named: give a bundle, or `--labels` or `--all`. {bundles_at_hand(click.get_current_context())}"
        )
    labels = parse_selector(selector) if selector is not None else ()
    is_query = selector is not None or everything
    if forget and db_url is not None:
        if is_query:
            raise UsageError("In the database of a server, `--forget` frees the tags that are named, one by one.")
        tags = actions.exact_tags(targets)
        if not yes:
            _ask((), tags)
        _print_tags(actions.forget_tags(tags, db_url=db_url), output_format)
        return
    if ctx.get_parameter_source("db_url") is ParameterSource.COMMANDLINE:
        raise UsageError("`--db-url` goes with `--forget`: bundles are deleted through their server.")
    query = Query(selector=labels, namespace=actions.default_namespace()) if is_query else None
    if forget:
        bundles, tags = actions.bundles_to_forget(targets, query)
    else:
        bundles, tags = actions.bundles_to_delete(targets, query), []
    if not bundles and not tags:
        print_note("There is no such bundle; nothing was deleted.")
    elif not yes:
        _ask(bundles, tags)
    deleted = actions.delete_bundles([bundle.record.tag for bundle in bundles], force=force)
    _print_tags(actions.forget_tags(tags) if forget else deleted, output_format)


def _print_tags(tags: Sequence[Tag], output_format: str) -> None:
    if output_format == "json":
        print_result(json.dumps([str(tag) for tag in tags], indent=2))
    else:
        for tag in tags:
            print_result(str(tag))


def _ask(bundles: Sequence[actions.StoredBundle], tags: Sequence[Tag]) -> None:
    """Show what would be deleted and freed, and ask; raises `UsageError` without a terminal, `click.Abort` for a no."""
    if bundles:
        print_note(stored_table(bundles, now=datetime.now(timezone.utc)))
    if not is_terminal():
        raise UsageError("This is not a terminal, so nothing was deleted. Pass `--yes` to delete without asking.")
    nouns = f"this bundle and free {_enumerate(tags)}" if tags else "this bundle"
    if len(bundles) > 1:
        nouns = nouns.replace("this bundle", f"these {len(bundles)} bundles")
    click.confirm(
        f"Delete {nouns}?" if bundles else f"Free {_enumerate(tags)} for other bundles?", abort=True, err=True
    )


def _enumerate(tags: Sequence[Tag]) -> str:
    return f"{len(tags)} tags" if len(tags) > _SHOWN else ", ".join(f"`{tag}`" for tag in tags)
