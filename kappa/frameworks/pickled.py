"""What types of pickles share: how a file is judged, what it names, and how what is in it is called."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from kappa.frameworks.estimators import categories_of, estimator_caller
from kappa.inspection.pickles import needs_of_object, needs_of_pickle, sniff_pickle
from kappa.spec.contracts import ArtifactPlugin, ModelNeeds

__all__ = ["PickledArtifact"]


class PickledArtifact(ArtifactPlugin):
    """A type whose files are pickles."""

    is_pickle: ClassVar[bool] = True

    def caller(self, model: Any, method: str, *, is_batch: bool) -> Callable[..., Any]:
        """Return the object's method, called as an estimator's, which is what most pickles hold."""
        return estimator_caller(model, method, super().caller(model, method, is_batch=is_batch), is_batch=is_batch)

    def first_row(self, model: Any) -> Mapping[str, Any] | Sequence[Any] | None:
        row = super().first_row(model)
        return {**row, **categories_of(model)} if isinstance(row, Mapping) else row

    def sniff(self, path: Path) -> str | None:
        return sniff_pickle(path)

    def needs_of_file(self, path: Path) -> ModelNeeds:
        return needs_of_pickle(path)

    def needs_of_model(self, model: Any) -> ModelNeeds:
        return needs_of_object(model)
