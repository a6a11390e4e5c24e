"""scikit-learn estimators, kept with joblib."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar, Literal

from kappa.errors import optional_import
from kappa.frameworks.estimators import estimator_caller
from kappa.inspection.pickles import (
    PICKLE_EXTENSIONS,
    may_hold_estimator,
    needs_of_object,
    needs_of_pickle,
    sniff_pickle,
)
from kappa.spec.contracts import ArtifactPlugin, ModelNeeds

__all__ = ["SklearnModelArtifact"]


class SklearnModelArtifact(ArtifactPlugin):
    """A fitted estimator or pipeline, as `joblib.dump` writes it."""

    filename: ClassVar[str] = "model.joblib"
    extensions: ClassVar[frozenset[str]] = PICKLE_EXTENSIONS
    written_by: ClassVar[str] = "`joblib.dump`"
    is_pickle: ClassVar[bool] = True

    row_methods: ClassVar[frozenset[str]] = frozenset(
        {
            "apply",
            "decision_function",
            "inverse_transform",
            "predict",
            "predict_log_proba",
            "predict_proba",
            "score_samples",
            "transform",
        }
    )

    type: Literal["sklearn"] = "sklearn"

    def requires(self) -> tuple[str, ...]:
        return ("scikit-learn",)

    def save(self, model: Any, directory: Path) -> None:
        _joblib().dump(model, directory / self.filename)

    def load(self, directory: Path) -> Any:
        return _joblib().load(directory / self.filename)

    def caller(self, model: Any, method: str, *, is_batch: bool) -> Callable[..., Any]:
        return estimator_caller(model, method, super().caller(model, method, is_batch=is_batch), is_batch=is_batch)

    def claims(self, path: Path) -> bool:
        return super().claims(path) and may_hold_estimator(path)

    def sniff(self, path: Path) -> str | None:
        return sniff_pickle(path)

    def needs_of_file(self, path: Path) -> ModelNeeds:
        return needs_of_pickle(path)

    def needs_of_model(self, model: Any) -> ModelNeeds:
        return needs_of_object(model)


def _joblib() -> Any:
    with optional_import("scikit-learn", needed_for="the artifact type `sklearn`"):
        import joblib
    return joblib
