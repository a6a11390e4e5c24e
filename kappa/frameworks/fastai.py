"""fastai's learners, which a recipe keeps."""

from __future__ import annotations

from typing import ClassVar, Literal

from kappa.frameworks.recipes import RecipeArtifact

__all__ = ["Fastai1ModelArtifact", "FastaiModelArtifact"]


class FastaiModelArtifact(RecipeArtifact):
    """A `Learner` of fastai's."""

    written_by: ClassVar[str] = "`Learner.export`"
    loaded_by: ClassVar[str] = "`fastai.learner.load_learner`"
    package: ClassVar[str] = "fastai"

    type: Literal["fastai"] = "fastai"


class Fastai1ModelArtifact(RecipeArtifact):
    """A `Learner` of fastai 1."""

    written_by: ClassVar[str] = "`Learner.export`"
    loaded_by: ClassVar[str] = "`fastai.basic_train.load_learner`"
    package: ClassVar[str] = "fastai"

    type: Literal["fastai1"] = "fastai1"
