"""Any Python object, kept as a pickle."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any, ClassVar, Literal

from kappa.frameworks.pickled_names import needs_of_object, needs_of_pickle
from kappa.spec.contracts import ArtifactPlugin, ModelNeeds

__all__ = ["PickleArtifact", "sniff_pickle"]

_SIGNATURES = (b"\x80", b"\x78", b"\x1f\x8b", b"BZh", b"\xfd7zXZ", b"\x5d\x00\x00", b"\x04\x22\x4d\x18")
"""The pickle protocols from 2 on, and the compressions that joblib knows: zlib, gzip, bz2, xz, lzma, lz4."""


def sniff_pickle(path: Path) -> str | None:
    """Return why a file cannot be a pickle or a joblib file, by its first bytes."""
    if path.is_dir():
        return "it is a folder"
    with path.open("rb") as file:
        head = file.read(8)
    if not head:
        return "it is empty"
    return None if head.startswith(_SIGNATURES) else "it does not begin as a pickle or a joblib file does"


class PickleArtifact(ArtifactPlugin):
    """Any object that `pickle` writes."""

    filename: ClassVar[str] = "object.pkl"
    is_pickle: ClassVar[bool] = True

    type: Literal["pickle"] = "pickle"

    def save(self, model: Any, directory: Path) -> None:
        with (directory / self.filename).open("wb") as file:
            pickle.dump(model, file, protocol=5)

    def load(self, directory: Path) -> Any:
        with (directory / self.filename).open("rb") as file:
            return pickle.load(file)  # noqa: S301 - the manifest's `security.pickle` has decided

    def sniff(self, path: Path) -> str | None:
        return sniff_pickle(path)

    def needs_of_file(self, path: Path) -> ModelNeeds:
        return needs_of_pickle(path)

    def needs_of_model(self, model: Any) -> ModelNeeds:
        return needs_of_object(model)
