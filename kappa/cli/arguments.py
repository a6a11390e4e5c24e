"""Arguments and options that several commands share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click
from click.shell_completion import CompletionItem

__all__ = ["format_option", "target_argument", "targets_argument"]


def target_argument(*, default: str | None = None) -> Callable[[Any], Any]:
    """Add the argument `TARGET`, what a command works on; shells complete it with the tags of the store."""
    return click.argument("target", required=default is None, default=default, shell_complete=_complete_target)


def targets_argument(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the argument `TARGET...`, none or several bundles."""
    return click.argument("targets", metavar="[TARGET]...", nargs=-1, shell_complete=_complete_target)(command)


def format_option(*choices: str, default: str | None = None) -> Callable[[Any], Any]:
    """Add `--format`; the first choice is the default unless another is given."""
    return click.option(
        "-o",
        "--format",
        "output_format",
        type=click.Choice(choices),
        default=default or choices[0],
        show_default=True,
        help="How the result is printed.",
    )


def _complete_target(_: click.Context, __: click.Parameter, incomplete: str) -> list[CompletionItem]:
    from kappa.actions.targets import stored_tags

    tags = [tag for tag in map(str, stored_tags()) if tag.startswith(incomplete)]
    return [CompletionItem(tag) for tag in tags] or [CompletionItem(incomplete, type="file")]
