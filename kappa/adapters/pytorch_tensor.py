"""Tensors in, as PyTorch's; the only place where PyTorch is imported."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal

from kappa.adapters.arrays import ArrayInput
from kappa.errors import optional_import
from kappa.types import Payload

__all__ = ["PytorchTensorInput"]


class PytorchTensorInput(ArrayInput):
    """Rows of a tensor, as nested JSON arrays or as the `.npy` that `numpy.save` writes; functions receive a
    `torch.Tensor`, batch functions one with the rows of the whole batch. Declare `dtype = "float32"` for most models:
    JSON alone makes `float64` or `int64`."""

    type: Literal["pytorch_tensor"] = "pytorch_tensor"

    def requires(self) -> tuple[str, ...]:
        return ("numpy", "torch")

    def decoder(self, load: Callable[[str], Any]) -> Callable[[Payload], Any]:
        _torch()
        return super().decoder(load)

    def merge(self, forms: Sequence[Any]) -> Any:
        return _torch().from_numpy(super().merge(forms))

    def single(self, form: Any) -> Any:
        return _torch().from_numpy(super().single(form))


def _torch() -> Any:
    with optional_import("torch", needed_for="the input adapter `pytorch_tensor`"):
        import torch
    return torch
