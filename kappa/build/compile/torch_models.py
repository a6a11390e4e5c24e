"""PyTorch's modules become ONNX graphs, by the library's own exporter."""

from __future__ import annotations

import inspect
import io
import logging
import re
import traceback
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from typing import Any

from kappa.build.compile.converters import ConversionError
from kappa.errors import KappaError, optional_import, printable
from kappa.frameworks.compiled_network import Structure
from kappa.frameworks.packing import is_instance_of
from kappa.frameworks.torch_calls import TensorCall, import_torch
from kappa.spec.contracts import ArtifactPlugin
from kappa.wording import listed

__all__ = ["TorchNetwork", "exported", "parts_of_output", "reason_of"]

_OPSET = 18
_ROWS = (5, 7, 11, 13)
"""The rows of an export: neither 1, which is taken for a constant, nor the length of another axis."""
_MOST_SHOWN = 200
_FIXED = ("Constraints violated", "conflicts between user-specified ranges", "specialized")
"""What the exporter says where code leaves only one length to an axis."""
_NO_OPERATOR = re.compile(r"No (?:ONNX function|decompositions registered)[^<\n]*<?[^<\n']*'?([\w.]+::?[\w.]+)")


class TorchNetwork:
    """A module of PyTorch's, on the processor."""

    def __init__(self, model: Any, plugin: ArtifactPlugin) -> None:
        self._torch = torch = import_torch("pytorch")
        if is_instance_of(model, "torch.ScriptModule"):
            raise ConversionError(
                "", "TorchScript has no conversion: keep the module that it was made of, or export it"
            )
        self._plugin, self._module = plugin, model.cpu()
        self.source = type(model).__name__
        self.methods: tuple[str, ...] = (
            ("forward",) if callable(getattr(model, "predict", None)) else ("predict", "forward")
        )
        self._call = TensorCall(self._module, self._module, torch=torch, artifact=plugin.name, is_batch=False)
        self._names = [
            parameter.name
            for parameter in inspect.signature(self._module.forward).parameters.values()
            if parameter.kind in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY)
        ]

    def has(self, attribute: str) -> bool:
        return hasattr(self._module, attribute)

    def caller(self, method: str, *, is_batch: bool) -> Callable[[Any], Any]:
        if method not in self.methods:  # one of its own: `predict` is its call unless it has one
            raise ConversionError("", f"its own method `{method}` answers an API, and only its call is converted")
        return self._plugin.caller(self._module, method, is_batch=is_batch)

    def inputs(self, *arguments: Any, **named: Any) -> dict[str, Any]:
        argument = arguments[0] if len(arguments) == 1 and not named else {**self._named(arguments), **named}
        by_place, by_name = self._call.tensors(argument)
        tensors = {**self._named(by_place), **by_name}
        return {name: self._array(name, tensor) for name, tensor in tensors.items()}

    def _named(self, values: Sequence[Any]) -> dict[str, Any]:
        if len(values) > len(self._names):
            raise ConversionError(
                "", f"its `forward` names {listed(self._names) or 'no input'}, and {len(values)} are given"
            )
        return dict(zip(self._names, values, strict=False))

    def _array(self, name: str, tensor: Any) -> Any:
        if tensor.is_complex() or str(tensor.dtype) == "torch.bfloat16":
            kind = str(tensor.dtype).removeprefix("torch.")
            raise ConversionError("", f"its input `{name}` is of `{kind}`, which no input of a compiled network is")
        return tensor.detach().cpu().numpy().copy()

    def outputs(self, arrays: Mapping[str, Any]) -> tuple[Structure, dict[str, Any]]:
        with self._torch.inference_mode():
            structure, tensors = parts_of_output(self._asked(self._tensors(arrays)))
            return structure, {name: _plain(tensor).cpu().numpy() for name, tensor in tensors.items()}

    def first_rows(self) -> Any:
        row = self._plugin.first_row(self._module)
        return None if row is None else [row]

    def to_onnx(self, arrays: Mapping[str, Any], shapes: Mapping[str, Sequence[int]], outputs: Sequence[str]) -> bytes:
        try:
            return exported(self._module, self._asked, self._tensors(arrays), shapes, outputs=len(outputs))
        except Exception as exc:
            if isinstance(exc, KappaError):
                raise
            raise ConversionError(self._step_at_fault(exc), reason_of(exc)) from exc

    def _tensors(self, arrays: Mapping[str, Any]) -> dict[str, Any]:
        return {name: self._torch.from_numpy(array) for name, array in arrays.items()}

    def _asked(self, tensors: Mapping[str, Any]) -> Any:
        """Call the module: by position as far as the names of the inputs are its first parameters."""
        names = [*tensors]
        if names == self._names[: len(names)]:
            return self._module(*tensors.values())
        return self._module(**tensors)

    def _step_at_fault(self, exc: BaseException) -> str:
        """Return the name of the innermost module that was called when an error was raised; empty for the whole."""
        names = {id(module): name for name, module in self._module.named_modules()}
        step = ""
        for cause in _causes(exc):
            for frame, _ in traceback.walk_tb(cause.__traceback__):
                step = names.get(id(frame.f_locals.get("self")), "") or step
        return step


def exported(
    module: Any,
    ask: Callable[[Mapping[str, Any]], Any],
    tensors: Mapping[str, Any],
    shapes: Mapping[str, Sequence[int]],
    *,
    outputs: int,
) -> bytes:
    """Return what ``ask`` computes by a ``module`` of tensors as ONNX; lengths of -1 in ``shapes`` may differ.

    Raises whatever the exporter does, of which `reason_of` makes a sentence.
    """
    torch = import_torch("pytorch")
    with optional_import("onnxscript", needed_for='`compile = "onnx"` of a module of PyTorch'):
        import onnxscript  # noqa: F401 - the exporter's own

    class Flat(torch.nn.Module):  # type: ignore[misc,name-defined]
        """Takes the inputs by position, and returns the outputs as a tuple."""

        def __init__(self) -> None:
            super().__init__()
            self.network, self.training = module, False  # `eval` is no method of exported programs

        def forward(self, *values: Any) -> Any:
            _, parts = parts_of_output(ask(dict(zip(tensors, values, strict=True))))
            return tuple(_plain(part) for part in parts.values())

    rows = next(rows for rows in _ROWS if all(rows not in tensor.shape[1:] for tensor in tensors.values()))
    dynamic = torch.export.Dim.DYNAMIC
    axes = tuple({at: dynamic for at, size in enumerate(shape) if size == -1} for shape in shapes.values())
    with _quiet():
        program = torch.onnx.export(
            Flat(),
            tuple(_repeated(tensor, rows) for tensor in tensors.values()),
            dynamo=True,
            dynamic_shapes=(axes,),
            input_names=[f"input_{index}" for index in range(len(tensors))],
            output_names=[f"output_{index}" for index in range(outputs)],
            opset_version=_OPSET,
            verbose=False,
        )
        return bytes(program.model_proto.SerializeToString(deterministic=True))


def parts_of_output(output: Any) -> tuple[Structure, dict[str, Any]]:
    """Return the tensors that a module returned, by their names; raises `ConversionError` for anything else."""
    structure: Structure = "array"
    if isinstance(output, Mapping):
        structure, parts = "mapping", {str(name): part for name, part in output.items() if part is not None}
    elif isinstance(output, tuple):
        names = getattr(type(output), "__match_args__", [f"output_{number}" for number in range(len(output))])
        structure, parts = "tuple", dict(zip(names, output, strict=True))
    else:
        parts = {"output": output}
    for name, part in parts.items():
        if not hasattr(part, "detach"):
            where = f"`{name}` of its outputs is" if structure != "array" else "it returns"
            raise ConversionError("", f"{where} a `{type(part).__name__}`, and a compiled network returns arrays")
    return structure, parts


def _plain(tensor: Any) -> Any:
    tensor = tensor.detach()
    tensor = tensor if str(tensor.layout) == "torch.strided" else tensor.to_dense()
    return tensor.float() if str(tensor.dtype) == "torch.bfloat16" else tensor


def _repeated(tensor: Any, rows: int) -> Any:
    if not tensor.dim():
        return tensor
    return (
        tensor[:1].repeat(rows, *[1] * (tensor.dim() - 1)) if len(tensor) else tensor.new_zeros(rows, *tensor.shape[1:])
    )


def _causes(exc: BaseException | None) -> Iterator[BaseException]:
    seen: set[int] = set()
    while exc is not None and id(exc) not in seen:
        seen.add(id(exc))
        yield exc
        exc = exc.__cause__ or exc.__context__


def reason_of(exc: Exception) -> str:
    """Return why the exporter gave up: what the innermost exception says first, in words where there are some."""
    texts = [str(cause) for cause in _causes(exc)]
    for text in texts:
        if (match := _NO_OPERATOR.search(text)) is not None:
            return f"the operator `{match[1]}` has no ONNX"
        if any(words in text for words in _FIXED):
            return (
                "its code fixes a length that differs from call to call: perhaps the number of rows, as in a `reshape`"
            )
        if "data-dependent" in text:
            return "its code branches by the numbers that it is given"
    first = next((line.strip() for line in texts[-1].splitlines() if line.strip()), type(exc).__name__)
    return printable(first if len(first) <= _MOST_SHOWN else f"{first[:_MOST_SHOWN]}…")


@contextmanager
def _quiet() -> Iterator[None]:
    """Leave out what the exporter says of its progress, and prints of code that it does not convert."""
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings(), redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(logging.NOTSET)
