"""`kappa lock`: pin every package of a service, with its hashes, in the file that is committed."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import click

from kappa import actions
from kappa.cli.arguments import format_option
from kappa.cli.command import kappa_command
from kappa.cli.console import print_note, print_result
from kappa.cli.projects import artifact_option, models_of, project_arguments, project_of, resolver_option
from kappa.errors import UsageError

__all__ = ["command"]


@kappa_command(
    "lock",
    is_live=True,
    examples=[
        "kappa lock",
        "kappa lock --upgrade",
        "kappa lock --upgrade-package pandas --upgrade-package numpy",
        "kappa lock --pin-base-image",
        "kappa lock --check",
    ],
)
@project_arguments
@artifact_option
@click.option("--upgrade", is_flag=True, help="Take the newest version of every package.")
@click.option(
    "-P", "--upgrade-package", "packages", metavar="NAME", multiple=True, help="Take its newest version; repeatable."
)
@click.option("--pin-base-image", is_flag=True, help="Pin the base image too, by its digest in its registry now.")
@click.option("--check", is_flag=True, help="Say whether the lock is up to date, and change nothing.")
@resolver_option
@format_option("text", "json")
def command(
    target: Path | None,
    file: Path | None,
    artifacts: Sequence[str],
    packages: Sequence[str],
    resolver: str | None,
    *,
    upgrade: bool,
    pin_base_image: bool,
    check: bool,
    output_format: str,
) -> None:
    """Pin every package of a service, with its hashes.

    The result is `kappafile.lock`, beside the kappafile and to be committed with it. Versions stay as they are as long
    as they fit what is asked for. TARGET is a kappafile or its directory; without it, `--file`, or else the kappafile
    of the current directory. With `--check`, the exit code is 5 if the lock is missing, out of date or edited by hand.
    """
    if check and (upgrade or packages or pin_base_image):
        other = "--pin-base-image" if pin_base_image else "--upgrade"
        raise UsageError(f"`--check` changes nothing, so `{other}` has no meaning beside it.")
    project = actions.project_to_build(project_of(target, file), models=models_of(artifacts))
    if check:
        lock = actions.check_project_lock(project, resolver=resolver)
        record = {"up_to_date": True, "packages": len(lock.pins), "resolver": lock.resolver}
        where = "" if lock.target.is_running else f" for Python {lock.python} on {lock.platform.replace(',', ', ')}"
        text = f"The lock is up to date: {len(lock.pins)} packages{where}."
        print_result(json.dumps(record, indent=2) if output_format == "json" else text)
        return
    path, done = actions.lock_project(
        project, upgrade=upgrade, packages=packages, resolver=resolver, pin_base_image=pin_base_image
    )
    changes = done.changes
    if output_format == "json":
        record = {
            "path": str(path),
            "written": done.is_written,
            "packages": len(done.lock.pins),
            "resolver": done.lock.resolver,
            "base_image": done.lock.base_image or None,
            "changes": [
                {"name": name, "before": old or None, "after": new or None} for name, (old, new) in changes.items()
            ],
        }
        print_result(json.dumps(record, indent=2))
        return
    for name, (old, new) in changes.items():
        print_note(f"{'+' if not old else '-' if not new else '~'} {name} {' -> '.join(filter(None, (old, new)))}")
    if pin_base_image:
        print_note(f"Images start from `{done.lock.base_image}`.")
    done_what = "Wrote" if done.is_written else "Nothing changed in"
    print_note(f"{done_what} `{path.name}`: {len(done.lock.pins)} packages, pinned by {done.lock.resolver}.")
    print_result(str(path))
