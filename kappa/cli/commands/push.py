"""`kappa push`: from the store of this machine to the team's."""

from __future__ import annotations

import json
from collections.abc import Sequence

import click

from kappa import actions
from kappa.cli.arguments import bundles_at_hand, format_option, targets_argument
from kappa.cli.command import kappa_command, named_namespace
from kappa.cli.console import print_error, print_note, print_result
from kappa.cli.progress import showing_bytes
from kappa.errors import GammaUnreachableError, UsageError
from kappa.tag import ALL_NAMESPACES

__all__ = ["command"]


@kappa_command(
    "push",
    uses_store=True,
    examples=[
        "kappa push IrisClassifier:latest",
        "kappa push IrisClassifier:1.0 WineGrower:2.1",
        "kappa push dist/iris",
        "kappa push --all",
    ],
)
@targets_argument
@click.option("--all", "everything", is_flag=True, help="Send every bundle in the store of this machine.")
@format_option("text", "json")
@click.pass_context
def command(ctx: click.Context, targets: Sequence[str], *, everything: bool, output_format: str) -> int:
    """Send bundles of this machine to the Gamma server.

    Each TARGET is a bundle in the store of this machine, or a path. Only files that the server lacks move; what breaks
    off goes on where it was when the command is given again. A version that is there already stays as it is.

    With `--all`, each goes into its own namespace, and one that cannot be sent does not keep the others from it: the
    exit code is that of the first failure. Aliases, and labels that were changed since the build, stay here.
    """
    if everything and targets:
        raise UsageError("`--all` means every bundle of this machine: name none beside it.")
    if everything:
        return _push_all(named_namespace(ctx) or ALL_NAMESPACES, output_format)
    if not targets:
        raise UsageError(f"Nothing is named: give a bundle, or `--all`. {bundles_at_hand(ctx)}")
    moved = []
    for target in targets:
        with showing_bytes(f"Pushing {target}") as watch:
            bundle = actions.push_bundle(target, on_progress=watch)
        moved.append(bundle)
        if output_format == "text":
            _print_moved(bundle)
    if output_format == "json":
        print_result(json.dumps([bundle.to_tree() for bundle in moved], indent=2))
    return 0


def _push_all(namespace: str, output_format: str) -> int:
    pushes = []
    for push in actions.push_all(namespace=namespace, watching=lambda tag: showing_bytes(f"Pushing {tag}")):
        pushes.append(push)
        if output_format == "text" and push.moved is not None:
            _print_moved(push.moved)
        elif output_format == "text":
            print_error(f"`{push.tag}`: {push.error}")
    errors = [push.error for push in pushes if push.error is not None]
    if output_format == "json":
        print_result(json.dumps([_tree(push) for push in pushes], indent=2))
    else:
        _print_summary(pushes)
    return errors[0].exit_code if errors else 0


def _print_moved(bundle: actions.Moved) -> None:
    print_note(f"`{bundle.tag}` {'was there already' if bundle.was_there else 'is there now'}.")
    if not bundle.is_latest:
        print_note(f"`{bundle.tag.service}:latest` stays another version, which was built later.")
    print_result(str(bundle.tag))


def _print_summary(pushes: Sequence[actions.Push]) -> None:
    moved = [push.moved for push in pushes if push.moved is not None]
    there = sum(bundle.was_there for bundle in moved)
    sent, failed = len(moved) - there, len(pushes) - len(moved)
    print_note(
        f"{len(pushes)} bundle{'' if len(pushes) == 1 else 's'}: {sent} {'is' if sent == 1 else 'are'} there now, "
        f"{there} {'was' if there == 1 else 'were'} there already, {failed} failed."
    )
    if pushes and isinstance(pushes[-1].error, GammaUnreachableError):
        print_note("Bundles after that were not tried. Give the command again to go on.")


def _tree(push: actions.Push) -> dict[str, object]:
    if push.moved is None:
        return {"tag": str(push.tag), "problem": str(push.error)}
    return {**push.moved.to_tree(), "problem": None}
