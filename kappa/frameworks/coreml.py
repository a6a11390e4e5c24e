"""Core ML's models, which a recipe keeps."""

from __future__ import annotations

from typing import ClassVar, Literal

from kappa.frameworks.recipes import RecipeArtifact

__all__ = ["CoreMLModelArtifact"]


class CoreMLModelArtifact(RecipeArtifact):
    """A model of Core ML's, which predicts on macOS alone."""

    written_by: ClassVar[str] = "its `save`"
    loaded_by: ClassVar[str] = "`coremltools.models.MLModel`"
    package: ClassVar[str] = "coremltools"

    type: Literal["coreml"] = "coreml"
