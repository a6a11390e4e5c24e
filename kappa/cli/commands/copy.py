"""`kappa copy`: a bundle in another namespace, or in another registry."""

from __future__ import annotations

import json

import click

from kappa import actions
from kappa.cli.arguments import bundle_argument, format_option
from kappa.cli.command import KappaArgument, kappa_command
from kappa.cli.console import print_note, print_result
from kappa.cli.progress import showing_bytes

__all__ = ["command"]


@kappa_command(
    "copy",
    uses_store=True,
    examples=[
        "kappa copy research/IrisClassifier:1.0 default/",
        "kappa copy IrisClassifier:staging default/ --to grpcs://gamma.example.org:50051",
        "kappa copy IrisClassifier:1.0 growth/ --from https://gamma-test.example.org",
    ],
)
@bundle_argument("src")
@click.argument("dst", cls=KappaArgument, meaning=lambda _: "a namespace with a `/`, e.g. `growth/`.")
@click.option("--from", "from_url", metavar="URL", help="The Gamma server that has it.  [default: the store in use]")
@click.option("--to", "to_url", metavar="URL", help="The Gamma server that gets it.  [default: the store in use]")
@format_option("text", "json")
def command(src: str, dst: str, *, from_url: str | None, to_url: str | None, output_format: str) -> None:
    """Copy a bundle into another namespace, or from one registry to another.

    SRC is a tag, an alias, or a name, which means its newest version. DST is a namespace, as `growth/`, or a whole tag
    there. The copy has the same digest, and so its name and its version stay. One that is there already stays as it is,
    and a version that has other bytes is refused. It has the labels that it was built with, and no aliases.
    """
    with showing_bytes(f"Copying {src}") as watch:
        copy = actions.copy_bundle(src, dst, from_url=from_url, to_url=to_url, on_progress=watch)
    if output_format == "json":
        print_result(json.dumps(copy.to_tree(), indent=2))
        return
    print_note(f"`{copy.tag}` {'was there already' if copy.was_there else 'is there now'}.")
    if not copy.is_latest:
        print_note(f"`{copy.tag.service}:latest` stays another version, which was built later.")
    print_result(str(copy.tag))
