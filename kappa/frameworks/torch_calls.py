"""How PyTorch's modules are called: input adapters' values become tensors, and tensors become NumPy's arrays."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from contextlib import suppress
from typing import Annotated, Any

from pydantic import Field

from kappa.errors import BadInputError, BundleError, optional_import
from kappa.frameworks.by_shape import answer_by_shape, are_of_several_shapes
from kappa.frameworks.named_inputs import NamedInputs, values_by_name
from kappa.frameworks.packing import is_instance_of
from kappa.inspection.report import Tensor
from kappa.wording import listed

__all__ = ["Device", "TensorCall", "device_here", "import_torch", "looks_up"]

Device = Annotated[str, Field(pattern=r"^(auto|cpu|(cuda|mps|xpu)(:\d+)?)$")]
"""A device in PyTorch's words, or `auto`: the GPU if there is one, else the CPU."""

_LOOK_UP = frozenset({"Embedding", "EmbeddingBag"})
"""Layers that take integers."""


def import_torch(artifact_type: str) -> Any:
    with optional_import("torch", needed_for=f"the artifact type `{artifact_type}`"):
        import torch
    return torch


def device_here(torch: Any, device: str, *, artifact: str) -> Any:
    """Return the device that is meant; raises `BundleError` for one that is not here."""
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        torch.empty(0, device=device)
    except (AssertionError, NotImplementedError, RuntimeError) as exc:
        reason = (str(exc).splitlines() or [""])[0]
        message = f"The artifact `{artifact}` asks for the device `{device}`, which is not here: {reason}"
        raise BundleError(message) from exc
    return torch.device(device)


class TensorCall:
    """Calls a module, or a method of one, without gradients.

    A table, an array and nested lists are one tensor; a list of arrays is one with a further axis; a mapping is
    arguments by name. An exported program knows the types and shapes of its inputs. For another module, floating-point
    numbers become those of its weights, and so do integers, unless it looks embeddings up.
    """

    def __init__(self, module: Any, called: Any, *, torch: Any, artifact: str, is_batch: bool) -> None:
        self._torch, self._called, self._is_batch = torch, called, is_batch
        self._signature = _signature_of(called if called is not module else module.forward)
        weights = [*module.parameters(), *module.buffers()]
        self._device = weights[0].device if weights else None
        self._dtype = next((tensor.dtype for tensor in weights if tensor.is_floating_point()), None)
        self._keeps_integers = any(map(looks_up, module.modules()))
        inputs = _inputs_of(module) if called is module else []
        self._inputs = NamedInputs(inputs, artifact=artifact, is_batch=is_batch) if inputs else None
        with suppress(NotImplementedError):  # of exported programs, which stay in the mode that they were exported in
            module.eval()

    def __call__(self, argument: Any) -> Any:
        with self._torch.inference_mode():
            if self._is_batch and are_of_several_shapes(argument):
                return answer_by_shape(self._answer, argument)
            return self._answer(argument)

    def _answer(self, argument: Any) -> Any:
        arguments, named = self.tensors(argument)
        return _arrays_of(self._called(*arguments, **named))

    def tensors(self, argument: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Return the tensors of a call, by position and by name; raises `BadInputError` for what makes none."""
        if self._inputs is not None:
            argument = self._inputs(argument)
        elif isinstance(argument, list) and argument and all(isinstance(item, Mapping) for item in argument):
            argument = values_by_name(argument)
        if not isinstance(argument, Mapping):
            return (self._tensor(argument),), {}
        tensors = {str(name): self._tensor(value, str(name)) for name, value in argument.items()}
        if self._signature is None:
            return (), tensors
        try:
            bound = self._signature.bind(**tensors)
        except TypeError:
            names = listed(self._signature.parameters)
            raise BadInputError(f"The model takes {names}, not {listed(tensors) or 'nothing'}.") from None
        return bound.args, bound.kwargs

    def _tensor(self, value: Any, name: str = "") -> Any:
        if not isinstance(value, self._torch.Tensor):
            value = self._torch.as_tensor(_array_of(value, name))
        has_dtype = value.is_floating_point() or not (self._keeps_integers or value.is_complex())
        dtype = self._dtype if has_dtype and self._inputs is None else None
        return value.to(device=self._device, dtype=dtype)


def _inputs_of(module: Any) -> list[Tensor]:
    """Return the inputs of an exported program; none of another module."""
    if not is_instance_of(module, "torch.GraphModule"):
        return []
    nodes = [node for node in module.graph.nodes if node.op == "placeholder"]
    tensors = [node.meta["val"] for node in nodes if hasattr(node.meta.get("val"), "dtype")]
    return [
        Tensor(
            name,
            str(tensor.dtype).removeprefix("torch."),
            tuple(size if type(size) is int else -1 for size in tensor.shape),
        )
        for name, tensor in zip(inspect.signature(module.forward).parameters, tensors, strict=False)
    ]


def _signature_of(called: Any) -> inspect.Signature | None:
    """Return the parameters of a method of a module; ``None`` where any name may be right."""
    schema = getattr(called, "schema", None)  # of TorchScript's
    if schema is not None:
        parameters = [
            inspect.Parameter(
                argument.name,
                inspect.Parameter.POSITIONAL_OR_KEYWORD,
                default=argument.default_value if argument.has_default_value() else inspect.Parameter.empty,
            )
            for argument in schema.arguments
            if argument.name != "self"
        ]
        return inspect.Signature(parameters)
    with suppress(TypeError, ValueError):
        return inspect.signature(called)
    return None


def looks_up(layer: Any) -> bool:
    """Return whether a layer takes integers, which it looks up."""
    return getattr(layer, "original_name", type(layer).__name__) in _LOOK_UP  # TorchScript's have one class


def _array_of(value: Any, name: str) -> Any:
    import numpy as np

    subject = f"The input `{name}`" if name else "The input"
    try:
        array = value.to_numpy() if hasattr(value, "to_numpy") else np.asarray(value)
    except ValueError as exc:
        raise BadInputError(f"{subject} cannot be made a tensor: {exc}.") from exc
    if array.dtype.kind not in "biufc":
        raise BadInputError(f"{subject} holds values that are not numbers, of which no tensor can be made.")
    return array if array.flags.writeable and min(array.strides, default=0) >= 0 else array.copy()


def _arrays_of(output: Any) -> Any:
    """Return what a module returned, with NumPy's arrays in place of tensors; the parts of a tuple get names."""
    if hasattr(output, "detach"):
        tensor = output.detach().cpu()
        if str(tensor.layout) != "torch.strided":
            tensor = tensor.to_dense()
        return (tensor.float() if str(tensor.dtype) == "torch.bfloat16" else tensor).numpy()  # which NumPy has not
    if isinstance(output, Mapping):
        return {str(name): _arrays_of(part) for name, part in output.items() if part is not None}
    if isinstance(output, tuple):
        names = getattr(type(output), "__match_args__", [f"output_{number}" for number in range(len(output))])
        return _arrays_of(dict(zip(names, output, strict=True)))
    return [_arrays_of(part) for part in output] if isinstance(output, list) else output
