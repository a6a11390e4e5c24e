"""XGBoost models, kept in either of the library's own formats, which it tells apart by the extension alone."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any, ClassVar, Literal

from kappa.errors import optional_import
from kappa.frameworks.compiled import CompilableArtifact
from kappa.frameworks.packing import check_packed
from kappa.inspection.boosters import XGBOOST_ESTIMATORS, read_xgboost
from kappa.inspection.streams import head_of
from kappa.spec.contracts import ModelNeeds

__all__ = ["XgboostModelArtifact"]

_FIRST_KEY = b"learner"
_FIRST_KEY_WITHIN = 64
_AS_JSON = "model.json"
_JSON_AFTER_BRACE = b'" \t\r\n'
"""Bytes that may follow the first `{` of an object in JSON; in UBJSON it is the type of a length."""


class XgboostModelArtifact(CompilableArtifact):
    """A booster or an estimator of XGBoost's, as `save_model` writes it (UBJSON or JSON)."""

    filename: ClassVar[str] = "model.ubj"
    extensions: ClassVar[frozenset[str]] = frozenset({".json", ".ubj"})
    written_by: ClassVar[str] = "XGBoost's `save_model`"
    row_methods: ClassVar[frozenset[str]] = frozenset({"apply", "predict", "predict_proba"})

    type: Literal["xgboost"] = "xgboost"
    estimator: str | None = None
    """The estimator's class to load it as, e.g. `XGBClassifier`; the model's own statement if not given."""

    def requires(self) -> tuple[str, ...]:
        return ("xgboost",)

    def save(self, model: Any, directory: Path) -> None:
        check_packed(self, model, "xgboost.Booster", "xgboost.XGBModel")
        model.save_model(str(directory / self.filename))

    def load(self, directory: Path) -> Any:
        """Read a booster back, or the estimator that it was a part of."""
        xgboost = _xgboost()
        path = str(directory / (_AS_JSON if (directory / _AS_JSON).exists() else self.filename))
        booster = xgboost.Booster()
        booster.load_model(path)
        name = self.estimator or _estimator_of(booster)
        if name is None:
            return booster
        estimator = getattr(xgboost, name)()
        estimator.load_model(path)
        return estimator

    def caller(self, model: Any, method: str, *, is_batch: bool) -> Callable[..., Any]:
        """Return the model's method; a booster's own takes a `DMatrix`, which is made of rows and tables for it."""
        called = super().caller(model, method, is_batch=is_batch)
        xgboost = _xgboost()
        return _on_rows(called, xgboost) if method == "predict" and isinstance(model, xgboost.Booster) else called

    def feature_names_of(self, model: Any) -> tuple[str, ...]:
        is_estimator = hasattr(model, "get_booster")
        return tuple((model.get_booster() if is_estimator else model).feature_names or ())

    def input_for(self, path: Path) -> str:  # noqa: ARG002 - all of them take arrays
        return "ndarray"

    def filename_of(self, path: Path) -> str:
        return _AS_JSON if head_of(path)[1:2] in _JSON_AFTER_BRACE else self.filename

    def claims(self, path: Path) -> bool:
        return super().claims(path) and _FIRST_KEY in head_of(path)[:_FIRST_KEY_WITHIN]

    def sniff(self, path: Path) -> str | None:
        head = head_of(path)
        if head.startswith(b"{") and _FIRST_KEY in head:
            return None
        return "it does not begin as XGBoost's formats do, which `save_model` writes"

    def needs_of_file(self, path: Path) -> ModelNeeds:
        model = read_xgboost(path, head_of(path))
        return (
            ModelNeeds(model.modules, model.versions) if model is not None else ModelNeeds(_modules(is_estimator=False))
        )

    def needs_of_model(self, model: Any) -> ModelNeeds:
        return ModelNeeds(_modules(is_estimator=hasattr(model, "get_booster")))


def _on_rows(predict: Callable[[Any], Any], xgboost: Any) -> Callable[[Any], Any]:
    @wraps(predict)
    def on_rows(rows: Any) -> Any:
        return predict(rows if isinstance(rows, xgboost.DMatrix) else xgboost.DMatrix(rows, enable_categorical=True))

    return on_rows


def _modules(*, is_estimator: bool) -> tuple[str, ...]:
    """Name what loading a model imports: its estimators are those of scikit-learn."""
    return ("sklearn", "xgboost") if is_estimator else ("xgboost",)


def _estimator_of(booster: Any) -> str | None:
    """Return the class of the estimator that a booster was saved by, which an attribute of the model names."""
    text = booster.attr("scikit_learn")
    kind = json.loads(text).get("_estimator_type") if text else None
    return XGBOOST_ESTIMATORS.get(kind or "")


def _xgboost() -> Any:
    with optional_import("xgboost", needed_for="the artifact type `xgboost`"):
        import xgboost
    return xgboost
