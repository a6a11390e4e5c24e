"""`kappa verify`: whether bundles are as they were built."""

from __future__ import annotations

import json
from collections.abc import Sequence

import click

from kappa import actions
from kappa.cli.arguments import bundles_at_hand, format_option, targets_argument
from kappa.cli.command import kappa_command
from kappa.cli.console import print_error, print_result
from kappa.errors import BundleError, UsageError

__all__ = ["command"]


@kappa_command(
    "verify",
    uses_store=True,
    examples=[
        "kappa verify IrisClassifier:latest",
        "kappa verify dist/iris",
        "kappa verify --all",
        "kappa verify IrisClassifier@sha256:1f0c…",
    ],
)
@targets_argument
@click.option("--all", "everything", is_flag=True, help="Verify every bundle in the store.")
@format_option("text", "json")
def command(targets: Sequence[str], *, everything: bool, output_format: str) -> int:
    """Compare every file of bundles with the digests in their manifests.

    Each TARGET is a bundle: a path, a tag like `IrisClassifier:latest`, or a digest. The exit code is 4 if a file is
    missing, was added or was changed. This finds corruption. Against tampering, name the bundle by a digest from a
    trusted source.
    """
    if not targets and not everything:
        raise UsageError(f"Nothing is named: give a bundle, or `--all`. {bundles_at_hand(click.get_current_context())}")
    verified = list(actions.verify_bundles(targets, everything=everything))
    exit_code = BundleError.exit_code if any(bundle.problem is not None for bundle in verified) else 0
    if output_format == "json":
        print_result(json.dumps([bundle.to_tree() for bundle in verified], indent=2))
        return exit_code
    for bundle in verified:
        if bundle.problem is not None:
            print_error(bundle.problem)
        else:
            print_result(f"`{bundle.name}` is as it was built: {bundle.files} files, {bundle.digest}.")
    return exit_code
