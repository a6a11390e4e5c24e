"""Detectron2's models, which a recipe keeps."""

from __future__ import annotations

from typing import ClassVar, Literal

from kappa.frameworks.recipes import RecipeArtifact

__all__ = ["DetectronModelArtifact"]


class DetectronModelArtifact(RecipeArtifact):
    """A model of Detectron2's."""

    written_by: ClassVar[str] = "`detectron2.checkpoint.DetectionCheckpointer`"
    loaded_by: ClassVar[str] = "`detectron2.engine.DefaultPredictor`"
    package: ClassVar[str] = "detectron2"

    type: Literal["detectron"] = "detectron"
