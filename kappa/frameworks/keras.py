"""Keras models, on whichever of Keras' backends they run."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, ClassVar, Literal

from kappa.errors import BundleError, optional_import
from kappa.frameworks.compiled import CompilableArtifact
from kappa.frameworks.named_inputs import NamedInputs
from kappa.frameworks.packing import check_packed
from kappa.inspection.report import Model, Tensor, column_names
from kappa.inspection.streams import head_of
from kappa.inspection.tensors import read_hdf5
from kappa.inspection.zipped import read_zipped
from kappa.plugins import load_dotted
from kappa.spec.contracts import ModelNeeds

__all__ = ["KerasCall", "KerasModelArtifact"]

Backend = Literal["jax", "tensorflow", "torch"]
_BACKENDS: tuple[Backend, ...] = ("tensorflow", "jax", "torch")
"""The modules, and distributions, of Keras' backends; Keras' own default first."""
_AS_HDF5 = "model.h5"
_UNKNOWN_CLASS = re.compile(r"(?:Could not locate \w+|Unknown \w+:) '([^']+)'")
_LAMBDA = re.compile(r'"class_name"\s*:\s*"Lambda"')
_NO_LAMBDA = "holds code in a layer `Lambda`, which only `safe_mode = false` loads"


class KerasModelArtifact(CompilableArtifact):
    """A model of Keras 3, as `model.save` writes it (`.keras`, or the older `.h5`)."""

    filename: ClassVar[str] = "model.keras"
    extensions: ClassVar[frozenset[str]] = frozenset({".h5", ".hdf5", ".keras"})
    written_by: ClassVar[str] = "Keras' `model.save`"
    row_methods: ClassVar[frozenset[str]] = frozenset({"predict"})
    compiled_methods: ClassVar[tuple[str, ...]] = ("predict", "predict_on_batch")
    compiled_attributes: ClassVar[tuple[str, ...]] = ("session",)

    type: Literal["keras"] = "keras"
    backend: Backend | None = None
    """Keras' backend; if not given, the one that `KERAS_BACKEND` names, else the one that is installed."""
    custom_objects: tuple[str, ...] = ()
    """The service's own layers, models and functions that the model is made of, each as `module:Name`."""
    safe_mode: bool = True
    """Whether code that the file holds, as in a layer `Lambda`, is refused; it is a pickle otherwise."""

    def requires(self) -> tuple[str, ...]:
        return ("keras", self._backend())

    def references(self) -> tuple[str, ...]:
        return self.custom_objects

    def save(self, model: Any, directory: Path) -> None:
        check_packed(self, model, "keras.Model")
        model.save(directory / self.filename)

    def load(self, directory: Path) -> Any:
        """Read the model back, uncompiled; raises `BundleError` for what is made of classes that are not named."""
        keras = self._keras()
        path = directory / (_AS_HDF5 if (directory / _AS_HDF5).exists() else self.filename)
        if self.safe_mode and path.name == _AS_HDF5:
            self._check_hdf5(path)
        named = [load_dotted(reference) for reference in self.custom_objects]
        objects = {keras.saving.get_registered_name(value): value for value in named}
        try:
            return keras.saving.load_model(path, custom_objects=objects, compile=False, safe_mode=self.safe_mode)
        except (TypeError, ValueError) as exc:
            if (unknown := _UNKNOWN_CLASS.search(str(exc))) is None:
                raise
            raise BundleError(
                f"The model of the artifact `{self.name}` is made of `{unknown[1]}`, which is not Keras' own: name it "
                f'in `custom_objects = ["MODULE:{unknown[1]}"]` beside its type.'
            ) from exc

    def caller(self, model: Any, method: str, *, is_batch: bool) -> Callable[..., Any]:
        """Return the model's method; `predict` takes inputs and returns outputs by name, where there are several.

        PERF: it is `predict_on_batch`, which took 1.0 ms for one row on TensorFlow, 0.2 on JAX and 1.6 on PyTorch;
        a call of the model took 3.6, 1.5 and 1.3 ms, and its own `predict`, which is made for data sets, 146, 1 and 5.
        """
        if method != "predict":
            return super().caller(model, method, is_batch=is_batch)
        return KerasCall(model, self.name, is_batch=is_batch)

    def feature_names_of(self, model: Any) -> tuple[str, ...]:
        """Return the names of the inputs of a model that has one for each column."""
        return column_names([*_inputs_of(model).values()])

    def filename_of(self, path: Path) -> str:
        head = head_of(path)
        return self.filename if read_hdf5(path, head) is None else _AS_HDF5

    def input_for(self, path: Path) -> str:  # noqa: ARG002 - all of them take arrays
        return "ndarray"

    def first_row(self, model: Any) -> Mapping[str, Any] | Sequence[Any] | None:
        """Return a row as wide as the only input, where that is a matrix."""
        if self.feature_names_of(model):
            return super().first_row(model)
        shapes = [tensor.shape for tensor in _inputs_of(model).values()]
        width = shapes[0][1] if len(shapes) == 1 and len(shapes[0]) == 2 else None
        return [1.5] * width if isinstance(width, int) and width > 0 else None

    def sniff(self, path: Path) -> str | None:
        model = _read(path)
        if model is not None and model.kind == "keras-weights" and not model.problem:
            return "it holds weights alone"
        if model is None:
            return "it does not begin as Keras' formats do, which `model.save` writes"
        if model.verdict is not None and self.safe_mode and not model.problem:
            return f"it {_NO_LAMBDA}"
        return model.problem or None

    def needs_of_file(self, path: Path) -> ModelNeeds:
        model = _read(path)
        versions: Mapping[str, str] = {} if model is None else model.versions
        return ModelNeeds(("keras", self._backend()), versions, is_pickle=not self.safe_mode)

    def needs_of_model(self, model: Any) -> ModelNeeds:  # noqa: ARG002 - all of them need the same
        return ModelNeeds(("keras", self._backend()), is_pickle=not self.safe_mode)

    def _check_hdf5(self, path: Path) -> None:
        """NOTE: Keras before 3.11.3 runs the code in such files whatever its `safe_mode` is."""
        import h5py

        with h5py.File(path) as file:
            config = file.attrs.get("model_config", "")
        if _LAMBDA.search(config.decode() if isinstance(config, bytes) else str(config)):
            raise BundleError(f"The model of the artifact `{self.name}` {_NO_LAMBDA}.")

    def _backend(self) -> str:
        if self.backend is not None:
            return self.backend
        if (keras := sys.modules.get("keras")) is not None:
            return str(keras.backend.backend())
        if (named := os.environ.get("KERAS_BACKEND")) in _BACKENDS:
            return named
        return next((name for name in _BACKENDS if find_spec(name) is not None), _BACKENDS[0])

    def _keras(self) -> Any:
        """Import Keras with the backend, which a process chooses once; raises `BundleError` if it has another one."""
        backend = self._backend()
        if "keras" not in sys.modules:
            os.environ["KERAS_BACKEND"] = backend
        needed_for = "the artifact type `keras`"
        with optional_import(backend, needed_for=needed_for), optional_import("keras", needed_for=needed_for):
            import keras
        if (other := keras.backend.backend()) != backend:
            raise BundleError(
                f"The artifact `{self.name}` needs Keras' backend `{backend}`, and this process runs Keras on "
                f"`{other}`: a service has one backend, and `KERAS_BACKEND` must name the same."
            )
        return keras


def _read(path: Path) -> Model | None:
    head = head_of(path)
    model = read_zipped(path, head) or read_hdf5(path, head)
    return model if model is not None and model.kind in ("hdf5", "keras", "keras-weights") else None


def _inputs_of(model: Any) -> dict[Any, Tensor]:
    """Return the inputs of a model by their keys: names, or positions; none of one that tells nothing before a call."""
    try:
        structure = model.input
    except (AttributeError, ValueError):  # of a `Sequential` that was loaded, too
        structure = getattr(model, "inputs", None) or []
    if isinstance(structure, Mapping):
        return {key: _described(str(key), tensor) for key, tensor in structure.items()}
    tensors = structure if isinstance(structure, list | tuple) else [structure]
    return {index: _described(tensor.name, tensor) for index, tensor in enumerate(tensors)}


def _described(name: str, tensor: Any) -> Tensor:
    dtype = "object" if tensor.dtype == "string" else tensor.dtype
    return Tensor(name, dtype, tuple(-1 if size is None else size for size in tensor.shape))


class KerasCall:
    """Calls a model with what an input adapter makes."""

    def __init__(self, model: Any, artifact: str, *, is_batch: bool) -> None:
        self._model = model
        inputs = _inputs_of(model)
        self._is_by_name = any(isinstance(key, str) for key in inputs)
        self.inputs = NamedInputs([*inputs.values()], artifact=artifact, is_batch=is_batch) if inputs else None
        """What makes its inputs; ``None`` for a model of the user's own class, which takes what it takes."""

    def __call__(self, argument: Any) -> Any:
        outputs = self._model.predict_on_batch(self._arguments(argument))
        return self.named(outputs) if isinstance(outputs, list | tuple) else outputs

    def named(self, outputs: Sequence[Any]) -> dict[str, Any]:
        """Return several outputs by their names."""
        names = getattr(self._model, "output_names", ()) or map("output_{}".format, range(len(outputs)))
        return dict(zip(names, outputs, strict=False))

    def arranged(self, arrays: Mapping[str, Any]) -> Any:
        """Return inputs as the model takes them: by name, as a list, or a single one by itself."""
        if self._is_by_name:
            return arrays
        ordered = [*arrays.values()]
        return ordered if len(ordered) > 1 else ordered[0]

    def _arguments(self, argument: Any) -> Any:
        import numpy as np

        if self.inputs is None:
            is_table = isinstance(argument, Mapping)
            return {name: np.asarray(value) for name, value in argument.items()} if is_table else np.asarray(argument)
        arrays = self.inputs(argument)
        return self.arranged({name: arrays[name] for name in self.inputs.names})
