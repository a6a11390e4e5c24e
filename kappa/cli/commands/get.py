"""`kappa get`: one bundle, or all versions of a service."""

from __future__ import annotations

import json
from dataclasses import replace

import click

from kappa import actions
from kappa.cli.arguments import format_option, target_argument
from kappa.cli.command import kappa_command
from kappa.cli.console import print_note, print_result
from kappa.cli.queries import query_options, stored_table
from kappa.spec.store import Query

__all__ = ["command"]


@kappa_command(
    "get",
    examples=[
        "kappa get IrisClassifier",
        "kappa get IrisClassifier --labels 'key1=value1, key2 In (value2, value3)'",
        "kappa get IrisClassifier:latest",
        "saved_path=$(kappa get IrisClassifier:latest --print-location --quiet)",
    ],
)
@target_argument()
@click.option("--print-location", is_flag=True, help="Print where the bundle is, and nothing else.")
@query_options
@format_option("text", "wide", "json")
def command(target: str, *, print_location: bool, output_format: str, query: Query) -> None:
    """Show one bundle, or the versions of a service.

    TARGET is a name, for all its versions, or one bundle: a tag like `IrisClassifier:latest`, or a path. With
    `--print-location` a name means its newest version. The options that choose and order count for a name alone.
    """
    if print_location:
        print_result(str(actions.find_bundle(target).bundle.directory))
    elif target.isidentifier():
        bundles = actions.list_bundles(replace(query, name=target))
        if output_format == "json":
            print_result(json.dumps([bundle.view for bundle in bundles], indent=2))
            return
        print_result(stored_table(bundles, is_wide=output_format == "wide"))
        if not bundles:
            print_note(f"No version of `{target}` has these labels.")
    else:
        print_result(json.dumps(actions.bundle_record(target), indent=2))
