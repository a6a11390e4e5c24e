"""Compiles one model and proves it; runs in a process of its own, because the model and the service's code run there.

The order names folders with the models of the service, each as its type keeps it; the answer goes to a file.
"""

from __future__ import annotations

import tempfile
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import Any, ClassVar

from kappa.adapters.dataframe import DataframeInput
from kappa.build.code.child import answer_order
from kappa.build.compile.conversion import Width, convert, widths_of
from kappa.build.compile.converters import ConversionError
from kappa.build.compile.drawing import draw
from kappa.build.compile.inputs import Inputs, Table, inputs_of
from kappa.build.compile.proof import Comparison
from kappa.errors import BadInputError, KappaError, exception_text, printable
from kappa.frameworks.compiled import (
    METHODS,
    CompiledArtifact,
    CompiledColumn,
    CompiledFacts,
    CompiledMethod,
    CompiledModel,
)
from kappa.services.inference import example_payload, read_payload
from kappa.services.packed import Artifact
from kappa.services.service import answering, load_parts, load_service
from kappa.services.source import ServiceSource, load_kept
from kappa.spec.compiling import NO_SAMPLES, CompileOptions
from kappa.spec.contracts import ArtifactPlugin
from kappa.spec.service import ServiceSpec
from kappa.wording import listed, sentence

__all__ = ["Calls", "compiled", "failure_of", "main", "run"]

_PACKAGES = ("onnx", "onnxmltools", "onnxruntime", "skl2onnx")
_ATTRIBUTES = ("classes_", "feature_names_in_", "n_features_in_")
_LONGEST_ROW = 200


def run(order: Mapping[str, Any]) -> dict[str, Any]:
    """Compile the model that an order of `kappa.build.compile.compiling` names; return the proof, or the problem."""
    spec, root = ServiceSpec.model_validate(order["spec"]), Path(order["root"])
    plugin = next(artifact for artifact in spec.artifacts if artifact.name == order["artifact"])
    try:
        model, calls = _observed(spec, plugin, Path(order["models"]), root)
        return compiled(plugin, model, output=Path(order["output"]), root=root, calls=calls)
    except Exception as exc:  # noqa: BLE001 - a model and its library may raise anything
        return failure_of(exc)


def failure_of(exc: Exception) -> dict[str, str]:
    """Return what a build is told of an exception of `compiled`; prints where it was raised if nobody expects it."""
    if isinstance(exc, ConversionError):
        step = f"its step `{exc.step}`" if exc.step else "it"
        return {"problem": "unconvertible", "message": sentence(f"{step} cannot be converted to ONNX: {exc}")}
    if isinstance(exc, _RefusedError):
        return {"problem": exc.kind, "message": str(exc)}
    if isinstance(exc, KappaError):
        return {"problem": "failed", "message": str(exc)}
    traceback.print_exception(exc)
    return {"problem": "failed", "message": sentence(exception_text(exc))}


class _RefusedError(Exception):
    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


# -- the calls of the examples -----------------------------------------------------------------------------------------


@dataclass(slots=True)
class Calls:
    """How a service calls a model when it answers its examples."""

    made: list[tuple[str, str, Any]] = field(default_factory=list)
    """The example, the method and its argument."""
    failures: list[str] = field(default_factory=list)
    absent: list[str] = field(default_factory=list)
    """Attributes that a compiled model has not."""
    example: str = ""


class _Observed(CompiledArtifact):
    """The artifact while its examples are answered by the model itself, which needs frames to be those of pandas."""

    takes_frames_alone: ClassVar[bool] = True

    @classmethod
    def of(cls, kept: ArtifactPlugin) -> _Observed:
        return cls.model_validate(dict(kept))


def _observed(spec: ServiceSpec, plugin: ArtifactPlugin, models: Path, root: Path) -> tuple[Any, Calls]:
    """Load a model and answer the examples with it; return it with the calls that were made."""
    calls, loaded = Calls(), dict[str, Artifact]()
    originals = {artifact.name: artifact for artifact in spec.artifacts}

    def original(name: str) -> Artifact:
        if name not in loaded:
            loaded[name] = Artifact(load_kept(originals[name], models / name))
        return loaded[name]

    def artifact_of(asked: ArtifactPlugin) -> Artifact:
        artifact = original(asked.name)
        return Artifact(_recorder(artifact.value, plugin, calls)) if asked.name == plugin.name else artifact

    kept = tuple(
        _Observed.of(artifact.kept) if artifact.name == plugin.name else artifact for artifact in spec.artifacts
    )
    source = ServiceSource.of_project(spec.model_copy(update={"artifacts": kept}), {}, root=root)
    source = replace(source, artifact_of=artifact_of)
    load_parts(source)
    if spec.examples:
        try:
            _answer_examples(spec, source, calls, root)
        except KappaError as exc:
            calls.failures.append(str(exc))
    return loaded[plugin.name].value, calls


def _answer_examples(spec: ServiceSpec, source: ServiceSource, calls: Calls, root: Path) -> None:
    with answering(partial(load_service, source), name=spec.name) as service:
        for example in spec.examples:
            calls.example = example.name
            try:
                payload = example_payload(example, root)._replace(limits=spec.serving.decoding_limits)
                service.apis[example.api].answer_payload(payload)
            except Exception as exc:  # noqa: BLE001 - the user's function may raise anything
                calls.failures.append(f"the example `{example.name}`: {exception_text(exc)}")


def _recorder(model: Any, plugin: ArtifactPlugin, calls: Calls) -> Any:
    """Return what stands for a model: it has what a compiled one has, and keeps what its methods are given."""

    class Recorder:
        def __getattr__(self, name: str) -> Any:
            if name.startswith("__"):
                raise AttributeError(name)
            if name == "feature_names_in_" and (names := plugin.feature_names_of(model)):
                return list(names)
            if name in _ATTRIBUTES:
                return getattr(model, name)
            if name in METHODS:
                return partial(self._call, name, getattr(model, name))
            if hasattr(model, name):
                calls.absent.append(name)
            raise AttributeError(f"a compiled `{type(model).__name__}` has no `{name}`")

        def _call(self, name: str, method: Callable[[Any], Any], X: Any) -> Any:  # noqa: N803 - as scikit-learn has it
            copied = X.copy() if hasattr(X, "copy") else X
            answer = method(X)
            calls.made.append((calls.example, name, copied))
            return answer

    Recorder.__name__ = type(model).__name__
    return Recorder()


# -- conversion and proof ----------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Rows:
    """Rows that both models are asked, and what they are called."""

    kind: str
    table: Table
    names: list[str]


def compiled(
    plugin: ArtifactPlugin, model: Any, *, output: Path, root: Path, calls: Calls | None = None
) -> dict[str, Any]:
    """Convert a model into the folder ``output``, hold it against the model, and return the proof.

    The file of samples is found in ``root``; ``calls`` are those of the examples. Raises `ConversionError`, or another
    exception that `failure_of` explains.
    """
    calls, model = calls or Calls(), _chosen(model)
    options: CompileOptions = plugin.compiling
    if calls.absent:
        raise _RefusedError("attribute", f"An example asks the model for {listed(dict.fromkeys(calls.absent))}.")
    names = plugin.feature_names_of(model) if not _is_booster(model) else ()
    _check_kind(model)
    inputs = inputs_of(model, names)
    samples = _samples(options, inputs, root)
    recorded = [(example, method, argument) for example, method, argument in calls.made if _count(argument)]
    if not recorded and samples is None and options.samples != NO_SAMPLES:
        why = f" The examples could not be answered: {'; '.join(calls.failures)}." if calls.failures else ""
        raise _RefusedError("unproven", f"No example asks the model anything, and no samples are named.{why}")
    base = [table for _, _, argument in recorded if (table := inputs.table(argument)) is not None]
    base += [samples.table] if samples is not None else []
    drawn = draw(model, inputs, base)
    facts = _facts(model, inputs, [*_each(base), *drawn])
    rows = [] if samples is None else [samples]
    rows += [_Rows("drawn", _table(inputs, drawn), [f"drawn row {at + 1}" for at in range(len(drawn))])]
    odd = _odd(facts, drawn)
    rows += [_Rows("drawn", _table(inputs, odd), [f"drawn row {len(drawn) + at + 1}" for at in range(len(odd))])]
    attempt, compared = _best(model, inputs, facts, recorded, rows, options)
    if compared.count:
        raise _RefusedError("differs", _say_differences(compared, rows))
    graph, facts = attempt
    CompiledArtifact.write(output, graph, facts)
    examples = sum(_count(argument) for _, _, argument in recorded)
    return {
        "proof": {
            "to": options.to,
            "versions": _versions(plugin),
            "methods": list(facts.methods),
            "examples": examples,
            "samples": len(samples.names) if samples is not None else 0,
            "drawn": len(drawn) + len(odd),
            "equal_labels": compared.equal_labels / compared.labels if compared.labels else None,
            "largest_difference": compared.largest,
            "largest_at": compared.largest_at,
            "rtol": options.rtol,
            "atol": options.atol,
        },
        "warnings": calls.failures,
    }


def _chosen(model: Any) -> Any:
    """Return the estimator that a search of scikit-learn's has chosen, which answers in its place; else the model."""
    is_search = type(model).__module__.startswith("sklearn.model_selection.")
    return getattr(model, "best_estimator_", model) if is_search else model


def _check_kind(model: Any) -> None:
    if _is_booster(model):
        raise ConversionError("", "it is a booster by itself: save the estimator (`XGBClassifier`, `LGBMRegressor`, …)")
    if isinstance(getattr(model, "classes_", None), list):
        raise ConversionError("", "a model with several outputs has no conversion")
    if not any(callable(getattr(model, name, None)) for name in METHODS):
        raise ConversionError("", f"it has none of the methods {listed(METHODS)}")


def _is_booster(model: Any) -> bool:
    return type(model).__name__ == "Booster"


def _count(argument: Any) -> int:
    try:
        return len(argument)
    except TypeError:
        return 0


def _samples(options: CompileOptions, inputs: Inputs, root: Path) -> _Rows | None:
    if options.samples in (None, NO_SAMPLES):
        return None
    adapter, path = DataframeInput(), root / str(options.samples)
    try:
        frame = adapter.merge([adapter.decode(read_payload(path))])
    except BadInputError as exc:
        raise _RefusedError("samples", f"`{options.samples}` does not hold rows of a table: {exc}") from None
    argument = frame
    if inputs.layout == "texts":
        argument = frame.iloc[:, 0].tolist()
    elif inputs.has_names and not (missing := inputs.missing_in(frame.columns)):
        argument = frame.reindex(columns=inputs.names)
    elif inputs.has_names and inputs.checks_names:
        raise _RefusedError(
            "samples", f"`{options.samples}` has no column {listed(missing[:5])}, which the model takes."
        )
    table = inputs.table(argument)
    if table is None:
        count = len(inputs.columns)
        why = _misfit(inputs, frame) or f"it does not hold rows of the {count} columns of the model"
        raise _RefusedError("samples", f"`{options.samples}` cannot be asked: {why}.")
    names = [f"row {at + 1} of `{options.samples}`" for at in range(len(frame))]
    return _Rows("samples", table, names)


def _misfit(inputs: Inputs, frame: Any) -> str:
    """Return which value of a table the model does not take; empty if the columns are others."""
    names = inputs.names if inputs.has_names else [*frame.columns]
    for name, column in zip(names, inputs.columns, strict=False):
        for at, value in enumerate(frame[name] if column.is_used and name in frame.columns else ()):
            if inputs.layout == "texts" and not isinstance(value, str):
                return f"`{name}` of its row {at + 1} is {value!r}, and no text"
            if not column.is_text and not _is_number(value):
                return f"`{name}` of its row {at + 1} is {value!r}, and no number"
    return ""


def _is_number(value: Any) -> bool:
    try:
        float(0.0 if value is None else value)
    except (TypeError, ValueError):
        return False
    return True


def _each(tables: Sequence[Table]) -> Iterator[dict[str, Any]]:
    for table in tables:
        columns = [*table]
        for values in zip(*table.values(), strict=True):
            yield dict(zip(columns, values, strict=True))


def _table(inputs: Inputs, rows: Sequence[Mapping[str, Any]]) -> Table:
    return {name: [row[name] for row in rows] for name in inputs.names}


def _facts(model: Any, inputs: Inputs, rows: Sequence[Mapping[str, Any]]) -> CompiledFacts:
    """Return what a compiled model must be like, found by asking the model; the width and the outputs come later."""
    offered = [name for name in METHODS if callable(getattr(model, name, None))]
    offered = offered if "predict" not in offered else [name for name in offered if name != "transform"]
    if not hasattr(model, "classes_"):
        offered = [name for name in offered if name != "predict_proba"]
    reasons = [_refusal(model, offered[0], inputs, row) for row in rows[:1]]
    whole = next((row for row in rows[:100] if _takes(model, offered[0], inputs, row)), None)
    if whole is None:
        reason = f"The model refuses each row that it was asked: {printable(' '.join(reasons)[:300]).rstrip('.')}"
        raise _RefusedError("unproven", f"{reason}. If rows of its own kind are needed, name a file of `samples`.")
    methods = {}
    for name in offered:
        answer = getattr(model, name)(inputs.argument(_table(inputs, [whole])))
        answer = answer.toarray() if hasattr(answer, "toarray") else answer
        if not hasattr(answer, "dtype"):
            kind = type(answer).__name__
            raise ConversionError("", f"its `{name}` returns a `{kind}`, and a compiled model returns arrays")
        methods[name] = CompiledMethod(output="", dtype=answer.dtype.str, is_flat=answer.ndim == 1)
    missing = _tolerated(model, offered[0], inputs, whole, lambda column: None if column.is_text else float("nan"))
    infinite = _tolerated(model, offered[0], inputs, whole, lambda _: float("inf"), texts=False)
    large = _tolerated(model, offered[0], inputs, whole, lambda _: 1e300, texts=False)
    classes = getattr(model, "classes_", None)
    return CompiledFacts(
        layout=inputs.layout,
        width="float64",
        columns=tuple(
            CompiledColumn(
                name=column.name,
                is_text=column.is_text,
                takes_missing=column.name in missing,
                takes_infinity=column.name in infinite,
                takes_large=column.is_text or column.name in large,
                is_used=column.is_used,
            )
            for column in inputs.columns
        ),
        has_names=inputs.has_names,
        checks_names=inputs.checks_names,
        methods=methods,
        classes=tuple(classes.tolist()) if classes is not None else None,
        classes_dtype=classes.dtype.str if classes is not None else "",
        source=type(model).__name__,
    )


def _takes(model: Any, method: str, inputs: Inputs, row: Mapping[str, Any]) -> bool:
    return not _refusal(model, method, inputs, row)


def _refusal(model: Any, method: str, inputs: Inputs, row: Mapping[str, Any]) -> str:
    """Return the exception that a model raises for a row; empty if it answers."""
    try:
        getattr(model, method)(inputs.argument(_table(inputs, [row])))
    except Exception as exc:  # noqa: BLE001 - a model may raise anything
        return exception_text(exc)
    return ""


def _tolerated(
    model: Any,
    method: str,
    inputs: Inputs,
    row: Mapping[str, Any],
    strange: Callable[[Any], Any],
    *,
    texts: bool = True,
) -> set[str]:
    """Return the columns in which a model takes a strange value; the columns of a matrix are all alike."""
    columns = [column for column in inputs.columns if texts or not column.is_text]
    if inputs.layout == "matrix":
        is_taken = _takes(model, method, inputs, {**row, columns[0].name: strange(columns[0])})
        return {column.name for column in columns} if is_taken else set()
    return {column.name for column in columns if _takes(model, method, inputs, {**row, column.name: strange(column)})}


def _odd(facts: CompiledFacts, drawn: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return rows with a missing and an infinite value in each column: refused or taken, they are as before."""
    rows = []
    for at, column in enumerate(facts.columns[:200]):
        row = dict(drawn[at % len(drawn)])
        rows.append({**row, column.name: None if column.is_text else float("nan")})
        if not column.is_text:
            rows.append({**row, column.name: float("inf")})
    missing = {column.name: float("nan") for column in facts.columns if column.takes_missing and not column.is_text}
    return [*rows, {**drawn[0], **missing}]


_Attempt = tuple[bytes, CompiledFacts]


def _best(
    model: Any,
    inputs: Inputs,
    facts: CompiledFacts,
    recorded: Sequence[tuple[str, str, Any]],
    rows: Sequence[_Rows],
    options: CompileOptions,
) -> tuple[_Attempt, Comparison]:
    """Convert a model in one way after the other until one answers as before; return the best, and how it compares."""
    attempts: list[tuple[_Attempt, Comparison]] = []
    failures: list[ConversionError] = []
    for width in widths_of(model):
        try:
            graph, compiled_facts, twin = _converted(model, inputs, facts, width)
        except ConversionError as exc:
            failures.append(exc)
            continue
        compared = _compare(model, twin, inputs, recorded, rows, options)
        attempts.append(((graph, compiled_facts), compared))
        if not compared.count:
            break
    if not attempts:
        raise failures[0]
    return min(attempts, key=lambda attempt: attempt[1].count)


def _converted(
    model: Any, inputs: Inputs, facts: CompiledFacts, width: Width
) -> tuple[bytes, CompiledFacts, CompiledModel]:
    graph = convert(model, inputs, width)
    with tempfile.TemporaryDirectory(prefix="kappa-") as name:
        folder, artifact = Path(name), CompiledArtifact(name="model")
        facts = facts.model_copy(update={"width": width})
        CompiledArtifact.write(folder, graph, facts.model_copy(update={"methods": {}}))
        try:
            outputs = [output.name for output in artifact.load(folder).session.get_outputs()]
            methods = {
                name: method.model_copy(update={"output": outputs[1 if name == "predict_proba" else 0]})
                for name, method in facts.methods.items()
            }
            facts = facts.model_copy(update={"methods": methods})
            CompiledArtifact.write(folder, graph, facts)
            return graph, facts, artifact.load(folder)
        except KappaError:
            raise
        except Exception as exc:  # ONNX Runtime has no class of its own for what it does not implement
            text = " ".join(str(exc).split())
            raise ConversionError("", f"ONNX Runtime does not run the result: {printable(text[:200])}") from exc


def _compare(
    model: Any,
    twin: CompiledModel,
    inputs: Inputs,
    recorded: Sequence[tuple[str, str, Any]],
    rows: Sequence[_Rows],
    options: CompileOptions,
) -> Comparison:
    methods = [name for name in METHODS if name in vars(twin)]
    labels = frozenset({"predict"} if _predicts_labels(model, twin) else ())
    compared = Comparison(options.rtol, options.atol, labels)
    for example, method, argument in recorded:
        names = [f"row {at + 1} of the example `{example}`" for at in range(_count(argument))]
        compared.compare(method, getattr(model, method), getattr(twin, method), argument, names)
    for group in rows:
        argument = inputs.argument(group.table)
        for method in methods:
            compared.compare(method, getattr(model, method), getattr(twin, method), argument, group.names)
    return compared


def _predicts_labels(model: Any, twin: CompiledModel) -> bool:
    dtype = twin._facts.methods.get("predict")  # noqa: SLF001 - of Kappa's own
    return hasattr(model, "classes_") or (dtype is not None and "f" not in dtype.dtype)


def _say_differences(compared: Comparison, rows: Sequence[_Rows]) -> str:
    tables = {name: (group.table, at) for group in rows for at, name in enumerate(group.names)}
    lines = []
    for difference in compared.differences:
        line = f"- {difference}"
        if difference.row in tables:
            table, at = tables[difference.row]
            values = ", ".join(f"{name}={values[at]!r}" for name, values in table.items())
            line += f" ({values if len(values) <= _LONGEST_ROW else f'{values[:_LONGEST_ROW]}…'})"
        lines.append(line)
    more = compared.count - len(lines)
    if more:
        lines.append(f"- and {more} more")
    answers = "one answer is" if compared.count == 1 else f"{compared.count} answers are"
    return "\n".join([f"Converted to ONNX, {answers} another:", *lines])


def _versions(plugin: ArtifactPlugin) -> dict[str, str]:
    wanted = {*_PACKAGES, *plugin.requires()}
    installed = {package.name.lower().replace("_", "-"): package.version for package in metadata.distributions()}
    return {name: installed[name] for name in sorted(wanted) if name in installed}


def main() -> None:
    answer_order(run)
