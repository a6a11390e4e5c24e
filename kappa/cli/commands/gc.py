"""`kappa gc`: room that nothing needs is freed."""

from __future__ import annotations

import json

import click

from kappa import actions
from kappa.cli.arguments import format_option
from kappa.cli.command import kappa_command
from kappa.cli.console import print_note, print_result
from kappa.cli.durations import read_duration
from kappa.wording import size_of

__all__ = ["command"]


@kappa_command("gc", uses_store=True, examples=["kappa gc", "kappa gc --yes", "kappa gc --grace 7d --format json"])
@click.option(
    "--grace",
    default="24h",
    show_default=True,
    metavar="TIME",
    help="Keep what is younger, e.g. `30m`, `24h` or `7d`: an upload may need it.",
)
@click.option("-y", "--yes", is_flag=True, help="Remove it, and do not only say what would be removed.")
@format_option("text", "json")
def command(grace: str, *, yes: bool, output_format: str) -> None:
    """Remove what no bundle needs.

    Files of deleted bundles and of uploads that were given up take room in the store. Without `--yes` nothing is
    removed. Uploads that are under way keep what they have.
    """
    garbage = actions.collect_garbage(grace=read_duration(grace, option="--grace"), dry_run=not yes)
    if output_format == "json":
        tree = {
            "blobs": garbage.blobs,
            "size_bytes": garbage.size_bytes,
            "uploads": garbage.uploads,
            "is_removed": garbage.is_removed,
        }
        print_result(json.dumps(tree, indent=2))
        return
    verb = "Removed" if garbage.is_removed else "Would remove"
    print_result(
        f"{verb} {_number(garbage.blobs, 'file')} ({size_of(garbage.size_bytes)}) "
        f"and {_number(garbage.uploads, 'upload')}."
    )
    if not garbage.is_removed and (garbage.blobs or garbage.uploads):
        print_note("Nothing was removed: `kappa gc --yes` does.")


def _number(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"
