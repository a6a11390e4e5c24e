"""The kappafile of a model that has none yet, as `kappa init` writes it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from kappa.rendering.templates import Context

__all__ = ["KappafileContext", "YamlKappafileContext"]


@dataclass(frozen=True, slots=True)
class KappafileContext(Context):
    template: ClassVar[str] = "init/kappafile.toml.j2"

    service: str
    artifact_type: str
    path: str
    factory: str
    """The function that makes the module for a file of weights; empty for another file."""
    model: str
    """The class of the model and what it was saved with, in words; may be empty."""
    is_pickle: bool
    api: str
    method: str
    input_type: str
    columns: Sequence[str] | Mapping[str, Any]
    """Names of columns, with dtypes if they are known; empty for another adapter than that of tables."""
    options: Mapping[str, Any]
    """Further options of the input adapter."""
    batch: bool | None
    """Where it differs from what the model's method means by itself."""
    request: Mapping[str, Any]
    """The first example's `input` or `input_file`; empty without an example."""
    answer: Mapping[str, Any]
    """Its `expect` and `tolerance`; empty if the model was not called."""


@dataclass(frozen=True, slots=True)
class YamlKappafileContext(KappafileContext):
    template: ClassVar[str] = "init/kappafile.yaml.j2"
