"""scikit-learn estimators in skops' format: an archive of JSON and arrays, of which no code is run."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal

from kappa.errors import BundleError, optional_import
from kappa.frameworks.compiled import CompilableArtifact
from kappa.frameworks.estimators import categories_of, estimator_caller, input_for_estimator
from kappa.frameworks.packing import check_packed
from kappa.frameworks.sklearn import SklearnModelArtifact
from kappa.inspection.report import Model
from kappa.inspection.streams import head_of
from kappa.inspection.zipped import read_zipped
from kappa.spec.contracts import ModelNeeds

__all__ = ["SkopsModelArtifact"]


class SkopsModelArtifact(CompilableArtifact):
    """A fitted estimator or pipeline of scikit-learn's, as `skops.io.dump` writes it: no pickle."""

    filename: ClassVar[str] = "model.skops"
    extensions: ClassVar[frozenset[str]] = frozenset({".skops"})
    written_by: ClassVar[str] = "`skops.io.dump`"
    row_methods: ClassVar[frozenset[str]] = SklearnModelArtifact.row_methods

    type: Literal["skops"] = "skops"
    trusted: tuple[str, ...] = ()
    """Classes and functions that skops does not know to be harmless and that the model may hold all the same."""

    def requires(self) -> tuple[str, ...]:
        return ("scikit-learn", "skops")

    def save(self, model: Any, directory: Path) -> None:
        check_packed(self, model, "sklearn.BaseEstimator")
        self._io().dump(model, directory / self.filename)

    def load(self, directory: Path) -> Any:
        """Read the estimator back; raises `BundleError` for one that holds what is not ``trusted``."""
        skops, path = self._io(), directory / self.filename
        unknown = [name for name in skops.get_untrusted_types(file=path) if name not in self.trusted]
        if unknown:
            listed = ", ".join(f'"{name}"' for name in unknown)
            raise BundleError(
                f"The artifact `{self.name}` holds what skops does not know to be harmless. If you trust whoever made "
                f"the file, write `trusted = [{listed}]` beside its type."
            )
        return skops.load(path, trusted=list(self.trusted))

    def caller(self, model: Any, method: str, *, is_batch: bool) -> Callable[..., Any]:
        return estimator_caller(model, method, super().caller(model, method, is_batch=is_batch), is_batch=is_batch)

    def first_row(self, model: Any) -> Mapping[str, Any] | Sequence[Any] | None:
        row = super().first_row(model)
        return {**row, **categories_of(model)} if isinstance(row, Mapping) else row

    def input_for(self, path: Path) -> str:
        return input_for_estimator(path)

    def sniff(self, path: Path) -> str | None:
        model = _read(path)
        if model is None or model.kind != self.type:
            return "it is not an archive as `skops.io.dump` writes it"
        return model.problem or None

    def needs_of_file(self, path: Path) -> ModelNeeds:
        model = _read(path)
        if model is None or model.kind != self.type:
            return ModelNeeds(("sklearn", "skops"))
        return ModelNeeds(model.modules, model.versions, of_main=model.of_main, made_of=model.made_of)

    def needs_of_model(self, model: Any) -> ModelNeeds:
        return ModelNeeds(("sklearn", "skops"), made_of=f"{type(model).__module__}:{type(model).__qualname__}")

    def _io(self) -> Any:
        with optional_import("skops", needed_for="the artifact type `skops`"):
            import skops.io
        return skops.io


def _read(path: Path) -> Model | None:
    return read_zipped(path, head_of(path))
