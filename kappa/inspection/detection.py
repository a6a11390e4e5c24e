"""Which format a model's file or folder has, and what is read of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from kappa._files import digest_of_lines, sha256_of_file
from kappa.inspection.boosters import read_catboost, read_lightgbm, read_xgboost
from kappa.inspection.folders import (
    model_file_of_mlflow,
    read_mlflow,
    read_mlpackage,
    read_spacy,
    read_spark,
    read_transformers,
)
from kappa.inspection.gguf import read_gguf
from kappa.inspection.networks import read_coreml, read_onnx, read_saved_model, read_tflite
from kappa.inspection.numpy_files import read_numpy
from kappa.inspection.pickle_files import read_pickle_file
from kappa.inspection.report import Model
from kappa.inspection.streams import head_of
from kappa.inspection.tensors import read_hdf5, read_parquet, read_safetensors
from kappa.inspection.torch_files import read_torch
from kappa.inspection.zipped import read_zipped
from kappa.spec.contracts import model_files

__all__ = ["inspect_path", "read_model"]

_MOST_FILES = 10_000

FILE_READERS: tuple[Callable[[Path, bytes], Model | None], ...] = (
    read_torch,
    read_zipped,
    read_numpy,
    read_safetensors,
    read_gguf,
    read_hdf5,
    read_parquet,
    read_xgboost,
    read_lightgbm,
    read_catboost,
    read_tflite,
    read_coreml,
    read_onnx,
    read_pickle_file,
)
"""Each looks at a file and its beginning; the first that knows the format reads it."""
FOLDER_READERS: tuple[Callable[[Path], Model | None], ...] = (
    read_mlflow,
    read_saved_model,
    read_spacy,
    read_spark,
    read_transformers,
    read_mlpackage,
)


def inspect_path(path: Path) -> Model | None:
    """Read what a file or folder says of the model in it; ``None`` for a folder that is not a model.

    Nothing that it names is imported or called. Raises `OSError`.
    """
    model = read_model(path)
    if path.is_dir():
        return None if model is None else _with_folder_facts(model, path)
    problem = "it has the format of no model that is known" if path.stat().st_size else "it is empty"
    model = model or Model(kind="", certainty="unknown", problem=problem)
    return replace(model, size_bytes=path.stat().st_size, sha256=sha256_of_file(path))


def read_model(path: Path) -> Model | None:
    """Read the same without size and digest; ``None`` for a file of a format that is not known, too."""
    if path.is_dir():
        model = next((model for read in FOLDER_READERS if (model := read(path)) is not None), None)
        return None if model is None else _with_inner_facts(model, path)
    head = head_of(path)
    return next((model for read in FILE_READERS if (model := read(path, head)) is not None), None)


def _with_inner_facts(model: Model, path: Path) -> Model:
    """Add what the file with the model itself says to what a folder of MLflow's says of it."""
    file = model_file_of_mlflow(path) if model.kind == "mlflow" else None
    inner = read_model(file) if file is not None else None
    if inner is None:
        return model
    is_signed = bool(model.feature_names or model.feature_count or model.inputs)
    return replace(
        model,
        feature_names=model.feature_names if is_signed else inner.feature_names,
        feature_count=model.feature_count if is_signed else inner.feature_count,
        made_of=inner.made_of,
        steps=inner.steps,
        versions={**model.versions, **inner.versions},
        classes=inner.classes,
        modules=inner.modules,
        of_main=inner.of_main,
        verdict=inner.verdict,
        problem=model.problem or inner.problem,
        is_truncated=inner.is_truncated,
    )


def _with_folder_facts(model: Model, path: Path) -> Model:
    files = model_files(path)[:_MOST_FILES]
    digests = {file.relative_to(path).as_posix(): sha256_of_file(file) for file in files}
    return replace(model, size_bytes=sum(file.stat().st_size for file in files), sha256=digest_of_lines(digests))
