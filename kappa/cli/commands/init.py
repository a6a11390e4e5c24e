"""`kappa init`: the first kappafile of a model."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource
from click.shell_completion import CompletionItem

from kappa import actions
from kappa.cli.arguments import format_option
from kappa.cli.command import kappa_command
from kappa.cli.console import is_terminal, print_note, print_result
from kappa.environment import expanded
from kappa.errors import PluginNotFoundError, UsageError
from kappa.plugins import ARTIFACTS, INPUT_ADAPTERS, PluginRegistry
from kappa.tag import check_identifier, check_name
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
        "kappa init",
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

    MODEL_FILE is a model's file or folder. Without it, a terminal is asked for it and for what options do not say: the
    type, the input adapter, the API and the name; where there is no terminal, it is the model that is here. The
    kappafile is written into the current directory, by what the model says of itself, with nothing of it run. Its first
    example holds the model's own answer: for that it is loaded and called once, in a process of its own, if a question
    on the terminal or `--yes` allows it. Nothing that is there is overwritten.
    """
    asks = is_terminal() and not yes
    actions.check_vacancy(Path())
    if model is None and asks:
        path = _asked_model()
        options = _asked_options(path, options)
    else:
        path = _model_here() if model is None else Path(model)
    start = actions.plan_start(path, Path(), name=name, has_example=not no_example, **options)
    if asks and name is None:
        chosen = _asked("Name of the service", start.context.service, _checked_by(check_name))
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


def _model_here() -> Path:
    """Return the model's file that lies here; raises `UsageError` if there is none."""
    model = actions.model_at_hand(Path())
    if model is None:
        raise UsageError(
            "There is no model's file here: name one, `kappa init MODEL_FILE`. What its file does not say, `--type`, "
            "`--input`, `--api`, `--method` and `--name` do; a terminal is asked for all of it."
        )
    return model


# -- questions ---------------------------------------------------------------------------------------------------------


def _asked(question: str, default: str | None, checked: Callable[[str], str]) -> str:
    """Return the answer to a question, which is asked again until it is one that is ``checked``."""
    answer: str = click.prompt(question, default=default, value_proc=checked, err=True)
    return answer


def _asked_model() -> Path:
    model = actions.model_at_hand(Path())
    return Path(_asked("Model's file or folder", str(model) if model is not None else None, _checked_path))


def _asked_options(path: Path, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return options with the answers to the questions that no option answers."""
    answers, facts = dict(options), actions.model_facts(path)
    if answers["artifact_type"] is None:
        answers["artifact_type"] = _asked("Artifact type", facts.artifact_type or None, _one_of(ARTIFACTS))
    if answers["factory"] is None and facts.holds_weights and answers["artifact_type"] == "pytorch":
        answers["factory"] = _asked("Function of yours that makes their module (MODULE:FUNCTION)", None, str)
    if answers["input_type"] is None:
        default = actions.plan_start(path, Path(), has_example=False, **answers).context.input_type
        chosen = _asked("Input adapter", default, _one_of(INPUT_ADAPTERS))
        answers["input_type"] = chosen if chosen != default else None
    source = click.get_current_context().get_parameter_source("api")
    if source is ParameterSource.DEFAULT:
        answers["api"] = _asked("Name of the API", answers["api"], _checked_by(check_identifier))
    return answers


def _one_of(registry: PluginRegistry) -> Callable[[str], str]:
    """Return what checks the name of a plugin."""

    def checked(name: str) -> str:
        try:
            registry.load(name)
        except PluginNotFoundError as exc:
            raise click.UsageError(f"{exc} There are {', '.join(registry.names())}.") from None
        return name

    return checked


def _checked_path(text: str) -> str:
    path = expanded(text)
    if not path.exists():
        raise click.UsageError(f"there is no file or folder `{text}`.")
    return str(path)


def _checked_by(check: Callable[[str], str]) -> Callable[[str], str]:
    """Return what has a question asked again where ``check`` raises `ValueError`."""

    def checked(text: str) -> str:
        try:
            return check(text)
        except ValueError as exc:
            raise click.UsageError(str(exc)) from None

    return checked


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
