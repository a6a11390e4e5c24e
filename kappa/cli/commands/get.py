"""`kappa get`: one bundle, or all versions of a service."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace

import click

from kappa import actions
from kappa.cli.arguments import format_option, target_argument
from kappa.cli.command import kappa_command
from kappa.cli.console import print_note, print_result
from kappa.cli.queries import printed_bundles, query_options, why_none
from kappa.cli.tables import yaml_text
from kappa.spec.store import Query

__all__ = ["command"]


@kappa_command(
    "get",
    uses_store=True,
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
@format_option("table", "wide", "json", "yaml")
def command(target: str, *, print_location: bool, output_format: str, read_query: Callable[[], Query]) -> None:
    """Show one bundle, or the versions of a service.

    TARGET is a name, for all its versions, or one bundle: a tag like `IrisClassifier:latest`, or a path. With
    `--print-location` a name means its newest version. The options that choose and order count for a name alone.
    """
    if print_location:
        print_result(str(actions.find_bundle(target).bundle.directory))
    elif actions.names_service(target) and not ("/" in target and actions.names_path(target)):
        reference = actions.reference_of(target)
        query = replace(read_query(), name=reference.name, namespace=reference.namespace)
        bundles = actions.list_bundles(query)
        print_result(printed_bundles(bundles, output_format))
        if not bundles and output_format in ("table", "wide"):
            print_note(why_none(query, f"version of `{target}`"))
    else:
        record = actions.bundle_record(target)
        print_result(yaml_text(record) if output_format == "yaml" else json.dumps(record, indent=2))
