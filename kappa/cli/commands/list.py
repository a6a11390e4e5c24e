"""`kappa list`: what the store holds."""

from __future__ import annotations

import json
from datetime import datetime, timezone

from kappa.actions import local_store, stored_manifests
from kappa.cli.arguments import format_option
from kappa.cli.command import kappa_command
from kappa.cli.console import print_note, print_result
from kappa.cli.tables import bundle_table
from kappa.spec.views import bundle_view

__all__ = ["command"]


@kappa_command("list", examples=["kappa list", "kappa list -o wide", "kappa list --format json"])
@format_option("text", "wide", "json")
def command(output_format: str) -> None:
    """List the bundles in the store.

    The newest comes first. `wide` shows when each was built instead of its age.
    """
    store = local_store()
    manifests = stored_manifests(store)
    if output_format == "json":
        views = [bundle_view(manifest, uri=str(store.path_of(manifest.tag))) for manifest in manifests]
        print_result(json.dumps(views, indent=2))
        return
    print_result(bundle_table(manifests, now=datetime.now(timezone.utc) if output_format == "text" else None))
    if not manifests:
        print_note(f"The store `{store.root}` is empty. `kappa build` puts bundles there.")
