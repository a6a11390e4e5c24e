"""A fitted model becomes an ONNX graph; called in the process that converts alone."""

from __future__ import annotations

import logging
import traceback
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Literal

from kappa.build.compile.catboost_models import CatBoostEstimator
from kappa.build.compile.converters import ConversionError, options_of, parts_of, register_converters
from kappa.build.compile.inputs import Inputs

__all__ = ["convert", "widths_of"]

Width = Literal["float64", "float32"]

_OPSETS = {"": 18, "ai.onnx.ml": 3}
_IN_FLOAT32 = ("sklearn.ensemble._gb", "xgboost.")
"""Modules whose models round their input to float32 themselves, and that skl2onnx converts."""


def widths_of(model: Any) -> tuple[Width, ...]:
    """Return the types that the numbers of a converted model may have, the most exact one first."""
    is_float32 = isinstance(model, CatBoostEstimator) or type(model).__module__.startswith("xgboost.")
    return ("float32",) if is_float32 else ("float64", "float32")


def convert(model: Any, inputs: Inputs, width: Width, *, is_scored: bool = False) -> bytes:
    """Return the bytes of a model as ONNX; raises `ConversionError` that names the step that cannot be converted.

    The second output of a classifier is its probabilities, or what its `decision_function` returns if it ``is_scored``.
    """
    import onnx

    if isinstance(model, CatBoostEstimator):
        graph = model.to_onnx()
        _rename(graph.graph, {graph.graph.input[0].name: "columns"})
        onnx.checker.check_model(graph)
        return bytes(graph.SerializeToString(deterministic=True))
    register_converters()
    import skl2onnx

    options = options_of(model, is_scored=is_scored)
    with _quiet(), _without_passthrough(model):
        try:
            graph = skl2onnx.convert_sklearn(
                model,
                name="model",
                initial_types=_types(inputs, width),
                options=options,
                target_opset=_OPSETS,
            )
        except ConversionError:
            raise
        except Exception as exc:
            raise ConversionError(_step_at_fault(model, exc), _reason(exc)) from exc
    if width == "float64":
        _widen_trees(graph, rounds=any(type(part).__module__.startswith(_IN_FLOAT32) for _, part in parts_of(model)))
    if inputs.layout == "columns":
        numbers = [at for at, column in enumerate(inputs.columns) if column.is_used]
        names = [value.name for value in graph.graph.input]
        _rename(graph.graph, {name: f"column_{at}" for name, at in zip(names, numbers, strict=True)})
    onnx.checker.check_model(graph)
    return bytes(graph.SerializeToString(deterministic=True))


def _types(inputs: Inputs, width: Width) -> list[tuple[str, Any]]:
    from skl2onnx.common.data_types import DoubleTensorType, FloatTensorType, StringTensorType

    number = DoubleTensorType if width == "float64" else FloatTensorType
    if inputs.layout == "texts":
        return [("texts", StringTensorType([None, 1]))]
    if inputs.layout == "matrix":
        return [("columns", number([None, len(inputs.columns)]))]
    columns = [column for column in inputs.columns if column.is_used]
    return [(column.name, (StringTensorType if column.is_text else number)([None, 1])) for column in columns]


def _rename(graph: Any, names: Mapping[str, str]) -> None:
    """Give the inputs of a graph other names: those of columns may be anything."""
    for value in graph.input:
        value.name = names.get(value.name, value.name)
    for node in graph.node:
        node.input[:] = [names.get(name, name) for name in node.input]


def _widen_trees(graph: Any, *, rounds: bool) -> None:
    """Cast the numbers that trees of skl2onnx' own return to float64, which the nodes behind them expect.

    With ``rounds``, what they are given is rounded to float32, as their model does before it compares.
    """
    from onnx import TensorProto, helper

    nodes, results = [], {output.name: output.type.tensor_type.elem_type for output in graph.graph.output}
    for node in graph.graph.node:
        nodes.append(node)
        if not node.op_type.startswith("TreeEnsemble") or _is_own(node):
            continue
        if rounds:
            source, rounded, widened = node.input[0], f"{node.name}_rounded", f"{node.name}_widened"
            nodes.insert(-1, helper.make_node("Cast", [source], [rounded], to=TensorProto.FLOAT))
            nodes.insert(-1, helper.make_node("Cast", [rounded], [widened], to=TensorProto.DOUBLE))
            node.input[0] = widened
        scores = node.output[-1]
        if results.get(scores) != TensorProto.FLOAT:
            node.output[len(node.output) - 1] = narrow = f"{node.name}_narrow"
            nodes.append(helper.make_node("Cast", [narrow], [scores], to=TensorProto.DOUBLE))
    copies = []
    for node in nodes:
        copies.append(type(node)())
        copies[-1].CopyFrom(node)
    del graph.graph.node[:]
    graph.graph.node.extend(copies)


def _is_own(node: Any) -> bool:
    """Return whether trees were written by Kappa's own converters, which have casts where they need them."""
    return any(attribute.name == "base_values_as_tensor" for attribute in node.attribute)


def _step_at_fault(model: Any, exc: Exception) -> str:
    """Return the name of the part that was converted when an error was raised, or else of the innermost one whose class
    it names; empty for the model itself."""
    names = {id(part): name for name, part in parts_of(model)}
    for frame, _ in reversed([*traceback.walk_tb(exc.__traceback__)]):
        part = getattr(frame.f_locals.get("operator"), "raw_operator", None)
        if id(part) in names:
            return names[id(part)]
    text = str(exc)
    named = [name for name, part in parts_of(model) if type(part).__name__ in text]
    return named[-1] if named else ""


def _reason(exc: Exception) -> str:
    first = " ".join(str(exc).split(". ")[0].split())
    if first.startswith("Unable to find a"):
        return "skl2onnx has no converter for it"
    return first if len(first) <= 200 else f"{first[:200]}…"


@contextmanager
def _without_passthrough(model: Any) -> Iterator[None]:
    """Leave steps of pipelines out that do nothing, for as long as this lasts: skl2onnx knows no such steps."""
    pipelines = [part for _, part in parts_of(model) if hasattr(part, "steps")]
    steps = [part.steps for part in pipelines]
    try:
        for part in pipelines:
            part.steps = [step for step in part.steps if step[1] not in ("passthrough", None)] or part.steps
        yield
    finally:
        for part, before in zip(pipelines, steps, strict=True):
            part.steps = before


@contextmanager
def _quiet() -> Iterator[None]:
    logger = logging.getLogger("skl2onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
