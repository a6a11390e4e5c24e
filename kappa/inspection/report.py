"""The report on a model's file or folder, the same for every format."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from kappa.inspection.verdicts import Verdict

__all__ = ["Certainty", "Model", "Step", "Tensor", "column_names"]

Certainty = Literal["certain", "likely", "unknown"]


@dataclass(frozen=True, slots=True)
class Step:
    """A step of a pipeline."""

    name: str
    made_of: str
    """Its class, as ``module:Class``."""


@dataclass(frozen=True, slots=True)
class Tensor:
    """An input, an output or a weight of a network."""

    name: str
    dtype: str = ""
    shape: tuple[int | str, ...] = ()
    """Names, and -1, stand for lengths that differ from call to call."""

    @property
    def rows(self) -> int | None:
        """The number of rows of each call; ``None`` if it may differ."""
        first = self.shape[0] if self.shape else None
        return first if isinstance(first, int) and first > 0 else None


def column_names(inputs: Sequence[Tensor]) -> tuple[str, ...]:
    """Return the names of the inputs of a network that has one for each column of a table; none for another one."""
    is_by_column = len(inputs) > 1 and all(tensor.shape and tensor.shape[1:] in ((), (1,)) for tensor in inputs)
    return tuple(tensor.name for tensor in inputs) if is_by_column else ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """The facts that a model's file or folder states; others are empty."""

    kind: str
    """The format, e.g. `joblib`; empty if it is none that is known."""
    certainty: Certainty = "certain"
    """The certainty of the kind: by a signature and what follows it, by a name or a signature alone, or not at all."""
    written_by: str = ""
    """The library and function that wrote it, in words."""
    artifact_type: str = ""
    """The type of a kappafile's artifact that takes it; empty where there is none."""
    made_of: str = ""
    """The class of the model, as ``module:Class``."""
    steps: tuple[Step, ...] = ()
    versions: Mapping[str, str] = field(default_factory=dict)
    """By distribution, the version that the model was saved with."""
    feature_names: tuple[str, ...] = ()
    feature_types: tuple[str, ...] = ()
    feature_count: int | None = None
    classes: tuple[Any, ...] = ()
    inputs: tuple[Tensor, ...] = ()
    outputs: tuple[Tensor, ...] = ()
    weights: int | None = None
    """The number of tensors of weights."""
    modules: tuple[str, ...] = ()
    """Dotted names of modules that loading it imports."""
    later: tuple[str, ...] = ()
    """Those that functions in it import when they are called."""
    requirements: tuple[str, ...] = ()
    """Its own list of requirements, as pip takes them."""
    of_main: tuple[str, ...] = ()
    """Classes and functions of the script or notebook that saved it."""
    notebooks: tuple[str, ...] = ()
    """Cells of notebooks whose code it holds."""
    size_bytes: int = 0
    sha256: str = ""
    """Of a file; of a folder, that of the list of its files' digests."""
    verdict: Verdict | None = None
    """On the pickle that it is, or holds."""
    problem: str = ""
    """Why it could not be read to its end: a part of a sentence that begins with "it"."""
    is_truncated: bool = False
    remarks: tuple[str, ...] = ()
    """Further facts, in sentences."""

    @property
    def rows(self) -> int | None:
        """The number of rows that a network takes with each call; ``None`` if it may differ."""
        return next((tensor.rows for tensor in self.inputs if tensor.rows is not None), None)

    @property
    def columns(self) -> tuple[str, ...]:
        """The names of the columns of the table that it takes."""
        return self.feature_names or column_names(self.inputs)

    def to_tree(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        return asdict(self)
