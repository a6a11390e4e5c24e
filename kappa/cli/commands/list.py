"""`kappa list`: what the store holds."""

from __future__ import annotations

import json
from datetime import datetime, timezone

from kappa import actions
from kappa.cli.arguments import format_option
from kappa.cli.command import kappa_command
from kappa.cli.console import print_note, print_result
from kappa.cli.queries import query_options, stored_table
from kappa.environment import home_directory
from kappa.spec.store import Query

__all__ = ["command"]


@kappa_command(
    "list",
    examples=[
        "kappa list",
        "kappa list -o wide",
        "kappa list --labels 'team=growth, stage In (test, live)' --limit 5",
        "kappa list --format json",
    ],
)
@query_options
@format_option("text", "wide", "json")
def command(output_format: str, query: Query) -> None:
    """List the bundles in the store.

    The newest comes first. `wide` shows when each was built instead of its age, its labels and its size.
    """
    bundles = actions.list_bundles(query)
    if output_format == "json":
        print_result(json.dumps([bundle.view for bundle in bundles], indent=2))
        return
    is_wide = output_format == "wide"
    print_result(stored_table(bundles, now=None if is_wide else datetime.now(timezone.utc), is_wide=is_wide))
    if not bundles:
        directory = home_directory() / "repository"
        empty = f"The store `{directory}` is empty. `kappa build` puts bundles there."
        print_note("No bundle has these labels." if query.selector else empty)
