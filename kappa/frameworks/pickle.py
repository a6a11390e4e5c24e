"""Any Python object, kept as a pickle, or as joblib writes one: compressed, or with arrays between the opcodes."""

from __future__ import annotations

import pickle
from contextlib import suppress
from pathlib import Path
from typing import Any, ClassVar, Literal

from kappa.errors import optional_import
from kappa.frameworks.pickled import PickledArtifact
from kappa.inspection.pickles import PICKLE_EXTENSIONS, may_hold_estimator
from kappa.inspection.streams import HEAD_BYTES, compression_of

__all__ = ["PickleArtifact"]

_JOBLIB = "joblib.numpy_pickle"
"""The placeholder of arrays in a file of joblib's."""


class _ByJoblibError(Exception):
    """A pickle goes on as only joblib can read it."""


class _Unpickler(pickle.Unpickler):
    """Reads a pickle up to the first array of joblib's."""

    def find_class(self, module: str, name: str) -> Any:
        if module == _JOBLIB:
            raise _ByJoblibError
        return super().find_class(module, name)


def _load_with_joblib(path: Path, *, needed_for: str) -> Any:
    with optional_import("joblib", needed_for=needed_for):
        import joblib
    return joblib.load(path)


class PickleArtifact(PickledArtifact):
    """Any object that `pickle` or `joblib` writes."""

    filename: ClassVar[str] = "object.pkl"
    extensions: ClassVar[frozenset[str]] = PICKLE_EXTENSIONS
    written_by: ClassVar[str] = "`pickle.dump`"

    type: Literal["pickle"] = "pickle"

    def save(self, model: Any, directory: Path) -> None:
        with (directory / self.filename).open("wb") as file:
            pickle.dump(model, file, protocol=5)

    def load(self, directory: Path) -> Any:
        path = directory / self.filename
        with path.open("rb") as file, suppress(_ByJoblibError):
            if not compression_of(file.peek(HEAD_BYTES)):
                return _Unpickler(file).load()  # the manifest's `security.pickle` has decided
        return _load_with_joblib(path, needed_for=f"what joblib wrote, as the artifact `{self.name}` is,")

    def claims(self, path: Path) -> bool:
        return super().claims(path) and not may_hold_estimator(path)
