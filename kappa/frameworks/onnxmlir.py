"""Models that onnx-mlir has compiled, which a recipe keeps."""

from __future__ import annotations

from typing import ClassVar, Literal

from kappa.frameworks.recipes import RecipeArtifact

__all__ = ["OnnxMlirModelArtifact"]


class OnnxMlirModelArtifact(RecipeArtifact):
    """A model that onnx-mlir has compiled."""

    written_by: ClassVar[str] = "onnx-mlir"
    loaded_by: ClassVar[str] = "`PyRuntime.OMExecutionSession`"
    package: ClassVar[str] = "onnx-mlir"

    type: Literal["onnxmlir"] = "onnxmlir"
