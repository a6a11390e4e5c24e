"""The first kappafile of a model: what its file says, one request, and the model's own answer to it.

The file is read without loading the model. Only `first_answer` calls it, in a process of its own.
"""

from __future__ import annotations

import json
import math
import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from kappa import build
from kappa.actions.inspecting import InspectedModel, inspect_model
from kappa.adapters.dataframe import DataframeInput
from kappa.adapters.signature import DTYPES
from kappa.build.code.child import Runner, run_program, send_order
from kappa.build.code.sampled_columns import columns_of_sample
from kappa.build.manifest.kappafile import KAPPAFILE_NAMES, kappafiles_in
from kappa.build.manifest.nearby_models import find_model, sample_beside, service_name_for, type_of_model
from kappa.errors import ConfigurationError, InferenceFailedError, UsageError
from kappa.inspection.report import Model
from kappa.rendering.starters import KappafileContext, YamlKappafileContext
from kappa.rendering.templates import render
from kappa.services.sample_requests import arguments_for_curl
from kappa.spec.contracts import ArtifactPlugin, artifact_of, input_of
from kappa.wording import listed, quoted, sentence

__all__ = [
    "ModelFacts",
    "Start",
    "check_vacancy",
    "first_answer",
    "model_at_hand",
    "model_facts",
    "plan_start",
    "without_example",
    "write_start",
]

_GITIGNORE = ".gitignore"
_LONGEST = 300
"""Characters of a request that stands in the kappafile itself; a longer one has a file of its own."""
_LONGEST_ANSWER = 4000
_MOST_NUMBERS = 10_000
"""Numbers of a request that is made up."""
_PRECISION = 1e-5
"""How far an answer may be from the first one, as a part of its largest number: machines compute differently."""
_TABLES = frozenset({".csv", ".parquet", ".tsv"})


@dataclass(frozen=True, slots=True)
class Start:
    """A kappafile that is not written yet, and what goes beside it."""

    root: Path
    inspected: InspectedModel
    context: KappafileContext

    @property
    def kappafile(self) -> Path:
        return self.root / KAPPAFILE_NAMES["yaml" in self.context.template]

    @property
    def request_file(self) -> str:
        """The file for a request that is too long for the kappafile; empty if there is none."""
        is_long = len(_json(self.context.request.get("input"))) > _LONGEST
        return f"samples/{self.context.api}.json" if is_long else ""

    @property
    def files(self) -> Mapping[str, str]:
        """The texts of the files that are written, by their paths from the root."""
        context, request = self.context, self.request_file
        if not request:
            return {self.kappafile.name: render(context)}
        body = _json(context.request["input"])
        return {
            request: f"{body}\n",
            self.kappafile.name: render(replace(context, request={"input_file": request})),
        }

    @property
    def gitignore(self) -> str:
        """The line that keeps the model out of git."""
        return f"/{self.context.path}"

    def curl(self) -> str:
        """Return the command that asks a server on this machine."""
        project, _ = build.check_kappafile(self.kappafile, text=render(self.context))
        sample = self.context.request.get("input_file", "")
        file = self.request_file or (sample if sample.endswith(".json") else "")
        if project is None or file:
            body = f"--header 'Content-Type: application/json' --data {shlex.quote(f'@{file}')}"
        else:
            body = arguments_for_curl(project.spec, project.spec.api(self.context.api))
        return f"curl localhost:5000/{self.context.api} {body}"

    def to_tree(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        context = self.context
        return {
            "service": context.service,
            "artifact_type": context.artifact_type,
            "model": context.path,
            "api": context.api,
            "method": context.method,
            "input": context.input_type,
            "example": {**context.request, **context.answer} or None,
        }


def model_at_hand(root: Path) -> Path | None:
    """Return the model's file that lies in a folder or below it, if there is one."""
    return find_model(root)


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """What a model's file says before anything is decided about it."""

    artifact_type: str
    """The type that takes it; empty if the file does not tell."""
    holds_weights: bool
    """Whether it holds weights alone, whose module a function of the user's makes."""


def model_facts(path: Path) -> ModelFacts:
    """Read a model's file or folder; raises `UsageError` for a path that is not there."""
    inspected = inspect_model(path)
    kind = inspected.model.artifact_type or type_of_model(inspected.path) or ""
    return ModelFacts(kind, bool(inspected.model.weights))


def check_vacancy(root: Path) -> None:
    """Raise `UsageError` for a folder that has a kappafile."""
    if there := kappafiles_in(root.resolve()):
        raise UsageError(f"{quoted(there[0].name)} is there already, and `kappa init` overwrites nothing.")


def plan_start(
    path: Path,
    root: Path,
    *,
    name: str | None = None,
    artifact_type: str | None = None,
    factory: str | None = None,
    api: str = "predict",
    method: str = "predict",
    input_type: str | None = None,
    sample: Path | None = None,
    has_example: bool = True,
    is_yaml: bool = False,
) -> Start:
    """Decide about the kappafile that serves the model at ``path`` from the folder ``root``; nothing is written.

    Raises `UsageError` for paths that cannot be meant, `ConfigurationError` for a model that could not be served.
    """
    root = root.resolve()
    check_vacancy(root)
    inspected = inspect_model(path)
    model, inside = inspected.model, _inside(inspected.path, root)
    plugin = _plugin(inspected, artifact_type, factory)
    if sample is None:
        text = sample_beside(inside, root)
        sample = root / text if text is not None else None
    adapter = _input(inspected, plugin, root, input_type=input_type, sample=sample)
    request: dict[str, Any] = {}
    if has_example and sample is not None:
        request = {"input_file": _inside(sample, root)}
    elif has_example and (body := _request(adapter, model)) is not None:
        request = {"input": body}
    context = (YamlKappafileContext if is_yaml else KappafileContext)(
        service=name or service_name_for(inspected.path),
        artifact_type=plugin.type,
        path=inside,
        factory=factory or "",
        model=_in_words(model),
        is_pickle=plugin.runs_code(plugin.needs_of_file(inspected.path)),
        api=api,
        method=method,
        input_type=adapter.type,
        columns=(adapter.options.get("columns") or ()) if isinstance(adapter, DataframeInput) else (),
        options={key: value for key, value in adapter.options.items() if key != "columns"},
        batch=_batch(model, plugin, adapter, method),
        request=request,
        answer={},
    )
    start = Start(root, inspected, context)
    _check(start)
    return start


def _inside(path: Path, root: Path) -> str:
    """Return the path from a project's folder to a file in it; raises `UsageError` for one that is elsewhere."""
    try:
        return path.resolve().relative_to(root).as_posix()
    except ValueError:
        raise UsageError(
            f"{quoted(str(path))} is outside of this folder, and a kappafile names files in its own: run "
            f"`kappa init` in `{path.resolve().parent}`, or copy the file here."
        ) from None


def _plugin(inspected: InspectedModel, artifact_type: str | None, factory: str | None) -> ArtifactPlugin:
    """Return the artifact type of a model; raises `ConfigurationError` for one that cannot be served."""
    model, shown = inspected.model, quoted(inspected.path.name)
    if model.verdict is not None and model.verdict.state == "dangerous":
        names = listed(model.verdict.dangerous) or "what runs commands"
        raise ConfigurationError(f"{shown} runs or reaches {names} when it is loaded. Do not load it.")
    kind = artifact_type or model.artifact_type or type_of_model(inspected.path)
    if not kind and model.is_truncated:
        raise ConfigurationError(f"{shown} is not a whole model: {model.problem}. {inspected.advice}")
    if not kind:
        advice = inspected.advice if model.kind else ""
        problem = sentence(model.problem) if model.problem else f"It is a model of the format `{model.kind}`."
        raise ConfigurationError(
            f"{shown} has no artifact type. {problem} "
            f"{advice or 'See `kappa explain artifacts`, and name one with `--type`.'}"
        )
    try:
        plugin = artifact_of({"type": kind, "name": "model"})
    except ValueError as exc:
        raise UsageError(sentence(str(exc))) from None
    takes_factory = "factory" in type(plugin).model_fields
    if factory is not None and not takes_factory:
        raise UsageError(f"The artifact type `{plugin.type}` has no option `factory`.")
    if factory is None and takes_factory and model.weights:
        raise ConfigurationError(
            f"{shown} holds weights alone: name the function of yours that makes their module, `--factory nets:make`."
        )
    return plugin


def _input(
    inspected: InspectedModel, plugin: ArtifactPlugin, root: Path, *, input_type: str | None, sample: Path | None
) -> Any:
    """Return the input adapter that suits a model: what its file says it takes, else what its type does."""
    model = inspected.model
    columns = _columns(model)
    is_table = sample is not None and sample.suffix.lower() in _TABLES
    kind = input_type or (
        "dataframe" if columns or is_table else "" if model.inputs else plugin.input_for(inspected.path)
    )
    if kind == "dataframe":
        if sample is None:
            return DataframeInput(columns=columns or None)
        text = _inside(sample, root)
        return _of_sample(DataframeInput(columns_from=text), [*columns], sample)
    options: dict[str, Any] = {}
    if kind in ("", "ndarray"):
        tensor = model.inputs[0] if len(model.inputs) == 1 else None
        kind = kind or ("ndarray" if tensor is not None else "json")
        if tensor is not None and tensor.shape:
            options = {"shape": [size if isinstance(size, int) else -1 for size in tensor.shape[1:]]}
        elif model.feature_count is not None:
            options = {"shape": [model.feature_count]}
    try:
        return input_of({"type": kind, **(options if kind == "ndarray" else {})})
    except ValueError as exc:
        raise UsageError(sentence(str(exc))) from None


def _columns(model: Model) -> Sequence[str] | Mapping[str, str]:
    """Return the columns that a model takes, with dtypes where its file says all of them."""
    names, dtypes = model.columns, model.feature_types
    if not model.feature_names:
        dtypes = tuple("str" if tensor.dtype == "string" else tensor.dtype for tensor in model.inputs)
    is_typed = len(dtypes) == len(names) and all(dtype in DTYPES for dtype in dtypes)
    return dict(zip(names, dtypes, strict=True)) if names and is_typed else names


def _of_sample(adapter: DataframeInput, names: Sequence[str], sample: Path) -> DataframeInput:
    """Return the adapter of the columns in a sample; of those that the model knows, if it knows any."""
    try:
        sampled = columns_of_sample(adapter, sample)
    except ValueError as exc:
        raise UsageError(f"{quoted(str(sample))} does not serve as a sample: {exc}.") from None
    if missing := [name for name in names if name not in sampled]:
        raise UsageError(f"{quoted(str(sample))} lacks columns that the model was fitted with: {listed(missing)}.")
    return DataframeInput(columns={name: sampled[name] for name in names}) if names else adapter


def _request(adapter: Any, model: Model) -> Any:
    """Return a first request, as a JSON value; ``None`` for an adapter of files, and for more numbers than that."""
    if adapter.type != "ndarray" or adapter.shape is None:
        return adapter.sample_body()
    sizes = [model.rows or 1, *(1 if size == -1 else size for size in adapter.shape)]
    if math.prod(sizes) > _MOST_NUMBERS:
        return None
    value: Any = 1.5
    if model.inputs and not model.inputs[0].dtype.startswith(("float", "double", "bfloat")):
        value = {"string": "text", "bool": True}.get(model.inputs[0].dtype, 1)
    for size in reversed(sizes):
        value = [value] * size
    return value


def _batch(model: Model, plugin: ArtifactPlugin, adapter: Any, method: str) -> bool | None:
    """Return `batch` where nothing else tells that a network cannot, or that a method takes the list of requests."""
    if model.rows is not None:
        return False
    takes_list = method in plugin.row_methods and adapter.supports_batch and not adapter.brings_rows()
    return True if takes_list and adapter.supports_single else None


def _in_words(model: Model) -> str:
    """Say what a model is, by what its file says."""
    kind = f"A `{model.made_of.rpartition(':')[2]}`" if model.made_of else ""
    versions = ", ".join(f"{name} {version}" for name, version in model.versions.items())
    return f"{kind}{', saved' if kind else 'Saved'} with {versions}" if versions else kind


def _check(start: Start) -> None:
    """Raise `ConfigurationError` for what `kappa validate` would report as wrong."""
    for name in start.files:
        if (start.root / name).exists():
            raise UsageError(f"{quoted(name)} is there already, and `kappa init` overwrites nothing.")
    _, diagnostics = build.check_kappafile(start.kappafile, text=render(start.context))
    problems = [f"{problem.message} {problem.help}".strip() for problem in diagnostics if problem.is_error]
    if problems:
        raise ConfigurationError("\n".join(problems))


def first_answer(start: Start, *, run: Runner = run_program) -> Start:
    """Load the model in a process of its own, call it with the first request, and return the start with its answer.

    Raises `InferenceFailedError` if it does not answer.
    """
    order = {
        "file": str(start.kappafile),
        "text": render(replace(start.context, request={})),
        "api": start.context.api,
        "request": start.context.request,
    }
    reply = send_order([sys.executable, "-m", "kappa.actions.asking"], order, run=run)
    outcome: dict[str, Any] = reply.answer or {"problem": f"its process ended with {reply.exit_code}"}
    if "problem" in outcome:
        raise InferenceFailedError(
            f"{quoted(start.context.path)} does not answer a first request: {_short(outcome['problem'])}. Nothing "
            "was written: give a request that it can answer with `--sample FILE`, another `--method` or `--input`, or "
            "`--no-example`."
        )
    columns = outcome["columns"] or start.context.columns
    expectation = _expectation(outcome["got"])
    context = replace(start.context, request=outcome["request"], columns=columns, answer=expectation)
    return replace(start, context=context)


def _short(problem: str) -> str:
    """Return an exception's message in one line: frameworks put code between the first and the last."""
    lines = [line for line in problem.splitlines() if line.strip()] or [""]
    return " … ".join(dict.fromkeys([lines[0].rstrip("."), lines[-1].strip().rstrip(".")]))


def without_example(start: Start) -> Start:
    """Return the start without its example: one that no model has answered may be one that none can answer."""
    return replace(start, context=replace(start.context, request={}))


def _expectation(got: Any) -> dict[str, Any]:
    """Return `expect` and `tolerance` for an answer; nothing for one that is too long, or has what no TOML has."""
    text = _json(got)
    if got is None or _has_null(got) or len(text) > _LONGEST_ANSWER:
        return {}
    largest = max((abs(number) for number in _fractions(got)), default=0.0)
    tolerance = {"tolerance": float(f"{largest * _PRECISION:.0e}")} if largest else {}
    return {"expect": got, **tolerance}


def _has_null(value: Any) -> bool:
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return value is None or any(map(_has_null, parts))


def _fractions(value: Any) -> list[float]:
    """Return the numbers in an answer that are not whole ones."""
    if isinstance(value, dict | list):
        parts = value.values() if isinstance(value, dict) else value
        return [number for part in parts for number in _fractions(part)]
    return [value] if isinstance(value, float) else []


def write_start(start: Start) -> list[str]:
    """Write the files, and the line of `.gitignore` if it lacks it; return their paths from the root.

    Raises `UsageError` for what cannot be written, or has come to be there.
    """
    written = []
    try:
        for name, text in start.files.items():
            path = start.root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("x", encoding="utf-8") as file:
                file.write(text)
            written.append(name)
        if _ignore(start.root / _GITIGNORE, start.gitignore):
            written.append(_GITIGNORE)
    except OSError as exc:
        raise UsageError(f"{quoted(str(exc.filename))} could not be written: {exc.strerror}.") from None
    return written


def _ignore(file: Path, line: str) -> bool:
    """Append a line to a file of git's if it is not in it; return whether it was not."""
    text = file.read_text(encoding="utf-8", errors="surrogateescape") if file.exists() else ""
    if line in text.splitlines():
        return False
    separator = "" if not text or text.endswith("\n") else "\n"
    with file.open("a", encoding="utf-8") as out:
        out.write(f"{separator}{line}\n")
    return True


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
