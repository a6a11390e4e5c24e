"""`kappa run`: answer inputs without a server."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Collection, Iterator, Sequence
from contextlib import redirect_stdout
from pathlib import Path

import click

from kappa.actions import api_of, open_target, resolve_target
from kappa.cli.arguments import target_argument
from kappa.cli.command import KappaCommand, kappa_command
from kappa.cli.console import current_shell, print_error
from kappa.errors import InferenceFailedError, UsageError
from kappa.inference import read_payload
from kappa.offline import Failure, answer_parts
from kappa.types import MEDIA_TYPES, Payload

__all__ = ["command", "spread_values"]

_FORMATS = {extension.removeprefix("."): media_type for extension, media_type in MEDIA_TYPES.items()}


class _RunCommand(KappaCommand):
    """Takes several values after one `--input`, as a shell gives them for `--input-file *.json`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        options = [parameter for parameter in self.params if isinstance(parameter, click.Option)]
        return super().parse_args(
            ctx,
            spread_values(
                args,
                spreading={"--input", "--input-file"},
                with_value={name for option in options if not option.is_flag for name in option.opts},
                flags={name for option in options if option.is_flag for name in option.opts} | {"-h", "--help"},
                arguments=len(self.params) - len(options),
            ),
        )


def spread_values(
    args: Sequence[str],
    *,
    spreading: Collection[str],
    with_value: Collection[str],
    flags: Collection[str],
    arguments: int,
) -> list[str]:
    """Rewrite ``--input a b`` to ``--input a --input b``.

    Only once the ``arguments`` positional words were seen: before, the word after the first value is one of them. A
    value may begin with a dash, as negative numbers do, unless it is the name of an option.
    """
    rewritten: list[str] = []
    words = list(args)
    seen = 0
    while words:
        word = words.pop(0)
        rewritten.append(word)
        if word == "--":
            return rewritten + words
        if word in with_value:
            rewritten += words[:1]
            del words[:1]
            while word in spreading and seen >= arguments and words and words[0] not in {*with_value, *flags, "--"}:
                if words[0].startswith("--"):
                    break
                rewritten += [word, words.pop(0)]
        elif word not in flags and not word.startswith("--"):
            seen += 1
    return rewritten


@kappa_command(
    "run",
    cls=_RunCommand,
    examples=[
        "kappa run IrisClassifier:latest predict --input '[[5.1, 3.5, 1.4, 0.2]]'",
        "kappa run IrisClassifier:latest predict --input-file iris.csv",
        "kappa run IrisClassifier:latest predict --input-file requests/*.json",
        "kappa run . predict --input '[[5.1, 3.5, 1.4, 0.2]]' '[[6.7, 3.1, 4.7, 1.5]]'",
    ],
)
@target_argument()
@click.argument("api")
@click.option("--input", "inputs", metavar="VALUE...", multiple=True, help="One or more request bodies.")
@click.option(
    "--input-file",
    "files",
    metavar="FILE...",
    multiple=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help=f"One or more files with a request body each; the extension tells the format: {', '.join(MEDIA_TYPES)}.",
)
@click.option(
    "--input-format", type=click.Choice(list(_FORMATS)), help="The format of all inputs, whatever their extension."
)
@click.option(
    "--max-batch-size",
    type=click.IntRange(min=1),
    help="The most rows of a file that are answered in one call.  [default: as the API declares]",
)
def command(
    target: str,
    api: str,
    inputs: Sequence[str],
    files: Sequence[Path],
    input_format: str | None,
    max_batch_size: int | None,
) -> int:
    """Answer inputs from the command line or from files.

    TARGET is a bundle (a path or a tag like `IrisClassifier:latest`), a kappafile or its directory. API is the name of
    one of its APIs.

    Each input gets one line on stdout: the body that the server would have sent, or `null` if it failed. A CSV or
    JSON-lines file is one input; a row of it that fails is `null` in its place and a line on stderr. The exit code is 9
    if anything failed.
    """
    if not inputs and not files:
        raise UsageError("There is no input: give `--input` or `--input-file`.")
    if not input_format and (unknown := [path for path in files if path.suffix.lower() not in MEDIA_TYPES]):
        known = ", ".join(MEDIA_TYPES)
        raise UsageError(f"The extension of `{unknown[0]}` tells no format; known are {known}. Give `--input-format`.")
    stdout = sys.stdout.buffer
    failed = 0
    with redirect_stdout(sys.stderr), open_target(resolve_target(target)) as service:  # user code may print
        inference = api_of(service, api)
        rows_per_call = max_batch_size or inference.spec.max_batch_size
        for payload in _payloads(inputs, files, input_format):
            label = payload.name if len(inputs) + len(files) > 1 else ""
            is_whole = True
            for part in answer_parts(inference, payload, rows_per_call=rows_per_call):
                if isinstance(part, Failure):
                    is_whole = False
                    _report(part, label)
                else:
                    stdout.write(part)
            stdout.write(b"\n")
            stdout.flush()
            failed += not is_whole
    if failed and len(inputs) + len(files) > 1:
        raise InferenceFailedError(f"{failed} of {len(inputs) + len(files)} inputs failed.")
    return InferenceFailedError.exit_code if failed else 0


def _payloads(inputs: Sequence[str], files: Sequence[Path], input_format: str | None) -> Iterator[Payload]:
    media_type = _FORMATS[input_format] if input_format else None
    for number, text in enumerate(inputs, start=1):
        yield Payload(text.encode(), media_type or "", name=f"input {number}")
    for path in files:
        yield Payload(path.read_bytes(), media_type, name=str(path)) if media_type else read_payload(path)


def _report(failure: Failure, label: str) -> None:
    if failure.cause is not None and current_shell().is_verbose:
        traceback.print_exception(failure.cause)
    places = [place for place in (label, failure.where) if place]
    if failure.first_row is None:
        print_error(": ".join([*places, failure.message]))
    else:
        click.echo(": ".join([*places, failure.message]), err=True)
