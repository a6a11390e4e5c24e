"""Frameworks whose models a few lines of the service's own code keep: their classes are there to say how."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar, NoReturn

from kappa.errors import ConfigurationError
from kappa.spec.contracts import ArtifactPlugin

__all__ = ["RecipeArtifact"]


class RecipeArtifact(ArtifactPlugin):
    """A model that a type of the service's own keeps, as a recipe of the documentation shows."""

    filename: ClassVar[str] = "model"
    loaded_by: ClassVar[str]
    """The function that reads what `written_by` wrote, for messages."""
    package: ClassVar[str]
    """The distribution of the framework."""

    def requires(self) -> tuple[str, ...]:
        return (self.package,)

    def check(self, model: Any) -> None:  # noqa: ARG002 - it keeps none
        self._refuse()

    def save(self, model: Any, directory: Path) -> NoReturn:  # noqa: ARG002
        self._refuse()

    def load(self, directory: Path) -> NoReturn:  # noqa: ARG002
        self._refuse()

    def _refuse(self) -> NoReturn:
        raise ConfigurationError(
            f"`{type(self).__name__}` keeps no model. Write it with {self.written_by}, and derive a type of your own "
            f"from `kappa.frameworks.file.FileArtifact`, whose `load` reads it with {self.loaded_by} "
            f"(`{self.package}`): the recipe `{self.type}` of the documentation has the lines."
        )
