"""Keras models become ONNX graphs: on TensorFlow and JAX by Keras' own export, on PyTorch by that library's."""

from __future__ import annotations

import logging
import tempfile
import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

from kappa.build.compile.converters import ConversionError
from kappa.build.compile.torch_models import exported, reason_of
from kappa.errors import KappaError, optional_import
from kappa.frameworks.compiled_network import Structure
from kappa.frameworks.keras import KerasCall
from kappa.frameworks.torch_calls import import_torch
from kappa.spec.contracts import ArtifactPlugin
from kappa.wording import listed

__all__ = ["KerasNetwork"]


class KerasNetwork:
    """A model of Keras', on any of its backends."""

    methods: tuple[str, ...] = ("predict", "predict_on_batch")

    def __init__(self, model: Any, plugin: ArtifactPlugin) -> None:
        self._model, self._plugin = model, plugin
        self.source = type(model).__name__
        self._call = KerasCall(model, plugin.name, is_batch=False)
        if self._call.inputs is None:
            raise ConversionError("", "it does not say what it takes: begin it with an `Input`")

    def has(self, attribute: str) -> bool:
        return hasattr(self._model, attribute)

    def caller(self, method: str, *, is_batch: bool) -> Callable[[Any], Any]:
        if method not in self.methods:
            raise ConversionError(
                "", f"its method `{method}` answers an API, and a compiled one has {listed(self.methods)}"
            )
        return self._plugin.caller(self._model, "predict", is_batch=is_batch)

    def inputs(self, *arguments: Any, **named: Any) -> dict[str, Any]:
        if self._call.inputs is None or named:
            raise ConversionError("", f"it is called with {listed(named)} by name")
        arrays = self._call.inputs(_by_name(self._call.inputs.names, arguments[0]))
        if strange := [name for name, array in arrays.items() if array.dtype.kind not in "biuf"]:
            raise ConversionError("", f"its input `{strange[0]}` is no number")
        return {name: arrays[name] for name in self._call.inputs.names}

    def outputs(self, arrays: Mapping[str, Any]) -> tuple[Structure, dict[str, Any]]:
        outputs = self._model.predict_on_batch(self._call.arranged(arrays))
        if isinstance(outputs, Mapping):
            return "mapping", dict(outputs)
        if isinstance(outputs, list | tuple):
            return "list", self._call.named(outputs)
        return "array", {"output": outputs}

    def first_rows(self) -> Any:
        row = self._plugin.first_row(self._model)
        return None if row is None or isinstance(row, Mapping) else [row]

    def to_onnx(self, arrays: Mapping[str, Any], shapes: Mapping[str, Sequence[int]], outputs: Sequence[str]) -> bytes:
        import keras

        if keras.backend.backend() == "torch":
            return self._exported_by_torch(arrays, shapes, outputs)
        with optional_import("tf2onnx", needed_for='`compile = "onnx"` of a Keras model on TensorFlow or JAX'):
            import tf2onnx  # noqa: F401 - Keras imports it
        import onnx

        with tempfile.TemporaryDirectory(prefix="kappa-") as folder:
            path = Path(folder) / "model.onnx"
            try:
                with warnings.catch_warnings(), redirect_stdout(StringIO()):
                    warnings.simplefilter("ignore")
                    logging.getLogger("tf2onnx").setLevel(logging.CRITICAL)
                    self._model.export(str(path), format="onnx", verbose=False)
            except Exception as exc:
                raise ConversionError("", f"Keras does not export it: {reason_of(exc)}") from exc
            graph = onnx.load(path)
        _number(graph.graph, "input", [*arrays])
        _number(graph.graph, "output", [*outputs])
        onnx.checker.check_model(graph)
        return bytes(graph.SerializeToString(deterministic=True))

    def _exported_by_torch(
        self, arrays: Mapping[str, Any], shapes: Mapping[str, Sequence[int]], outputs: Sequence[str]
    ) -> bytes:
        torch, model = import_torch("keras"), self._model.cpu()

        def ask(tensors: Mapping[str, Any]) -> Any:
            answer = model(self._call.arranged(tensors), training=False)
            return tuple(answer) if isinstance(answer, list) else answer

        try:
            tensors = {name: torch.from_numpy(array) for name, array in arrays.items()}
            return exported(model, ask, tensors, shapes, outputs=len(outputs))
        except KappaError:
            raise
        except Exception as exc:
            raise ConversionError("", reason_of(exc)) from exc


def _by_name(names: Sequence[str], argument: Any) -> Any:
    """Return several inputs in a list by their names; anything else as it is."""
    is_list = isinstance(argument, list | tuple) and len(names) > 1 and len(argument) == len(names)
    return dict(zip(names, argument, strict=True)) if is_list and hasattr(argument[0], "shape") else argument


def _number(graph: Any, kind: str, names: Sequence[str]) -> None:
    """Call the inputs or the outputs of a graph by their numbers: of those that it names, by these, else in order."""
    values = getattr(graph, kind)
    by_name = {value.name.partition(":")[0]: value.name for value in values}
    if {*names} <= by_name.keys():
        ordered = [by_name[name] for name in names]
    elif len(values) == len(names):
        ordered = [value.name for value in values]
    else:
        raise ConversionError("", f"its ONNX has {len(values)} {kind}s, not {listed(names)}")
    renamed = {name: f"{kind}_{number}" for number, name in enumerate(ordered)}
    for value in values:
        value.name = renamed[value.name]
    for node in graph.node:
        node.input[:] = [renamed.get(name, name) for name in node.input]
        node.output[:] = [renamed.get(name, name) for name in node.output]
