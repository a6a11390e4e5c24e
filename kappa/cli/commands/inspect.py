"""`kappa inspect`: what a model file says of itself."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import click
from click.shell_completion import CompletionItem

from kappa import actions
from kappa.cli.arguments import format_option
from kappa.cli.command import KappaArgument, kappa_command
from kappa.cli.console import print_result
from kappa.errors import ConfigurationError, printable
from kappa.inspection.report import Model, Tensor
from kappa.wording import sentence, size_of

__all__ = ["command"]

_SHOWN = 12
"""The most names of a list that are shown; JSON has all of them."""
_TELLS = {
    "safe": "safe: every name in it is one that such models are made of",
    "unknown": "unknown: it may run code when it is loaded",
    "dangerous": "dangerous: do not load it",
}


def _complete(_: click.Context, __: click.Parameter, incomplete: str) -> list[CompletionItem]:
    return [CompletionItem(incomplete, type="file")]


@kappa_command(
    "inspect",
    examples=[
        "kappa inspect model.joblib",
        "kappa inspect models/",
        "kappa inspect model.onnx --format json | jq .inputs",
    ],
)
@click.argument(
    "path",
    metavar="FILE|DIR",
    cls=KappaArgument,
    meaning=lambda _: "a model's file, or a folder that is a model or holds one.",
    shell_complete=_complete,
)
@format_option("text", "json")
def command(path: str, output_format: str) -> int:
    """Tell what a model file says of itself, without loading it.

    FILE is what a framework wrote: a pickle, a joblib file, or a format of its own; DIR is a folder that is a model or
    holds one. Nothing that it names is imported or run. The exit code is 3 if it is not a model, is not whole, or
    names what runs commands.
    """
    inspected = actions.inspect_model(Path(path))
    if output_format == "json":
        print_result(json.dumps(inspected.to_tree(), indent=2, ensure_ascii=False))
    else:
        print_result("\n".join(_lines_of(inspected)))
    return ConfigurationError.exit_code if inspected.is_refused else 0


def _lines_of(inspected: actions.InspectedModel) -> Iterator[str]:
    model = inspected.model
    rows = [(label, value) for label, value in _rows_of(inspected) if value]
    width = max(len(label) for label, _ in rows)
    yield printable(inspected.path.as_posix())
    for label, value in rows:
        first, *more = value.split("\n")
        yield f"  {label:{width}}  {printable(first)}"
        yield from (f"  {'':{width}}  {printable(line)}" for line in more)
    if model.problem:
        yield f"\nNot read to its end: {printable(model.problem)}."
    yield from (f"\n{sentence(remark)}" for remark in model.remarks)
    for name, version in inspected.other_versions.items():
        yield f"\nIt was saved with {name} {model.versions[name]}; {version} is installed here."
    if inspected.advice:
        yield f"\n{inspected.advice.rstrip()}"


def _rows_of(inspected: actions.InspectedModel) -> Iterator[tuple[str, str]]:
    model = inspected.model
    yield "kind", _kind_of(model)
    yield "type", model.artifact_type
    yield "class", model.made_of
    yield "steps", "\n".join(f"{step.name}  {step.made_of}" for step in model.steps)
    yield "features", _features_of(model)
    yield "classes", _enumerated([str(label) for label in model.classes])
    yield "inputs", "\n".join(_tensor(tensor) for tensor in model.inputs[:_SHOWN])
    yield "outputs", "\n".join(_tensor(tensor) for tensor in model.outputs[:_SHOWN])
    yield "weights", f"{model.weights} tensors" if model.weights is not None else ""
    yield "saved with", _enumerated([f"{name} {version}" for name, version in model.versions.items()])
    yield "packages", _enumerated(inspected.packages.requirements)
    yield "own modules", _enumerated(inspected.packages.own_modules)
    yield "unknown modules", _enumerated(inspected.packages.unknown_modules)
    yield "imports later", _enumerated(model.later)
    yield "of the script", _enumerated(model.of_main)
    yield "of notebooks", _enumerated(model.notebooks)
    yield "loading", _verdict_of(model)
    yield "size", size_of(model.size_bytes)
    yield "sha256", model.sha256


def _kind_of(model: Model) -> str:
    if not model.kind:
        return "unknown"
    sure = "" if model.certainty == "certain" else f" ({model.certainty})"
    return f"{model.kind}{sure}{f', written by {model.written_by}' if model.written_by else ''}"


def _features_of(model: Model) -> str:
    names = model.feature_names
    types = model.feature_types if len(model.feature_types) == len(names) else ("",) * len(names)
    listed = _enumerated([f"{name} {kind}".rstrip() for name, kind in zip(names, types, strict=True)])
    if model.feature_count is None:
        return listed
    return f"{model.feature_count}: {listed}" if listed else f"{model.feature_count}, without names"


def _tensor(tensor: Tensor) -> str:
    shape = f"[{', '.join(map(str, tensor.shape))}]" if tensor.shape else ""
    return "  ".join(part for part in (tensor.name, tensor.dtype, shape) if part)


def _verdict_of(model: Model) -> str:
    if model.verdict is None:
        return ""
    verdict = model.verdict
    lines = [_TELLS[verdict.state]]
    if verdict.dangerous:
        lines.append(f"runs or reaches {_enumerated(verdict.dangerous)}")
    if verdict.unknown:
        lines.append(f"no list has {_enumerated(verdict.unknown)}")
    return "\n".join([*lines, *(f"it {reason}" for reason in verdict.reasons)])


def _enumerated(words: Sequence[str]) -> str:
    rest = len(words) - _SHOWN
    return ", ".join(words[:_SHOWN]) + (f" and {rest} more" if rest > 0 else "")
