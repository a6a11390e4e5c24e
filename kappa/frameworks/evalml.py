"""EvalML's pipelines, which a recipe keeps."""

from __future__ import annotations

from typing import ClassVar, Literal

from kappa.frameworks.recipes import RecipeArtifact

__all__ = ["EvalMLModelArtifact"]


class EvalMLModelArtifact(RecipeArtifact):
    """A pipeline of EvalML's."""

    written_by: ClassVar[str] = "its `save`"
    loaded_by: ClassVar[str] = "`evalml.pipelines.PipelineBase.load`"
    package: ClassVar[str] = "evalml"

    type: Literal["evalml"] = "evalml"
