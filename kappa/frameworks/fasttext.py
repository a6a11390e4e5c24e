"""fastText's models, which a recipe keeps."""

from __future__ import annotations

from typing import ClassVar, Literal

from kappa.frameworks.recipes import RecipeArtifact

__all__ = ["FasttextModelArtifact"]


class FasttextModelArtifact(RecipeArtifact):
    """A model of fastText's."""

    written_by: ClassVar[str] = "its `save_model`"
    loaded_by: ClassVar[str] = "`fasttext.load_model`"
    package: ClassVar[str] = "fasttext"

    type: Literal["fasttext"] = "fasttext"
