"""Frameworks without an artifact type of their own, and how their models are served all the same."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from kappa.plugins import ARTIFACTS
from kappa.wording import one_of

__all__ = ["advice_for_type", "framework_of_file"]

_IN_A_FILE = {
    "coreml": "Core ML",
    "detectron": "Detectron",
    "diffusers": "Diffusers",
    "easyocr": "EasyOCR",
    "fastai": "fastai",
    "fasttext": "fastText",
    "flax": "Flax",
    "gluon": "Gluon",
    "mxnet": "MXNet",
    "openvino": "OpenVINO",
    "paddle": "Paddle",
    "pmml": "PMML",
    "sentence_transformers": "Sentence Transformers",
    "tensorrt": "TensorRT",
    "tflite": "LiteRT",
}
"""The framework by the usual name of its type. Its models are files that its own function reads."""
_OTHER_WORDS = {
    "array": "numpy",
    "binary": "file",
    "bytes": "file",
    "dataframe": "frame",
    "directory": "file",
    "folder": "file",
    "huggingface": "transformers",
    "joblib": "sklearn",
    "lgbm": "lightgbm",
    "ndarray": "numpy",
    "npy": "numpy",
    "npz": "numpy",
    "pandas": "frame",
    "parquet": "frame",
    "path": "file",
    "polars": "frame",
    "safetensors": "pytorch",
    "scikit": "sklearn",
    "scikit_learn": "sklearn",
    "tf": "tensorflow",
    "torch": "pytorch",
    "torchscript": "pytorch",
}
"""The type by another word for it."""
_EXTENSIONS: Mapping[str, str] = {
    ".mlmodel": "Core ML",
    ".pmml": "PMML",
    ".tflite": "LiteRT",
}


def advice_for_type(name: str, *, artifact: str, apis: Sequence[str] = ()) -> tuple[str, str | None] | None:
    """Return what to do for an artifact type that there is not yet, and what to write in its place if it is a type.

    ``apis`` are those that the ``artifact`` of that type answers.
    """
    word = name.lower().replace("-", "_")
    if (kind := _OTHER_WORDS.get(word)) is not None:
        return f'Write `type = "{kind}"` for what {ARTIFACTS.load(kind).written_by} wrote.', kind
    base = next((word.removesuffix(end) for end in ("_model", "_artifact", "") if word.endswith(end)), word)
    if word == "keras_weights":
        return 'Save the model itself, `model.save("model.keras")`: weights alone are not a model.', None
    if base in _IN_A_FILE:
        return f"There is no type for {_IN_A_FILE[base]} yet. {_by_setup(artifact, apis)}", None
    return None


def _by_setup(artifact: str, apis: Sequence[str]) -> str:
    answering = (
        f' and of `artifact = "{artifact}"` in {one_of((f"`[apis.{api}]`" for api in apis), joined_by="and")}'
        if apis
        else ""
    )
    return (
        "Load it in code of yours: `kappa explain KF205` prints the lines of the kappafile and of `handlers.py` to "
        f"copy; write them in place of `[artifacts.{artifact}]`{answering}."
    )


def framework_of_file(file: Path) -> str | None:
    """Return the framework without a type of Kappa's whose models have a file's extension."""
    return _EXTENSIONS.get(file.suffix.lower())
