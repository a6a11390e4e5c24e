"""Arguments and options that several commands share, and what is said where an argument is missing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
from click.shell_completion import CompletionItem

from kappa import actions, services
from kappa.cli.command import KappaArgument, KappaCommand
from kappa.errors import KappaError

__all__ = [
    "api_argument",
    "bundle_argument",
    "bundles_argument",
    "bundles_at_hand",
    "choice_argument",
    "complete_setting",
    "file_argument",
    "format_option",
    "target_argument",
    "targets_argument",
]

_SHOWN = 5


def target_argument(*, default: str | None = None, takes_projects: bool = False) -> Callable[[Any], Any]:
    """Add the argument `TARGET`, what a command works on; shells complete it with the tags of the store.

    Without a ``default`` it is required: a bundle, or a project as well where the command ``takes_projects``.
    """
    if default is not None:
        return click.argument("target", required=False, default=default, shell_complete=_complete_target)
    targets = "a bundle, or a project (`.` is the one here)" if takes_projects else "a bundle, by its tag or its path"
    return click.argument(
        "target",
        cls=KappaArgument,
        meaning=lambda ctx: f"{targets}. {bundles_at_hand(ctx)}",
        shell_complete=_complete_target,
    )


def targets_argument(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the argument `TARGET...`, none or several bundles."""
    return click.argument("targets", metavar="[TARGET]...", nargs=-1, shell_complete=_complete_target)(command)


def bundle_argument(name: str) -> Callable[[Any], Any]:
    """Add a required argument that is one bundle."""
    return click.argument(
        name,
        cls=KappaArgument,
        meaning=lambda ctx: f"a bundle, by its tag or its path. {bundles_at_hand(ctx)}",
        shell_complete=_complete_target,
    )


def bundles_argument(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the argument `TARGET...`, one or several bundles."""
    return click.argument(
        "targets",
        metavar="TARGET...",
        nargs=-1,
        required=True,
        cls=KappaArgument,
        meaning=lambda ctx: f"one or several bundles, by their tags or paths. {bundles_at_hand(ctx)}",
        shell_complete=_complete_target,
    )(command)


def file_argument(name: str, *, meaning: str) -> Callable[[Any], Any]:
    """Add a required argument that is a file; ``meaning`` says which."""
    return click.argument(name, cls=KappaArgument, type=click.Path(path_type=Path), meaning=lambda _: meaning)


def api_argument(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the argument `API`, one of those that `TARGET` has."""
    return click.argument("api", cls=KappaArgument, meaning=_meaning_of_api, shell_complete=_complete_api)(command)


def choice_argument(name: str, *choices: str) -> Callable[[Any], Any]:
    """Add an argument that is one of ``choices``."""
    *others, last = (f"`{choice}`" for choice in choices)
    meaning = f"{', '.join(others)} or {last}."
    return click.argument(name, cls=KappaArgument, type=click.Choice(choices), meaning=lambda _: meaning)


def bundles_at_hand(ctx: click.Context) -> str:
    """Return a sentence that says which bundles can be named to a command, and how."""
    if (url := actions.gamma_url()) is not None:
        return f"`kappa list` shows those of the Gamma server `{url}`."
    names = list(dict.fromkeys(f"`{tag.name}:latest`" for tag in actions.stored_tags()))
    if not names:
        here = actions.service_at(Path())
        if here is not None:
            return f"The store is empty: run `kappa build`, then `{ctx.command_path} {here}:latest`."
        return (
            "The store is empty: run `kappa build` in the folder of the kappafile, then "
            f"`{ctx.command_path}` with the tag that it prints."
        )
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    example = f"`{ctx.command_path} {names[0].strip('`')}`"
    return f"The store has {', '.join(names[:_SHOWN])}{more}, e.g. {example}; `kappa list` shows all versions."


def _meaning_of_api(ctx: click.Context) -> str:
    """Say which APIs there are; the first of two words was taken for the target, which it may not have been."""
    target = _target_of(ctx)
    try:
        spec = actions.resolve_target(target).spec
    except KappaError:
        example = f"`{ctx.command_path} . {target}`"
        return f"two words are needed, and `{target}` was taken for TARGET. Write {example}. {bundles_at_hand(ctx)}"
    shown = ", ".join(f"`{api.name}`" for api in spec.apis)
    first = spec.apis[0]
    words = [
        ctx.command_path,
        *([target] if "target" in ctx.params else []),
        first.name,
        services.arguments_for_run(spec, first),
    ]
    return f"the name of an API. `{target}` has {shown}: write `{' '.join(words)}`."


def _target_of(ctx: click.Context) -> Any:
    """Return what a command works on: its argument, or the bundle whose own command it is."""
    command = ctx.command
    fixed = command.fixed.get("target") if isinstance(command, KappaCommand) else None
    return fixed or str(ctx.params.get("target"))


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


def _complete_api(ctx: click.Context, _: click.Parameter, incomplete: str) -> list[CompletionItem]:

    try:
        apis = actions.resolve_target(_target_of(ctx)).spec.apis
    except KappaError:  # a shell that completes words says nothing
        return []
    return [
        CompletionItem(api.name, help=api.doc.partition("\n")[0]) for api in apis if api.name.startswith(incomplete)
    ]


def _complete_target(_: click.Context, __: click.Parameter, incomplete: str) -> list[CompletionItem]:

    tags = [tag for tag in actions.tags_in_store() if tag.startswith(incomplete)]
    return [CompletionItem(tag) for tag in tags] or [CompletionItem(incomplete, type="file")]


def complete_setting(ctx: click.Context, _: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Complete the key of a setting."""
    end = "=" if ctx.params.get("action") == "set" else ""
    return [CompletionItem(f"{key}{end}") for key in actions.setting_keys() if key.startswith(incomplete)]
