"""scikit-learn estimators, kept with joblib."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar, Literal

from kappa.errors import optional_import
from kappa.frameworks.compiled import CompilableArtifact
from kappa.frameworks.estimators import input_for_estimator
from kappa.frameworks.pickled import PickledArtifact
from kappa.inspection.pickles import PICKLE_EXTENSIONS, may_hold_estimator

__all__ = ["SklearnModelArtifact"]


class SklearnModelArtifact(PickledArtifact, CompilableArtifact):
    """A fitted estimator or pipeline, as `joblib.dump` writes it."""

    filename: ClassVar[str] = "model.joblib"
    extensions: ClassVar[frozenset[str]] = PICKLE_EXTENSIONS
    written_by: ClassVar[str] = "`joblib.dump`"

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

    def input_for(self, path: Path) -> str:
        return input_for_estimator(path)

    def claims(self, path: Path) -> bool:
        return super().claims(path) and may_hold_estimator(path)


def _joblib() -> Any:
    with optional_import("scikit-learn", needed_for="the artifact type `sklearn`"):
        import joblib
    return joblib
