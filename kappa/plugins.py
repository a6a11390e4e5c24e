"""Named plugins, found by dotted path: the built-in table first, installed entry points on a miss.

The only place that turns a dotted name into an import of a higher tier. A name without a dot is Kappa's own; one with
a dot (`acme.parquet`) belongs to a distribution that declares it in the entry-point group of its family.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from functools import cache
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from kappa.errors import MissingDependencyError, PluginNotFoundError

__all__ = ["ARTIFACTS", "INPUT_ADAPTERS", "OUTPUT_ADAPTERS", "RESOLVERS", "PluginRegistry", "load_dotted"]


def load_dotted(path: str) -> Any:
    """Import ``module:qualname``."""
    module, _, qualname = path.partition(":")
    value: Any = import_module(module)
    for part in qualname.split("."):
        value = getattr(value, part)
    return value


class PluginRegistry:
    """One family of plugins: ``kind`` names it in messages, ``group`` is its entry-point group."""

    def __init__(self, kind: str, *, group: str, builtins: Mapping[str, str]) -> None:
        self.kind = kind
        self.group = group
        self.builtins = dict(builtins)
        self.load = cache(self._load)

    def names(self) -> list[str]:
        """Every name that `load` takes, built-in ones first."""
        return [*sorted(self.builtins), *sorted(self._installed())]

    def _installed(self) -> dict[str, EntryPoint]:
        """Return the entry points of other distributions; names without a dot are Kappa's and cannot be overridden."""
        return {entry.name: entry for entry in entry_points(group=self.group) if "." in entry.name}

    def _load(self, name: str) -> Any:
        """Return the class of ``name``; raises `PluginNotFoundError` or `MissingDependencyError`."""
        if (path := self.builtins.get(name)) is not None:
            return load_dotted(path)
        if (entry := self._installed().get(name)) is not None:
            return self._load_entry(entry)
        near = difflib.get_close_matches(name, self.names(), n=1)
        hint = f" Did you mean `{near[0]}`?" if near else f" Known are {', '.join(f'`{n}`' for n in self.names())}."
        raise PluginNotFoundError(f"There is no {self.kind} `{name}`.{hint}")

    def _load_entry(self, entry: EntryPoint) -> Any:
        try:
            return entry.load()
        except ModuleNotFoundError as exc:
            raise MissingDependencyError(exc.name or "?", needed_for=f"the {self.kind} `{entry.name}`") from exc
        except Exception as exc:  # the plugin's module is others' code and may raise anything
            message = f"The {self.kind} `{entry.name}` cannot be loaded: {type(exc).__name__}: {exc}."
            raise PluginNotFoundError(message) from exc


INPUT_ADAPTERS = PluginRegistry(
    "input adapter",
    group="kappa.input_adapters",
    builtins={
        "annotated_image": "kappa.adapters.annotated_image:AnnotatedImageInput",
        "dataframe": "kappa.adapters.dataframe:DataframeInput",
        "file": "kappa.adapters.file:FileInput",
        "image": "kappa.adapters.image:ImageInput",
        "json": "kappa.adapters.json:JsonInput",
        "multi_file": "kappa.adapters.multi_file:MultiFileInput",
        "multi_image": "kappa.adapters.multi_image:MultiImageInput",
        "ndarray": "kappa.adapters.ndarray:NdarrayInput",
        "pytorch_tensor": "kappa.adapters.pytorch_tensor:PytorchTensorInput",
        "string": "kappa.adapters.string:StringInput",
        "tf_tensor": "kappa.adapters.tf_tensor:TfTensorInput",
    },
)
OUTPUT_ADAPTERS = PluginRegistry(
    "output adapter",
    group="kappa.output_adapters",
    builtins={
        "dataframe": "kappa.adapters.dataframe:DataframeOutput",
        "default": "kappa.adapters.default:DefaultOutput",
        "file": "kappa.adapters.file:FileOutput",
        "image": "kappa.adapters.image:ImageOutput",
        "json": "kappa.adapters.json:JsonOutput",
        "ndarray": "kappa.adapters.ndarray:NdarrayOutput",
        "series": "kappa.adapters.series:SeriesOutput",
        "tf_tensor": "kappa.adapters.tf_tensor:TfTensorOutput",
    },
)
ARTIFACTS = PluginRegistry(
    "artifact type",
    group="kappa.artifacts",
    builtins={
        "catboost": "kappa.frameworks.catboost:CatBoostModelArtifact",
        "cloudpickle": "kappa.frameworks.cloudpickle:CloudpickleArtifact",
        "file": "kappa.frameworks.file:FileArtifact",
        "frame": "kappa.frameworks.frame:FrameArtifact",
        "h2o": "kappa.frameworks.h2o:H2oModelArtifact",
        "json": "kappa.frameworks.json:JSONArtifact",
        "keras": "kappa.frameworks.keras:KerasModelArtifact",
        "lightgbm": "kappa.frameworks.lightgbm:LightGBMModelArtifact",
        "mlflow": "kappa.frameworks.mlflow:MlflowModelArtifact",
        "numpy": "kappa.frameworks.numpy:NumpyArtifact",
        "onnx": "kappa.frameworks.onnx:OnnxModelArtifact",
        "pickle": "kappa.frameworks.pickle:PickleArtifact",
        "pyspark": "kappa.frameworks.pyspark:PysparkModelArtifact",
        "pytorch": "kappa.frameworks.pytorch:PytorchModelArtifact",
        "pytorch_lightning": "kappa.frameworks.pytorch_lightning:PytorchLightningModelArtifact",
        "sklearn": "kappa.frameworks.sklearn:SklearnModelArtifact",
        "skops": "kappa.frameworks.skops:SkopsModelArtifact",
        "spacy": "kappa.frameworks.spacy:SpacyModelArtifact",
        "tensorflow": "kappa.frameworks.tensorflow:TensorflowSavedModelArtifact",
        "text": "kappa.frameworks.text:TextFileArtifact",
        "transformers": "kappa.frameworks.transformers:TransformersModelArtifact",
        "xgboost": "kappa.frameworks.xgboost:XgboostModelArtifact",
    },
)
RESOLVERS = PluginRegistry(
    "resolver",
    group="kappa.resolvers",
    builtins={
        "installed": "kappa.build.packages.resolvers.installed:InstalledResolver",
        "pip-compile": "kappa.build.packages.resolvers.pip_compile:PipCompileResolver",
        "uv": "kappa.build.packages.resolvers.uv:UvResolver",
    },
)
