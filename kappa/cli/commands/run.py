"""`kappa run`: answer inputs without a server."""

from __future__ import annotations

import glob
import sys
import traceback
from collections.abc import Iterable, Iterator, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass, replace
from pathlib import Path
from typing import get_args

import click

from kappa import actions, cli, offline, services
from kappa.cli.arguments import api_argument, target_argument
from kappa.cli.command import kappa_command
from kappa.cli.console import current_shell, print_error, print_failure, showing_logs
from kappa.cli.progress import watching
from kappa.cli.run_arguments import NAMED_INPUTS, NamedInput, ResultForm, RunCommand
from kappa.errors import InferenceFailedError, UsageError
from kappa.types import HEADER_NAME, MEDIA_TYPES, HTTPHeaders, Payload, extension_of

__all__ = ["command"]

_FORMATS = ("csv", "json", "jsonl", "ndjson", "parquet", "arrow", "npy", "txt")
_BYTES_PER_CALL = 32 << 20  # of inputs that are answered together: pictures grow to many times their size


@kappa_command(
    "run",
    uses_store=True,
    cls=RunCommand,
    examples=[
        "kappa run IrisClassifier:latest predict --input '[[5.1, 3.5, 1.4, 0.2]]'",
        "kappa run IrisClassifier:latest predict --input-file iris.csv",
        "kappa run IrisClassifier:latest predict --input-file iris.csv --output csv > answers.csv",
        "kappa run IrisClassifier:latest predict --input-file requests/*.json",
        "kappa run IrisClassifier:latest predict --input '[1, 2]' --header 'Accept: application/json'",
        "kappa run . predict --input '[[5.1, 3.5, 1.4, 0.2]]' '[[6.7, 3.1, 4.7, 1.5]]'",
    ],
)
@target_argument(takes_projects=True)
@api_argument
@click.option("--input", "inputs", metavar="VALUE...", multiple=True, help="One or more request bodies.")
@click.option(
    "--input-file",
    "patterns",
    metavar="FILE...",
    multiple=True,
    help="One or more files, or glob patterns of files, with a request body each; the extension tells the format.",
)
@click.option(
    "--input-format",
    type=click.Choice(_FORMATS),
    help="The format of all inputs, whatever their extension.",
)
@click.option(
    "--header",
    "headers",
    metavar="NAME:VALUE",
    multiple=True,
    help="A header of every request, e.g. `'Accept: text/csv'`; may be repeated.",
)
@click.option(
    "-o",
    "--format",
    "--output",
    "form",
    type=click.Choice(get_args(ResultForm)),
    default="json",
    show_default=True,
    help="How answers are printed: as the server would send them, text without quotes, CSV, or a table.",
)
@click.option(
    "--output-dir",
    type=click.Path(file_okay=False, path_type=Path),
    help="Write each answer into a file of this folder and print its path.",
)
@click.option(
    "--max-batch-size",
    type=click.IntRange(min=1),
    help="The most rows of a file that are answered in one call, or inputs of a batch API, which are otherwise "
    "answered one by one.  [default: as the API declares]",
)
def command(
    target: str | actions.Target,
    api: str,
    inputs: Sequence[str],
    patterns: Sequence[str],
    input_format: str | None,
    headers: Sequence[str],
    form: ResultForm,
    output_dir: Path | None,
    max_batch_size: int | None,
) -> int:
    """Answer inputs from the command line or from files.

    TARGET is a bundle (a path or a tag like `IrisClassifier:latest`), a kappafile or its directory. API is the name of
    one of its APIs.

    Each input gets one line on stdout: the body that the server would have sent, or `null` if it failed. A file of
    rows (CSV, JSON lines, Parquet, each also with `.gz`) is one input of any size; a row of it that fails is `null` in
    its place and a line on stderr. The exit code is 9 if anything failed; what was answered is printed all the same.

    An API of several inputs takes `--input-NAME` or `--input-file-NAME` for each, with as many values for one as for
    the others.
    """
    named: list[NamedInput] = click.get_current_context().meta[NAMED_INPUTS]
    if not inputs and not patterns and not named:
        raise UsageError("There is no input: give `--input` or `--input-file`.")
    _refuse_names_of_files(inputs)
    sent = _headers(headers)
    files = [path for pattern in patterns for path in _files_of(pattern, "--input-file")]
    count = len(inputs) + len(files) + max((len(group) for group in _by_name(named).values()), default=0)
    is_watched = not current_shell().is_quiet and not sys.stdout.isatty()  # answers beside a bar would tear it apart
    answers = cli.printer(form, directory=output_dir, is_alone=count == 1, inputs=files)
    user_output = redirect_stdout(sys.stderr)  # user code may print
    with user_output, showing_logs(current_shell()), actions.open_target(actions.resolve_target(target)) as service:
        inference = actions.api_of(service, api)
        inference.headers = sent
        media_type = MEDIA_TYPES[f".{input_format}"] if input_format else sent["content-type"].partition(";")[0].strip()
        if named or inference.spec.input.part_names:
            requests = _forms(inference, named, is_mixed=bool(inputs or files))
        else:
            requests = _bodies(inference, inputs, files, media_type)
        with watching([request.data for request in requests], is_wanted=is_watched) as watched:
            watched_inputs = [replace(request, data=data) for request, data in zip(requests, watched, strict=True)]
            failed = _answer_all(inference, watched_inputs, answers, max_batch_size)
    if failed and count > 1:
        raise InferenceFailedError(f"{failed} of {count} inputs failed.")
    return InferenceFailedError.exit_code if failed else 0


def _refuse_names_of_files(inputs: Sequence[str]) -> None:
    """Refuse a file's name where its content is meant, also in `curl`'s form; raises `UsageError`."""
    for text in inputs:
        name = text.removeprefix("@")
        is_name = len(name) < _LONGEST_NAME and name.isprintable() and (text.startswith("@") or Path(name).suffix)
        if is_name and Path(name).is_file():
            raise UsageError(f"`{name}` is a file, and `--input` takes a value: use `--input-file {name}`.")


_LONGEST_NAME = 255


def _headers(lines: Sequence[str]) -> HTTPHeaders:
    """Read headers as `curl` takes them; raises `UsageError`."""
    headers: dict[str, str] = {}
    for line in lines:
        name, colon, value = line.partition(":")
        if not colon or not HEADER_NAME.fullmatch(name):
            raise UsageError(f"`--header {line}` is not a header: write `--header 'Name: value'`.")
        headers[name] = value.strip()
    return HTTPHeaders(headers)


@dataclass(frozen=True, slots=True)
class _Input:
    """One input, and its label in messages."""

    label: str
    data: offline.Source


def _files_of(pattern: str, option: str) -> list[Path]:
    """Return the files that a path or glob pattern names; a shell that knows patterns leaves only paths."""
    if Path(pattern).is_file() or pattern == "-":
        return [Path(pattern)]
    matches = sorted(glob.glob(pattern, recursive=True)) if glob.has_magic(pattern) else []  # noqa: PTH207 - absolute patterns, which `Path.glob` refuses
    if files := [path for path in map(Path, matches) if path.is_file()]:
        return files
    kind = "is a directory" if Path(pattern).is_dir() else "does not exist"
    problem = f"No file matches '{pattern}'." if glob.has_magic(pattern) else f"File '{pattern}' {kind}."
    raise click.BadParameter(problem, ctx=click.get_current_context(), param_hint=f"'{option}'")


def _bodies(
    inference: services.Inference, inputs: Sequence[str], files: Sequence[Path], media_type: str
) -> list[_Input]:
    """Return the inputs of an API that takes one body; raises `UsageError` for files whose format is not told."""
    extensions = services.extensions_of(inference.spec.input)
    for path in files:
        is_bare = not _extension(path) and str(path) != "-"  # its first bytes tell
        if not media_type and extensions and not is_bare and _extension(path) not in extensions:
            raise UsageError(
                f"The extension of `{path}` tells no format; known are {', '.join(extensions)}. Give `--input-format`."
            )
    return [
        *(_Input(f"input {number}", Payload(text.encode(), media_type)) for number, text in enumerate(inputs, start=1)),
        *(_Input(str(path), offline.InputFile(path, media_type or _media_type(path))) for path in files),
    ]


def _forms(inference: services.Inference, named: Sequence[NamedInput], *, is_mixed: bool) -> list[_Input]:
    """Return one form for each place in the lists of values that the names have."""
    names = inference.spec.input.part_names
    if is_mixed or not named:
        options = " and ".join(f"`--input-{name}` or `--input-file-{name}`" for name in names)
        raise UsageError(f"`{inference.spec.name}` takes several inputs: give {options}.")
    if unknown := next((value for value in named if value.name not in names), None):
        takes = f"takes {', '.join(map('`{}`'.format, names))}" if names else "takes one input: give `--input`"
        raise UsageError(f"There is no option `{unknown.option}`: `{inference.spec.name}` {takes}.")
    columns = {name: list(_parts(values)) for name, values in _by_name(named).items()}
    if len({len(parts) for parts in columns.values()}) > 1:
        counts = ", ".join(f"{len(parts)} for `{name}`" for name, parts in columns.items())
        raise UsageError(f"Each input needs as many values as the others; there are {counts}.")
    rows = zip(*columns.values(), strict=True)
    forms = (offline.InputForm(tuple(zip(columns, parts, strict=True))) for parts in rows)
    return [_Input(f"input {number}", form) for number, form in enumerate(forms, start=1)]


def _by_name(named: Sequence[NamedInput]) -> dict[str, list[NamedInput]]:
    groups: dict[str, list[NamedInput]] = {}
    for value in named:
        groups.setdefault(value.name, []).append(value)
    return groups


def _parts(values: Sequence[NamedInput]) -> Iterator[Payload | offline.InputFile]:
    for value in values:
        if value.is_file:
            yield from (offline.InputFile(path, _media_type(path)) for path in _files_of(value.value, value.option))
        else:
            yield Payload(value.value.encode())


def _extension(path: Path) -> str:
    """Return a file's extension, that of what is packed if it ends in `.gz`."""
    return extension_of(path.stem if path.suffix == ".gz" else path.name)


def _media_type(path: Path) -> str:
    return MEDIA_TYPES.get(_extension(path), "application/octet-stream")


# -- answering ---------------------------------------------------------------------------------------------------------


def _answer_all(
    inference: services.Inference, inputs: Sequence[_Input], answers: cli.Printer, max_batch_size: int | None
) -> int:
    """Print the answers to every input; return how many inputs failed, wholly or in part."""
    rows_per_call = max_batch_size or inference.spec.max_batch_size
    inputs_per_call = max_batch_size if max_batch_size and inference.spec.batch else 1
    failed = 0
    for group in _groups(inference, inputs, inputs_per_call):
        if len(group) > 1:
            together = offline.answer_together(inference, [offline.payload_of(request.data) for request in group])
            answered: list[Iterable[offline.Event]] = [[event] for event in together]
        else:
            answered = [
                offline.answer_events(inference, request.data, rows_per_call=rows_per_call) for request in group
            ]
        for request, events in zip(group, answered, strict=True):
            failed += not _print_answer(events, request.label, answers, is_alone=len(inputs) == 1)
    answers.close()
    return failed


def _groups(inference: services.Inference, inputs: Sequence[_Input], size: int) -> Iterator[list[_Input]]:
    """Yield the inputs that are answered together; a file of rows is answered by itself."""
    group: list[_Input] = []
    size_bytes = 0
    for request in inputs:
        is_alone = size == 1 or offline.is_file_of_rows(request.data, inference.spec.input)
        if group and (is_alone or len(group) == size or size_bytes > _BYTES_PER_CALL):
            yield group
            group, size_bytes = [], 0
        group.append(request)
        size_bytes += request.data.size_bytes if isinstance(request.data, offline.InputFile) else 0
        if is_alone:
            yield group
            group = []
    if group:
        yield group


def _print_answer(events: Iterable[offline.Event], label: str, answers: cli.Printer, *, is_alone: bool) -> bool:
    """Print the answers to one input; return whether all of it was answered."""
    is_answered, is_whole = False, True
    answers.begin(label)
    try:
        for event in events:
            if isinstance(event, offline.Failure):
                is_whole = False
                _report(event, "" if is_alone else label)
            else:
                answers.write(event)
                is_answered = True
    except KeyboardInterrupt:  # what was answered so far is kept, and valid
        answers.end(is_answered=is_answered)
        raise
    answers.end(is_answered=is_answered)
    return is_whole


def _report(failure: offline.Failure, label: str) -> None:
    if failure.cause is not None and current_shell().is_verbose:
        traceback.print_exception(failure.cause)
    places = [part for part in (label, failure.where) if part]
    text = ": ".join([*places, failure.message])
    if current_shell().is_json:
        print_failure("InferenceFailedError", text, InferenceFailedError.exit_code)
    elif failure.first_row is None:
        print_error(text)
    else:
        click.echo(text, err=True)
