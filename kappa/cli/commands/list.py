"""`kappa list`: what the store holds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timezone

import click

from kappa import actions
from kappa.cli.arguments import format_option
from kappa.cli.command import kappa_command, named_namespace
from kappa.cli.console import print_note, print_result
from kappa.cli.queries import printed_bundles, query_options, why_none
from kappa.environment import home_directory
from kappa.errors import UsageError
from kappa.spec.store import Query
from kappa.tag import ALL_NAMESPACES, DEFAULT_NAMESPACE

__all__ = ["command"]


@kappa_command(
    "list",
    uses_store=True,
    examples=[
        "kappa list",
        "kappa list -o wide",
        "kappa list --labels 'team=growth, stage In (test, live)' --limit 5",
        "kappa list --requires 'pillow<11.1'",
        "kappa list --all-namespaces",
        "kappa list --format json",
    ],
)
@query_options
@click.option("-A", "--all-namespaces", is_flag=True, help="The bundles of every namespace, not of one.")
@format_option("table", "wide", "json", "yaml")
@click.pass_context
def command(ctx: click.Context, output_format: str, read_query: Callable[[], Query], *, all_namespaces: bool) -> None:
    """List the bundles in the store.

    The newest comes first. `wide` shows when each was built instead of its age, its aliases, its labels and its size.
    """
    query = read_query()
    if all_namespaces:
        if (namespace := named_namespace(ctx)) is not None:
            raise UsageError(f"`--all-namespaces` and `--namespace {namespace}` contradict each other: give one.")
        query = replace(query, namespace=ALL_NAMESPACES)
    bundles = actions.list_bundles(query)
    print_result(printed_bundles(bundles, output_format, now=datetime.now(timezone.utc)))
    if not bundles and output_format in ("table", "wide"):
        print_note(why_none(query, "bundle") or _why_empty(query))


def _why_empty(query: Query) -> str:
    store = f"store `{actions.gamma_url() or home_directory() / 'repository'}`"
    if query.namespace in (ALL_NAMESPACES, DEFAULT_NAMESPACE):
        return f"The {store} is empty. `kappa build` puts bundles there."
    return f"The namespace `{query.namespace}` of the {store} is empty. `kappa list --all-namespaces` shows the others."
