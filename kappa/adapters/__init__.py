"""Input and output adapters, one per file; each name is imported when it is first asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kappa._facade import lazy_names

if TYPE_CHECKING:  # what `__getattr__` below resolves, for editors and type checkers
    from kappa.adapters.annotated_image import AnnotatedImageInput as AnnotatedImageInput
    from kappa.adapters.dataframe import DataframeInput as DataframeInput
    from kappa.adapters.dataframe import DataframeOutput as DataframeOutput
    from kappa.adapters.default import DefaultOutput as DefaultOutput
    from kappa.adapters.file import FileInput as FileInput
    from kappa.adapters.file import FileOutput as FileOutput
    from kappa.adapters.image import ImageInput as ImageInput
    from kappa.adapters.image import ImageOutput as ImageOutput
    from kappa.adapters.json import JsonInput as JsonInput
    from kappa.adapters.json import JsonOutput as JsonOutput
    from kappa.adapters.multi_file import MultiFileInput as MultiFileInput
    from kappa.adapters.multi_image import MultiImageInput as MultiImageInput
    from kappa.adapters.ndarray import NdarrayInput as NdarrayInput
    from kappa.adapters.ndarray import NdarrayOutput as NdarrayOutput
    from kappa.adapters.pytorch_tensor import PytorchTensorInput as PytorchTensorInput
    from kappa.adapters.series import SeriesOutput as SeriesOutput
    from kappa.adapters.string import StringInput as StringInput
    from kappa.adapters.tf_tensor import TfTensorInput as TfTensorInput
    from kappa.adapters.tf_tensor import TfTensorOutput as TfTensorOutput

_HOMES = {
    "AnnotatedImageInput": "kappa.adapters.annotated_image",
    "DataframeInput": "kappa.adapters.dataframe",
    "DataframeOutput": "kappa.adapters.dataframe",
    "DefaultOutput": "kappa.adapters.default",
    "FileInput": "kappa.adapters.file",
    "FileOutput": "kappa.adapters.file",
    "ImageInput": "kappa.adapters.image",
    "ImageOutput": "kappa.adapters.image",
    "JsonInput": "kappa.adapters.json",
    "JsonOutput": "kappa.adapters.json",
    "MultiFileInput": "kappa.adapters.multi_file",
    "MultiImageInput": "kappa.adapters.multi_image",
    "NdarrayInput": "kappa.adapters.ndarray",
    "NdarrayOutput": "kappa.adapters.ndarray",
    "PytorchTensorInput": "kappa.adapters.pytorch_tensor",
    "SeriesOutput": "kappa.adapters.series",
    "StringInput": "kappa.adapters.string",
    "TfTensorInput": "kappa.adapters.tf_tensor",
    "TfTensorOutput": "kappa.adapters.tf_tensor",
}

__all__ = [
    "AnnotatedImageInput",
    "DataframeInput",
    "DataframeOutput",
    "DefaultOutput",
    "FileInput",
    "FileOutput",
    "ImageInput",
    "ImageOutput",
    "JsonInput",
    "JsonOutput",
    "MultiFileInput",
    "MultiImageInput",
    "NdarrayInput",
    "NdarrayOutput",
    "PytorchTensorInput",
    "SeriesOutput",
    "StringInput",
    "TfTensorInput",
    "TfTensorOutput",
]

__getattr__, __dir__ = lazy_names(__name__, _HOMES)
