"""The blocks of MXNet Gluon, which a recipe keeps."""

from __future__ import annotations

from typing import ClassVar, Literal

from kappa.frameworks.recipes import RecipeArtifact

__all__ = ["GluonModelArtifact"]


class GluonModelArtifact(RecipeArtifact):
    """A `HybridBlock` of MXNet Gluon's."""

    written_by: ClassVar[str] = "its `export`"
    loaded_by: ClassVar[str] = "`mxnet.gluon.SymbolBlock.imports`"
    package: ClassVar[str] = "mxnet"

    type: Literal["gluon"] = "gluon"
