"""EasyOCR's readers, which a recipe keeps."""

from __future__ import annotations

from typing import ClassVar, Literal

from kappa.frameworks.recipes import RecipeArtifact

__all__ = ["EasyOCRArtifact"]


class EasyOCRArtifact(RecipeArtifact):
    """A `Reader` of EasyOCR's."""

    written_by: ClassVar[str] = "EasyOCR, which keeps its weights in a folder,"
    loaded_by: ClassVar[str] = "`easyocr.Reader`"
    package: ClassVar[str] = "easyocr"

    type: Literal["easyocr"] = "easyocr"
