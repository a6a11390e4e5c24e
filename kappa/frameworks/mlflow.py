"""Models of any flavour of MLflow's, in the folder that its `save_model` writes, called as a `PyFuncModel`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import wraps
from pathlib import Path
from typing import Any, ClassVar, Literal

from kappa.errors import BadInputError, ConfigurationError, optional_import
from kappa.frameworks.packing import check_packed, is_instance_of
from kappa.inspection.detection import read_model
from kappa.inspection.folders import flavors_of_mlflow, model_file_of_mlflow, read_mlflow
from kappa.spec.contracts import ArtifactPlugin, ModelNeeds

__all__ = ["MlflowModelArtifact"]

_PYFUNC = "python_function"
_WHOLE, _SKINNY = "mlflow", "mlflow-skinny"
"""The distributions that have MLflow; the second one leaves out its server, which needs another gunicorn than Kappa."""
_PATHS = ("code", "data", "model_code_path", "model_path", "pickled_model", "python_model")
"""The keys of a flavour that name a file or folder beside `MLmodel`."""
_INERT = frozenset({"mlflow.catboost", "mlflow.lightgbm", "mlflow.onnx", "mlflow.sklearn", "mlflow.xgboost"})
"""The loaders that run no code of the model's where its own file is not a pickle."""
_NUMBERS = {"integer": "int32", "long": "int64", "float": "float32", "double": "float64"}
"""NumPy's names of a signature's numeric types."""
_REFUSED = "Failed to enforce schema"


class MlflowModelArtifact(ArtifactPlugin):
    """A model of MLflow's, as `save_model` of any of its flavours writes it; functions receive a `PyFuncModel`."""

    filename: ClassVar[str] = "model"
    takes: ClassVar[Literal["file", "folder", "file or folder"]] = "folder"
    written_by: ClassVar[str] = "MLflow's `save_model`"
    row_methods: ClassVar[frozenset[str]] = frozenset({"predict"})

    type: Literal["mlflow"] = "mlflow"

    def requires(self) -> tuple[str, ...]:
        return (_SKINNY, "pandas")

    def save(self, model: Any, directory: Path) -> None:
        if is_instance_of(model, "mlflow.PyFuncModel"):
            raise ConfigurationError(
                f"The artifact `{self.name}` was given a model that MLflow has loaded, which it cannot write again: "
                "name the folder that it was loaded from in `path`."
            )
        check_packed(self, model, "mlflow.PythonModel")
        _pyfunc().save_model(directory / self.filename, python_model=model)

    def load(self, directory: Path) -> Any:
        path = (directory / self.filename).resolve()  # MLflow reads nothing behind a link
        return _pyfunc().load_model(str(path), suppress_warnings=True)

    def caller(self, model: Any, method: str, *, is_batch: bool) -> Callable[..., Any]:
        """Return the model's method; `predict` brings numbers to the types of the signature."""
        called = super().caller(model, method, is_batch=is_batch)
        return _on_columns(called, _columns_of(model), _dtype_of(model)) if method == "predict" else called

    def feature_names_of(self, model: Any) -> tuple[str, ...]:
        """Return the names of the signature's columns, unless some of them may be left out."""
        columns = _columns_of(model)
        is_complete = all(getattr(column, "required", True) for column in columns.values())
        return tuple(columns) if is_complete else ()

    def input_for(self, path: Path) -> str:
        model = read_model(path)
        return "ndarray" if model is not None and model.feature_count and not model.feature_names else "dataframe"

    def sniff(self, path: Path) -> str | None:
        model = read_mlflow(path)
        if model is None:
            return "it holds no file `MLmodel`"
        if model.problem:
            return model.problem
        flavors = flavors_of_mlflow(path)
        if _PYFUNC not in flavors:
            return f"its `MLmodel` names no flavour `{_PYFUNC}`, by which models are called"
        missing = next((name for name in _paths_in(flavors) if not _is_inside(path, name)), None)
        return f"its `MLmodel` names `{missing}`, which is not in it" if missing is not None else None

    def needs_of_file(self, path: Path) -> ModelNeeds:
        model, flavors = read_model(path), flavors_of_mlflow(path)
        if model is None or model.kind != self.type:
            return ModelNeeds((_WHOLE,))
        brought = _modules_in(path, flavors)
        versions = {_SKINNY if name == _WHOLE else name: version for name, version in model.versions.items()}
        return ModelNeeds(
            tuple(module for module in model.modules if module.partition(".")[0] not in brought),
            versions,
            later=tuple(module for module in model.later if module.partition(".")[0] not in brought),
            of_main=model.of_main,
            requirements=tuple(text for text in model.requirements if _name_of(text) not in (_WHOLE, _SKINNY)),
            is_pickle=_runs_code(path, flavors),
        )

    def needs_of_model(self, model: Any) -> ModelNeeds:  # noqa: ARG002 - `save` pickles all of them
        return ModelNeeds((_WHOLE,), is_pickle=True)


def _paths_in(flavors: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    for flavor in flavors.values():
        yield from (flavor[key] for key in _PATHS if isinstance(flavor.get(key), str))


def _is_inside(folder: Path, name: str) -> bool:
    path = folder / name
    return path.exists() and path.resolve().is_relative_to(folder.resolve())


def _modules_in(folder: Path, flavors: Mapping[str, Mapping[str, Any]]) -> set[str]:
    """Return the names of the modules that a model brings: `code_paths` of `save_model`."""
    code = flavors.get(_PYFUNC, {}).get("code")
    return {path.stem for path in (folder / code).glob("*")} if isinstance(code, str) and code else set()


def _runs_code(folder: Path, flavors: Mapping[str, Mapping[str, Any]]) -> bool:
    """Return whether loading a model runs code that it chooses: a pickle, code of its own, or a loader that may.

    The list of what skops trusts is the model's own as well.
    """
    pyfunc = flavors.get(_PYFUNC, {})
    if pyfunc.get("loader_module") not in _INERT or pyfunc.get("code") or flavors.get("sklearn", {}).get(_TRUSTED):
        return True
    file = model_file_of_mlflow(folder)
    model = read_model(file) if file is not None else None
    return model is None or model.kind not in _FORMATS


_TRUSTED = "skops_trusted_types"
_FORMATS = frozenset({"catboost", "lightgbm", "onnx", "skops", "xgboost"})
"""The formats of models, by the words of the readers, that are data alone."""


def _name_of(requirement: str) -> str:
    return requirement.partition("==")[0].strip().lower()


def _columns_of(model: Any) -> dict[str, Any]:
    """Return the columns of a model's signature by their names; none of one without, or of arrays."""
    schema = model.metadata.get_input_schema()
    if schema is None or schema.is_tensor_spec() or not schema.has_input_names():
        return {}
    return {column.name: column for column in schema.inputs}


def _dtype_of(model: Any) -> Any:
    """Return the type of the only array of a model's signature; ``None`` if it takes something else."""
    schema = model.metadata.get_input_schema()
    is_array = schema is not None and schema.is_tensor_spec() and not schema.has_input_names()
    return schema.inputs[0].type if is_array else None


def _on_columns(predict: Callable[[Any], Any], columns: Mapping[str, Any], dtype: Any) -> Callable[[Any], Any]:
    """Bring a table's numbers to the types of the columns, and an array's to its own: MLflow refuses an `int64` of
    JSON's for a `float`."""
    from mlflow.exceptions import MlflowException

    dtypes = {name: kind for name, column in columns.items() if (kind := _NUMBERS.get(str(column.type.name)))}

    @wraps(predict)
    def on_columns(argument: Any) -> Any:
        if hasattr(argument, "columns"):
            argument = argument.astype({name: kind for name, kind in dtypes.items() if _fits(argument, name, kind)})
        elif dtype is not None and dtype.kind == "f" and hasattr(argument, "dtype") and argument.dtype.kind in "fiu":
            argument = argument.astype(dtype)
        try:
            return predict(argument)
        except MlflowException as exc:
            if (message := str(exc)).startswith(_REFUSED):
                raise BadInputError(message.rpartition(" Error: ")[2]) from exc
            raise

    return on_columns


def _fits(table: Any, name: str, dtype: str) -> bool:
    """Return whether a column has numbers, and only such as are the same in another type but for rounding."""
    import numpy as np

    if name not in table.columns or (values := table[name].to_numpy()).dtype.kind not in "fiu":
        return False
    with np.errstate(invalid="ignore"):
        return dtype.startswith("float") or bool((values.astype(dtype) == values).all())


def _pyfunc() -> Any:
    with optional_import(_SKINNY, needed_for="the artifact type `mlflow`"):
        import mlflow.pyfunc
    return mlflow.pyfunc
