"""`kappa get`: one bundle, or all versions of a service."""

from __future__ import annotations

import json

import click

from kappa.actions import find_bundle, local_store, stored_manifests
from kappa.cli.arguments import format_option, target_argument
from kappa.cli.command import kappa_command
from kappa.cli.console import print_result
from kappa.cli.tables import bundle_table
from kappa.spec.views import bundle_view
from kappa.tag import BundleReference

__all__ = ["command"]


@kappa_command(
    "get",
    examples=[
        "kappa get IrisClassifier",
        "kappa get IrisClassifier:latest",
        "saved_path=$(kappa get IrisClassifier:latest --print-location --quiet)",
    ],
)
@target_argument()
@click.option("--print-location", is_flag=True, help="Print where the bundle is, and nothing else.")
@format_option("text", "json")
def command(target: str, *, print_location: bool, output_format: str) -> None:
    """Show one bundle, or the versions of a service.

    TARGET is a name, for all its versions, or one bundle: a tag like `IrisClassifier:latest`, or a path. With
    `--print-location` a name means its newest version.
    """
    if print_location:
        print_result(str(find_bundle(target).directory))
    elif target.isidentifier():
        store = local_store()
        store.find(BundleReference.parse(target))
        manifests = stored_manifests(store, target)
        views = [bundle_view(manifest, uri=str(store.path_of(manifest.tag))) for manifest in manifests]
        print_result(json.dumps(views, indent=2) if output_format == "json" else bundle_table(manifests))
    else:
        bundle = find_bundle(target)
        print_result(json.dumps(bundle_view(bundle.manifest, uri=str(bundle.directory)), indent=2))
