"""Compiles one model and proves it; runs in a process of its own, because the model and the service's code run there.

The order names folders with the models of the service, each as its type keeps it; the answer goes to a file.
"""

from __future__ import annotations

import tempfile
import traceback
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kappa.adapters.dataframe import DataframeInput
from kappa.build.code.child import answer_order
from kappa.build.compile.calls import Calls
from kappa.build.compile.catboost_models import CatBoostEstimator
from kappa.build.compile.conversion import Width, convert, widths_of
from kappa.build.compile.converters import ConversionError
from kappa.build.compile.drawing import draw
from kappa.build.compile.graphs import with_output
from kappa.build.compile.inputs import Inputs, Table, inputs_of
from kappa.build.compile.networks import compiled_network, network_of
from kappa.build.compile.proof import Comparison, RefusedError, versions_of
from kappa.build.compile.recording import observed
from kappa.errors import BadInputError, KappaError, exception_text, printable
from kappa.frameworks.compiled import (
    METHODS,
    CompiledArtifact,
    CompiledColumn,
    CompiledFacts,
    CompiledMethod,
    CompiledModel,
)
from kappa.services.inference import read_payload
from kappa.spec.compiling import NO_SAMPLES, CompileOptions
from kappa.spec.contracts import ArtifactPlugin
from kappa.spec.service import ArtifactMethod, ServiceSpec
from kappa.wording import listed, sentence

__all__ = ["compiled", "failure_of", "main", "run"]

_LONGEST_ROW = 200
_SCORES = "decision_function"


def run(order: Mapping[str, Any]) -> dict[str, Any]:
    """Compile the model that an order of `kappa.build.compile.compiling` names; return the proof, or the problem."""
    spec, root = ServiceSpec.model_validate(order["spec"]), Path(order["root"])
    plugin = next(artifact for artifact in spec.artifacts if artifact.name == order["artifact"])
    try:
        model, calls = observed(spec, plugin, Path(order["models"]), root)
        calls.methods.update(_methods_of_apis(spec, plugin.name))
        network = network_of(plugin, model)
        if network is not None:
            return compiled_network(plugin, network, output=Path(order["output"]), root=root, calls=calls)
        return compiled(plugin, model, output=Path(order["output"]), root=root, calls=calls)
    except Exception as exc:  # noqa: BLE001 - a model and its library may raise anything
        return failure_of(exc)


def _methods_of_apis(spec: ServiceSpec, artifact: str) -> Iterator[str]:
    """Yield the methods of a model that answer APIs by themselves."""
    for api in spec.apis:
        if isinstance(api.target, ArtifactMethod) and api.target.artifact == artifact:
            yield api.target.method


def failure_of(exc: Exception) -> dict[str, str]:
    """Return what a build is told of an exception of `compiled`; prints where it was raised if nobody expects it."""
    if isinstance(exc, ConversionError):
        step = f"its step `{exc.step}`" if exc.step else "it"
        return {"problem": "unconvertible", "message": sentence(f"{step} cannot be converted to ONNX: {exc}")}
    if isinstance(exc, RefusedError):
        return {"problem": exc.kind, "message": str(exc)}
    if isinstance(exc, KappaError):
        return {"problem": "failed", "message": str(exc)}
    traceback.print_exception(exc)
    return {"problem": "failed", "message": sentence(exception_text(exc))}


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
        raise RefusedError("attribute", f"An example asks the model for {listed(dict.fromkeys(calls.absent))}.")
    names = plugin.feature_names_of(model) if not _is_booster(model) else ()
    _check_kind(model)
    inputs = inputs_of(model, names)
    samples = _samples(options, inputs, root)
    recorded = [(example, method, argument) for example, method, argument in calls.made if _count(argument)]
    if not recorded and samples is None and options.samples != NO_SAMPLES:
        why = f" The examples could not be answered: {'; '.join(calls.failures)}." if calls.failures else ""
        raise RefusedError("unproven", f"No example asks the model anything, and no samples are named.{why}")
    base = [table for _, _, argument in recorded if (table := inputs.table(argument)) is not None]
    base += [samples.table] if samples is not None else []
    drawn = draw(model, inputs, base)
    facts = _facts(model, inputs, [*_each(base), *drawn])
    rows = [] if samples is None else [samples]
    rows += [_Rows("drawn", _table(inputs, drawn), [f"drawn row {at + 1}" for at in range(len(drawn))])]
    odd = _odd(facts, drawn)
    rows += [_Rows("drawn", _table(inputs, odd), [f"drawn row {len(drawn) + at + 1}" for at in range(len(odd))])]
    attempt, compared = _best(model, inputs, facts, recorded, rows, options, wanted=calls.methods)
    if compared.count:
        raise RefusedError("differs", _say_differences(compared, rows))
    graph, facts = attempt
    CompiledArtifact.write(output, graph, facts)
    examples = sum(_count(argument) for _, _, argument in recorded)
    return {
        "proof": {
            "to": options.to,
            "versions": versions_of(plugin),
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
    """Return the estimator that a search of scikit-learn's has chosen, which answers in its place, and a model of
    CatBoost's as an estimator; else the model."""
    if type(model).__module__.startswith("catboost."):
        return CatBoostEstimator(model)
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
        raise RefusedError("samples", f"`{options.samples}` does not hold rows of a table: {exc}") from None
    argument = frame
    if inputs.layout == "texts":
        argument = frame.iloc[:, 0].tolist()
    elif inputs.has_names and not (missing := inputs.missing_in(frame.columns)):
        argument = frame.reindex(columns=inputs.names)
    elif inputs.has_names and inputs.checks_names:
        raise RefusedError(
            "samples", f"`{options.samples}` has no column {listed(missing[:5])}, which the model takes."
        )
    table = inputs.table(argument)
    if table is None:
        count = len(inputs.columns)
        why = _misfit(inputs, frame) or f"it does not hold rows of the {count} columns of the model"
        raise RefusedError("samples", f"`{options.samples}` cannot be asked: {why}.")
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
        raise RefusedError("unproven", f"{reason}. If rows of its own kind are needed, name a file of `samples`.")
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
        source=getattr(model, "source", type(model).__name__),
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
    *,
    wanted: Collection[str],
) -> tuple[_Attempt, Comparison]:
    """Convert a model in one way after the other until one answers as before; return the best, and how it compares.

    A ``decision_function`` that answers otherwise is left out, unless the service is known to call it.
    """
    attempts: list[tuple[_Attempt, Comparison]] = []
    failures: list[ConversionError] = []
    for width in widths_of(model):
        try:
            graph, compiled_facts, twin = _converted(model, inputs, facts, width, wanted=wanted)
        except ConversionError as exc:
            failures.append(exc)
            continue
        if _SCORES in compiled_facts.methods and _SCORES not in wanted:
            scored = _compare(model, twin, inputs, (), rows, options, methods=[_SCORES])
            if scored.count:
                reason = f"converted to ONNX, it answers otherwise ({scored.differences[0]})"
                compiled_facts = _without_scores(compiled_facts, reason)
        compared = _compare(model, twin, inputs, recorded, rows, options, methods=[*compiled_facts.methods])
        attempts.append(((graph, compiled_facts), compared))
        if not compared.count:
            break
    if not attempts:
        raise failures[0]
    return min(attempts, key=lambda attempt: attempt[1].count)


def _converted(
    model: Any, inputs: Inputs, facts: CompiledFacts, width: Width, *, wanted: Collection[str]
) -> tuple[bytes, CompiledFacts, CompiledModel]:
    graph = convert(model, inputs, width)
    if _SCORES in facts.methods:
        try:
            graph = _with_scores(graph, model, inputs, width)
        except ConversionError as exc:
            if _SCORES in wanted:
                raise ConversionError(exc.step, f"its `{_SCORES}` has no conversion: {exc}") from exc
            facts = _without_scores(facts, f"it has no conversion: {exc}")
    with tempfile.TemporaryDirectory(prefix="kappa-") as name:
        folder, artifact = Path(name), CompiledArtifact(name="model")
        facts = facts.model_copy(update={"width": width})
        CompiledArtifact.write(folder, graph, facts.model_copy(update={"methods": {}}))
        try:
            outputs = [output.name for output in artifact.load(folder).session.get_outputs()]
            places = {"predict_proba": outputs[min(1, len(outputs) - 1)], _SCORES: outputs[-1]}
            methods = {
                name: method.model_copy(update={"output": places.get(name, outputs[0])})
                for name, method in facts.methods.items()
            }
            facts = facts.model_copy(update={"methods": methods})
            CompiledArtifact.write(folder, graph, facts)
            twin = artifact.load(folder)
        except KappaError:
            raise
        except Exception as exc:  # ONNX Runtime has no class of its own for what it does not implement
            text = " ".join(str(exc).split())
            raise ConversionError("", f"ONNX Runtime does not run the result: {printable(text[:200])}") from exc
    if not isinstance(twin, CompiledModel):
        raise TypeError(f"an estimator was written, and a `{type(twin).__name__}` was read")
    return graph, facts, twin


def _with_scores(graph: bytes, model: Any, inputs: Inputs, width: Width) -> bytes:
    """Return a graph whose last output is what `decision_function` returns."""
    if not hasattr(model, "classes_"):
        return graph  # a detector of outliers has it as its second output
    scored = convert(model, inputs, width, is_scored=True)
    try:
        return with_output(graph, scored, output=1, name=_SCORES)
    except Exception as exc:  # ONNX' checker, or a name that only a graph inside of a node knows
        raise ConversionError("", "its graph does not go together with that of the labels") from exc


def _without_scores(facts: CompiledFacts, reason: str) -> CompiledFacts:
    methods = {name: method for name, method in facts.methods.items() if name != _SCORES}
    return facts.model_copy(update={"methods": methods, "absent": {_SCORES: reason}})


def _compare(
    model: Any,
    twin: CompiledModel,
    inputs: Inputs,
    recorded: Sequence[tuple[str, str, Any]],
    rows: Sequence[_Rows],
    options: CompileOptions,
    *,
    methods: Sequence[str],
) -> Comparison:
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


def main() -> None:
    answer_order(run)
