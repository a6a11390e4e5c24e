"""`kappa test`: replay the examples of a service."""

from __future__ import annotations

import json
import sys
import traceback
from collections.abc import Sequence
from contextlib import redirect_stdout

import click

from kappa.actions.examples import examples_of, replay_examples, say_what_ran
from kappa.actions.targets import Target, resolve_target
from kappa.cli.arguments import format_option, target_argument
from kappa.cli.command import kappa_command
from kappa.cli.console import current_shell, print_note, print_result, showing_logs
from kappa.errors import ExampleFailedError
from kappa.services.comparison import Replay, replay_lines
from kappa.spec.contracts import thaw

__all__ = ["command"]


@kappa_command(
    "test",
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
def command(target: str | Target, examples_from: str | None, output_format: str) -> None:
    """Replay the examples and compare the answers.

    TARGET is a project (by default the one here), a bundle, or the URL of a running server. Every `[[examples]]` entry
    is sent, and the answer compared with its `expect`, if it has one. The exit code is 9 if any differs.
    """
    url = target if isinstance(target, str) and target.startswith(("http://", "https://")) else None
    exemplary = resolve_target(examples_from or ("." if url else target))
    tested = url or (resolve_target(target) if examples_from else exemplary)
    examples = examples_of(exemplary)
    with redirect_stdout(sys.stderr), showing_logs(current_shell()):  # user code may print
        replays = list(replay_examples(tested, examples))
    if current_shell().is_verbose:
        for replay in replays:
            if replay.cause is not None:
                traceback.print_exception(replay.cause)
    print_result(_as_json(replays) if output_format == "json" else replay_lines(replays))
    if url is None:
        for sentence in say_what_ran(examples):
            print_note(sentence)
    if failed := sum(1 for replay in replays if replay.problems):
        raise ExampleFailedError(f"{failed} of {len(replays)} examples failed.")


def _as_json(replays: Sequence[Replay]) -> str:
    return json.dumps(
        [
            {
                "name": replay.example.name,
                "api": replay.example.api,
                "passed": not replay.problems,
                "problems": replay.problems,
                "expected": thaw(replay.example.expect),
                "got": replay.got,
                "duration_ms": round(replay.duration_ms, 3),
            }
            for replay in replays
        ],
        indent=2,
    )
