"""`kappa build`: from a kappafile to a bundle."""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Literal

import click

from kappa import actions
from kappa.cli.arguments import format_option
from kappa.cli.command import kappa_command
from kappa.cli.console import print_note, print_result
from kappa.cli.progress import showing_bytes
from kappa.cli.projects import (
    artifact_option,
    compile_option,
    models_of,
    project_arguments,
    project_of,
    resolver_option,
)
from kappa.errors import UsageError
from kappa.labels import parse_labels

__all__ = ["command"]


@kappa_command(
    "build",
    uses_store=True,
    is_live=True,
    examples=[
        "kappa build",
        "kappa build -f kappafile.gpu.toml --label team=growth --label stage=test",
        "kappa build --output dist/iris --version 1.0.0",
        "kappa build --locked",
        "kappa build --dry-run",
        "kappa build --artifact model=/models/2026-11-30/model.joblib",
        "kappa build --compile",
        "kappa build iris_classifier:IrisClassifier --artifact model=model.joblib",
    ],
)
@project_arguments
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    metavar="DIRECTORY",
    help="Write the bundle to this directory instead of the store, replacing an earlier one of the service.",
)
@artifact_option
@compile_option
@click.option("--version", help="The version.  [default: made from the time and the content]")
@click.option(
    "--label",
    "--labels",
    "labels",
    metavar="KEY=VALUE",
    multiple=True,
    help="Label the bundle; repeatable, and several may be joined by commas. KEY:VALUE is the same.",
)
@click.option("--locked", is_flag=True, help="Use `kappafile.lock`, and fail if it is out of date.")
@click.option(
    "--upgrade", is_flag=True, help="Resolve the newest versions, and update `kappafile.lock` if there is one."
)
@resolver_option
@click.option("--no-try", is_flag=True, help="Do not import the code and load the models once from the new bundle.")
@click.option("--dry-run", is_flag=True, help="Print what would be built, and write nothing.")
@format_option("text", "json")
def command(
    target: Path | None,
    file: Path | None,
    output: Path | None,
    artifacts: Sequence[str],
    compiled: Sequence[str],
    version: str | None,
    labels: Sequence[str],
    resolver: str | None,
    *,
    locked: bool,
    upgrade: bool,
    no_try: bool,
    dry_run: bool,
    output_format: str,
) -> None:
    """Build a bundle: locked, self-contained, ready to serve.

    TARGET is a kappafile or its directory; without it, `--file`, or else the kappafile of the current directory. It may
    also be a class as `module:Class`, looked for in the current directory. The bundle goes to the store, where its tag
    names it from now on. The last line on stdout is its path.
    """
    read = partial(actions.project_to_build, project_of(target, file), models=models_of(artifacts), compiled=compiled)
    parsed = parse_labels(labels)
    if locked and upgrade:
        raise UsageError("`--locked` and `--upgrade` exclude each other.")
    if dry_run:
        plan = actions.plan_of(read(), version=version, labels=parsed, resolver=resolver)
        print_result(json.dumps(plan.to_tree(), indent=2) if output_format == "json" else plan.summary())
        return
    signal.signal(signal.SIGTERM, _stop)
    lock_mode: Literal["reuse", "locked", "upgrade"] = "locked" if locked else "upgrade" if upgrade else "reuse"
    with showing_bytes("Pushing") as watch:
        built = actions.build_project(
            read,
            version=version,
            labels=parsed,
            output=output,
            resolver=resolver,
            lock_mode=lock_mode,
            no_try=no_try,
            on_progress=watch,
        )
    if output_format == "json":
        print_result(json.dumps(_record(built), indent=2))
    else:
        print_note(f"Built `{built.manifest.tag}` with {len(built.manifest.files)} files.")
        print_result(str(built.directory))


def _record(built: actions.Built) -> dict[str, str]:
    manifest = built.manifest
    return {
        "tag": str(manifest.tag),
        "name": manifest.name,
        "version": manifest.version,
        "path": str(built.directory),
        "content_digest": manifest.content_digest,
        "bundle_digest": manifest.bundle_digest,
    }


def _stop(number: int, _: FrameType | None) -> None:
    """Unwind, so that what was staged is removed; the exit code is that of a process killed by the signal."""
    sys.exit(128 + number)
