"""`kappa builds`: what was built on this machine, and how."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime, timezone
from typing import Any

import click

from kappa import actions
from kappa.cli.arguments import format_option
from kappa.cli.command import kappa_command
from kappa.cli.console import print_note, print_result
from kappa.cli.tables import age_of, text_table

__all__ = ["command"]

_LOCKS = {"committed": "kappafile.lock", "cached": "reused", "resolved": "new"}


@kappa_command(
    "builds", examples=["kappa builds", "kappa builds IrisClassifier --limit 5", "kappa builds --format json"]
)
@click.argument("name", required=False)
@click.option(
    "--limit", type=click.IntRange(min=1), default=20, show_default=True, help="The maximum number of builds."
)
@format_option("text", "json")
def command(name: str | None, limit: int, output_format: str) -> None:
    """Show what was built on this machine, and how.

    The newest comes first, failed builds too. NAME is a service. The ledger is `builds.json` in `$KAPPA_HOME`; nothing
    else reads it, and it may be deleted. LOCK is where the packages came from, STEPS how many seconds each step took.
    """
    builds = actions.past_builds(name=name, limit=limit)
    if output_format == "json":
        print_result(json.dumps(builds, indent=2))
        return
    now = datetime.now(timezone.utc)
    rows = [["AGE", "BUNDLE", "LOCK", "SECONDS", "STEPS", "PROJECT"], *(_row(build, now) for build in builds)]
    print_result(text_table(rows))
    if not builds:
        print_note("Nothing was built here yet." if name is None else f"`{name}` was not built here yet.")


def _row(build: Mapping[str, Any], now: datetime) -> list[str]:
    started = datetime.fromisoformat(build["started_at"].replace("Z", "+00:00"))
    name = build.get("name", "?")
    lock = build.get("lock", {})
    return [
        age_of(started, now=now),
        f"{name}:{build['version']}" if build["status"] == "built" else f"{name} failed: {build.get('error', '?')}",
        _LOCKS.get(lock.get("origin", ""), "-"),
        f"{build['total_seconds']:.2f}",
        " ".join(f"{step}={seconds:.2f}" for step, seconds in build["seconds"].items()),
        build.get("project", "-"),
    ]
