"""PaddlePaddle's layers, which a recipe keeps."""

from __future__ import annotations

from typing import ClassVar, Literal

from kappa.frameworks.recipes import RecipeArtifact

__all__ = ["PaddlePaddleModelArtifact"]


class PaddlePaddleModelArtifact(RecipeArtifact):
    """A layer of PaddlePaddle's."""

    written_by: ClassVar[str] = "`paddle.jit.save`"
    loaded_by: ClassVar[str] = "`paddle.jit.load`"
    package: ClassVar[str] = "paddlepaddle"

    type: Literal["paddle"] = "paddle"
