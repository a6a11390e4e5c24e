"""How a model is compiled for its bundle, and what proves that it answers as before."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field

from kappa.spec.contracts import FrozenMapping, Spec
from kappa.spec.freezing import FrozenDict
from kappa.spec.project_paths import NamesPath, PathText

__all__ = ["NO_SAMPLES", "CompileOptions", "CompileProof"]

NO_SAMPLES = "none"
"""The word in place of a file of samples that lets drawn rows alone prove a model."""

_RTOL, _ATOL = 1e-4, 1e-5
Tolerance = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]


@dataclass(frozen=True, slots=True)
class _NamesSamples(NamesPath):
    def covers(self, text: str) -> bool:
        return text != NO_SAMPLES


class CompileOptions(Spec):
    """`compile` of an artifact: the format, and how equality is proven."""

    to: Literal["onnx"] = "onnx"
    """The format that the bundle holds in place of the model."""
    samples: Annotated[PathText, _NamesSamples()] | None = None
    """A file with rows that both models are asked: CSV, JSON, JSON lines or Parquet. `"none"` lets rows that the build
    draws be enough where the service has no examples either."""
    rtol: Tolerance = _RTOL
    """The relative tolerance of numbers that are not labels."""
    atol: Tolerance = _ATOL
    """The absolute tolerance, which is added to it."""

    @property
    def is_looser(self) -> bool:
        """Whether numbers may differ by more than they may by default."""
        return self.rtol > _RTOL or self.atol > _ATOL


class CompileProof(Spec):
    """What was compared when a model was compiled."""

    to: str
    """The format of the compiled model."""
    source_digest: str
    """The sha256 of the files of the model that it was made from."""
    source_bytes: int
    """Their size."""
    versions: FrozenMapping = Field(default_factory=FrozenDict)
    """The versions of the packages that converted it, and of the model's own."""
    methods: tuple[str, ...]
    """The methods that it has."""
    examples: int
    """How many rows of the service's examples were compared."""
    samples: int
    """How many rows of the file of samples."""
    drawn: int
    """How many rows that were drawn: round the model's own thresholds, and from its categories."""
    equal_labels: float | None = None
    """The share of rows with the same label; nothing for a model without labels."""
    largest_difference: float
    """The largest difference of a number."""
    largest_at: str = ""
    """The row with that difference, and its method; empty if there is none."""
    rtol: float
    atol: float
