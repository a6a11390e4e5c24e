"""`kappa completion`: the script that makes a shell complete commands, options and tags."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from kappa.cli.arguments import choice_argument
from kappa.cli.command import kappa_command
from kappa.cli.console import print_result

__all__ = ["command"]


@kappa_command(
    "completion",
    examples=[
        'eval "$(kappa completion bash)"    # in ~/.bashrc',
        'eval "$(kappa completion zsh)"     # in ~/.zshrc',
        "kappa completion fish > ~/.config/fish/completions/kappa.fish",
    ],
)
@choice_argument("shell", "bash", "zsh", "fish")
@click.pass_context
def command(ctx: click.Context, shell: str) -> None:
    """Print the script that completes commands in a shell."""
    root = ctx.find_root()
    program = root.info_name or "kappa"
    variable = f"_{program.replace('-', '_').upper()}_COMPLETE"
    if (completion := get_completion_class(shell)) is None:
        raise click.UsageError(f"There is no completion for `{shell}`.", ctx)
    print_result(completion(root.command, {}, program, variable).source())
