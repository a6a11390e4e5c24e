"""`kappa init`: the first kappafile of a model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click
from click.shell_completion import CompletionItem

from kappa import actions
from kappa.cli.arguments import format_option
from kappa.cli.command import kappa_command
from kappa.cli.console import is_terminal, print_note, print_result
from kappa.errors import UsageError
from kappa.plugins import ARTIFACTS, INPUT_ADAPTERS
from kappa.wording import listed

__all__ = ["command"]


def _complete(_: click.Context, __: click.Parameter, incomplete: str) -> list[CompletionItem]:
    return [CompletionItem(incomplete, type="file")]


def _complete_type(_: click.Context, __: click.Parameter, incomplete: str) -> list[CompletionItem]:
    return [CompletionItem(name) for name in ARTIFACTS.names() if name.startswith(incomplete)]


def _complete_input(_: click.Context, __: click.Parameter, incomplete: str) -> list[CompletionItem]:
    return [CompletionItem(name) for name in INPUT_ADAPTERS.names() if name.startswith(incomplete)]


@kappa_command(
    "init",
    examples=[
        "kappa init model.joblib",
        "kappa init model.joblib --name HousePrice --yes",
        "kappa init model.pkl --sample houses.csv --method predict_proba",
        "kappa init model.onnx --yaml --no-example",
        "kappa init digits.safetensors --factory nets:make",
    ],
)
@click.argument("model", metavar="[MODEL_FILE]", required=False, shell_complete=_complete)
@click.option("--name", help="The service's name.  [default: made of the file's]")
@click.option(
    "--type",
    "artifact_type",
    metavar="TYPE",
    shell_complete=_complete_type,
    help="The artifact type, as `kappa explain artifacts` lists them.  [default: what the file says]",
)
@click.option(
    "--factory", metavar="MODULE:FUNCTION", help="The function of yours that makes the module for weights of PyTorch."
)
@click.option("--api", default="predict", show_default=True, metavar="NAME", help="The name of the API.")
@click.option("--method", default="predict", show_default=True, help="The model's method that answers.")
@click.option(
    "--input",
    "input_type",
    metavar="ADAPTER",
    shell_complete=_complete_input,
    help="The input adapter.  [default: what the file and its type say]",
)
@click.option(
    "--sample",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Requests to begin with, e.g. rows of CSV.  [default: `sample.csv`, if it is there]",
)
@click.option("--yaml", "is_yaml", is_flag=True, help="Write `kappafile.yaml` in place of `kappafile.toml`.")
@click.option("--no-example", is_flag=True, help="Write no example, and do not load the model.")
@click.option(
    "-y", "--yes", is_flag=True, help="Do not ask: load the model for the first example, and take every default."
)
@format_option("text", "json")
def command(
    model: str | None,
    name: str | None,
    *,
    yes: bool,
    no_example: bool,
    output_format: str,
    **options: Any,
) -> None:
    """Write the first kappafile of a model.

    MODEL_FILE is a model's file or folder, by default the one that is here. The kappafile is written into the current
    directory, by what the model says of itself, with nothing of it run. Its first example holds the model's own answer:
    for that it is loaded and called once, in a process of its own, if a question on the terminal or `--yes` allows it.
    Nothing that is there is overwritten.
    """
    asks = is_terminal() and not yes
    path = Path(model) if model is not None else _model(asks=asks)
    start = actions.plan_start(path, Path(), name=name, has_example=not no_example, **options)
    if asks and name is None:
        chosen = click.prompt("Name of the service", default=start.context.service, err=True)
        start = actions.plan_start(path, Path(), name=chosen, has_example=not no_example, **options)
    if start.context.request and (yes or (asks and _may_load(start))):
        start = actions.first_answer(start)
    else:
        start = actions.without_example(start)
    written = actions.write_start(start)
    if output_format == "json":
        print_result(json.dumps({"written": written, **start.to_tree()}, indent=2, ensure_ascii=False))
    else:
        print_result(f"Wrote {listed(written)}.")
        _say_next(start)


def _model(*, asks: bool) -> Path:
    """Return the model's file that lies here, or the answer to a question for it."""
    model = actions.model_at_hand(Path())
    if asks:
        shown = str(model) if model is not None else None
        return Path(click.prompt("Model's file or folder", default=shown, err=True)).expanduser()
    if model is None:
        raise UsageError("There is no model's file here: name one, `kappa init MODEL_FILE`.")
    return model


def _may_load(start: actions.Start) -> bool:
    verdict = start.inspected.model.verdict
    unknown = listed(verdict.unknown[:5]) if verdict is not None and verdict.state == "unknown" else ""
    if verdict is not None and verdict.state == "unknown":
        print_note(f"Loading the model may run code: {f'no list has {unknown}' if unknown else 'it holds code'}.")
    return click.confirm("Load the model, and call it once for the first example?", default=not unknown, err=True)


def _say_next(start: actions.Start) -> None:
    if start.context.request:
        print_note("`kappa test` replays the example, `kappa serve` answers requests:")
    else:
        print_note("`kappa test` shows an example to begin with, `kappa serve` answers requests:")
    print_note(f"\n  {start.curl()}")
