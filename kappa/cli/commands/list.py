"""`kappa list`: what the store holds."""

from __future__ import annotations

from datetime import datetime, timezone

from kappa import actions
from kappa.cli.arguments import format_option
from kappa.cli.command import kappa_command
from kappa.cli.console import print_note, print_result
from kappa.cli.queries import printed_bundles, query_options
from kappa.environment import home_directory
from kappa.spec.store import Query

__all__ = ["command"]


@kappa_command(
    "list",
    uses_store=True,
    examples=[
        "kappa list",
        "kappa list -o wide",
        "kappa list --labels 'team=growth, stage In (test, live)' --limit 5",
        "kappa list --requires 'pillow<11.1'",
        "kappa list --format json",
    ],
)
@query_options
@format_option("table", "wide", "json", "yaml")
def command(output_format: str, query: Query) -> None:
    """List the bundles in the store.

    The newest comes first. `wide` shows when each was built instead of its age, its aliases, its labels and its size.
    """
    bundles = actions.list_bundles(query)
    print_result(printed_bundles(bundles, output_format, now=datetime.now(timezone.utc)))
    if not bundles and output_format in ("table", "wide"):
        print_note(_why_none(query))


def _why_none(query: Query) -> str:
    if query.requires is not None:
        return f"No bundle{' with these labels' if query.selector else ''} locks `{query.requires}`."
    if query.selector:
        return "No bundle has these labels."
    store = actions.gamma_url() or home_directory() / "repository"
    return f"The store `{store}` is empty. `kappa build` puts bundles there."
