"""Two models are asked the same rows, and every answer is compared."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from importlib import metadata
from typing import Any

from kappa.spec.contracts import ArtifactPlugin

__all__ = ["Comparison", "Difference", "RefusedError", "versions_of"]

_MOST_NAMED = 5
_PACKAGES = ("onnx", "onnxmltools", "onnxruntime", "onnxscript", "skl2onnx", "tf2onnx")


class RefusedError(Exception):
    """A model that is not compiled, for a reason of a ``kind`` that a build knows."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


@dataclass(frozen=True, slots=True)
class Difference:
    """A row with another answer."""

    row: str
    """Which one, e.g. ``drawn row 12``."""
    method: str
    before: str
    after: str

    def __str__(self) -> str:
        return f"{self.row}: `{self.method}` was {self.before}, and is {self.after}"


@dataclass(slots=True)
class Comparison:
    """What two models answered; ``is_label`` are the methods whose answers must be equal."""

    rtol: float
    atol: float
    is_label: frozenset[str]
    is_by_row: bool = False
    """Whether the relative tolerance is one of the largest number of a row: the sums of a network's layers cancel out
    in some of its outputs, whose errors are those of the others."""
    labels: int = 0
    equal_labels: int = 0
    largest: float = 0.0
    largest_at: str = ""
    count: int = 0
    """How many rows differ."""
    differences: list[Difference] = field(default_factory=list)
    """The first of them."""

    def compare(
        self, method: str, before: Callable[[Any], Any], after: Callable[[Any], Any], rows: Any, names: Sequence[str]
    ) -> None:
        """Ask both models the same rows; ``names`` are those of the rows."""
        expected, actual = _answer(before, rows), _answer(after, rows)
        if isinstance(expected, Exception) or isinstance(actual, Exception):
            if len(names) > 1:
                for at, name in enumerate(names):
                    self.compare(method, before, after, _row(rows, at), [name])
            elif not (isinstance(expected, Exception) and isinstance(actual, Exception)):
                self._differ(names[0], method, _shown(expected), _shown(actual))
            return
        self._compare(method, expected, actual, names)

    def _compare(self, method: str, expected: Any, actual: Any, names: Sequence[str]) -> None:
        import numpy as np

        if hasattr(expected, "toarray"):
            expected = expected.toarray()
        expected = np.asarray(expected)
        are_floats = expected.dtype.kind == actual.dtype.kind == "f"  # those of float32 are answered in float64
        if expected.shape != actual.shape or (expected.dtype != actual.dtype and not are_floats):
            kinds = [f"an array of `{array.dtype}` of the shape {array.shape}" for array in (expected, actual)]
            self._differ(names[0], method, *kinds)
            return
        if method in self.is_label:
            equal = (expected == actual).reshape(len(names), -1).all(axis=1)
            self.labels += len(names)
            self.equal_labels += int(equal.sum())
        else:
            with np.errstate(invalid="ignore", over="ignore"):
                apart = np.abs(expected - actual)
                equal = (apart <= self.atol + self.rtol * self._sizes(expected, len(names))) | (expected == actual)
            equal |= np.isnan(expected) & np.isnan(actual)
            apart = np.where(np.isfinite(apart), apart, 0.0).reshape(len(names), -1).max(axis=1, initial=0.0)
            at = int(apart.argmax())
            if apart[at] > self.largest:
                self.largest, self.largest_at = float(apart[at]), f"{names[at]}, `{method}`"
            equal = equal.reshape(len(names), -1).all(axis=1)
        for at in (~equal).nonzero()[0].tolist():
            self._differ(names[at], method, _shown(expected[at]), _shown(actual[at]))

    def _sizes(self, expected: Any, rows: int) -> Any:
        """Return the numbers of which the relative tolerance is a part."""
        import numpy as np

        sizes = np.abs(expected)
        if not self.is_by_row:
            return sizes
        finite = np.where(np.isfinite(sizes), sizes, 0.0).reshape(rows, -1)
        return finite.max(axis=1, initial=0.0).reshape(rows, *[1] * (sizes.ndim - 1))

    def _differ(self, row: str, method: str, before: str, after: str) -> None:
        self.count += 1
        if len(self.differences) < _MOST_NAMED:
            self.differences.append(Difference(row, method, before, after))


def _answer(ask: Callable[[Any], Any], rows: Any) -> Any:
    try:
        return ask(rows)
    except Exception as exc:  # noqa: BLE001 - a model may raise anything, and is then to raise in both forms
        return exc


def _row(rows: Any, at: int) -> Any:
    return rows.iloc[at : at + 1] if hasattr(rows, "iloc") else rows[at : at + 1]


def _shown(value: Any) -> str:
    if isinstance(value, Exception):
        text = " ".join(str(value).split())
        return f"`{type(value).__name__}`" if not text else f"`{type(value).__name__}` ({text[:100]})"
    tolist = getattr(value, "tolist", None)
    text = repr(tolist() if tolist is not None else value)
    return f"`{text if len(text) <= 80 else f'{text[:80]}…'}`"


def versions_of(plugin: ArtifactPlugin) -> dict[str, str]:
    """Return the versions of the packages that convert models, and of a type's own, as far as they are installed."""
    wanted = {*_PACKAGES, *plugin.requires()}
    installed = {package.name.lower().replace("_", "-"): package.version for package in metadata.distributions()}
    return {name: installed[name] for name in sorted(wanted) if name in installed}
