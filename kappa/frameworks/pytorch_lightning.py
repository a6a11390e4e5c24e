"""Modules of PyTorch Lightning, kept as TorchScript: where they are served, Lightning is not needed."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar, Literal

from kappa.frameworks.packing import check_packed
from kappa.frameworks.pytorch import PytorchModelArtifact, without_deprecations
from kappa.inspection.streams import head_of
from kappa.inspection.torch_files import read_torch
from kappa.spec.contracts import ModelNeeds

__all__ = ["PytorchLightningModelArtifact"]


class PytorchLightningModelArtifact(PytorchModelArtifact):
    """A module of Lightning's, as the TorchScript that its `to_torchscript` makes; functions receive that. Its weights
    with a `factory` are of the type `pytorch`."""

    written_by: ClassVar[str] = "a `LightningModule`'s `to_torchscript`"
    extensions: ClassVar[frozenset[str]] = frozenset()  # those of `pytorch`, which takes all its files

    type: Literal["pytorch_lightning"] = "pytorch_lightning"  # type: ignore[assignment]
    factory: None = None
    """Only the type `pytorch` takes one."""

    def save(self, model: Any, directory: Path) -> None:
        check_packed(self, model, "pytorch_lightning.LightningModule", "lightning.LightningModule")
        with without_deprecations():
            super().save(model.to_torchscript(), directory)

    def sniff(self, path: Path) -> str | None:
        model = read_torch(path, head_of(path))
        if model is None or model.kind != "torchscript":
            return "it is not TorchScript, which a `LightningModule`'s `to_torchscript` makes"
        return model.problem or None

    def needs_of_model(self, model: Any) -> ModelNeeds:  # noqa: ARG002 - all of them need the same
        return ModelNeeds(self.needed_modules)
