"""TensorFlow's SavedModels, answered by their signatures."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar, Literal

from kappa.errors import BadInputError, BundleError, optional_import
from kappa.frameworks.named_inputs import NamedInputs
from kappa.frameworks.packing import check_packed, is_instance_of
from kappa.inspection.networks import SAVED_MODEL, read_saved_model
from kappa.inspection.report import Tensor, column_names
from kappa.spec.contracts import ArtifactPlugin, ModelNeeds
from kappa.wording import listed

__all__ = ["TensorflowSavedModelArtifact"]

_DEFAULT = "serving_default"


class TensorflowSavedModelArtifact(ArtifactPlugin):
    """A SavedModel, the folder that `tf.saved_model.save` or a Keras model's `export` writes; functions receive what
    `tf.saved_model.load` returns."""

    filename: ClassVar[str] = "model"
    takes: ClassVar[Literal["file", "folder", "file or folder"]] = "folder"
    written_by: ClassVar[str] = "`tf.saved_model.save`"
    row_methods: ClassVar[frozenset[str]] = frozenset({"predict"})
    needed_modules: ClassVar[tuple[str, ...]] = ("tensorflow",)

    type: Literal["tensorflow"] = "tensorflow"

    def requires(self) -> tuple[str, ...]:
        return ("tensorflow",)

    def save(self, model: Any, directory: Path) -> None:
        """Write a module with its signatures, or a Keras model as it is exported."""
        check_packed(self, model, "tensorflow.Module", "tensorflow.Trackable", "keras.Model")
        path = str(directory / self.filename)
        if is_instance_of(model, "keras.Model"):
            model.export(path, format="tf_saved_model", verbose=False)
        else:
            _tensorflow().saved_model.save(model, path, signatures=getattr(model, "signatures", None))

    def load(self, directory: Path) -> Any:
        return _tensorflow().saved_model.load(str(directory / self.filename))

    def caller(self, model: Any, method: str, *, is_batch: bool) -> Callable[..., Any]:
        """Return a signature, which takes inputs by name and returns outputs by name: `predict` is `serving_default`,
        or the only one there is, and another name that of a signature; else a function of the model's."""
        signatures = dict(getattr(model, "signatures", {}))
        name = _name_of_signature(method, tuple(signatures))
        if name is not None:
            return _Signature(signatures[name], self.name, is_batch=is_batch)
        if signatures and not callable(getattr(model, method, None)):
            asked = f"`{_DEFAULT}`" if method == "predict" else f"`{method}`"
            raise BundleError(
                f"The artifact `{self.name}` has no signature {asked}; it has {listed(signatures)}, one of which is "
                "named by `method`."
            )
        return super().caller(model, method, is_batch=is_batch)

    def outputs_of_file(self, path: Path) -> tuple[str, ...]:
        """Return the names of the outputs of `serving_default`."""
        model = read_saved_model(path)
        return () if model is None else tuple(tensor.name for tensor in model.outputs)

    def feature_names_of(self, model: Any) -> tuple[str, ...]:
        """Return the names of the inputs of a signature that has one for each column."""
        signatures = dict(getattr(model, "signatures", {}))
        name = _name_of_signature("predict", tuple(signatures))
        return column_names(_inputs_of(signatures[name])) if name is not None else ()

    def input_for(self, path: Path) -> str:  # noqa: ARG002 - all of them take arrays
        return "ndarray"

    def sniff(self, path: Path) -> str | None:
        model = read_saved_model(path)
        return f"it holds no `{SAVED_MODEL}`" if model is None else model.problem or None

    def needs_of_file(self, path: Path) -> ModelNeeds:
        model = read_saved_model(path)
        return ModelNeeds(self.needed_modules, {} if model is None else model.versions)


def _name_of_signature(method: str, names: tuple[str, ...]) -> str | None:
    """Return the signature that a method means; ``None`` if it means none."""
    if method != "predict":
        return method if method in names else None
    return _DEFAULT if _DEFAULT in names else names[0] if len(names) == 1 else None


def _inputs_of(signature: Any) -> list[Tensor]:
    _, specs = signature.structured_input_signature
    return [_described(name, spec) for name, spec in specs.items()]


def _described(name: str, spec: Any) -> Tensor:
    shape = spec.shape.as_list() if spec.shape.rank is not None else ()
    dtype = "object" if spec.dtype.name == "string" else spec.dtype.name
    return Tensor(name, dtype, tuple(-1 if size is None else size for size in shape))


class _Signature:
    """Calls a signature with what an input adapter makes."""

    def __init__(self, signature: Any, artifact: str, *, is_batch: bool) -> None:
        self._signature = signature
        self._specs = signature.structured_input_signature[1]
        self._inputs = NamedInputs(_inputs_of(signature), artifact=artifact, is_batch=is_batch)
        self._constant = _tensorflow().constant

    def __call__(self, argument: Any) -> dict[str, Any]:
        tensors = {name: self._tensor(name, array) for name, array in self._inputs(argument).items()}
        return {name: tensor.numpy() for name, tensor in self._signature(**tensors).items()}

    def _tensor(self, name: str, array: Any) -> Any:
        try:
            return self._constant(array, dtype=self._specs[name].dtype)
        except (TypeError, ValueError) as exc:  # of texts: one of them is something else
            raise BadInputError(f"The input `{name}` takes texts alone: {exc}.") from exc


def _tensorflow() -> Any:
    with optional_import("tensorflow", needed_for="the artifact type `tensorflow`"):
        import tensorflow as tf
    return tf
