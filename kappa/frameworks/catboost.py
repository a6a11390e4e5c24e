"""CatBoost models, kept in either of the library's own formats, which its `load_model` must be told."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal

from kappa.errors import ConfigurationError, optional_import
from kappa.frameworks.compiled import CompilableArtifact
from kappa.frameworks.estimators import labels_by_row
from kappa.frameworks.packing import check_packed, is_instance_of
from kappa.inspection.boosters import named_columns, read_catboost
from kappa.inspection.streams import head_of
from kappa.spec.contracts import ModelNeeds

__all__ = ["CatBoostModelArtifact"]

_AS_JSON = "model.json"
_Estimator = Literal["CatBoost", "CatBoostClassifier", "CatBoostRanker", "CatBoostRegressor"]


class CatBoostModelArtifact(CompilableArtifact):
    """A model of CatBoost's, as `save_model` writes it (cbm or JSON)."""

    filename: ClassVar[str] = "model.cbm"
    extensions: ClassVar[frozenset[str]] = frozenset({".cbm", ".json"})
    written_by: ClassVar[str] = "CatBoost's `save_model`"
    row_methods: ClassVar[frozenset[str]] = frozenset({"predict", "predict_log_proba", "predict_proba"})
    needed_modules: ClassVar[tuple[str, ...]] = ("catboost",)

    type: Literal["catboost"] = "catboost"
    estimator: _Estimator | None = None
    """The class to load it as; if not given, a classifier where the file names classes, and else a regressor."""

    def requires(self) -> tuple[str, ...]:
        return ("catboost",)

    def save(self, model: Any, directory: Path) -> None:
        check_packed(self, model, "catboost.CatBoost")
        if self.estimator is None and type(model).__name__ == "CatBoost" and len(model.classes_):
            raise ConfigurationError(
                f"The artifact `{self.name}` was given a `CatBoost` of two classes or more, and would be loaded as a "
                '`CatBoostClassifier`, whose `predict` returns labels: `estimator = "CatBoost"` keeps the class.'
            )
        model.save_model(str(directory / self.filename))

    def load(self, directory: Path) -> Any:
        with optional_import("catboost", needed_for="the artifact type `catboost`"):
            import catboost
        name, form = (_AS_JSON, "json") if (directory / _AS_JSON).exists() else (self.filename, "cbm")
        path = str(directory / name)
        estimator = self.estimator
        if estimator is None:
            has_classes = len(catboost.CatBoost().load_model(path, format=form).classes_) > 0
            estimator = "CatBoostClassifier" if has_classes else "CatBoostRegressor"
        return getattr(catboost, estimator)().load_model(path, format=form)

    def caller(self, model: Any, method: str, *, is_batch: bool) -> Callable[..., Any]:
        """Return the model's method; the labels of several classes, which are a column, become one label for a row."""
        called = super().caller(model, method, is_batch=is_batch)
        return (
            labels_by_row(called)
            if method == "predict" and is_instance_of(model, "catboost.CatBoostClassifier")
            else called
        )

    def feature_names_of(self, model: Any) -> tuple[str, ...]:
        return named_columns(tuple(model.feature_names_ or ()))

    def first_row(self, model: Any) -> Mapping[str, Any] | Sequence[Any] | None:
        if not (names := self.feature_names_of(model)):
            return [1.5] * len(model.feature_names_)
        of_text = {*model.get_cat_feature_indices(), *model.get_text_feature_indices()}
        return {name: "text" if index in of_text else 1.5 for index, name in enumerate(names)}

    def input_for(self, path: Path) -> str:  # noqa: ARG002 - the binary format is not read for its columns
        return "dataframe"

    def filename_of(self, path: Path) -> str:
        return _AS_JSON if head_of(path).startswith(b"{") else self.filename

    def sniff(self, path: Path) -> str | None:
        model = read_catboost(path, head_of(path))
        if model is None:
            return "it does not begin as CatBoost's formats do, which `save_model` writes"
        return model.problem or None

    def needs_of_file(self, path: Path) -> ModelNeeds:
        model = read_catboost(path, head_of(path))
        return ModelNeeds(self.needed_modules, model.versions if model is not None else {})
