"""LightGBM models, kept as the text that the library writes, with a line about the estimator that a booster is of."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from typing import Any, ClassVar, Literal

from kappa.errors import ConfigurationError, optional_import
from kappa.frameworks.compiled import CompilableArtifact
from kappa.frameworks.packing import check_packed, is_instance_of
from kappa.inspection.boosters import named_columns, read_lightgbm
from kappa.inspection.streams import head_of
from kappa.spec.contracts import ModelNeeds

__all__ = ["LightGBMModelArtifact"]

_TAIL_BYTES = 1 << 20
_ESTIMATORS = frozenset({"LGBMClassifier", "LGBMRanker", "LGBMRegressor"})
_LINE = b"\nkappa_estimator:"
_LAST_LINE = b"\npandas_categorical:"
"""LightGBM's Python package searches for this line at the end, and reads nothing between the parameters and it."""
_DUMPED = b'{"name": "tree"'


class LightGBMModelArtifact(CompilableArtifact):
    """A booster or an estimator of LightGBM's, as `save_model` writes it (text)."""

    filename: ClassVar[str] = "model.txt"
    extensions: ClassVar[frozenset[str]] = frozenset({".lgb", ".txt"})
    written_by: ClassVar[str] = "LightGBM's `save_model`"
    row_methods: ClassVar[frozenset[str]] = frozenset({"predict", "predict_proba"})

    type: Literal["lightgbm"] = "lightgbm"

    def requires(self) -> tuple[str, ...]:
        return ("lightgbm",)

    def save(self, model: Any, directory: Path) -> None:
        """Write a booster; of an estimator, its booster with its class and its labels."""
        check_packed(self, model, "lightgbm.Booster", *(f"lightgbm.{name}" for name in sorted(_ESTIMATORS)))
        path = directory / self.filename
        if is_instance_of(model, "lightgbm.Booster"):
            model.save_model(path)
            return
        if callable(model.objective):
            raise ConfigurationError(
                f"The objective of the artifact `{self.name}` is a function, which a file of LightGBM's does not keep: "
                "pack the estimator's `booster_`, whose `predict` returns raw scores."
            )
        model.booster_.save_model(path)
        text, line, rest = path.read_bytes().rpartition(_LAST_LINE)
        facts = json.dumps(_facts_of(model)).encode()
        path.write_bytes(text + _LINE + facts + b"\n" + line + rest)

    def load(self, directory: Path) -> Any:
        """Read a booster back, or the estimator that it was a part of."""
        with optional_import("lightgbm", needed_for="the artifact type `lightgbm`"):
            import lightgbm
        path = directory / self.filename
        booster = lightgbm.Booster(model_file=path)
        facts = _estimator_in(path)
        return booster if facts is None else _estimator(lightgbm, booster, facts)

    def feature_names_of(self, model: Any) -> tuple[str, ...]:
        booster = model if is_instance_of(model, "lightgbm.Booster") else model.booster_
        return _columns_of(booster)

    def input_for(self, path: Path) -> str:  # noqa: ARG002 - all of them take arrays
        return "ndarray"

    def sniff(self, path: Path) -> str | None:
        head = head_of(path)
        if head.startswith(_DUMPED):
            return "it is what `dump_model` returned, which LightGBM does not read: use `save_model`"
        model = read_lightgbm(path, head)
        if model is None:
            return "it does not begin as LightGBM's text does, which `save_model` writes"
        return model.problem or None

    def needs_of_file(self, path: Path) -> ModelNeeds:
        return _needs(_estimator_in(path))

    def needs_of_model(self, model: Any) -> ModelNeeds:
        return _needs(None if is_instance_of(model, "lightgbm.Booster") else {"class": type(model).__name__})


def _columns_of(booster: Any) -> tuple[str, ...]:
    return named_columns(tuple(booster.feature_name()), prefix="Column_")


def _facts_of(estimator: Any) -> dict[str, Any]:
    """Return what the text of a booster does not say of its estimator."""
    names = (kind.__name__ for kind in type(estimator).__mro__)
    kind = next(name for name in names if name in _ESTIMATORS)
    facts: dict[str, Any] = {"class": kind, "objective": estimator.objective_}
    if hasattr(estimator, "classes_"):
        facts.update(classes=estimator.classes_.tolist(), dtype=estimator.classes_.dtype.str)
    return facts


def _estimator_in(path: Path) -> dict[str, Any] | None:
    """Return what a file says of its estimator; ``None`` for that of a booster alone."""
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - _TAIL_BYTES))
        _, line, rest = file.read().rpartition(_LINE)
    facts = None
    with suppress(ValueError, RecursionError):
        facts = json.loads(rest.partition(b"\n")[0]) if line else None
    return facts if isinstance(facts, dict) and facts.get("class") in _ESTIMATORS else None


def _estimator(lightgbm: Any, booster: Any, facts: dict[str, Any]) -> Any:
    """Return the estimator that a booster was a part of, as if it had been fitted here.

    NOTE: LightGBM has no public way to do so. These are the attributes that its `fit` sets and its `predict` reads.
    """
    estimator = getattr(lightgbm, facts["class"])()
    count = booster.num_feature()
    fitted = {
        "_Booster": booster,
        "_best_iteration": booster.best_iteration,
        "_fitted_with_feature_names": bool(_columns_of(booster)),
        "_n_features": count,
        "_n_features_in": count,
        "_objective": facts["objective"],
        "fitted_": True,
    }
    if "classes" in facts:
        import numpy as np
        from sklearn.preprocessing import LabelEncoder

        classes = np.array(facts["classes"], dtype=facts["dtype"])
        encoder = LabelEncoder().fit(classes)
        fitted |= {"_classes": classes, "_le": encoder, "_n_classes": len(classes)}
    vars(estimator).update(fitted)
    return estimator


def _needs(facts: dict[str, Any] | None) -> ModelNeeds:
    if facts is None:
        return ModelNeeds(("lightgbm",), made_of="lightgbm.basic:Booster")
    return ModelNeeds(("lightgbm", "sklearn"), made_of=f"lightgbm.sklearn:{facts['class']}")
