"""`kappa test`: replay the examples of a service."""

from __future__ import annotations

import json
import sys
import traceback
from contextlib import redirect_stdout

import click

from kappa import actions, services
from kappa.cli.arguments import format_option, target_argument
from kappa.cli.command import kappa_command
from kappa.cli.console import current_shell, print_note, print_result, showing_logs
from kappa.errors import ExampleFailedError

__all__ = ["command"]


@kappa_command(
    "test",
    uses_store=True,
    examples=[
        "kappa test",
        "kappa test IrisClassifier:latest",
        "kappa test http://localhost:5000 --examples-from IrisClassifier:latest",
    ],
)
@target_argument(default=".")
@click.option(
    "--examples-from",
    metavar="TARGET",
    help="Where the examples are, if not in TARGET; with a URL, the project here by default.",
)
@format_option("text", "json")
def command(target: str | actions.Target, examples_from: str | None, output_format: str) -> None:
    """Replay the examples and compare the answers.

    TARGET is a project (by default the one here), a bundle, or the URL of a running server. Every `[[examples]]` entry
    is sent, and the answer compared with its `expect`, if it has one. The exit code is 9 if any differs.
    """
    url = target if isinstance(target, str) and target.startswith(("http://", "https://")) else None
    exemplary = actions.resolve_target(examples_from or ("." if url else target))
    tested = url or (actions.resolve_target(target) if examples_from else exemplary)
    examples = actions.examples_of(exemplary)
    with redirect_stdout(sys.stderr), showing_logs(current_shell()):  # user code may print
        replays = list(actions.replay_examples(tested, examples))
    if current_shell().is_verbose:
        for replay in replays:
            if replay.cause is not None:
                traceback.print_exception(replay.cause)
    if output_format == "json":
        print_result(json.dumps([replay.to_tree() for replay in replays], indent=2))
    else:
        print_result(services.replay_lines(replays))
    if url is None:
        for sentence in actions.say_what_ran(examples):
            print_note(sentence)
    if failed := sum(1 for replay in replays if replay.problems):
        raise ExampleFailedError(f"{failed} of {len(replays)} examples failed.")
